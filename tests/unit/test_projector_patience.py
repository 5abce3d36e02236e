"""How long the derivation waits for requests to be through."""

from __future__ import annotations

import pytest

from touchtrail_collector.services.derive import patience_s


@pytest.mark.parametrize(
    ("events_s", "waits_s"),
    [(0, 0.0), (900, 0.0), (1_100, 0.5), (5_000, 0.5), (14_000, 0.5), (40_000, 5.0)],
    ids=["quiet", "a few", "single events on a slow machine", "steady", "all a machine can take", "an old spool"],
)
def test_requests_go_first_while_they_are_many_but_at_a_steady_rate_not_for_a_second(
    events_s: float, waits_s: float
) -> None:
    assert patience_s(events_s) == waits_s
    assert waits_s < 1 or events_s > 5_000
