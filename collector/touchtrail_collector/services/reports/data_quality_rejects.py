"""What was rejected day by day, whether it grows, and how full quarantine is."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import msgspec

from ...store.quality_questions import QuarantineState, RejectDayRow, RejectDays
from .context import ReportContext
from .scope import Frame


class RejectDay(msgspec.Struct, frozen=True, kw_only=True):
    """Rejects of one code on one UTC day."""

    day: date
    code: str
    n: int


class RejectTrend(msgspec.Struct, frozen=True, kw_only=True):
    """Rejects of one code in the period, and in the one before.

    Args:
        before: in as many days just before the period; None = the period has no beginning.
        change: ``n`` - ``before``.
    """

    code: str
    n: int
    before: int | None
    change: int | None


class QuarantineFill(msgspec.Struct, frozen=True, kw_only=True):
    """How full quarantine is.

    Args:
        open: rejects of the shop, and of unknown senders, that wait; the oldest came first at ``oldest_open_ms``.
        entries, bytes: of all shops, replayed and dismissed ones included.
        full: the larger share of the two limits, a fraction of 1.
        dropped: open rejects that had to go in the period because there were too many, or they were too old.
    """

    open: int
    oldest_open_ms: int | None
    entries: int
    max_entries: int
    bytes: int
    max_bytes: int
    max_age_days: int
    full: float
    dropped: int


class Rejects(msgspec.Struct, frozen=True, kw_only=True):
    """What the door and quarantine say of rejects."""

    trends: tuple[RejectTrend, ...]
    days: tuple[RejectDay, ...]
    fill: QuarantineFill


def read_rejects(context: ReportContext, frame: Frame) -> Rejects:
    """Return the rejects of the period by code and day, compared with the period before."""
    first, last = frame.days
    rows = context.query.ask(RejectDays(shop_id=frame.shop_id, first_day=first, last_day=last))
    before = _days_before(frame)
    earlier = None
    if before is not None:
        question = RejectDays(shop_id=frame.shop_id, first_day=str(before[0]), last_day=str(before[1]))
        earlier = _by_code(context.query.ask(question))
    now = _by_code(rows)
    codes = sorted(now | (earlier or Counter()), key=lambda code: (-now[code], code))
    return Rejects(
        trends=tuple(_trend(code, now, earlier) for code in codes),
        days=tuple(RejectDay(day=date.fromisoformat(row.day), code=row.code, n=row.n) for row in rows),
        fill=_read_fill(context, frame),
    )


def _by_code(rows: list[RejectDayRow]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row.code] += row.n
    return sums


def _trend(code: str, now: Counter[str], earlier: Counter[str] | None) -> RejectTrend:
    before = None if earlier is None else earlier[code]
    return RejectTrend(code=code, n=now[code], before=before, change=None if before is None else now[code] - before)


def _days_before(frame: Frame) -> tuple[date, date] | None:
    """Return the days just before the period, as many as it has; one without an end goes as far as is known."""
    start, end = frame.scope.start, frame.scope.end
    if start is None:
        return None
    if end is None:
        known = frame.scope.known_until_ms
        end = max(start, datetime.fromtimestamp(known / 1000, UTC).date()) if known is not None else start
    try:
        return start - (end - start) - timedelta(days=1), start - timedelta(days=1)
    except OverflowError:  # before the first day there is
        return None


def _read_fill(context: ReportContext, frame: Frame) -> QuarantineFill:
    first, last = frame.days
    row = context.query.ask(QuarantineState(shop_id=frame.shop_id, first_day=first, last_day=last))[0]
    limits = context.quarantine
    return QuarantineFill(
        open=row.open,
        oldest_open_ms=row.oldest_open,
        entries=row.entries,
        max_entries=limits.max_entries,
        bytes=row.bytes,
        max_bytes=limits.max_bytes,
        max_age_days=limits.max_age_days,
        full=max(row.entries / limits.max_entries, row.bytes / limits.max_bytes),
        dropped=row.dropped,
    )
