"""What senders say they lost becomes counters by outcome and reason, whatever else the log holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from touchtrail_collector.domain.loss import LOSS_EVENT
from touchtrail_collector.store.engine import EventRow
from touchtrail_collector.store.sqlite.losses import MOST_LOST, find_losses


def row(name: str, **properties: Any) -> EventRow:
    return EventRow(3, "e", name, 1, None, 2, None, None, json.dumps({"name": name, "properties": properties}))


def test_reports_of_losses_are_found_among_other_events() -> None:
    rows = [
        row("page_viewed", outcome="dropped", reason="spool_full", events=5),
        row(LOSS_EVENT, outcome="dropped", reason="spool_full", events=5),
        row(LOSS_EVENT, outcome="refused", reason="no_person", events=2, sender="x/1"),
        row(LOSS_EVENT, outcome="refused", reason="no_person", events=0),
    ]
    assert list(find_losses(rows)) == [(rows[1], "lost:dropped:spool_full", 5), (rows[2], "lost:refused:no_person", 2)]


@pytest.mark.parametrize(
    "properties",
    [
        {}, {"outcome": "kept", "reason": "x", "events": 1}, {"outcome": "dropped", "reason": 1, "events": 1},
        {"outcome": "dropped", "reason": "x", "events": -1}, {"outcome": "dropped", "reason": "x", "events": 1.5},
    ],
    ids=str,
)  # fmt: skip
def test_what_only_has_the_name_counts_nothing(properties: dict[str, Any]) -> None:
    assert list(find_losses([row(LOSS_EVENT, **properties)])) == []
    assert list(find_losses([row(LOSS_EVENT)._replace(body="no JSON")])) == []


def test_made_up_numbers_stay_small_and_reasons_of_a_senders_own_count_as_one() -> None:
    ((_, name, events),) = find_losses([row(LOSS_EVENT, outcome="dropped", reason="x" * 500, events=2**53 - 1)])
    assert name == "lost:dropped:other"
    assert events == MOST_LOST
    assert 2_500 * MOST_LOST < 2**63
