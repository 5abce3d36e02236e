"""What the simulation knows and no shop does: who is who, what became of each order, and what caused it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from datetime import datetime
from typing import Literal

import msgspec

BASELINE = "(baseline)"
"""The bucket of revenue that would have come without any contact."""

UNCAUSED_CHANNELS = frozenset({BASELINE, "Direct", "(none)"})
"""Credit on these says "no known cause", which is what the baseline is."""

OrderState = Literal["placed", "paid", "shipped", "delivered", "cancelled", "returned", "refunded", "charged_back"]


class TrueOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One order as it really stands at the end of the simulation; amounts are minor units.

    Args:
        person: the number of the person who bought.
        causes: how much of the wish to buy each channel had added when the order was placed, `(baseline)` for
            what was there without any contact; not normalised. In a sum of independent Poisson processes a cause's
            part of the sum is the probability that it produced the event, so the parts are the causal shares.
    """

    order_id: str
    person: int
    placed_at: datetime
    state: OrderState
    gross_minor: int
    cancelled_minor: int
    refunded_minor: int
    charged_back_minor: int
    causes: Mapping[str, float]

    @property
    def net_minor(self) -> int:
        """What the shop keeps: gross less what was cancelled, refunded and charged back."""
        return self.gross_minor - self.cancelled_minor - self.refunded_minor - self.charged_back_minor


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything was sent.

    Args:
        sendings: all calls of ``track``, repeats and bots included.
        events: distinct events.
        repeated_events: the same event sent once more.
        repeated_facts: other senders' reports, with ids of their own, of something already reported.
        late: events that arrived more than an hour after they happened.
        wrong_clock: events whose time is wrong because the device's clock is.
        bots: events of crawlers.
        bot_runs: anonymous ids those used.
        nobody: events without a person (costs, media flights).
    """

    sendings: int
    events: int
    repeated_events: int
    repeated_facts: int
    late: int
    wrong_clock: int
    bots: int
    bot_runs: int
    nobody: int


class IdentityScore(msgspec.Struct, frozen=True, kw_only=True):
    """How well events were put together into persons, over all pairs of events.

    Args:
        precision: of the pairs put into one person, the share that really is one person; 1 when there is no pair.
        recall: of the pairs that really are one person, the share that was put into one; 1 when there is no pair.
        f1: harmonic mean of both.
        events: events that were judged: those both sides know.
        missing: events of people that the assignment does not know.
        true_people, found_people: how many persons these events really belong to, and how many were made of them.
        split_people: true people whose events were spread over several persons.
        merged_people: persons found that hold events of several true people.
    """

    precision: float
    recall: float
    f1: float
    events: int
    missing: int
    true_people: int
    found_people: int
    split_people: int
    merged_people: int


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the simulation knows.

    Args:
        person_of: true person by event id, for every event a person caused. Bots and costs are not in it.
        owners: true people by (kind, value) of an id: `anonymous_id`, `customer_id` and every kind of identifier.
            Several people = a shared device or a public coupon code.
        touch_channel: true channel by event id, for the first event of a visit, clicks, impressions, encounters.
        real_time: when it really happened, by event id, where the device's clock was wrong.
        orders: by order number.
        caused_revenue: minor units of net revenue by channel, `(baseline)` included; sums to ``net_revenue_minor``.
    """

    person_of: Mapping[str, int]
    owners: Mapping[tuple[str, str], frozenset[int]]
    touch_channel: Mapping[str, str]
    real_time: Mapping[str, datetime]
    orders: Mapping[str, TrueOrder]
    caused_revenue: Mapping[str, int]
    counts: Counts

    @property
    def net_revenue_minor(self) -> int:
        """What the shop really keeps of all orders."""
        return sum(order.net_minor for order in self.orders.values())

    @property
    def gross_revenue_minor(self) -> int:
        """What was ordered, before anything came back."""
        return sum(order.gross_minor for order in self.orders.values())

    def identity_score(self, assignment: Mapping[str, Hashable]) -> IdentityScore:
        """Compare persons found, by event id, with the true ones."""
        return identity_score(self.person_of, assignment)

    def channel_distance(self, credited: Mapping[str, int]) -> float:
        """Return the share of revenue a model puts on the wrong channel, 0 to 1; see `channel_distance`."""
        return channel_distance(self.caused_revenue, credited)


def identity_score(truth: Mapping[str, Hashable], found: Mapping[str, Hashable]) -> IdentityScore:
    """Compare two ways of grouping events, over all pairs of events, in time linear in the events.

    Source: pair counting on the contingency table, Hubert & Arabie 1985, "Comparing partitions".
    """
    cells = Counter((truth[event_id], person) for event_id, person in found.items() if event_id in truth)
    true_sizes: Counter[Hashable] = Counter()
    found_sizes: Counter[Hashable] = Counter()
    for (true_person, person), events in cells.items():
        true_sizes[true_person] += events
        found_sizes[person] += events
    both = _count_pairs(cells.values())
    precision = _ratio(both, _count_pairs(found_sizes.values()))
    recall = _ratio(both, _count_pairs(true_sizes.values()))
    judged = sum(true_sizes.values())
    return IdentityScore(
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        events=judged,
        missing=len(truth) - judged,
        true_people=len(true_sizes),
        found_people=len(found_sizes),
        split_people=_count_repeated(true_person for true_person, _ in cells),
        merged_people=_count_repeated(person for _, person in cells),
    )


def channel_distance(caused: Mapping[str, int], credited: Mapping[str, int]) -> float:
    """Return how far credit is from causes: half the sum of absolute differences of their shares, 0 to 1.

    Both sides are taken as shares of their own sums. Credit on `Direct` and `(none)` counts as baseline: both say
    that no contact is known to have caused the order. Without any revenue or credit at all the distance is 1, unless
    both are empty.

    Source: total variation distance.
    """
    true_shares, found_shares = _to_shares(caused), _to_shares(credited)
    if not true_shares or not found_shares:
        return float(bool(true_shares) != bool(found_shares))
    channels = sorted(true_shares.keys() | found_shares.keys())
    return sum(abs(true_shares.get(name, 0.0) - found_shares.get(name, 0.0)) for name in channels) / 2


def share_revenue(orders: Iterable[TrueOrder]) -> dict[str, int]:
    """Return net revenue by cause, the largest first; each order's net is shared exactly to the minor unit."""
    totals: Counter[str] = Counter()
    for order in orders:
        totals.update(split_amount(order.net_minor, order.causes))
    return dict(sorted(totals.items(), key=lambda entry: (-entry[1], entry[0])))


def split_amount(amount_minor: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Share an amount in proportion to weights by largest remainder, so that the parts add up to it exactly.

    Ties go to the name that comes first. Weights must not be negative and not all be zero.
    """
    total = sum(weights.values())
    exact = {name: amount_minor * weight / total for name, weight in weights.items()}
    parts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: parts[name] - exact[name])
    for name in by_remainder[: amount_minor - sum(parts.values())]:
        parts[name] += 1
    return parts


def _count_pairs(sizes: Iterable[int]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes)


def _count_repeated(names: Iterable[Hashable]) -> int:
    return sum(times > 1 for times in Counter(names).values())


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _to_shares(amounts: Mapping[str, int]) -> dict[str, float]:
    total = sum(amounts.values())
    shares: dict[str, float] = {}
    for name, amount in amounts.items():
        bucket = BASELINE if name in UNCAUSED_CHANNELS else name
        shares[bucket] = shares.get(bucket, 0.0) + amount / total if total else 0.0
    return shares if total else {}
