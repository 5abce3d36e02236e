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
