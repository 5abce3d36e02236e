"""What the report on data quality asks a store; the rules of `questions` hold here too."""

from __future__ import annotations

from typing import NamedTuple

from .questions import Question


class EventKindRow(NamedTuple):
    """The events of one source and name, and what their clocks say."""

    source_id: int
    name: str
    events: int
    late: int
    skewed: int
    future: int
    last_occurred: int
    last_received: int


class EventKinds(Question[EventKindRow], frozen=True, kw_only=True):
    """Events received in the span, counted per source and name. Limits in milliseconds.

    late: received more than ``late_ms`` after they occurred. skewed: the sender's clock and the collector's
    differ by more than ``skew_ms`` at sending. future: occurred more than ``skew_ms`` after they were received.
    """

    name = "quality_event_kinds"
    row = EventKindRow

    shop_id: int
    start_ms: int
    end_ms: int
    late_ms: int
    skew_ms: int


class SourceRow(NamedTuple):
    """One sender."""

    source_id: int
    name: str


class Sources(Question[SourceRow], frozen=True, kw_only=True):
    """The shop's sources, by id."""

    name = "quality_sources"
    row = SourceRow

    shop_id: int


class CounterRow(NamedTuple):
    """How often something was counted at the door."""

    source_id: int
    name: str
    n: int


class Counters(Question[CounterRow], frozen=True, kw_only=True):
    """Counters of the shop's sources, summed over UTC days, both included."""

    name = "quality_counters"
    row = CounterRow

    shop_id: int
    first_day: str
    last_day: str


class QuarantineRow(NamedTuple):
    """Open rejects of one kind, with the latest as example. ``source_id`` None = the sender is not known."""

    source_id: int | None
    code: str
    n: int
    last_received: int
    field: str | None
    message: str


class Quarantine(Question[QuarantineRow], frozen=True, kw_only=True):
    """Open quarantine of the shop's sources and of unknown ones in the span, most frequent first."""

    name = "quality_quarantine"
    row = QuarantineRow

    shop_id: int
    start_ms: int
    end_ms: int


class RejectDayRow(NamedTuple):
    """Rejects of one code on one UTC day, `2026-11-21`."""

    day: str
    code: str
    n: int


class RejectDays(Question[RejectDayRow], frozen=True, kw_only=True):
    """Rejects of the shop's sources and of unknown ones as counted at the door, both days included."""

    name = "quality_reject_days"
    row = RejectDayRow

    shop_id: int
    first_day: str
    last_day: str


class QuarantineStateRow(NamedTuple):
    """How much quarantine holds, over all shops; what is open, of the shop; and what had to go in the span."""

    entries: int
    bytes: int
    open: int
    oldest_open: int | None
    dropped: int


class QuarantineState(Question[QuarantineStateRow], frozen=True, kw_only=True):
    """One row; the days, both included, are those on which something had to go."""

    name = "quality_quarantine_state"
    row = QuarantineStateRow

    shop_id: int
    first_day: str
    last_day: str


class WholenessRow(NamedTuple):
    """Counts that should be nought, or are needed to say how much that is."""

    persons: int
    bots: int
    bot_events: int
    events_derived: int
    events_of_persons: int
    events_personless: int
    orders: int
    orders_unknown: int
    orders_of_bots: int


class Wholeness(Question[WholenessRow], frozen=True, kw_only=True):
    """One row about a shop's derived data, over all time. The three ``events_`` counts are over all shops.

    ``personless``: names of events that belong to nobody, as a JSON array.
    """

    name = "quality_wholeness"
    row = WholenessRow

    shop_id: int
    personless: str


class LedgerGapRow(NamedTuple):
    """An order whose changes do not sum to its net amount."""

    order_id: str
    net_minor: int
    changes_minor: int


class LedgerGaps(Question[LedgerGapRow], frozen=True, kw_only=True):
    """Orders of the shop whose ledger does not add up; at most ``limit``. There should be none."""

    name = "quality_ledger_gaps"
    row = LedgerGapRow

    shop_id: int
    limit: int


class LossRow(NamedTuple):
    """Events lost before they reached the collector, for one reason: ``high`` * 2**30 + ``low`` of them.

    ``outcome`` None = reports that count nothing. ``reason`` None = ``reasons`` rarer ones together, or no outcome.
    ``sender`` is of the report on the latest loss.
    """

    source_id: int
    outcome: str | None
    reason: str | None
    reasons: int
    reports: int
    high: int
    low: int
    last_lost: int
    sender: str | None


class Losses(Question[LossRow], frozen=True, kw_only=True):
    """What `events_lost` received in the span says, per source and outcome, the reason with most events first.

    ``listed``: reasons of a source and outcome that get a row of their own; texts are cut after 64 characters.
    """

    name = "quality_losses"
    row = LossRow

    shop_id: int
    start_ms: int
    end_ms: int
    listed: int
