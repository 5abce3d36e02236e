"""The ledger: whatever was reported, in whatever order and however often, an order is one order and adds up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop_events import START_MS, Facts
from touchtrail_collector.domain.fact import Fact
from touchtrail_collector.domain.order import Order, derive_orders

WEB, SERVER, TILL = 1, 2, 3


def ledger(facts: Sequence[Fact]) -> Order:
    (order,) = derive_orders(facts, {1: "EUR"})
    assert sum(change.amount_minor for change in order.changes) == order.net_minor
    assert order.net_minor >= 0
    if order.placed_at is not None:
        taken = order.cancelled_minor + order.refunded_minor + order.charged_back_minor
        assert order.net_minor == order.gross_minor - taken
    return order


def told(*events: tuple[str, float, dict[str, Any]]) -> Order:
    facts = Facts()
    return ledger([facts(name, at, **({"order_id": "1"} | properties)) for name, at, properties in events])


def placed(at: float = 0, **properties: Any) -> tuple[str, float, dict[str, Any]]:
    return ("order_placed", at, {"currency": "EUR", "total": "100.00"} | properties)


LINES = [{"sku": "A", "quantity": 2, "unit_price": "30.00"}, {"sku": "B", "quantity": 1, "unit_price": "40.00"}]


def amounts(order: Order) -> tuple[int, int, int, int, int]:
    return (order.gross_minor, order.cancelled_minor, order.refunded_minor, order.charged_back_minor, order.net_minor)


GOLDEN: dict[str, tuple[list[tuple[str, float, dict[str, Any]]], tuple[int, int, int, int, int], str]] = {
    "placed": ([placed()], (10000, 0, 0, 0, 10000), "placed"),
    "paid": ([placed(), ("order_paid", 1, {})], (10000, 0, 0, 0, 10000), "paid"),
    "shipped": ([placed(), ("order_paid", 1, {}), ("order_shipped", 2, {})], (10000, 0, 0, 0, 10000), "shipped"),
    "delivered": ([placed(), ("order_shipped", 2, {}), ("order_delivered", 3, {})], (10000, 0, 0, 0, 10000), "delivered"),
    "cancelled": ([placed(), ("order_cancelled", 1, {})], (10000, 10000, 0, 0, 0), "cancelled"),
    "cancelled in part": ([placed(), ("order_cancelled", 1, {"amount": "40"})], (10000, 4000, 0, 0, 6000), "placed"),
    "cancelled in part, then refunded": (
        [placed(), ("order_cancelled", 1, {"amount": "40"}), ("order_delivered", 2, {}), ("order_refunded", 3, {})],
        (10000, 4000, 6000, 0, 0), "refunded",
    ),
    "refunded after the goods came back": (
        [placed(), ("order_delivered", 1, {}), ("return_received", 2, {}), ("order_refunded", 3, {})],
        (10000, 0, 10000, 0, 0), "returned",
    ),
    "refunded by lines at the order's prices": (
        [placed(lines=LINES), ("order_refunded", 1, {"lines": [{"sku": "A"}, {"sku": "B"}]})],
        (10000, 0, 7000, 0, 3000), "placed",
    ),
    "refunded by lines with a price of their own": (
        [placed(lines=LINES), ("order_refunded", 1, {"lines": [{"sku": "A", "unit_price": "25.00"}]})],
        (10000, 0, 2500, 0, 7500), "placed",
    ),
    "refunded more than there is": (
        [placed(), ("order_refunded", 1, {"amount": "60"}), ("order_refunded", 2, {"amount": "70"})],
        (10000, 0, 10000, 0, 0), "refunded",
    ),
    "two equal refunds of one sender": (
        [placed(), ("order_refunded", 1, {"amount": "20"}), ("order_refunded", 9, {"amount": "20"})],
        (10000, 0, 4000, 0, 6000), "placed",
    ),
    "one refund by its number, told twice": (
        [placed(), ("order_refunded", 1, {"amount": "20", "refund_id": "R"}),
         ("order_refunded", 9, {"amount": "20", "refund_id": "R"})],
        (10000, 0, 2000, 0, 8000), "placed",
    ),
    "chargeback lost": (
        [placed(), ("chargeback_opened", 1, {}), ("chargeback_resolved", 2, {"won": False})],
        (10000, 0, 0, 10000, 0), "charged_back",
    ),
    "chargeback won": (
        [placed(), ("chargeback_opened", 1, {}), ("chargeback_resolved", 2, {"won": True})],
        (10000, 0, 0, 0, 10000), "placed",
    ),
    "chargeback won by a clock that is ahead": (
        [placed(), ("chargeback_resolved", 1, {"won": True}), ("chargeback_opened", 2, {})],
        (10000, 0, 0, 0, 10000), "placed",
    ),
    "one of two chargebacks won": (
        [placed(), ("chargeback_opened", 1, {"amount": "30", "chargeback_id": "X"}),
         ("chargeback_opened", 2, {"amount": "20", "chargeback_id": "Y"}),
         ("chargeback_resolved", 3, {"won": True, "chargeback_id": "X"})],
        (10000, 0, 0, 2000, 8000), "placed",
    ),
    "a win told twice": (
        [placed(), ("chargeback_opened", 1, {"amount": "30"}), ("chargeback_resolved", 2, {"won": True}),
         ("chargeback_opened", 3, {"amount": "10"}), ("chargeback_resolved", 2, {"won": True})],
        (10000, 0, 0, 1000, 9000), "placed",
    ),
    "raised": ([placed(), ("order_updated", 1, {"total": "120.00"})], (12000, 0, 0, 0, 12000), "placed"),
    "lowered below what was refunded": (
        [placed(), ("order_refunded", 1, {"amount": "60"}), ("order_updated", 2, {"total": "50.00"})],
        (6000, 0, 6000, 0, 0), "refunded",
    ),
    "changed by lines": (
        [placed(total=None, lines=LINES), ("order_updated", 1, {"lines": [{"sku": "B", "quantity": 3, "unit_price": "40.00"}]})],
        (12000, 0, 0, 0, 12000), "placed",
    ),
    "worked out from its parts": (
        [placed(total=None, goods="90.00", shipping="5.00", discount="10.00")], (8500, 0, 0, 0, 8500), "placed",
    ),
    "one article in two lines with two prices": (
        [placed(total=None, lines=[{"sku": "A", "unit_price": "10.00"}, {"sku": "A", "unit_price": "5.00"}])],
        (1500, 0, 0, 0, 1500), "placed",
    ),
    "an order of nothing": ([placed(total="0")], (0, 0, 0, 0, 0), "placed"),
    "yen have no cents": (
        [placed(total="1250", currency="JPY"), ("order_refunded", 1, {"amount": "250"})], (1250, 0, 250, 0, 1000), "placed",
    ),
    "dinars have a thousand fils": (
        [placed(total="12.345", currency="KWD"), ("order_refunded", 1, {"amount": "0.345"})],
        (12345, 0, 345, 0, 12000), "placed",
    ),
    "hostile quantities": (
        [placed(total=None, lines=[{"sku": "A", "quantity": 10**18, "unit_price": "1000000000"}])],
        (10**16, 0, 0, 0, 10**16), "placed",
    ),
    "only what came later": ([("order_paid", 1, {}), ("order_refunded", 2, {"amount": "5"})], (0, 0, 0, 0, 0), "unknown"),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected", "state"), GOLDEN.values(), ids=GOLDEN)
def test_an_order_ends_as_its_reports_say(
    events: list[tuple[str, float, dict[str, Any]]], expected: tuple[int, ...], state: str
) -> None:
    order = told(*events)
    assert amounts(order) == expected
    assert order.state == state


@pytest.mark.parametrize(("events", "expected", "state"), GOLDEN.values(), ids=GOLDEN)
def test_another_order_of_arrival_changes_nothing(
    events: list[tuple[str, float, dict[str, Any]]], expected: tuple[int, ...], state: str
) -> None:
    for arrival in permutations(range(len(events))):
        facts = Facts()
        names = [f"e{number}" for number in arrival]
        order = ledger(
            [
                facts(events[number][0], events[number][1], event_id=name, **({"order_id": "1"} | events[number][2]))
                for number, name in zip(arrival, names, strict=True)
            ]
        )
        assert (amounts(order), order.state) == (expected, state)


def test_the_times_of_an_order_are_those_of_its_first_reports() -> None:
    order = told(placed(5), placed(1), ("order_paid", 7, {}), ("order_paid", 6, {}), ("order_shipped", 9, {}),
                 ("order_delivered", 20, {}), ("order_cancelled", 30, {}))  # fmt: skip
    minutes = [order.placed_at, order.paid_at, order.shipped_at, order.delivered_at, order.closed_at]
    assert [(at - START_MS) // 60_000 for at in minutes if at is not None] == [1, 6, 9, 20, 30]


def test_the_report_that_says_most_counts_and_disagreement_is_counted() -> None:
    facts = Facts()
    order = ledger(
        [
            facts("order_placed", 0, source=WEB, order_id="1", currency="EUR"),
            facts("order_placed", 1, source=SERVER, order_id="1", currency="EUR", total="90.00", lines=LINES),
            facts("order_placed", 2, source=TILL, order_id="1", currency="EUR", total="95.00"),
        ]
    )
    assert (order.gross_minor, order.reports, order.conflicts, order.pieces) == (9000, 3, 1, 3)
    assert order.repeated == {2, 3}


REFUND = {"order_id": "1", "amount": "20.00"}


@pytest.mark.parametrize(
    ("reports", "refunded"),
    [
        pytest.param([(WEB, 1, REFUND), (SERVER, 2, REFUND), (TILL, 3, REFUND)], 2000, id="each of three tells of it"),
        pytest.param([(WEB, 1, REFUND), (WEB, 5, REFUND), (SERVER, 2, REFUND)], 4000, id="one sender tells of two"),
        pytest.param([(WEB, 1, REFUND | {"refund_id": "R"}), (SERVER, 2, REFUND)], 2000, id="one with its number"),
        pytest.param(
            [(WEB, 1, REFUND | {"refund_id": "R"}), (SERVER, 2, REFUND), (SERVER, 3, REFUND)], 4000,
            id="one with its number, the other tells of two",
        ),
        pytest.param(
            [(WEB, 1, REFUND | {"refund_id": "R"}), (SERVER, 2, REFUND | {"refund_id": "S"})], 4000, id="two numbers"
        ),
        pytest.param(
            [(WEB, 1, REFUND), (SERVER, 2, {"order_id": "1", "lines": [{"sku": "A", "unit_price": "20.00"}]})], 2000,
            id="one tells the amount, the other the line",
        ),
        pytest.param([(WEB, 1, REFUND), (SERVER, 2, REFUND | {"amount": "20.01"})], 4001, id="two amounts"),
    ],
)  # fmt: skip
def test_a_taking_back_told_by_several_senders_counts_once(
    reports: list[tuple[int, int, dict[str, Any]]], refunded: int
) -> None:
    for arrival in permutations(reports):
        facts = Facts()
        first = facts("order_placed", 0, order_id="1", currency="EUR", total="100.00", lines=LINES)
        told = [
            facts("order_refunded", at, source=source, event_id=f"{source}-{at}", **properties)
            for source, at, properties in arrival
        ]
        order = ledger([*told, first])
        assert order.refunded_minor == refunded
        assert len(order.repeated) == len(reports) - len([c for c in order.changes if c.kind == "refunded"])


def test_what_happened_before_the_order_by_its_own_clock_keeps_its_order() -> None:
    facts = Facts()
    order = ledger(
        [
            facts("order_updated", 0, source=WEB, event_id="e0", order_id="1", total="60.00"),
            facts("order_updated", 10, source=WEB, event_id="e1", order_id="1", total="20.00"),
            facts("order_updated", 1, source=SERVER, event_id="s0", order_id="1", total="60.00"),
            facts("order_placed", 30, source=WEB, event_id="e2", order_id="1", currency="EUR", total="50.00"),
        ]
    )
    assert order.gross_minor == 2000


def test_numbers_that_identify_no_order_make_none() -> None:
    facts = Facts()
    assert (
        derive_orders([facts("order_placed", order_id=number, currency="EUR") for number in ("null", "0", "")], {})
        == []
    )
    assert derive_orders([facts("order_placed", order_id="7", currency="EUR")], {}, {("order", "7")}) == []


REPORT = st.one_of(
    st.fixed_dictionaries({"currency": st.just("EUR")}, optional={
        "total": st.sampled_from(["0", "50.00", "99.99"]), "goods": st.just("80.00"), "lines": st.just(LINES)
    }).map(lambda properties: ("order_placed", properties)),
    st.tuples(
        st.sampled_from(["order_cancelled", "order_refunded", "chargeback_opened", "return_received"]),
        st.fixed_dictionaries({}, optional={
            "amount": st.sampled_from(["10", "30.00", "60"]), "refund_id": st.sampled_from("RS"),
            "cancellation_id": st.just("C"), "chargeback_id": st.sampled_from("XY"),
            "lines": st.sampled_from([[{"sku": "A"}], [{"sku": "Z", "quantity": 2}]]), "reason": st.just("why"),
        }),
    ),
    st.tuples(st.just("chargeback_resolved"), st.fixed_dictionaries({"won": st.booleans()}, optional={"chargeback_id": st.sampled_from("XY")})),
    st.tuples(st.just("order_updated"), st.fixed_dictionaries({}, optional={"total": st.sampled_from(["20", "150"]), "shipping": st.just("4.90"), "lines": st.just(LINES[:1])})),
    st.tuples(st.sampled_from(["order_paid", "order_shipped", "order_delivered"]), st.just({})),
)  # fmt: skip


class Reported(msgspec.Struct, frozen=True):
    name: str
    properties: dict[str, Any]
    at: int
    source: int
    event_id: str


@st.composite
def reports(draw: st.DrawFn) -> list[Reported]:
    drawn = draw(st.lists(st.tuples(REPORT, st.integers(0, 6), st.integers(1, 3)), min_size=1, max_size=8))
    return [
        Reported(name, properties, at, source, f"e{number}")
        for number, ((name, properties), at, source) in enumerate(drawn)
    ]


def comparable(order: Order, ids: dict[int, str]) -> object:
    """Return an order without its places in the log, which are those of arrival; event ids stand in for them."""
    return [
        msgspec.to_builtins(msgspec.structs.replace(order, seq=0, changes=(), repeated=frozenset())),
        [(change.at, change.kind, change.amount_minor, change.reason, ids[change.seq]) for change in order.changes],
        sorted(ids[seq] for seq in order.repeated),
        ids[order.seq],
    ]


@settings(deadline=None)
@given(reports(), st.randoms(use_true_random=False))
def test_any_permutation_of_any_reports_gives_the_same_order(found: list[Reported], random: Any) -> None:
    results = []
    for _ in range(3):
        facts = Facts()
        arrived = [
            facts(r.name, r.at, source=r.source, event_id=r.event_id, order_id="1", **r.properties) for r in found
        ]
        results.append(comparable(ledger(arrived), {fact.seq: fact.event_id for fact in arrived}))
        random.shuffle(found)
    assert results[0] == results[1] == results[2]


@settings(deadline=None)
@given(reports(), st.data())
def test_the_same_reports_from_another_sender_too_change_no_amount(found: list[Reported], data: st.DataObject) -> None:
    """The shop's server repeats what the browser told, with ids and times of its own."""
    one = [msgspec.structs.replace(report, source=WEB, at=number * 10) for number, report in enumerate(found)]
    again = [
        msgspec.structs.replace(
            report, source=SERVER, at=report.at + data.draw(st.integers(0, 5)), event_id=f"s{report.event_id}"
        )
        for report in one
        if data.draw(st.booleans())
    ]

    def derive(all_reports: Sequence[Reported]) -> Order:
        facts = Facts()
        return ledger(
            [
                facts(r.name, r.at, source=r.source, event_id=r.event_id, order_id="1", **r.properties)
                for r in all_reports
            ]
        )

    alone, both = derive(one), derive([*one, *again])
    assert (amounts(both), both.state, both.placed_at) == (amounts(alone), alone.state, alone.placed_at)
