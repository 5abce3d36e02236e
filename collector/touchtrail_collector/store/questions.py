"""The closed set of questions reports ask a store: what each needs to know, and what a row of its answer means.

A question's fields are the parameters of its query, its ``row`` names the answer's columns in order. Times are UTC
milliseconds; a span is ``start_ms <= t < end_ms``. Money is integer minor units. An engine answers all of them or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONTACTS = ("visit", "click", "impression", "encounter", "notice")
"""The kinds of contact that `TouchColumns.contact` indexes."""

RowT = TypeVar("RowT", bound=tuple[Any, ...])


class Question(msgspec.Struct, Generic[RowT], frozen=True, kw_only=True):
    """What all questions share: a name, which an engine finds its query by, and the type of a row."""

    name: ClassVar[str]
    row: ClassVar[type[Any]]


class ShopRow(NamedTuple):
    """One shop; ``currency`` is the one its reports are in when nobody says otherwise."""

    shop_id: int
    name: str
    currency: str


class Shops(Question[ShopRow], frozen=True, kw_only=True):
    """Every shop, in the order they were made."""

    name = "shops"
    row = ShopRow


class LogStateRow(NamedTuple):
    """How far the log goes and how far it has been derived."""

    events: int
    derived_seq: int
    waiting: int
    derived_received: int | None


class LogState(Question[LogStateRow], frozen=True, kw_only=True):
    """One row about the log as a whole. ``events`` is the last place in the log, 0 = nothing ever came.

    ``derived_received`` is when the last derived event was received, None = there is none.
    """

    name = "log_state"
    row = LogStateRow


class DerivedByRow(NamedTuple):
    """The rules as JSON; None = nothing was ever derived."""

    rules: str | None


class DerivedBy(Question[DerivedByRow], frozen=True, kw_only=True):
    """One row: the rules everything was derived with, as the projector wrote them down."""

    name = "derived_by"
    row = DerivedByRow


class ChannelRow(NamedTuple):
    """One channel as derived data knows it."""

    channel_id: int
    name: str
    medium: str
    online: int
    is_direct: int


class Channels(Question[ChannelRow], frozen=True, kw_only=True):
    """Every channel, by id."""

    name = "channels"
    row = ChannelRow


class PersonRow(NamedTuple):
    """One person of a shop; all integers."""

    person_id: int
    first_seen: int
    last_seen: int
    is_bot: int
    identified: int


class Persons(Question[PersonRow], frozen=True, kw_only=True):
    """Every person of a shop, bots included, by id."""

    name = "persons"
    row = PersonRow

    shop_id: int


class SessionRow(NamedTuple):
    """One session; all integers."""

    person_id: int
    started_at: int
    channel_id: int


class Sessions(Question[SessionRow], frozen=True, kw_only=True):
    """The sessions that started in the span, of all shops."""

    name = "sessions"
    row = SessionRow

    start_ms: int
    end_ms: int


class SignalRow(NamedTuple):
    """One experience signal; all integers. ``pain`` and ``gain`` are 0 or 1; channel 0 = none known."""

    at: int
    channel_id: int
    pain: int
    gain: int


class Signals(Question[SignalRow], frozen=True, kw_only=True):
    """The experience signals of people in the span."""

    name = "signals"
    row = SignalRow

    shop_id: int
    start_ms: int
    end_ms: int


class SurveyRow(NamedTuple):
    """How often one answer was given; ``scale`` is the highest that could be."""

    kind: str
    scale: float | None
    score: float
    n: int


class Surveys(Question[SurveyRow], frozen=True, kw_only=True):
    """Answers to nps, csat and ces surveys by people in the span, counted per kind, scale and score."""

    name = "surveys"
    row = SurveyRow

    shop_id: int
    start_ms: int
    end_ms: int


class OrderRow(NamedTuple):
    """One order as the ledger has it now."""

    order_id: str
    person_id: int
    state: str
    placed_at: int
    currency: str
    gross_minor: int
    cancelled_minor: int
    refunded_minor: int
    charged_back_minor: int
    net_minor: int
    reports: int
    conflicts: int


class Orders(Question[OrderRow], frozen=True, kw_only=True):
    """Orders people placed in the span, by time and order id. Orders nobody saw being placed are not among them."""

    name = "orders"
    row = OrderRow

    shop_id: int
    start_ms: int
    end_ms: int


class OrderValueRow(NamedTuple):
    """What an order was worth at two moments."""

    order_id: str
    before_minor: int
    until_minor: int


class OrderValues(Question[OrderValueRow], frozen=True, kw_only=True):
    """What each order with a change before ``until_ms`` was worth at ``before_ms`` and ``until_ms``, both excluded."""

    name = "order_values"
    row = OrderValueRow

    shop_id: int
    before_ms: int
    until_ms: int


class BookedRow(NamedTuple):
    """The sum of order changes."""

    orders: int
    amount_minor: int


class Booked(Question[BookedRow], frozen=True, kw_only=True):
    """One row: the sum of what people's orders in one currency changed by.

    It asks the ledger in another way than `OrderValues`, so that the two can be held against each other.
    An order counts when it was placed within the placed span, a change when it is dated within the other.
    """

    name = "booked"
    row = BookedRow

    shop_id: int
    currency: str
    placed_start_ms: int
    placed_end_ms: int
    start_ms: int
    end_ms: int


class OrderChangeRow(NamedTuple):
    """One change of an order's value."""

    order_id: str
    n: int
    at: int
    kind: str
    amount_minor: int
    reason: str | None
    currency: str
    seq: int


class OrderChanges(Question[OrderChangeRow], frozen=True, kw_only=True):
    """The changes of people's orders dated in the span, by time."""

    name = "order_changes"
    row = OrderChangeRow

    shop_id: int
    start_ms: int
    end_ms: int


class CostRow(NamedTuple):
    """What one channel cost in one currency."""

    channel_id: int
    currency: str
    amount_minor: int
    impressions: int | None
    clicks: int | None


class Costs(Question[CostRow], frozen=True, kw_only=True):
    """Costs per channel and currency; days as `2026-11-22`, both included."""

    name = "costs"
    row = CostRow

    shop_id: int
    first_day: str
    last_day: str


class TouchColumns(NamedTuple):
    """Touchpoints as int64 columns, sorted by person, time and position on the road.

    ``contact`` indexes `CONTACTS`; ``creditable`` is 0 or 1.
    """

    person_ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    seqs: NDArray[np.int64]
    channel_ids: NDArray[np.int64]
    contacts: NDArray[np.int64]
    creditable: NDArray[np.int64]
