"""The writer tells `/metrics` what could not be written, and what senders say they lost; a large batch gives way."""

from __future__ import annotations

import msgspec
import pytest

from shop_events import wire_event
from touchtrail_collector.errors import StoreUnavailable
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.store.engine import EventRow
from touchtrail_collector.store.sqlite.figures import read_figures


def loss(event_id: str, events: int) -> EventRow:
    body = f'{{"properties":{{"outcome":"dropped","reason":"spool_full","events":{events}}}}}'
    return EventRow(1, event_id, "events_lost", 1, None, 1, None, None, body)


def test_losses_are_counted_once_with_the_event_that_tells_of_them(collector: Collector) -> None:
    collector.store.ensure_source("web")
    collector.store.append([loss("1", 5), loss("1", 5), loss("2", 7)]).result()
    collector.store.append([loss("2", 7)]).result()
    assert read_figures(collector.store.path).counters["lost:dropped:spool_full"] == 12


def test_a_request_that_cannot_be_written_is_counted_by_its_reason(collector: Collector) -> None:
    path = collector.store.path
    hidden = path.with_name("hidden")
    path.rename(hidden)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            collector.store.append([loss("1", 5)]).result()
    hidden.rename(path)
    assert collector.commits.failures() == {"file_moved": 3}
    with pytest.raises(Exception, match="0 valid keys"):
        collector.store.revoke_key("nobody's")
    assert collector.commits.failures() == {"file_moved": 3}


def test_a_large_batch_is_checked_in_slices_and_comes_to_the_same(collector: Collector) -> None:
    body = msgspec.json.encode([wire_event(str(n), **({"colour": "x" * 500} if n % 2 else {})) for n in range(2_500)])
    checking = collector.ingest.check(body, source_id=1, now_ms=5)
    slices = 1
    while True:
        try:
            next(checking)
        except StopIteration as ended:
            prepared = ended.value
            break
        slices += 1
    print(f"{slices} slices")
    assert slices >= 2
    whole = collector.ingest.prepare(body, source_id=1, now_ms=5)
    assert (prepared.events, prepared.reject_rows, prepared.rejected) == (
        whole.events,
        whole.reject_rows,
        whole.rejected,
    )
    assert (len(prepared.events), len(prepared.rejected)) == (1_250, 1_250)
