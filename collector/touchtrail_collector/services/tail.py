"""The ends of the roads that were touched last, and those read back for people who return."""

from __future__ import annotations

from collections import OrderedDict

from ..domain.journey import JourneyRules, RoadBuilder
from ..domain.tail import Tail
from ..store.sqlite.derived import PersonRow

KEPT_BYTES = 60_000_000
"""Twenty thousand tails of usual events. It is an estimate on the safe side: these have a third of that."""

TAIL_BYTES = 700


def tail_of_row(row: PersonRow, rules: JourneyRules) -> Tail:
    """Return the end of the road of somebody who was away for so long that their sessions and clicks have ended."""
    return Tail(
        person_id=row.person_id,
        last_seen=row.last_seen,
        stage=row.stage,
        events=row.events,
        sessions=row.sessions,
        touchpoints=row.touchpoints,
        is_bot=bool(row.is_bot),
        builder=RoadBuilder(rules, stage=row.last_stage, knows_devices=False),
    )


class TailCache:
    """The tails of the clusters that were touched last.

    Args:
        limit_bytes: of all of them, as `put` is told.
    """

    def __init__(self, limit_bytes: int = KEPT_BYTES) -> None:
        self._tails: OrderedDict[int, tuple[Tail, int]] = OrderedDict()
        self._limit_bytes = limit_bytes
        self.bytes = 0

    def get(self, cluster_id: int) -> Tail | None:
        """Return a cluster's tail."""
        kept = self._tails.get(cluster_id)
        return None if kept is None else kept[0]

    def put(self, cluster_id: int, tail: Tail | None, event_bytes: int = 0) -> None:
        """Remember a tail, or that there is none; the longest unused go.

        Args:
            event_bytes: of the largest event that it was made of, of which it may hold on to a part.
        """
        before = self._tails.pop(cluster_id, None)
        if before is not None:
            self.bytes -= before[1]
            event_bytes = max(event_bytes, before[1] - TAIL_BYTES)
        if tail is not None:
            self._tails[cluster_id] = tail, TAIL_BYTES + event_bytes
            self.bytes += TAIL_BYTES + event_bytes
            while self.bytes > self._limit_bytes:
                _, (_, gone) = self._tails.popitem(last=False)
                self.bytes -= gone

    def clear(self) -> None:
        """Forget everything."""
        self._tails.clear()
        self.bytes = 0
