"""The order ledger: everything that was reported of an order, in any order and however often, becomes one order.

*Which report of the order counts*: the one that says most; among equals the earliest. A later `order_updated`
replaces what it gives.

*What counts as the same taking-back*: a shop's browser, server and till may each report one refund. Reports with the
same number (`refund_id`, `cancellation_id`, `chargeback_id`) are one. Without a number, reports of one sender at
different times are different refunds, and the same amount reported by several senders is counted as often as the
sender who reported it most often. Both rules give one result whatever arrives first or twice.

*Amounts*: gross = ``total``, or goods - discount + shipping where it is missing. What is cancelled, refunded or
charged back is taken from what is left of the order, so that net = gross - cancelled - refunded - charged_back is
never below zero.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from touchtrail.errors import MoneyError
from touchtrail.money import to_minor

from .fact import Fact, Node, order_id_of

State = Literal[
    "unknown", "placed", "paid", "shipped", "delivered", "cancelled", "returned", "refunded", "charged_back"
]
TAKE_BACKS = {"order_cancelled": "cancelled", "order_refunded": "refunded", "chargeback_opened": "charged_back"}
NUMBERS = {
    "order_cancelled": "cancellation_id", "order_refunded": "refund_id", "chargeback_opened": "chargeback_id",
    "chargeback_resolved": "chargeback_id",
    "return_requested": "return_id", "return_received": "return_id", "return_rejected": "return_id",
}  # fmt: skip
ONCE = frozenset({"order_placed", "order_paid", "order_delivered", "order_pickup_ready"})
"""Happens to an order once: further reports of it are repetitions."""

LEDGER_EVENTS = frozenset(
    {*TAKE_BACKS, *ONCE, "order_updated", "order_shipped", "chargeback_resolved", "return_requested",
     "return_received", "return_rejected", "exchange_created"}
)  # fmt: skip
AMOUNTS = ("total", "goods", "tax", "shipping", "discount")
MAX_MINOR = 10**16
"""No sum of lines is more: what a hostile quantity multiplies must still fit into a column."""


class OrderChange(msgspec.Struct, frozen=True):
    """One change of an order's value. ``amount_minor`` is signed; the changes of an order sum to its net."""

    at: int
    kind: str
    amount_minor: int
    reason: str | None
    seq: int


class Order(msgspec.Struct, kw_only=True):
    """One order as the ledger knows it; amounts in minor units of ``currency``."""

    shop_id: int
    order_id: str
    seq: int
    state: State
    currency: str
    placed_at: int | None = None
    paid_at: int | None = None
    shipped_at: int | None = None
    delivered_at: int | None = None
    closed_at: int | None = None
    gross_minor: int = 0
    goods_minor: int = 0
    tax_minor: int = 0
    shipping_minor: int = 0
    discount_minor: int = 0
    cancelled_minor: int = 0
    refunded_minor: int = 0
    charged_back_minor: int = 0
    net_minor: int = 0
    pieces: int = 0
    coupon_codes: tuple[str, ...] = ()
    reports: int = 0
    conflicts: int = 0
    changes: tuple[OrderChange, ...] = ()
    repeated: frozenset[int] = frozenset()


def derive_orders(facts: Iterable[Fact], currencies: Mapping[int, str], ignored: Collection[Node] = ()) -> list[Order]:
    """Return the orders that the facts tell of, sorted by shop and order number.

    Args:
        facts: events in any order; those that are not about an order's value or state are passed over.
        currencies: each shop's own currency, for orders of which no report names one.
        ignored: identifiers that are none, among them numbers that too many have as that of their order.
    """
    grouped: dict[tuple[int, str], list[Fact]] = {}
    for fact in facts:
        if fact.name in LEDGER_EVENTS:
            order_id = order_id_of(fact.body.properties)
            if order_id is not None and ("order", order_id) not in ignored:
                grouped.setdefault((fact.shop_id, order_id), []).append(fact)
    return [
        OrderLedger(shop_id, order_id, own, currencies.get(shop_id, "EUR")).order()
        for (shop_id, order_id), own in sorted(grouped.items())
    ]


