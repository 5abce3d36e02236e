"""The unmodified client library of Segment, sending over a real socket to the source's endpoints."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import msgspec
import pytest
from segment.analytics.client import Client
from segment.analytics.request import APIError

from touchtrail.events import VOCABULARY
from touchtrail_collector.api import SourceAck, SourceEvents, SourceRefusal, SourceReject, SourceRequest, SourceResponse
from touchtrail_collector.domain.event import EventChecker
from touchtrail_collector.domain.privacy import Pseudonymiser
from touchtrail_plugins.sources.segment import touchtrail_sources

KEY = "write-key"
CHECKER = EventChecker(VOCABULARY, Pseudonymiser(b"key"))


class Collector(ThreadingHTTPServer):
    """As little of a collector as carries a request to an endpoint and its answer back."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        (source,) = touchtrail_sources(settings=None)
        self.endpoints = {endpoint.path: endpoint for endpoint in source.endpoints}
        self.requests: list[SourceEvents] = []
        self.was_gzipped: list[bool] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [dict(event) for batch in self.requests for event in batch.events if not isinstance(event, SourceReject)]

    def serve(self, request: SourceRequest) -> SourceResponse:
        endpoint = self.endpoints[request.path]
        try:
            batch = endpoint.read(request)
        except SourceRefusal as refusal:
            return refusal.response
        if batch.key != KEY:
            return endpoint.unauthorized
        self.requests.append(batch)
        return endpoint.answer(SourceAck(accepted=len(batch.events)), request)


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_gzipped = self.headers.get("Content-Encoding") == "gzip"
        self.server.was_gzipped.append(is_gzipped)
        request = SourceRequest(
            method="POST",
            path=self.path,
            path_params={},
            query={},
            headers={name.lower(): value for name, value in self.headers.items()},
            body=gzip.decompress(body) if is_gzipped else body,
            received_at=1_795_255_200_000,
        )
        response = self.server.serve(request)
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def tell_story(client: Client) -> None:
    context = {
        "page": {"url": "https://shop.example/?utm_source=google&utm_medium=cpc", "referrer": "https://www.google.com/"}
    }
    client.page(anonymous_id="a-1", category="Shop", name="Home", properties={"title": "Home"}, context=context)
    client.track(
        anonymous_id="a-1", event="Product Viewed", properties={"sku": "SKU-1", "price": 129.90, "currency": "EUR"}
    )
    client.identify(user_id="c-42", anonymous_id="a-1", traits={"email": "a@b.example", "plan": "gold"})
    client.alias("a-1", "c-42")
    order = {
        "order_id": "A-1", "total": 134.80, "revenue": 109.16, "tax": 20.74, "shipping": 4.90, "currency": "EUR",
        "products": [{"product_id": "p1", "sku": "SKU-1", "name": "Shoe", "price": 129.90, "quantity": 1}],
    }  # fmt: skip
    client.track(user_id="c-42", event="Order Completed", properties=order)


@pytest.mark.parametrize("is_gzipped", [False, True], ids=["plain", "gzip"])
def test_the_client_delivers_page_track_identify_alias_and_an_order(collector: Collector, is_gzipped: bool) -> None:
    failures: list[Exception] = []
    client = Client(
        KEY, host=collector.url, gzip=is_gzipped, upload_interval=0.01, on_error=lambda error, _: failures.append(error)
    )
    tell_story(client)
    client.shutdown()

    assert failures == []
    assert set(collector.was_gzipped) == {is_gzipped}
    names = ["page_viewed", "product_viewed", "customer_identified", "customer_identified", "order_placed"]
    assert [event["name"] for event in collector.events] == names
    assert all(batch.sent_at for batch in collector.requests)
    for event in collector.events:
        kept = CHECKER.check(msgspec.json.encode(event), now_ms=0)
        assert kept.event_id == event["event_id"]
    page, _, identified, _, order = collector.events
    assert page["page"]["url"].endswith("utm_medium=cpc")
    assert page["properties"] == {"name": "Home", "category": "Shop"}
    assert (identified["anonymous_id"], identified["customer_id"]) == ("a-1", "c-42")
    assert identified["identifiers"] == {"email": "a@b.example"}
    assert "anonymous_id" not in order
    assert (order["properties"]["total"], order["properties"]["goods"]) == (134.80, "109.16")
    assert order["properties"]["lines"][0]["unit_price"] == 129.90


def test_a_wrong_key_reaches_the_caller_with_our_code(collector: Collector) -> None:
    client = Client("wrong", host=collector.url, sync_mode=True, max_retries=0)
    with pytest.raises(APIError) as error:
        client.track(user_id="u", event="Signed In")
    assert (error.value.status, error.value.code) == (401, "unauthorized")


def test_the_client_sends_an_event_again_with_the_id_it_had(collector: Collector) -> None:
    client = Client(KEY, host=collector.url, sync_mode=True)
    for _ in range(2):
        client.track(user_id="u", event="Signed In", message_id="m-1")
    assert [event["event_id"] for event in collector.events] == ["m-1", "m-1"]
