"""The ends of the roads that were touched last, and those read back for people who return."""

from __future__ import annotations

from collections import OrderedDict

from ..domain.journey import JourneyRules, RoadBuilder
from ..domain.tail import Tail
from ..store.sqlite.derived import PersonRow

KEPT_TAILS = 20_000


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
    """The tails of the clusters that were touched last."""

    def __init__(self, limit: int = KEPT_TAILS) -> None:
        self._tails: OrderedDict[int, Tail] = OrderedDict()
        self._limit = limit

    def get(self, cluster_id: int) -> Tail | None:
        """Return a cluster's tail."""
        return self._tails.get(cluster_id)

    def put(self, cluster_id: int, tail: Tail | None) -> None:
        """Remember a tail, or that there is none; the longest unused goes."""
        self._tails.pop(cluster_id, None)
        if tail is not None:
            self._tails[cluster_id] = tail
            if len(self._tails) > self._limit:
                self._tails.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._tails.clear()
