"""Events lost before they reached the collector, as their senders counted them, with what to do for each reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

import msgspec

from ...store.quality_questions import Losses, LossRow
from .context import ReportContext
from .period import period_ms
from .scope import Frame

LOSS_EVENT = "events_lost"
"""How senders tell of losses: an event about events, of no person and no shop's doing."""

LISTED = 20
_HALF_BITS = 30
_CLEAN_SPOOL = "give the client a folder it can write to (`spool_dir`), where events outlive the process"

DROPPED = {
    "too_old": "The collector could not be reached, or refused the key, for longer than `max_spool_age_s`: see what "
    "`health().last_error` of the sender says.",
    "spool_full": "The collector was out of reach for too long, or `max_spool_bytes` is too small for what is tracked "
    "meanwhile: see the sender's log, then raise the limit.",
    "memory_full": f"Events had to wait in memory and it was full: {_CLEAN_SPOOL}, or raise `max_memory_bytes`.",
    "too_large": "The collector takes no request as large as that one event: leave out what nobody needs, or raise "
    "`body_limit_bytes` in its [server]; a proxy before it may have a limit too.",
    "damaged": "Bytes in the spool were damaged: check the disk of that machine, and that nobody edits the spool.",
    "closed": f"The client was closed while events waited in memory: {_CLEAN_SPOOL}, or raise `close_timeout_s`.",
}
"""What to do when events were taken by `track()` and then lost, by the SDK's reason (sdk/README.md, Counts)."""

REFUSED = {
    "no_person": "Give `anonymous_id`, `customer_id` or `identifiers`, or set a context before tracking.",
    "no_visitor": "Nothing is wrong: the visitor may not be known, before consent for example.",
    "bad_name": "Use a struct of `touchtrail.events` or a name of letters, digits and underscores.",
    "bad_properties": "Give `properties` as a mapping, and only with an event's name.",
    "bad_amount": "Give amounts as finite numbers or decimal texts such as 129.90.",
    "not_finite": "NaN and Infinity have no JSON form: leave the value out.",
    "not_serialisable": "Give plain values: texts, numbers, booleans, lists and mappings, not too deeply nested.",
    "too_large": "Leave out what nobody needs, or raise `max_event_bytes` here and `event_limit_bytes` there.",
    "bad_id": "Give ids as texts of at most 200 characters.",
    "bad_time": "Give `occurred_at` as a datetime with a time zone.",
    "naive_time": "Give `occurred_at` a time zone: `datetime.now(UTC)`.",
    "invalid": "The collector would reject it: run the shop's tests with `touchtrail.testing` to see the field.",
    "spool_full": DROPPED["spool_full"],
    "memory_full": DROPPED["memory_full"],
    "closed": "`track()` was called after `close()`: close the client later.",
    "disabled": "The client was told to take no events (`disabled`); if that is not meant, unset it.",
    "unexpected": "A value or a clock raised while it was looked at: run the shop's tests with `strict=True`.",
}
"""What to do when `track()` did not take events."""

_OF_THE_SENDER = "A reason of the sender's own: see what its documentation says of it."
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
    return (REFUSED if outcome == "refused" else DROPPED).get(reason, _OF_THE_SENDER)


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
