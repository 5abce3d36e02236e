"""Delivery over real HTTP: what is tracked arrives once, in the wire form, through outages and answers of all kinds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sdk_sink import Sink, running_sink
from touchtrail import AsyncClient, Campaign, Client, Consent, Context, Device, Page, events, use_context

QUICK: dict[str, Any] = {"backoff_min_s": 0.01, "backoff_max_s": 0.05, "linger_s": 0.01}


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


def test_every_part_of_an_event_arrives_as_the_contract_says(sink: Sink, tmp_path: Path) -> None:
    with Client(sink.url, key="key-1", spool_dir=tmp_path, clock=lambda: 1_700_000_000.5) as client:
        assert client.track(
            events.ProductViewed(sku="SKU-1", name="Schuh", price="129.90", currency="EUR"),
            anonymous_id="a-1",
            customer_id="c-42",
            session_id="s-1",
            page=Page(url="https://shop.example/p/1?gclid=x", referrer="https://www.google.com/", title="t"),
            campaign=Campaign(source="google", medium="cpc", name="autumn"),
            device=Device(kind="mobile"),
            consent=Consent(analytics=True, ads=False),
            identifiers={"email": "a@b.example"},
            occurred_at=datetime(2026, 11, 21, 10, tzinfo=UTC),
            event_id="e-1",
        )
        assert client.flush(5)
    assert sink.events["e-1"] == {
        "event_id": "e-1",
        "name": "product_viewed",
        "occurred_at": "2026-11-21T10:00:00.000Z",
        "anonymous_id": "a-1",
        "customer_id": "c-42",
        "session_id": "s-1",
        "page": {"url": "https://shop.example/p/1?gclid=x", "referrer": "https://www.google.com/", "title": "t"},
        "campaign": {"source": "google", "medium": "cpc", "name": "autumn"},
        "device": {"kind": "mobile"},
        "consent": {"analytics": True, "ads": False},
        "identifiers": {"email": "a@b.example"},
        "properties": {"sku": "SKU-1", "name": "Schuh", "price": "129.90", "currency": "EUR"},
    }
    request = sink.requests[0]
    assert (request["path"], request["sent_at"]) == ("/v1/events", "2023-11-14T22:13:20.500Z")
    assert request["Authorization"] == "Bearer key-1"


def test_identify_alias_page_and_own_events_are_thin_over_track(sink: Sink, tmp_path: Path) -> None:
    with Client(sink.url + "/", key="k", spool_dir=tmp_path) as client:
        assert client.identify(
            anonymous_id="a", customer_id="c", email="a@b.example", loyalty_card="7", traits={"segment": "jogger"}
        )
        assert client.alias("a-2", "c")
        assert client.page("https://shop.example/", title="Home", anonymous_id="a")
        assert client.track("gift_wrapped", properties={"paper": "red"}, customer_id="c")
        assert client.flush(5)
    named = {event["name"] + event.get("anonymous_id", ""): event for event in sink.events.values()}
    assert named["customer_identifieda"]["identifiers"] == {"email": "a@b.example", "loyalty_card": "7"}
    assert named["customer_identifieda"]["properties"] == {"traits": {"segment": "jogger"}}
    assert named["customer_identifieda-2"]["customer_id"] == "c"
    assert named["page_vieweda"]["page"] == {"url": "https://shop.example/", "title": "Home"}
    assert named["gift_wrapped"]["properties"] == {"paper": "red"}


def test_the_context_fills_in_what_the_call_leaves_out(sink: Sink, tmp_path: Path) -> None:
    with Client(sink.url, key="k", spool_dir=tmp_path) as client:
        with use_context(Context(anonymous_id="a", page=Page(url="https://x/1"), consent=Consent(ads=True))):
            client.track("first")
            with use_context(Context(customer_id="c")):
                client.track("second", page=Page(url="https://x/2"))
        assert not client.track("third")
        assert client.flush(5)
    lost, first, second = sorted(sink.events.values(), key=lambda event: event["name"])
    assert lost["properties"]["reason"] == "no_person"
    assert (first["anonymous_id"], first.get("customer_id"), first["page"]["url"]) == ("a", None, "https://x/1")
    assert (second["anonymous_id"], second["customer_id"], second["page"]["url"]) == ("a", "c", "https://x/2")
    assert client.health().refused == {"no_person": 1}


def test_many_threads_lose_nothing_and_repeat_nothing(sink: Sink, tmp_path: Path) -> None:
    with Client(sink.url, key="k", spool_dir=tmp_path, segment_bytes=20_000) as client:

        def shop(name: int) -> None:
            for number in range(500):
                assert client.track("clicked", anonymous_id=f"{name}-{number}")

        threads = [threading.Thread(target=shop, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(10)
        health = client.health()
    assert len(sink.events) == 2000
    assert (health.tracked, health.delivered, health.duplicates, health.spooled_bytes) == (2000, 2000, 0, 0)
    assert all("key" not in str(path) for path in tmp_path.rglob("*"))


def test_events_come_by_themselves_soon_after_they_are_tracked(sink: Sink, tmp_path: Path) -> None:
    with Client(sink.url, key="k", spool_dir=tmp_path) as client:
        client.track("clicked", anonymous_id="a")
        until = time.monotonic() + 5
        while not sink.events:
            assert time.monotonic() < until
            time.sleep(0.01)


def test_what_one_client_could_not_send_the_next_one_sends(sink: Sink, tmp_path: Path) -> None:
    sink.statuses = [503] * 100
    with Client(sink.url, key="k", spool_dir=tmp_path, close_timeout_s=0.0) as first:
        for number in range(30):
            first.track("clicked", anonymous_id=str(number))
    assert not sink.events
    sink.statuses = []
    with Client(sink.url, key="other", spool_dir=tmp_path) as stranger:
        assert stranger.flush(5)
    assert not sink.events
    with Client(sink.url, key="k", spool_dir=tmp_path) as second:
        assert second.flush(5)
        assert second.health().delivered == 30
    assert len(sink.events) == 30
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_hanging_collector_never_holds_up_the_shop(sink: Sink, tmp_path: Path) -> None:
    sink.hangs.set()
    client = Client(sink.url, key="k", spool_dir=tmp_path, timeout_s=0.3, linger_s=0.0, backoff_max_s=0.0)
    began = time.monotonic()
    for _ in range(2000):
        assert client.track("clicked", anonymous_id="a")
    assert time.monotonic() - began < 5
    assert not client.flush(0.5)
    assert "ReadTimeout" in (client.health().last_error or "")
    assert not client.close(0.0)


def test_the_asynchronous_client_awaits_only_what_waits(sink: Sink, tmp_path: Path) -> None:
    async def shop() -> bool:
        async with AsyncClient(sink.url, key="k", spool_dir=tmp_path) as client:
            assert client.track("clicked", anonymous_id="a")
            assert client.identify(anonymous_id="a", customer_id="c")
            return await client.flush(5)

    assert asyncio.run(shop())
    assert len(sink.events) == 2


def test_a_closed_client_takes_nothing_and_says_so(sink: Sink, tmp_path: Path) -> None:
    client = Client(sink.url, key="k", spool_dir=tmp_path)
    client.track("clicked", anonymous_id="a")
    assert client.close(5)
    assert not client.track("clicked", anonymous_id="a")
    assert client.health().state == "closed"
    assert client.health().refused == {"closed": 1}
    assert client.close()
    assert len(sink.events) == 1
