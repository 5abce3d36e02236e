"""What the projector remembers is bounded by bytes, whatever events look like, and forgetting changes no result."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from derived_tables import dump, store
from shop_events import wire_event
from touchtrail_collector.domain.fact import Fact, read_fact
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services import bulk
from touchtrail_collector.services.cluster import CACHED_BYTES, FactCache, weigh
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.tail import KEPT_BYTES, TAIL_BYTES, TailCache
from touchtrail_collector.settings import Settings, StoreSettings
from touchtrail_collector.store.sqlite import log

EVENTS = 300

SHAPES: dict[str, Any] = {
    "nothing": {},
    "one long text": {"text": "y" * 1_700},
    "many short texts": {f"k{place}": f"v{place:04d}-" + "x" * 8 for place in range(60)},
    "empty lists": {"a": [[] for _ in range(600)]},
    "empty objects": {"a": [{} for _ in range(600)]},
    "objects in objects": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {}}}}}}}},
    "numbers": {"a": [1000.5 + place for place in range(300)]},
}


def body_of(number: int, shape: Any) -> str:
    wire = {"anonymous_id": f"a{number}", "page": {"url": f"https://s.example/{number}"}, "properties": shape}
    return msgspec.json.encode(wire).decode()


def facts_of(bodies: list[str]) -> list[Fact]:
    return [
        read_fact(seq, 1, 1, f"e{seq}", "page_viewed", 1, None, 1, body) for seq, body in enumerate(bodies, start=1)
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_an_event_weighs_about_what_it_takes(shape: str) -> None:
    bodies = [body_of(number, SHAPES[shape]) for number in range(EVENTS)]
    tracemalloc.start()
    facts = facts_of(bodies)
    (taken, _) = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(facts) == EVENTS
    assert taken / 1.5 < sum(map(weigh, bodies)) < 6 * taken, (taken, sum(map(weigh, bodies)))


def test_the_cache_of_events_lets_the_longest_unused_go_when_they_weigh_too_much() -> None:
    cache = FactCache(limit_bytes=1_000)
    facts = facts_of([body_of(number, {}) for number in range(4)])
    for place, fact in enumerate(facts[:3]):
        cache.put(place, [fact], 400)
    assert (cache.pop(0), cache.bytes) == (None, 800)
    cache.extend(1, facts[3:], 100)
    cache.put(4, facts[:1], 300)  # the third one has been unused for longest now
    assert cache.pop(2) is None
    assert cache.pop(1) == ([facts[1], facts[3]], 500)
    assert cache.bytes == 300
    cache.put(5, facts, 5_000)
    assert (cache.pop(5), cache.bytes) == (None, 0)


def test_the_cache_of_tails_counts_the_largest_event_of_each() -> None:
    cache = TailCache(limit_bytes=3 * TAIL_BYTES + 1_000)
    tail: Any = object()  # it only keeps them
    for cluster_id in (1, 2, 3):
        cache.put(cluster_id, tail, 300)
    assert cache.bytes == 3 * TAIL_BYTES + 900
    cache.put(1, tail, 200)
    assert cache.bytes == 3 * TAIL_BYTES + 900
    cache.put(1, tail, 600)
    assert [cache.get(cluster_id) for cluster_id in (1, 2, 3)] == [tail, None, tail]
    cache.put(1, None)
    cache.put(3, None)
    assert cache.bytes == 0


@pytest.fixture
def collector(tmp_path: Path, default_host: PluginHost) -> Iterator[Collector]:
    settings = Settings(store=StoreSettings(db=tmp_path / "shop.db"))
    opened = Collector(settings, default_host, starts_projector=False)
    yield opened
    opened.close()


def large_events(people: int, each: int) -> Iterator[dict[str, Any]]:
    for number in range(people * each):
        person = number % people
        event = wire_event(
            f"e{number}", anonymous_id=f"a{person}", occurred_at=f"2026-11-20T10:{number // people:02d}:00.000Z"
        )
        if number // people == each - 1:
            event["customer_id"] = f"c{person // 2}"  # two devices turn out to be one person
        yield event | {"properties": {"extra": {f"k{place}": f"{number}-{place}" for place in range(60)}}}


def test_forgetting_for_lack_of_room_changes_nothing(collector: Collector) -> None:
    collector.projector._cache = FactCache(limit_bytes=20_000)
    collector.projector._tails = TailCache(limit_bytes=20_000)
    events = list(large_events(40, 5))
    reached = []
    for start in range(0, len(events), 20):
        store(collector, events[start : start + 20])
        collector.projector.catch_up() if start == 0 else step(collector)
        reached.append((collector.projector._cache.bytes, collector.projector._tails.bytes))
    most_facts, most_tails = (max(column) for column in zip(*reached, strict=True))
    assert 10_000 < most_facts <= 20_000, reached
    assert 10_000 < most_tails <= 20_000, reached
    by_steps = dump(collector)
    collector.projector.rebuild()
    assert dump(collector) == by_steps


def step(collector: Collector) -> None:
    with collector.store.reading() as reader:
        while collector.projector.step(reader):
            pass


def test_a_log_of_large_events_is_read_in_small_pieces(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SCAN_BYTES", 20_000)
    monkeypatch.setattr(log, "FETCHED", 5)
    monkeypatch.setattr(bulk, "BATCH_BYTES", 20_000)
    store(collector, list(large_events(40, 5)))
    with collector.store.reading() as reader:
        after, pieces = 0, []
        while events := log.scan(reader, after, 1_000):
            pieces.append(sum(len(event.body) for event in events))
            after = events[-1].seq
    assert after == 200
    assert len(pieces) >= 8
    assert max(pieces) < 2 * 20_000
    collector.projector._bulk_events = 1
    assert collector.projector.rebuild() == 200
    in_bulk = dump(collector)
    collector.projector._bulk_events = 10**9
    collector.projector.rebuild()
    assert dump(collector) == in_bulk


def test_what_is_remembered_stays_far_below_what_a_collector_may_take() -> None:
    assert CACHED_BYTES + KEPT_BYTES <= 100_000_000
