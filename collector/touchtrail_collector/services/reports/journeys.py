"""The report `journeys`: one person's whole road, or the people whose roads are worth looking at."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ...store.journey_questions import (
    Feelings,
    Links,
    PersonOrderChanges,
    PersonOrderRow,
    PersonOrders,
    Profile,
    ProfileRow,
    RoadRow,
    Roads,
    Steps,
)
from ...store.questions import OrderChangeRow
from .context import ReportContext
from .person_search import find_person
from .scope import ReportParameters, ReportScope, open_frame


class JourneysParameters(ReportParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be asked.

    Args:
        person: a person id or any identifier: customer id, anonymous id, order number, loyalty card; `kind:value`
            where a value is ambiguous. Absent = list people. A person's road is shown whole, whatever the period.
        limit: how many people to list.
    """

    person: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Why an identifier belongs to the person. ``seq`` is the event that showed it."""

    kind: str
    value: str
    reason: str
    linked_at_ms: int
    seq: int


class Feeling(msgspec.Struct, frozen=True, kw_only=True):
    """An experience signal. ``polarity``: pain, gain or neutral."""

    seq: int
    at_ms: int
    kind: str
    polarity: str
    score: float | None
    scale: float | None
    stage: str | None
    subject: str | None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One touchpoint.

    Args:
        about: what the event itself says it was about: a product, a search, a page, an order.
        source: the sender that reported it.
        creditable: attribution may credit it.
        feeling: the signal the same event gave.
    """

    seq: int
    position: int
    at_ms: int
    name: str
    stage: str | None
    moment: str | None
    contact: str
    creditable: bool
    channel: str | None
    session_id: int | None
    campaign: str | None
    about: str | None
    source: str | None
    feeling: Feeling | None


class OrderChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change of an order's value; the changes sum to its net amount."""

    at_ms: int
    kind: str
    amount_minor: int
    reason: str | None


class PersonOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order of the person. ``placed_at_ms`` None = only later events of it have come. Each has its own currency."""

    order_id: str
    state: str
    placed_at_ms: int | None
    paid_at_ms: int | None
    shipped_at_ms: int | None
    delivered_at_ms: int | None
    closed_at_ms: int | None
    currency: str
    gross_minor: int
    cancelled_minor: int
    refunded_minor: int
    charged_back_minor: int
    net_minor: int
    coupon_codes: tuple[str, ...]
    changes: tuple[OrderChange, ...]


class Journey(msgspec.Struct, frozen=True, kw_only=True):
    """One person's road.

    Args:
        stage: the furthest they have reached.
        links: every identifier and why it is theirs, in the order they were linked.
        steps: in the order of the road.
        feelings: those whose event is no touchpoint.
    """

    person_id: int
    customer_id: str | None
    is_bot: bool
    first_seen_ms: int
    last_seen_ms: int
    stage: str | None
    events: int
    sessions: int
    links: tuple[Link, ...]
    steps: tuple[Step, ...]
    feelings: tuple[Feeling, ...]
    orders: tuple[PersonOrder, ...]


class Road(msgspec.Struct, frozen=True, kw_only=True):
    """A person worth looking at. ``stages``: how many of the five they have been in."""

    person_id: int
    customer_id: str | None
    stages: int
    stage: str | None
    orders: int
    touchpoints: int
    sessions: int
    first_seen_ms: int
    last_seen_ms: int


class JourneysReport(msgspec.Struct, frozen=True, kw_only=True):
    """Either ``journey`` of the person asked for, or ``people``: most stages first, then orders, then events."""

    scope: ReportScope
    person: str | None
    journey: Journey | None
    people: tuple[Road, ...]


def journeys(context: ReportContext, parameters: JourneysParameters) -> JourneysReport:
    """Show one person's road, or list people.

    Raises: ReportError when nobody, or more than one person, is meant.
    """
    frame = open_frame(context, parameters, count_people=False)
    if parameters.person is None:
        question = Roads(shop_id=frame.shop_id, start_ms=frame.start_ms, end_ms=frame.end_ms, limit=parameters.limit)
        people = tuple(_road(row) for row in context.query.ask(question))
        return JourneysReport(scope=frame.scope, person=None, journey=None, people=people)
    person_id = find_person(context.query, frame.shop_id, parameters.person)
    profile = context.query.ask(Profile(shop_id=frame.shop_id, person_id=person_id))[0]
    journey = _journey(context, profile)
    return JourneysReport(scope=frame.scope, person=parameters.person, journey=journey, people=())


def _journey(context: ReportContext, profile: ProfileRow) -> Journey:
    query, person_id = context.query, profile.person_id
    feelings = _feelings(context, person_id)
    changes = query.ask(PersonOrderChanges(person_id=person_id))
    steps = _steps(context, person_id, feelings)
    on_road = {step.seq for step in steps}
    return Journey(
        person_id=person_id,
        customer_id=profile.customer_id,
        is_bot=bool(profile.is_bot),
        first_seen_ms=profile.first_seen,
        last_seen_ms=profile.last_seen,
        stage=profile.stage,
        events=profile.events,
        sessions=profile.sessions,
        links=tuple(
            Link(kind=row.kind, value=row.value, reason=row.reason, linked_at_ms=row.linked_at, seq=row.seq)
            for row in query.ask(Links(person_id=person_id))
        ),
        steps=steps,
        feelings=tuple(feeling for feeling in feelings if feeling.seq not in on_road),
        orders=tuple(_person_order(row, changes) for row in query.ask(PersonOrders(person_id=person_id))),
    )


def _feelings(context: ReportContext, person_id: int) -> tuple[Feeling, ...]:
    return tuple(
        Feeling(
            seq=row.seq,
            at_ms=row.at,
            kind=row.kind,
            polarity=row.polarity,
            score=row.score,
            scale=row.scale,
            stage=row.stage,
            subject=row.subject,
        )
        for row in context.query.ask(Feelings(person_id=person_id))
    )


def _steps(context: ReportContext, person_id: int, feelings: tuple[Feeling, ...]) -> tuple[Step, ...]:
    by_seq = {feeling.seq: feeling for feeling in feelings}
    return tuple(
        Step(
            seq=row.seq,
            position=row.position,
            at_ms=row.at,
            name=row.name,
            stage=row.stage,
            moment=row.moment,
            contact=row.contact,
            creditable=bool(row.creditable),
            channel=row.channel,
            session_id=row.session_id,
            campaign=row.campaign,
            about=None if row.about is None else str(row.about),
            source=row.source,
            feeling=by_seq.get(row.seq),
        )
        for row in context.query.ask(Steps(person_id=person_id))
    )


def _person_order(row: PersonOrderRow, changes: list[OrderChangeRow]) -> PersonOrder:
    return PersonOrder(
        order_id=row.order_id,
        state=row.state,
        placed_at_ms=row.placed_at,
        paid_at_ms=row.paid_at,
        shipped_at_ms=row.shipped_at,
        delivered_at_ms=row.delivered_at,
        closed_at_ms=row.closed_at,
        currency=row.currency,
        gross_minor=row.gross_minor,
        cancelled_minor=row.cancelled_minor,
        refunded_minor=row.refunded_minor,
        charged_back_minor=row.charged_back_minor,
        net_minor=row.net_minor,
        coupon_codes=msgspec.json.decode(row.coupon_codes or "[]", type=tuple[str, ...]),
        changes=tuple(
            OrderChange(at_ms=change.at, kind=change.kind, amount_minor=change.amount_minor, reason=change.reason)
            for change in changes
            if change.order_id == row.order_id
        ),
    )


def _road(row: RoadRow) -> Road:
    return Road(
        person_id=row.person_id,
        customer_id=row.customer_id,
        stages=row.stages,
        stage=row.stage,
        orders=row.orders,
        touchpoints=row.touchpoints,
        sessions=row.sessions,
        first_seen_ms=row.first_seen,
        last_seen_ms=row.last_seen,
    )
