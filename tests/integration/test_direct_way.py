"""What goes past the middleware and the router is checked, counted and answered as what does not."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from shop_events import wire_event
from touchtrail_collector.errors import StoreUnavailable, TouchtrailCollectorError
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.ingest import Checking, Ingest
from touchtrail_collector.store.engine import Receipt
from touchtrail_collector.web.app import create_app


class Failing(Ingest):
    """An ingest that fails as nobody foresaw, or as the layers below say it."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def check(self, body: bytes, *, source_id: int, now_ms: int) -> Checking:
        raise self._error


def ask(
    collector: Collector, *requests: tuple[str, str, dict[str, Any]]
) -> tuple[list[httpx.Response], dict[Any, float]]:
    """Send requests one after another; return the answers and the counts of requests by class of path and status."""

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(create_app(collector), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            answers = [await client.request(method, path, **given) for method, path, given in requests]
            return [*answers, await client.get("/metrics")]

    *answers, metrics = asyncio.run(run())
    counts = {
        (sample.labels["path"], int(sample.labels["status"])): sample.value
        for family in text_string_to_metric_families(metrics.text)
        for sample in family.samples
        if sample.name == "touchtrail_http_requests_total"
    }
    return answers, counts


@pytest.fixture
def allowed(collector: Collector) -> dict[str, str]:
    """The headers of a sender with a valid key."""
    key = collector.store.create_key(source="web")
    collector.reload_keys()
    return {"Authorization": f"Bearer {key}"}


def test_answers_of_both_ways_are_counted_under_the_same_class_of_path(
    collector: Collector, allowed: dict[str, str]
) -> None:
    event = {"json": wire_event("1"), "headers": allowed}
    answers, counts = ask(
        collector,
        ("POST", "/v1/events", event),
        ("POST", "/v1/events", {"content": b"{", "headers": allowed}),
        ("POST", "/v1/events", {"json": wire_event("2")}),
        ("POST", "/v1/events", event | {"headers": allowed | {"Host": "evil.example"}}),
        ("GET", "/v1/events", {}),
        ("POST", "/v1/events/validate", event),
    )
    assert [answer.status_code for answer in answers] == [200, 400, 401, 421, 405, 200]
    assert counts == {
        ("events", 200): 1, ("events", 400): 1, ("events", 401): 1, ("events", 405): 1, ("validate", 200): 1,
        ("other", 421): 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ZeroDivisionError(), 500, "internal_error"),
        (StoreUnavailable("no room"), 503, "unavailable"),
        (TouchtrailCollectorError("not like this"), 400, "bad_request"),
    ],
    ids=["unforeseen", "store", "collector"],
)
def test_a_failure_on_the_direct_way_is_our_json_and_counted(
    collector: Collector, allowed: dict[str, str], error: Exception, status: int, code: str
) -> None:
    collector.ingest = Failing(error)
    (answer,), counts = ask(collector, ("POST", "/v1/events", {"json": wire_event("1"), "headers": allowed}))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (answer.headers.get("connection") == "close") == (status == 500)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert counts == {("events", status): 1}


def test_requests_of_one_turn_go_to_the_writer_together_and_each_gets_its_own_answer(
    collector: Collector, allowed: dict[str, str]
) -> None:
    gate = threading.Event()
    collector.store.begin_write(lambda _: gate.wait(5))  # what comes meanwhile waits, and shares the next commit

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(collector)), base_url="http://127.0.0.1", headers=allowed
        ) as client:
            sending = [
                asyncio.ensure_future(
                    client.post("/v1/events", json=[wire_event(f"{n}-{k}") for k in range(1 + n % 3)])
                )
                for n in range(50)
            ]
            while collector.store.writer.backlog < len(sending):
                await asyncio.sleep(0.001)
            assert not any(one.done() for one in sending)  # nothing is acknowledged before its commit
            gate.set()
            return await asyncio.gather(*sending)

    before = sum(collector.commits.requests.read()[0])
    answers = asyncio.run(run())
    assert [answer.json()["accepted"] for answer in answers] == [1 + n % 3 for n in range(50)]
    assert sum(collector.commits.requests.read()[0]) - before <= 3


def test_a_turn_that_comes_after_the_end_is_refused_request_by_request(
    collector: Collector, allowed: dict[str, str]
) -> None:
    prepared = collector.ingest.prepare(msgspec.json.encode([wire_event("1")]), source_id=1, now_ms=1)
    collector.store.close()
    told: list[Receipt | BaseException | None] = []
    with pytest.raises(StoreUnavailable):
        collector.append([(prepared, lambda receipt, error: told.append(receipt or error))] * 3)
    assert told == []
    answers, _ = ask(
        collector, *[("POST", "/v1/events", {"json": wire_event(str(n)), "headers": allowed}) for n in (1, 2)]
    )
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(503, "unavailable")] * 2