class OrderLedger:
    """Works out one order from its facts."""

    def __init__(self, shop_id: int, order_id: str, facts: Sequence[Fact], default_currency: str) -> None:
        self._facts = sorted(facts, key=Fact.order)
        self._named: dict[str, list[Fact]] = {}
        for fact in self._facts:
            self._named.setdefault(fact.name, []).append(fact)
        self._currency = self._find_currency(default_currency)
        self._prices: dict[str, int] = {}
        self._charged: dict[str | None, int] = {}
        self._order = Order(
            shop_id=shop_id, order_id=order_id, seq=self._facts[0].seq, state="unknown", currency=self._currency
        )

    def order(self) -> Order:
        """Return the order."""
        order = self._order
        placed = self._named.get("order_placed", [])
        order.reports = len(placed)
        if placed:
            chosen = max(placed, key=said)  # the earliest of equals: they stand in order
            first = placed[0]
            order.seq, order.placed_at = first.seq, first.at
            self._apply_amounts(chosen)
            order.conflicts = self._count_conflicts(placed)
        changes = [self._placed_change()] if order.placed_at is not None else []
        kept, repeated = self._take_backs()
        begins_at = order.placed_at if order.placed_at is not None else 0
        updates = self._named.get("order_updated", [])
        events = [(max(fact.at, begins_at), 1, fact.event_id, fact) for fact in updates]
        opened = [fact for fact in kept if fact.name == "chargeback_opened"]
        for fact in kept:
            at, rank = max(fact.at, begins_at), 2
            if fact.name == "chargeback_resolved":
                # Two senders' clocks may tell of the decision before the dispute.
                at, rank = max(at, min((case.at for case in opened if is_same_case(case, fact)), default=at)), 3
            events.append((at, rank, fact.event_id, fact))
        # What came before the order itself, by its own clock, keeps its own order.
        for at, _, _, fact in sorted(events, key=lambda entry: (*entry[:2], entry[3].at, entry[2])):
            change = self._change(fact, at)
            if change is not None:
                changes.append(change)
        order.changes = tuple(changes)
        order.repeated = frozenset(repeated | self._repeated_once())
        order.net_minor = sum(change.amount_minor for change in changes)
        self._set_times_and_state()
        return order

    def _find_currency(self, default: str) -> str:
        for name in ("order_placed", "order_updated", None):
            for fact in self._facts if name is None else self._named.get(name, []):
                currency = fact.body.properties.get("currency")
                if isinstance(currency, str) and len(currency) == 3:
                    return currency
        return default

    def _minor(self, value: Any) -> int | None:
        return amount_minor(value, self._currency)

    def _apply_amounts(self, fact: Fact) -> None:
        order, properties = self._order, fact.body.properties
        given = {name: self._minor(properties.get(name)) for name in AMOUNTS}
        lines = read_lines(properties.get("lines"))
        line_sum = 0
        if lines:
            order.pieces = min(sum(quantity for _, quantity, _ in lines), MAX_MINOR)
            self._prices |= {sku: price for sku, _, value in lines if (price := self._minor(value)) is not None}
            line_sum = min(sum(quantity * (self._minor(value) or 0) for _, quantity, value in lines), MAX_MINOR)
        for name in ("tax", "shipping", "discount"):
            value = given[name]
            if value is not None:
                setattr(order, f"{name}_minor", value)
        if given["goods"] is not None:
            order.goods_minor = given["goods"]
        elif line_sum:
            order.goods_minor = line_sum
        if given["total"] is not None:
            order.gross_minor = given["total"]
            if not order.goods_minor:
                order.goods_minor = max(order.gross_minor - order.shipping_minor + order.discount_minor, 0)
        elif given["goods"] is not None or line_sum:
            order.gross_minor = max(order.goods_minor - order.discount_minor + order.shipping_minor, 0)
        codes = properties.get("coupon_codes")
        if isinstance(codes, list):
            order.coupon_codes = tuple(str(code) for code in codes)

    def _count_conflicts(self, placed: Sequence[Fact]) -> int:
        totals = [self._minor(fact.body.properties.get("total")) for fact in placed]
        return sum(1 for total in totals if total is not None and total != self._order.gross_minor)

    def _placed_change(self) -> OrderChange:
        order = self._order
        assert order.placed_at is not None
        return OrderChange(order.placed_at, "placed", order.gross_minor, None, order.seq)

    def _take_backs(self) -> tuple[list[Fact], set[int]]:
        """Return the takings-back and decisions that count, and the places of reports that only repeat another."""
        kept: list[Fact] = []
        repeated: set[int] = set()
        for name in NUMBERS:
            own = self._named.get(name, [])
            chosen = [] if not own else choose_distinct(own, self._signature)
            seqs = {fact.seq for fact in chosen}
            repeated.update(fact.seq for fact in own if fact.seq not in seqs)
            if name in TAKE_BACKS or name == "chargeback_resolved":
                kept.extend(chosen)
        return kept, repeated

    def _repeated_once(self) -> set[int]:
        return {fact.seq for name in ONCE for fact in self._named.get(name, [])[1:]}

    def _signature(self, fact: Fact) -> Any:
        """Return what two reports of one taking-back have in common: the amount, told outright or through lines."""
        properties = fact.body.properties
        amount = self._minor(properties.get("amount"))
        lines = read_lines(properties.get("lines"))
        if amount is not None or not lines:
            return amount
        if all(sku in self._prices or self._minor(value) is not None for sku, _, value in lines):
            return self._sum_of(lines)
        return tuple((sku, quantity) for sku, quantity, _ in lines)

    def _sum_of(self, lines: Sequence[tuple[str, int, Any]]) -> int:
        """Return what lines are worth; the order's own price where a line has none."""
        total = 0
        for sku, quantity, value in lines:
            price = self._minor(value)
            total += quantity * (self._prices.get(sku, 0) if price is None else price)
        return total

    def _asked(self, fact: Fact, left: int) -> int:
        """Return how much a taking-back takes: its amount, its lines, or all that is left."""
        properties = fact.body.properties
        amount = self._minor(properties.get("amount"))
        if amount is None:
            lines = read_lines(properties.get("lines"))
            amount = self._sum_of(lines) if lines else left
        return min(amount, left)

    def _change(self, fact: Fact, at: int) -> OrderChange | None:
        order = self._order
        taken = order.cancelled_minor + order.refunded_minor + order.charged_back_minor
        reason = fact.body.properties.get("reason")
        reason = reason if isinstance(reason, str) else None
        if fact.name == "order_updated":
            before = order.gross_minor
            self._apply_amounts(fact)
            order.gross_minor = max(order.gross_minor, taken)
            if order.placed_at is None or order.gross_minor == before:
                return None
            return OrderChange(at, "updated", order.gross_minor - before, reason, fact.seq)
        if fact.name == "chargeback_resolved":
            won = self._won_back(fact) if fact.body.properties.get("won") is True else 0
            order.charged_back_minor -= won
            return OrderChange(at, "chargeback_won", won, reason, fact.seq) if won else None
        if order.placed_at is None:
            return None
        kind = TAKE_BACKS[fact.name]
        amount = self._asked(fact, order.gross_minor - taken)
        setattr(order, f"{kind}_minor", getattr(order, f"{kind}_minor") + amount)
        if kind == "charged_back":
            case = number_of(fact)
            self._charged[case] = self._charged.get(case, 0) + amount
        return OrderChange(at, kind, -amount, reason, fact.seq)

    def _won_back(self, fact: Fact) -> int:
        """Return what a won chargeback brings back: that of its number; all of them where there are no numbers."""
        case = number_of(fact)
        if case is None:
            won = sum(self._charged.values())
            self._charged.clear()
            return won
        return self._charged.pop(case if case in self._charged else None, 0)

    def _set_times_and_state(self) -> None:
        order, named = self._order, self._named
        order.paid_at = first_time(named, "order_paid")
        order.shipped_at = first_time(named, "order_shipped")
        order.delivered_at = first_time(named, "order_delivered")
        if order.placed_at is None:
            return
        closing = [change for change in order.changes if change.kind in TAKE_BACKS.values()]
        if closing and order.net_minor == 0:
            order.closed_at = closing[-1].at
            amounts: list[tuple[int, State]] = [
                (order.cancelled_minor, "cancelled"),
                (order.refunded_minor, "returned" if "return_received" in named else "refunded"),
                (order.charged_back_minor, "charged_back"),
            ]
            last = closing[-1].kind
            # What ended the order names its state; an order of nothing is ended by the last report about it.
            ending = {"cancelled": amounts[0][1], "refunded": amounts[1][1], "charged_back": amounts[2][1]}
            with_money = [change.kind for change in closing if change.amount_minor]
            order.state = ending[with_money[-1] if with_money else last]
        elif order.delivered_at is not None:
            order.state = "delivered"
        elif order.shipped_at is not None:
            order.state = "shipped"
        else:
            order.state = "paid" if order.paid_at is not None else "placed"


