"""Sums over orders that several reports show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from ...store.questions import OrderRow


class OrderTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What orders come to in one currency, as the ledger has them now: net = gross - the other three."""

    orders: int
    gross_minor: int
    cancelled_minor: int
    refunded_minor: int
    charged_back_minor: int
    net_minor: int


class Buyers(msgspec.Struct, frozen=True, kw_only=True):
    """Who ordered, in any currency.

    Args:
        buyers: people who placed an order in the period.
        new_buyers: of these, those whose first order it was.
        repeat_buyers: of these, those with at least two orders until the end of the period.
        person_ids: the buyers.
        customer_ids: people with an order until the end of the period.
    """

    buyers: int
    new_buyers: int
    repeat_buyers: int
    person_ids: frozenset[int]
    customer_ids: frozenset[int]


def total_orders(orders: Iterable[OrderRow]) -> OrderTotals:
    """Return the sums over orders of one currency."""
    sums = [0] * 6
    for order in orders:
        sums[0] += 1
        sums[1] += order.gross_minor
        sums[2] += order.cancelled_minor
        sums[3] += order.refunded_minor
        sums[4] += order.charged_back_minor
        sums[5] += order.net_minor
    return OrderTotals(
        orders=sums[0],
        gross_minor=sums[1],
        cancelled_minor=sums[2],
        refunded_minor=sums[3],
        charged_back_minor=sums[4],
        net_minor=sums[5],
    )


def count_buyers(orders: Sequence[OrderRow], start_ms: int, end_ms: int) -> Buyers:
    """Return who ordered in ``start_ms <= t < end_ms``.

    Args:
        orders: every order until the end of the period or longer.
    """
    until = Counter(order.person_id for order in orders if order.placed_at < end_ms)
    before = {order.person_id for order in orders if order.placed_at < start_ms}
    within = {order.person_id for order in orders if start_ms <= order.placed_at < end_ms}
    return Buyers(
        buyers=len(within),
        new_buyers=len(within - before),
        repeat_buyers=sum(until[person] >= 2 for person in within),
        person_ids=frozenset(within),
        customer_ids=frozenset(until),
    )
