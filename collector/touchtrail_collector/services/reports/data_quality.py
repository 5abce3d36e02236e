"""The report `data-quality`: everything that could make another number wrong, with what to do about it."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Annotated, NamedTuple

import msgspec
import numpy as np

from ...domain.loss import LOSS_EVENT
from ...store.quality_questions import Counters, EventKindRow, EventKinds, LedgerGaps, Quarantine, Sources, Wholeness
from ...store.questions import OrderRow
from .context import ReportContext
from .conversion_paths import Selection, Window, WindowParameters, gather_paths, load_orders, placed_in, resolve_window
from .data_quality_losses import LossCount, SourceLosses, losses_action, read_losses
from .data_quality_rejects import QuarantineFill, RejectDay, Rejects, RejectTrend, read_rejects
from .quality_checks import Check, Figures, judge
from .scope import Frame, ReportScope, is_derived_otherwise, open_frame

_REJECTED = "rejected:"
_AT_THE_DOOR = ("sent", "accepted", "duplicates", "rejected", "dropped", "refused")
_LISTED = 20


class DataQualityParameters(WindowParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be asked. The period is the time of receiving for events, of placing for orders.

    Args:
        late_hours: an event received more than this after it occurred is late.
        skew_s: clocks that differ by more than this are wrong.
    """

    late_hours: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 24
    skew_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 5


class RejectCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often events were rejected for one reason."""

    code: str
    n: int


class SourceQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One sender. ``accepted``, ``duplicates``, ``rejected`` as counted at the door, the rest from the log.

    Its own reports of losses are in ``dropped`` and ``refused`` as what they say, and count as events nowhere.

    Args:
        sent: ``accepted`` + ``duplicates`` + ``rejected`` + ``dropped`` + ``refused``.
        dropped, refused: events it took and lost, and events it never took, as it says.
        last_occurred_ms, last_received_ms: None = nothing in the period.
    """

    source: str
    sent: int
    accepted: int
    duplicates: int
    rejected: int
    rejected_by_code: tuple[RejectCount, ...]
    dropped: int
    refused: int
    events: int
    custom: int
    late: int
    skewed: int
    future: int
    last_occurred_ms: int | None
    last_received_ms: int | None


class QuarantineCount(msgspec.Struct, frozen=True, kw_only=True):
    """Open rejects of one source and reason, with the latest as example; ``source`` None = the sender is not known."""

    source: str | None
    code: str
    n: int
    last_received_ms: int
    field: str | None
    message: str


class CustomEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event name the vocabulary lacks."""

    source: str
    name: str
    n: int


class OrderConflict(msgspec.Struct, frozen=True, kw_only=True):
    """An order of which senders reported different amounts; ``gross_minor`` is the amount taken."""

    order_id: str
    currency: str
    gross_minor: int
    reports: int
    conflicts: int


class LedgerGap(msgspec.Struct, frozen=True, kw_only=True):
    """An order whose changes do not sum to its net amount."""

    order_id: str
    net_minor: int
    changes_minor: int


class DataQualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """Checks first, then what they rest on.

    Args:
        losses: the reason with most events first; per source and outcome at most twenty reasons and a row for the rest.
        rejects: by code, most first, against the period before; ``reject_days`` the same day by day.
        conflicts, ledger_gaps: at most twenty of each.
    """

    scope: ReportScope
    window: Window
    late_hours: int
    skew_s: int
    figures: Figures
    checks: tuple[Check, ...]
    sources: tuple[SourceQuality, ...]
    losses: tuple[LossCount, ...]
    rejects: tuple[RejectTrend, ...]
    reject_days: tuple[RejectDay, ...]
    quarantine: tuple[QuarantineCount, ...]
    quarantine_fill: QuarantineFill
    custom_events: tuple[CustomEvent, ...]
    conflicts: tuple[OrderConflict, ...]
    ledger_gaps: tuple[LedgerGap, ...]


class _Log(msgspec.Struct, frozen=True, kw_only=True):
    """What the log and the door say of the period."""

    sources: tuple[SourceQuality, ...]
    losses: tuple[LossCount, ...]
    quarantine: tuple[QuarantineCount, ...]
    rejects: Rejects
    custom: tuple[CustomEvent, ...]


class _Door(NamedTuple):
    """What was counted of one source before its events were in the log."""

    source: str
    counts: dict[str, int]
    losses: SourceLosses


class _Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What the order ledger says of the period."""

    orders: list[OrderRow]
    own: int
    conflicting: list[OrderRow]
    without_touch: int
    gaps: tuple[LedgerGap, ...]


def data_quality(context: ReportContext, parameters: DataQualityParameters) -> DataQualityReport:
    """Count everything that could make another number wrong."""
    frame = open_frame(context, parameters)
    window = resolve_window(parameters, context.attribution)
    log = _read_log(context, frame, parameters)
    ledger = _read_ledger(context, frame, window)
    figures = _figures(context, frame, log, ledger)
    return DataQualityReport(
        scope=frame.scope,
        window=window,
        late_hours=parameters.late_hours,
        skew_s=parameters.skew_s,
        figures=figures,
        checks=judge(figures, {"lost": losses_action(log.losses)}),
        sources=log.sources,
        losses=log.losses,
        rejects=log.rejects.trends,
        reject_days=log.rejects.days,
        quarantine=log.quarantine,
        quarantine_fill=log.rejects.fill,
        custom_events=log.custom,
        conflicts=tuple(_conflict(order) for order in ledger.conflicting[::-1][:_LISTED]),
        ledger_gaps=ledger.gaps,
    )


