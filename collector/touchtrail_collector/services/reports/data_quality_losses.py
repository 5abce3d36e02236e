"""Events lost before they reached the collector, as their senders counted them, with what to do for each reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

import msgspec

from ...domain.loss import loss_advice
from ...store.quality_questions import Losses, LossRow
from .context import ReportContext
from .period import period_ms
from .scope import Frame

LISTED = 20
_HALF_BITS = 30
_TOGETHER = "Rarer reasons together: the log has each, `SELECT body FROM events WHERE name = 'events_lost'`."


class LossCount(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one source lost for one reason.

    Args:
        outcome: `dropped`: taken and lost later; `refused`: never taken.
        reason: None = ``reasons`` rarer ones of the source together.
        reports: how many times the sender told of them.
        last_lost_ms: when the last were lost, as the sender says, at most when it told.
        sender: what sent the latest report, `touchtrail-python/0.1.0`; None = it did not say.
        action: what to do about it.
    """

    source: str
    outcome: str
    reason: str | None
    reasons: int
    events: int
    reports: int
    last_lost_ms: int
    sender: str | None
    action: str


class SourceLosses(msgspec.Struct, frozen=True, kw_only=True):
    """One source's losses; ``reports`` counts all `events_lost` it sent, also those that count nothing."""

    dropped: int = 0
    refused: int = 0
    reports: int = 0


class LossRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Losses of a period: the reasons, most events first, and the sums per source id."""

    counts: tuple[LossCount, ...]
    by_source: Mapping[int, SourceLosses]


def read_losses(context: ReportContext, frame: Frame, names: Mapping[int, str]) -> LossRecord:
    """Return what senders lost, told on the UTC days of the period: the days the counters at the door are kept by.

    Args:
        names: the shop's sources by id.
    """
    start_ms, end_ms = period_ms(frame.scope.start, frame.scope.end, ZoneInfo("UTC"))
    rows = context.query.ask(Losses(shop_id=frame.shop_id, start_ms=start_ms, end_ms=end_ms, listed=LISTED))
    counts = [_count(row, names[row.source_id]) for row in rows if row.outcome is not None]
    counts = [count for count in counts if count.events]
    counts.sort(key=lambda count: (-count.events, count.source, count.outcome, count.reason or ""))
    own = {source_id: [row for row in rows if row.source_id == source_id] for source_id in names}
    return LossRecord(counts=tuple(counts), by_source={key: _sum(found) for key, found in own.items()})


def losses_action(counts: Sequence[LossCount]) -> str | None:
    """Return what to do first: about the reason most events were lost for; None where none were."""
    if not counts:
        return None
    first = next((count for count in counts if count.reason is not None), counts[0])
    return f"Most for `{first.reason}`: {first.action} `losses` says it for every reason."


def action_for(outcome: str, reason: str | None) -> str:
    """Return what to do about events lost for a reason."""
    if reason is None:
        return _TOGETHER
    return loss_advice(outcome, reason)


def _events(row: LossRow) -> int:
    return (row.high << _HALF_BITS) + row.low


def _sum(rows: Sequence[LossRow]) -> SourceLosses:
    return SourceLosses(
        dropped=sum(_events(row) for row in rows if row.outcome == "dropped"),
        refused=sum(_events(row) for row in rows if row.outcome == "refused"),
        reports=sum(row.reports for row in rows),
    )


def _count(row: LossRow, source: str) -> LossCount:
    assert row.outcome is not None
    return LossCount(
        source=source,
        outcome=row.outcome,
        reason=None if row.reason is None else _legible(row.reason),
        reasons=row.reasons,
        events=_events(row),
        reports=row.reports,
        last_lost_ms=row.last_lost,
        sender=None if row.sender is None else _legible(row.sender),
        action=action_for(row.outcome, row.reason),
    )


def _legible(text: str) -> str:
    """Return a sender's text without what would steer a terminal."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
