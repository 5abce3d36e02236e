"""Identity: which events belong to one person, why, and who merely shares a device.

Events that name a common identifier are gathered in a *cluster*; inside a cluster persons are told apart by one pure
function of its events, so that late events, merges and splits need no rules of their own.

1. *Strong* identifiers (customer id, e-mail, phone, loyalty card) that occur in one event belong to one person, and so
   do an order number or receipt code and the strong identifiers beside it.
2. A *device* (anonymous id) belongs to the person whose strong identifiers it was seen with. If there are several, it
   is shared: what happens on it without a login belongs to whoever was last seen there, before the first login to
   the first one seen.
3. Devices, orders and clicks that were never seen with a strong identifier form one anonymous person.
4. A coupon code that was given to a person and used by few links its user to that person; it never joins two people
   who are both known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec

from .fact import Fact, Node

STRONG = frozenset({"customer", "email", "phone", "loyalty_card"})
NEUTRAL = frozenset({"order", "receipt"})

COUPON_HOLDERS = 3
"""A coupon code with more holders than this is public: device, login and voucher of one person make three."""

HUB_HOLDERS = 50
"""An identifier with more holders than this identifies nobody (a till's own phone number, a kiosk)."""


class Link(msgspec.Struct, frozen=True):
    """Why an identifier belongs to a person: the first event in which it was seen with them."""

    kind: str
    value: str
    reason: str
    at: int
    seq: int


class PersonFacts(msgspec.Struct):
    """One person: their events in order, and the identifiers with the reason of each."""

    facts: list[Fact]
    links: list[Link]


def find_hubs(facts: Sequence[Fact]) -> set[Node]:
    """Return the identifiers of a cluster that too many hold to identify anybody.

    A holder is a customer id, or where none is given a device.
    """
    if len(facts) <= COUPON_HOLDERS or not may_have_hub(facts):
        return set()
    holders: dict[Node, set[str]] = {}
    for fact in facts:
        nodes = fact.nodes
        if len(nodes) < 2:
            continue
        body = fact.body
        for node in nodes:
            own = holders.setdefault(node, set())
            if node[0] == "customer":
                continue
            holder = body.customer_id or (body.anonymous_id if node[0] != "anonymous" else None)
            if holder is not None:
                own.add(holder)
    return {
        node for node, own in holders.items() if len(own) > (COUPON_HOLDERS if node[0] == "coupon" else HUB_HOLDERS)
    }


def may_have_hub(facts: Sequence[Fact]) -> bool:
    """True unless a glance shows that no identifier can have too many holders; nearly always False."""
    holders = {fact.body.customer_id for fact in facts} | {fact.body.anonymous_id for fact in facts}
    if len(holders) > HUB_HOLDERS:
        return True
    return len(holders) > COUPON_HOLDERS and any(node[0] == "coupon" for fact in facts for node in fact.nodes)


class Groups:
    """A union-find over identifiers."""

    def __init__(self) -> None:
        self._parent: dict[Node, Node] = {}

    def find(self, node: Node) -> Node:
        """Return the group's representative: its smallest member, whatever the order of joining."""
        parent = self._parent
        root = node
        while (above := parent.setdefault(root, root)) != root:
            root = above
        while parent[node] != root:
            parent[node], node = root, parent[node]
        return root

    def join(self, first: Node, second: Node) -> None:
        """Make one group of two."""
        a, b = self.find(first), self.find(second)
        if a != b:
            low, high = (a, b) if a < b else (b, a)
            self._parent[high] = low


def resolve(facts: Sequence[Fact], hubs: Iterable[Node] = ()) -> list[PersonFacts]:
    """Tell the persons of a cluster apart.

    Args:
        facts: all events of the cluster, sorted by `Fact.order`.
        hubs: identifiers to pass over.

    Returns: the persons, sorted by their first event's place in the log; each event belongs to exactly one.
    """
    ignored = set(hubs)
    nodes = [fact.nodes for fact in facts]
    if ignored:
        nodes = [[node for node in own if node not in ignored] for own in nodes]
    kinds = {node for own in nodes for node in own if node[0] in STRONG or node[0] == "coupon"}
    if len(kinds) <= 1 and not any(node[0] == "coupon" for node in kinds):
        return [PersonFacts(list(facts), explain(facts, nodes, frozenset()))]
    return ClusterResolver(facts, nodes).persons()


class ClusterResolver:
    """The general case of `resolve`: several strong identifiers, or coupon codes."""

    def __init__(self, facts: Sequence[Fact], nodes: list[list[Node]]) -> None:
        self._facts = facts
        self._nodes = nodes
        self._groups = Groups()
        self._known: set[Node] = set()
        self._sightings: dict[Node, list[tuple[tuple[int, str, int], Node]]] = {}

    def persons(self) -> list[PersonFacts]:
        """Return the persons of the cluster."""
        self._join_strong()
        identities = [self._identity(own) for own in self._nodes]
        self._see_devices(identities)
        self._join_weak(identities)
        self._join_coupons(identities)
        return self._collect([self._party(index, identity) for index, identity in enumerate(identities)])

    def _join_strong(self) -> None:
        for own in self._nodes:
            lasting = [node for node in own if node[0] in STRONG or node[0] in NEUTRAL]
            for other in lasting[1:]:
                self._groups.join(lasting[0], other)
        self._known = {self._groups.find(node) for own in self._nodes for node in own if node[0] in STRONG}

    def _identity(self, own: list[Node]) -> Node | None:
        for node in own:
            if node[0] in STRONG or node[0] in NEUTRAL:
                root = self._groups.find(node)
                if root in self._known:
                    return root
        return None

    def _see_devices(self, identities: list[Node | None]) -> None:
        for fact, own, identity in zip(self._facts, self._nodes, identities, strict=True):
            if identity is not None:
                for node in own:
                    if is_weak(node):
                        self._sightings.setdefault(node, []).append((fact.order(), identity))

    def _join_weak(self, identities: list[Node | None]) -> None:
        # Orders and receipts without a known person count as weak here: they join the devices they were seen on.
        for own, identity in zip(self._nodes, identities, strict=True):
            if identity is None:
                weak = [node for node in own if node[0] != "coupon"]
                for other in weak[1:]:
                    self._groups.join(weak[0], other)
        groups: dict[Node, list[tuple[tuple[int, str, int], Node]]] = {}
        for node, seen in self._sightings.items():
            groups.setdefault(self._groups.find(node), []).extend(seen)
        self._group_sightings = {root: sorted(seen) for root, seen in groups.items()}

    def _join_coupons(self, identities: list[Node | None]) -> None:
        issued = {
            node
            for fact, own in zip(self._facts, self._nodes, strict=True)
            if fact.name == "voucher_received"
            for node in own
            if node[0] == "coupon"
        }
        parties: dict[Node, set[Node]] = {}
        for index, own in enumerate(self._nodes):
            for node in own:
                if node in issued:
                    party = self._party(index, identities[index])
                    if party is not None:
                        parties.setdefault(node, set()).add(party)
        for node in sorted(parties):
            # Anew for each code: an earlier one may have told who somebody is.
            now = {self._known_as(party) for party in parties[node]}
            known = [party for party in now if party in self._known]
            unknown = sorted(now - self._known)
            if len(known) > 1:
                continue
            for party in unknown[1:]:
                self._groups.join(unknown[0], party)
            if known and unknown:
                self._group_sightings[self._groups.find(unknown[0])] = [(BEFORE_EVERYTHING, known[0])]

    def _known_as(self, party: Node) -> Node:
        """Return the person a coupon code told a group of weak identifiers to be; the group where none did."""
        if party in self._known:
            return party
        root = self._groups.find(party)
        seen = self._group_sightings.get(root)
        return seen[0][1] if seen else root

    def _party(self, index: int, identity: Node | None) -> Node | None:
        """Return whom an event belongs to: a known identity, or a group of weak identifiers."""
        if identity is not None:
            return identity
        weak = [node for node in self._nodes[index] if node[0] != "coupon"]
        if not weak:
            return self._nodes[index][0] if self._nodes[index] else None
        root = self._groups.find(weak[0])
        own = [seen for node in weak for seen in self._sightings.get(node, ())]
        sightings = sorted(own) if own else self._group_sightings.get(root)
        if not sightings:
            return root
        place = bisect_right(sightings, (self._facts[index].order(), ("\uffff", "")))
        return sightings[max(place - 1, 0)][1]

    def _collect(self, parties: list[Node | None]) -> list[PersonFacts]:
        grouped: dict[Node | None, list[int]] = {}
        for index, party in enumerate(parties):
            grouped.setdefault(party, []).append(index)
        devices: dict[Node, set[Node | None]] = {}
        for party, indexes in grouped.items():
            for index in indexes:
                for node in self._nodes[index]:
                    if node[0] == "anonymous":
                        devices.setdefault(node, set()).add(party)
        shared = frozenset(node for node, users in devices.items() if len(users) > 1)
        persons = []
        for indexes in grouped.values():
            facts = [self._facts[index] for index in indexes]
            persons.append(PersonFacts(facts, explain(facts, [self._nodes[index] for index in indexes], shared)))
        persons.sort(key=lambda person: min(fact.seq for fact in person.facts))
        return persons


def is_weak(node: Node) -> bool:
    """True for identifiers of a device or a click."""
    return node[0] not in STRONG and node[0] not in NEUTRAL and node[0] != "coupon"


BEFORE_EVERYTHING = (-(2**62), "", 0)
"""Sorts before every event's `Fact.order`."""

REASONS = {"customer": "login", "anonymous": "same_event"}


def explain(facts: Sequence[Fact], nodes: Sequence[list[Node]], shared: frozenset[Node]) -> list[Link]:
    """Return each identifier of a person with the first event that shows it and the reason it counts.

    A coupon code is one only where it was given to this person: everybody else merely used it.
    """
    links: dict[Node, Link] = {}
    given = {node for fact in facts if fact.name == "voucher_received" for node in fact.nodes if node[0] == "coupon"}
    for fact, own in zip(facts, nodes, strict=True):
        for node in own:
            if node not in links and (node[0] != "coupon" or node in given):
                kind, value = node
                reason = REASONS.get(kind, kind)
                if not links:
                    reason = "first_seen"
                if node in shared:
                    reason = "shared_device"
                links[node] = Link(kind, value, reason, fact.at, fact.seq)
    return list(links.values())