def _figures(context: ReportContext, frame: Frame, log: _Log, ledger: _Ledger) -> Figures:
    personless = [name for name, kind in context.event_types.items() if kind.spec.is_personless]
    question = Wholeness(shop_id=frame.shop_id, personless=msgspec.json.encode(personless).decode())
    whole = context.query.ask(question)[0]
    sums = {
        name: sum(getattr(source, name) for source in log.sources)
        for name in ("events", *_AT_THE_DOOR, "custom", "late", "skewed", "future")
    }
    return Figures(
        lost=sums["dropped"] + sums["refused"],
        quarantined=sum(row.n for row in log.quarantine),
        pushed_out=log.rejects.fill.dropped,
        waiting=frame.scope.waiting_events,
        personless=max(0, whole.events_derived - whole.events_of_persons - whole.events_personless),
        persons=whole.persons,
        bots=whole.bots,
        bot_events=whole.bot_events,
        orders=len(ledger.orders),
        orders_own_currency=ledger.own,
        unknown_orders=whole.orders_unknown,
        bot_orders=whole.orders_of_bots,
        conflicting_orders=len(ledger.conflicting),
        orders_without_touch=ledger.without_touch,
        ledger_gaps=len(ledger.gaps),
        other_rules=int(is_derived_otherwise(context)),
        **sums,
    )


def _read_log(context: ReportContext, frame: Frame, parameters: DataQualityParameters) -> _Log:
    query = context.query
    span = {"shop_id": frame.shop_id, "start_ms": frame.start_ms, "end_ms": frame.end_ms}
    limits = {"late_ms": parameters.late_hours * 3_600_000, "skew_ms": parameters.skew_s * 1000}
    kinds = [row for row in query.ask(EventKinds(**span, **limits)) if row.name != LOSS_EVENT]
    names = {row.source_id: row.name for row in query.ask(Sources(shop_id=frame.shop_id))}
    losses = read_losses(context, frame, names)
    counters = query.ask(Counters(shop_id=frame.shop_id, first_day=frame.days[0], last_day=frame.days[1]))
    counts: dict[int, dict[str, int]] = {source_id: {} for source_id in names}
    for row in counters:
        counts[row.source_id][row.name] = row.n
    custom = [row for row in kinds if row.name not in context.event_types]
    custom.sort(key=lambda row: (-row.events, row.name, row.source_id))
    return _Log(
        sources=tuple(
            _source(
                _Door(name, counts[source_id], losses.by_source[source_id]),
                [row for row in kinds if row.source_id == source_id],
                context.event_types,
            )
            for source_id, name in names.items()
        ),
        losses=losses.counts,
        quarantine=tuple(
            QuarantineCount(
                source=names.get(row.source_id or 0),
                code=row.code,
                n=row.n,
                last_received_ms=row.last_received,
                field=row.field,
                message=row.message,
            )
            for row in query.ask(Quarantine(**span))
        ),
        rejects=read_rejects(context, frame),
        custom=tuple(CustomEvent(source=names[row.source_id], name=row.name, n=row.events) for row in custom),
    )


def _source(door: _Door, kinds: Iterable[EventKindRow], known: Container[str]) -> SourceQuality:
    rows = list(kinds)
    counts, losses = door.counts, door.losses
    rejected = {key.removeprefix(_REJECTED): n for key, n in counts.items() if key.startswith(_REJECTED)}
    # The door counts a report of losses as an event it took.
    accepted = max(counts.get("accepted", 0) - losses.reports, 0)
    duplicates = counts.get("duplicate", 0)
    return SourceQuality(
        source=door.source,
        sent=accepted + duplicates + sum(rejected.values()) + losses.dropped + losses.refused,
        accepted=accepted,
        duplicates=duplicates,
        rejected=sum(rejected.values()),
        dropped=losses.dropped,
        refused=losses.refused,
        rejected_by_code=tuple(RejectCount(code=code, n=n) for code, n in sorted(rejected.items())),
        events=sum(row.events for row in rows),
        custom=sum(row.events for row in rows if row.name not in known),
        late=sum(row.late for row in rows),
        skewed=sum(row.skewed for row in rows),
        future=sum(row.future for row in rows),
        last_occurred_ms=max((row.last_occurred for row in rows), default=None),
        last_received_ms=max((row.last_received for row in rows), default=None),
    )


def _read_ledger(context: ReportContext, frame: Frame, window: Window) -> _Ledger:
    everything = load_orders(context.query, frame)
    own = placed_in(everything, frame)
    values = np.zeros(len(everything), np.int64)
    selection = Selection(orders=everything, reported=own, values=values)
    found = gather_paths(context.query, frame, window, selection)
    inside = [order for order in everything if frame.start_ms <= order.placed_at < frame.end_ms]
    gaps = context.query.ask(LedgerGaps(shop_id=frame.shop_id, limit=_LISTED))
    return _Ledger(
        orders=inside,
        own=int(own.sum()),
        conflicting=[order for order in inside if order.conflicts],
        without_touch=int((np.diff(found.path_set.paths.offsets) == 0).sum()),
        gaps=tuple(
            LedgerGap(order_id=row.order_id, net_minor=row.net_minor, changes_minor=row.changes_minor) for row in gaps
        ),
    )


def _conflict(order: OrderRow) -> OrderConflict:
    return OrderConflict(
        order_id=order.order_id,
        currency=order.currency,
        gross_minor=order.gross_minor,
        reports=order.reports,
        conflicts=order.conflicts,
    )
