"""Rejected events: looked at, repaired, and put through the same checks again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..domain.event import EventRejected
from ..errors import UsageError
from ..store.engine import EventRow
from ..store.sqlite import rejects
from ..store.sqlite.rejects import Reject
from ..store.sqlite.store import now_ms
from .collector import Collector


class StillRejected(msgspec.Struct, frozen=True):
    """A reject that did not pass this time either."""

    id: int
    code: str
    field: str | None
    message: str


class ReplayResult(msgspec.Struct):
    """What became of the rejects that were tried again."""

    stored: int = 0
    duplicates: int = 0
    rejected: list[StillRejected] = []


def replay(
    collector: Collector, *, ids: Sequence[int], code: str | None = None, body: str | None = None
) -> ReplayResult:
    """Check rejects again and store those that pass, each together with its mark, so that none is stored twice.

    Args:
        ids: which ones; empty = all open ones.
        code: only those with this code.
        body: a repaired event in the place of the one reject named.

    Raises: UsageError.
    """
    if body is not None and len(ids) != 1:
        raise UsageError("a repaired body stands for one reject; name its number")
    with collector.store.reading() as reader:
        found = rejects.find(reader, ids=ids, code=code, state=None if ids else "open")
    missing = sorted(set(ids) - {reject.id for reject in found})
    if missing:
        raise UsageError(f"there is no reject {missing[0]}; `touchtrail quarantine list` shows them")
    result = ReplayResult()
    for reject in found:
        replay_one(collector, reject, body.encode() if body is not None else reject.body, result)
    collector.projector.wake()
    return result


def replay_one(collector: Collector, reject: Reject, body: bytes, result: ReplayResult) -> None:
    """Check one reject again; an event without a time of its own happened when it was received."""
    if reject.source_id is None:
        result.rejected.append(StillRejected(reject.id, "no_source", None, "its sender is not known"))
        return
    try:
        checked = collector.checker.check(body, now_ms=reject.received_at)
    except EventRejected as error:
        result.rejected.append(StillRejected(reject.id, error.code, error.field, error.message))
        return
    event_id, name, occurred_at, anonymous_id, customer_id, text = checked
    row = EventRow(reject.source_id, event_id, name, occurred_at, None, now_ms(), anonymous_id, customer_id, text)
    receipt = collector.store.write(lambda connection: rejects.store_replayed(connection, reject.id, row))
    result.stored += receipt.stored
    result.duplicates += receipt.duplicates
