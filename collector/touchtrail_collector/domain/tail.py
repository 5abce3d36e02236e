"""The end of a person's road, remembered: an event that simply goes on from there need not derive the person anew.

Nearly every event does: it happens after everything known of its person, names nobody new and touches no order. Then
it is put behind the rest, with the same builder that a whole derivation uses. Everything else (late events, logins,
merges, orders, coupons) derives the person whole; what a rebuild gives stays the definition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

import msgspec

from .fact import Fact
from .journey import Road, RoadBuilder, road_order
from .order import LEDGER_EVENTS
from .person import DeriveRules, Person, furthest

WHOLE = LEDGER_EVENTS | {"customer_identified", "voucher_received"}
"""Events that change more than the end of a road."""


DEVICE_AND_LOGIN = frozenset({"anonymous", "customer"})


class Tail(msgspec.Struct):
    """Where a person stands: the numbers of their row, and the builder of their road without the road itself."""

    person_id: int
    last_seen: int
    stage: str | None
    events: int
    sessions: int
    touchpoints: int
    is_bot: bool
    builder: RoadBuilder


class Extension(msgspec.Struct):
    """What new events add to a person.

    The numbers are copied, because the tail may go on before they are written.

    Args:
        road: what stands behind the road before; its first touchpoint has ``first_position``.
        continued: end, number of events and id of each earlier session that went on.
    """

    tail: Tail
    road: Road
    first_position: int
    continued: list[tuple[int, int, int]]
    last_seen: int
    stage: str | None
    events: int
    sessions: int
    touchpoints: int
    last_stage: str | None


def tail_of(persons: Sequence[Person]) -> Tail | None:
    """Return the end of the road of a cluster's only person; None where several share it."""
    if len(persons) != 1:
        return None
    person = persons[0]
    person.builder.begin_anew()
    return Tail(
        person_id=person.person_id,
        last_seen=person.last_seen,
        stage=person.stage,
        events=person.events,
        sessions=len(person.road.sessions),
        touchpoints=len(person.road.touchpoints),
        is_bot=person.is_bot,
        builder=person.builder,
    )


def is_plain(fact: Fact, hubs: Set[str]) -> bool:
    """True for an event that by itself changes nothing but the end of its person's road."""
    if fact.name in WHOLE:
        return False
    for kind, value in fact.nodes:
        if kind == "coupon" or (hubs and f"{kind}:{fact.shop_id}:{value}" in hubs):
            return False
    # An address, number or click beside another id gets a holder more, and one too many makes it a hub.
    return len(fact.nodes) < 2 or all(kind in DEVICE_AND_LOGIN for kind, _ in fact.nodes)


def goes_on(tail: Tail, fact: Fact, is_bot: Callable[[str], bool]) -> bool:
    """True when the event only lengthens the road."""
    if fact.at <= tail.last_seen or tail.builder.needs_history(fact):
        return False
    device = fact.body.device
    return tail.is_bot or device is None or device.user_agent is None or not is_bot(device.user_agent)


def extend(tail: Tail, facts: Sequence[Fact], rules: DeriveRules) -> Extension | None:
    """Put events behind a person's road; None when the person has to be derived whole. Then the tail is of no use.

    Args:
        facts: plain events (`is_plain`) of nobody but this person.
    """
    ordered = sorted(facts, key=road_order)
    builder = tail.builder
    builder.begin_anew()
    for fact in ordered:
        if not goes_on(tail, fact, rules.is_bot):
            return None
        builder.add(fact)
    road = builder.road
    first_position = tail.touchpoints + 1
    fresh = {id(session) for session in road.sessions}
    continued = {id(t.session): t.session for t in road.touchpoints if t.session is not None}
    tail.last_seen = ordered[-1].at
    tail.stage = furthest([tail.stage, *(touchpoint.stage for touchpoint in road.touchpoints)])
    tail.events += len(ordered)
    tail.sessions += len(road.sessions)
    tail.touchpoints += len(road.touchpoints)
    builder.begin_anew()
    went_on = [(s.ended_at, s.events, s.session_id) for key, s in continued.items() if key not in fresh]
    return Extension(
        tail, road, first_position, went_on, tail.last_seen, tail.stage, tail.events, tail.sessions, tail.touchpoints,
        builder.stage,
    )  # fmt: skip