def number_of(fact: Fact) -> str | None:
    """Return the shop's own number of a refund, cancellation, chargeback or return."""
    number = fact.body.properties.get(NUMBERS[fact.name])
    return None if number is None else str(number)


def is_same_case(opened: Fact, resolved: Fact) -> bool:
    """True when a decision may be about the chargeback: the numbers are the same, or one has none."""
    numbers = {number_of(opened), number_of(resolved)}
    return len(numbers) == 1 or None in numbers


def choose_distinct(facts: Sequence[Fact], signature: Callable[[Fact], Any]) -> list[Fact]:
    """Return the reports that count once repetitions are left out (the rule stands in the module's docstring)."""
    numbered: dict[str, Fact] = {}
    groups: dict[Any, list[Fact]] = {}
    for fact in facts:
        number = number_of(fact)
        if number is not None:
            numbered.setdefault(number, fact)
        groups.setdefault(signature(fact), []).append(fact)
    chosen = list(numbered.values())
    for same in groups.values():
        chosen.extend(choose_unnumbered(same))
    return sorted(chosen, key=Fact.order)


def choose_unnumbered(facts: Sequence[Fact]) -> list[Fact]:
    """Return what counts beside the numbered ones, of reports that take the same: the sender's who told of most."""
    numbers = {number for fact in facts if (number := number_of(fact)) is not None}
    by_source: dict[int, list[Fact]] = {}
    for fact in facts:
        by_source.setdefault(fact.source_id, []).append(fact)
    most: list[Fact] = []
    for _, reports in sorted(by_source.items()):
        unnumbered: dict[int, Fact] = {}
        own_numbers = set()
        for fact in reports:
            number = number_of(fact)
            if number is None:
                unnumbered.setdefault(fact.at, fact)
            else:
                own_numbers.add(number)
        # What this sender tells of without a number may be what another sender numbers.
        beyond = max(len(own_numbers) + len(unnumbered) - len(numbers), 0)
        extra = list(unnumbered.values())[len(unnumbered) - min(beyond, len(unnumbered)) :]
        if len(extra) > len(most) or (len(extra) == len(most) and most and key_of(extra) < key_of(most)):
            most = extra
    return most


def key_of(facts: Sequence[Fact]) -> list[tuple[int, str, int]]:
    """Return the sort key of a list of facts."""
    return [fact.order() for fact in facts]


def said(fact: Fact) -> int:
    """Return how much a report of an order tells."""
    properties = fact.body.properties
    return sum(properties.get(name) is not None for name in AMOUNTS) + (2 if properties.get("lines") else 0)


def first_time(named: Mapping[str, Sequence[Fact]], name: str) -> int | None:
    """Return when something happened first."""
    facts = named.get(name)
    return facts[0].at if facts else None


def read_lines(lines: Any) -> list[tuple[str, int, Any]]:
    """Return sku, quantity and price of each line that has them."""
    if not isinstance(lines, list):
        return []
    found = []
    for line in lines:
        if isinstance(line, dict) and line.get("sku") is not None:
            quantity = line.get("quantity", 1)
            found.append((str(line["sku"]), quantity if isinstance(quantity, int) else 1, line.get("unit_price")))
    return found


def amount_minor(value: Any, currency: str) -> int | None:
    """Return an amount as it stands in an event (text or number) in minor units; None when it is none."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return to_minor(Decimal(str(value)), currency)
    except (InvalidOperation, MoneyError, ValueError):
        return None
