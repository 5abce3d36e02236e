"""What the report about one person's road asks a store; the rules of `questions` hold here too."""

from __future__ import annotations

from typing import NamedTuple

from .questions import OrderChangeRow, Question


class CandidateRow(NamedTuple):
    """A person some text may mean, and by which of their identifiers."""

    person_id: int
    kind: str
    value: str
    customer_id: str | None


class Candidates(Question[CandidateRow], frozen=True, kw_only=True):
    """The people whom ``value`` names as an identifier of any kind or as an order number, by id and kind."""

    name = "journey_candidates"
    row = CandidateRow

    shop_id: int
    value: str


class ProfileRow(NamedTuple):
    """One person as derived data has them."""

    person_id: int
    customer_id: str | None
    first_seen: int
    last_seen: int
    stage: str | None
    events: int
    sessions: int
    orders: int
    is_bot: int


class Profile(Question[ProfileRow], frozen=True, kw_only=True):
    """One row, or none when the shop has no such person."""

    name = "journey_profile"
    row = ProfileRow

    shop_id: int
    person_id: int


class LinkRow(NamedTuple):
    """Why an identifier belongs to the person."""

    kind: str
    value: str
    reason: str
    linked_at: int
    seq: int


class Links(Question[LinkRow], frozen=True, kw_only=True):
    """The person's identifiers in the order they were linked."""

    name = "journey_links"
    row = LinkRow

    person_id: int


class StepRow(NamedTuple):
    """One touchpoint on the person's road, with what the event itself says it was about."""

    seq: int
    position: int
    at: int
    name: str
    stage: str | None
    moment: str | None
    contact: str
    creditable: int
    channel: str
    session_id: int | None
    campaign: str | None
    about: str | None
    source: str | None


class Steps(Question[StepRow], frozen=True, kw_only=True):
    """The person's touchpoints in order."""

    name = "journey_steps"
    row = StepRow

    person_id: int


class FeelingRow(NamedTuple):
    """One experience signal of the person."""

    seq: int
    at: int
    kind: str
    polarity: str
    score: float | None
    scale: float | None
    stage: str | None
    subject: str | None


class Feelings(Question[FeelingRow], frozen=True, kw_only=True):
    """The person's experience signals in order."""

    name = "journey_feelings"
    row = FeelingRow

    person_id: int


class PersonOrderRow(NamedTuple):
    """One order of the person; ``placed_at`` None = only later events have come; ``coupon_codes`` a JSON array."""

    order_id: str
    state: str
    placed_at: int | None
    paid_at: int | None
    shipped_at: int | None
    delivered_at: int | None
    closed_at: int | None
    currency: str
    gross_minor: int
    cancelled_minor: int
    refunded_minor: int
    charged_back_minor: int
    net_minor: int
    coupon_codes: str | None


class PersonOrders(Question[PersonOrderRow], frozen=True, kw_only=True):
    """The person's orders by time."""

    name = "journey_orders"
    row = PersonOrderRow

    person_id: int


class PersonOrderChanges(Question[OrderChangeRow], frozen=True, kw_only=True):
    """Every change of the person's orders, by order and number."""

    name = "journey_order_changes"
    row = OrderChangeRow

    person_id: int


class RoadRow(NamedTuple):
    """One person worth looking at."""

    person_id: int
    customer_id: str | None
    stages: int
    stage: str | None
    orders: int
    touchpoints: int
    sessions: int
    first_seen: int
    last_seen: int


class Roads(Question[RoadRow], frozen=True, kw_only=True):
    """People seen in the span, those with the most stages first, then most orders, then most events."""

    name = "journey_roads"
    row = RoadRow

    shop_id: int
    start_ms: int
    end_ms: int
    limit: int


class EventPersonRow(NamedTuple):
    """Whom one event was given to."""

    event_id: str
    person_id: int


class EventPersons(Question[EventPersonRow], frozen=True, kw_only=True):
    """The person of every contact on anybody's road."""

    name = "event_persons"
    row = EventPersonRow
