"""A cluster of events becomes persons with their roads and orders: the whole derivation as one pure function."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from touchtrail.events import STAGES

from .fact import Fact, Node
from .identity import Link, PersonFacts, resolve
from .journey import JourneyRules, Road, RoadBuilder, build_road
from .order import LEDGER_EVENTS, Order, derive_orders

STAGE_RANK: dict[str, int] = {stage: rank for rank, stage in enumerate(STAGES)}


class DeriveRules(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the derivation depends on besides the events.

    Args:
        currencies: each shop's own currency by shop id.
        is_bot: tells a robot's user agent.
    """

    journey: JourneyRules
    currencies: Mapping[int, str]
    is_bot: Callable[[str], bool]


class Person(msgspec.Struct):
    """One person, derived. ``person_id`` is the place in the log of their first event to arrive."""

    person_id: int
    shop_id: int
    customer_id: str | None
    first_seen: int
    last_seen: int
    stage: str | None
    events: int
    is_bot: bool
    traits: dict[str, Any] | None
    links: list[Link]
    road: Road
    orders: list[Order]
    builder: RoadBuilder


def derive_cluster(facts: Sequence[Fact], rules: DeriveRules, hubs: Collection[Node] = ()) -> list[Person]:
    """Return the persons of a cluster.

    Args:
        facts: every event of the cluster, in any order: the result depends on the set alone (person ids apart,
            which are places in the log).
        hubs: identifiers that link nobody.
    """
    ordered = sorted(facts, key=Fact.order)
    orders: dict[int, list[Order]] = {}
    repeated: set[int] = set()
    if any(fact.name in LEDGER_EVENTS for fact in ordered):
        for order in derive_orders(ordered, rules.currencies, hubs):
            orders.setdefault(order.seq, []).append(order)
            repeated |= order.repeated
    return [derive_person(person, orders, repeated, rules) for person in resolve(ordered, hubs)]


def derive_person(
    person: PersonFacts, orders: Mapping[int, Sequence[Order]], repeated: Collection[int], rules: DeriveRules
) -> Person:
    """Return one person of a cluster.

    Args:
        orders: the cluster's orders by the place of their first report: an order belongs to whom that belongs to.
        repeated: places of events that only repeat another one.
    """
    facts = person.facts
    own = [order for fact in facts for order in orders.get(fact.seq, ())] if orders else []
    builder = build_road(facts, rules.journey, repeated)
    return Person(
        person_id=min(fact.seq for fact in facts),
        shop_id=facts[0].shop_id,
        customer_id=next((link.value for link in person.links if link.kind == "customer"), None),
        first_seen=facts[0].at,
        last_seen=facts[-1].at,
        stage=furthest(touchpoint.stage for touchpoint in builder.road.touchpoints),
        events=len(facts),
        is_bot=seen_as_bot(facts, rules.is_bot),
        traits=merge_traits(facts),
        links=person.links,
        road=builder.road,
        orders=own,
        builder=builder,
    )


def furthest(stages: Iterable[str | None]) -> str | None:
    """Return the stage that lies furthest along the journey; None when there is none."""
    return max((stage for stage in stages if stage), key=lambda stage: STAGE_RANK.get(stage, -1), default=None)


def seen_as_bot(facts: Sequence[Fact], is_bot: Callable[[str], bool]) -> bool:
    """True when a user agent of theirs is a robot's; a person who ordered is none."""
    agents = {
        device.user_agent
        for fact in facts
        if (device := fact.body.device) is not None and device.user_agent is not None
    }
    return any(is_bot(agent) for agent in agents) and not any(fact.name == "order_placed" for fact in facts)


def merge_traits(facts: Sequence[Fact]) -> dict[str, Any] | None:
    """Return what is known of a customer; a later word replaces an earlier one."""
    traits: dict[str, Any] = {}
    for fact in facts:
        if fact.name == "customer_identified":
            given = fact.body.properties.get("traits")
            if isinstance(given, dict):
                traits.update(given)
    return traits or None
