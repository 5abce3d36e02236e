"""How long the derivation waits for requests to be through."""

from __future__ import annotations

import pytest

from touchtrail_collector.services.derive import patience_s


@pytest.mark.parametrize(
    ("events_s", "load", "waits_s"),
    [(0, 0.0, 0.0), (900, 1.5, 0.0), (5_000, 0.3, 0.5), (5_000, 0.9, 5.0), (1_100, 1.1, 5.0), (40_000, 0.3, 5.0)],
    ids=["quiet", "busy with something else", "steady", "all single events", "a slow machine", "an old spool"],
)
def test_requests_go_first_while_they_are_many_or_take_all_there_is(
    events_s: float, load: float, waits_s: float
) -> None:
    assert patience_s(events_s, load) == waits_s
