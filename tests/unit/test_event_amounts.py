"""Amounts of money at the edge: how they may be written, and what finer ones than can be paid count as."""

from __future__ import annotations

import typing
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop_events import wire_event
from touchtrail.events import VOCABULARY, Event, EventSpec, Line
from touchtrail.money import exponent, to_minor
from touchtrail_collector.domain.advice import mend_amount
from touchtrail_collector.domain.event import EventChecker, EventRejected
from touchtrail_collector.domain.privacy import Pseudonymiser
from touchtrail_collector.domain.typed_event import as_written

CHECKER = EventChecker(VOCABULARY, Pseudonymiser(b"secret"))
NOW = 1_790_000_000_000
# The second way there is for an event: with an address in it, it is read step by step.
WAYS: dict[str, dict[str, Any]] = {"in one go": {}, "step by step": {"identifiers": {"email": "a@b.example"}}}


def verdict(way: str, name: str = "order_placed", /, **properties: Any) -> tuple[str, str | None, str] | None:
    given = ({"order_id": "1", "currency": "EUR"} if name.startswith("order") else {}) | properties
    raw = msgspec.json.encode(wire_event("e", name, properties=given) | WAYS[way])
    try:
        CHECKER.check(raw, now_ms=NOW)
    except EventRejected as error:
        return error.code, error.field, error.message
    return None


GOOD: dict[str, Any] = {
    "digits and a point": "129.90", "digits": "129", "zero": "0", "no digit before the point": ".50",
    "none after it": "5.", "zeros before": "007.50", "zeros after": "129.9000", "minus nothing": "-0.00",
    "the most": "1000000000000", "a number": 129.9, "a whole number": 129, "a number with a power": msgspec.Raw(b"1.299e2"),
    "what a decimal writes itself as": str(Decimal("100.00").normalize()), "a tiny one": str(Decimal("0.00000010")),
    "a plus sign": "+1", "a power of ten": "1e3", "another": "1E3", "a large one": "12E+1",
    "a sum of floats": 0.1 + 0.2, "a sum of floats as text": str(1.1 * 3), "a product of floats": 19.99 * 3,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("amount", GOOD.values(), ids=GOOD)
def test_amounts_as_programs_write_them_are_kept(amount: Any, way: str) -> None:
    assert verdict(way, total=amount) is None
    assert verdict(way, lines=[{"sku": "s", "unit_price": amount}]) is None


ODD = {
    "underscores": "1_0", "blanks": " 1 ", "two signs": "+-1", "a power of nothing": "1e", "a power with a point": "1e1.5",
    "Arabic digits": "١٢٣", "wide digits": "１２", "a comma": "12,50", "thousands": "1,299.00", "a currency": "12 EUR",
    "two points": "1.2.3", "only a point": ".", "only a minus": "-", "nothing": "", "a word": "Infinity", "NaN": "NaN",
    "a line after it": "12\n", "NUL": "1\0",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("amount", ODD.values(), ids=ODD)
def test_an_amount_is_digits_and_one_point_and_nothing_else(amount: str, way: str) -> None:
    for properties, field in (
        ({"total": amount}, "properties.total"),
        ({"tax": amount}, "properties.tax"),
        ({"lines": [{"sku": "s"}, {"sku": "t", "unit_price": amount}]}, "properties.lines[1].unit_price"),
    ):
        found = verdict(way, **properties)
        assert found is not None
        assert found[:2] == ("invalid_value", field)
        assert found[2] == f"{field} must be an amount such as 129.90: digits and one point" or "between 0" in found[2]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "amount",
    ["-0.01", "1000000000000.01", 10**13, -1, -0.5, "1E+13", "9" * 400, 10**400, -(10**400)],
    ids=lambda amount: str(amount)[:20],
)
def test_amounts_out_of_bounds_are_named(amount: Any, way: str) -> None:
    if isinstance(amount, int):
        amount = msgspec.Raw(str(amount).encode())
    found = verdict(way, total=amount)
    assert found is not None
    assert found[:2] == ("invalid_value", "properties.total")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("134.805", "EUR", 13481),
        (134.804, "EUR", 13480),
        ("0.001", "EUR", 0),
        ("1234.5", "JPY", 1235),
        ("1.2345", "KWD", 1235),
    ],
)
def test_a_finer_amount_than_can_be_paid_is_kept_and_counts_rounded_half_up(
    amount: Any, currency: str, minor: int, way: str
) -> None:
    assert verdict(way, total=amount, currency=currency) is None
    assert verdict(way, "order_refunded", amount=amount, currency=currency) is None
    assert to_minor(Decimal(str(amount)), currency) == minor


@given(st.integers(0, 10**10), st.sampled_from(["EUR", "JPY", "KWD"]), st.lists(st.integers(0, 10**6), max_size=4))
def test_what_computers_make_of_whole_cents_is_kept_and_means_them(
    minor: int, currency: str, others: list[int]
) -> None:
    """Added up and taken apart again as floats, an amount may end in anything; it still means the same cents."""
    scale = 10 ** exponent(currency)
    amount = minor / scale
    for other in others:
        amount = amount + other / scale
    for other in others:
        amount = amount - other / scale
    amount = abs(amount)
    assert verdict("in one go", total=amount, currency=currency) is None
    assert to_minor(Decimal(str(amount)), currency) == minor


@given(st.text(st.sampled_from("0123456789.-+_eE ,١"), max_size=6))
def test_a_text_is_an_amount_both_ways_or_neither_and_reads_as_it_is_written(text: str) -> None:
    verdicts = [verdict(way, tax=text) for way in WAYS]
    assert verdicts[0] == verdicts[1]
    if verdicts[0] is None:
        assert set(text) <= set("0123456789.-+eE")
        assert Decimal(text) >= 0


def test_an_event_with_money_is_read_as_its_sender_wrote_it_and_nothing_else_of_it_changes() -> None:
    exercised = 0
    for kind in VOCABULARY.values():
        written = as_written(kind)
        assert written is not None
        if written is kind:
            continue
        exercised += 1
        ours, theirs = msgspec.structs.fields(written), msgspec.structs.fields(kind)
        assert [(f.name, f.encode_name, f.required, f.default) for f in ours] == [
            (f.name, f.encode_name, f.required, f.default) for f in theirs
        ]
        for mine, theirs_ in zip(ours, theirs, strict=True):
            if "Decimal" not in repr(theirs_.type) and "Line" not in repr(theirs_.type):
                assert mine.type == theirs_.type
            else:
                assert "Decimal" not in repr(mine.type)
    assert exercised >= 20


class Careful(Event, frozen=True):
    """A plugin's event that checks itself."""

    spec = EventSpec("careful_paid", "purchase", "notice")

    amount: Decimal
    tips: dict[str, Decimal] | None = None

    def __post_init__(self) -> None:
        if self.amount == 13:
            raise ValueError("thirteen")


def test_a_plugins_event_that_checks_itself_is_not_got_round() -> None:
    checker = EventChecker(VOCABULARY | {"careful_paid": Careful}, Pseudonymiser(b"secret"))
    assert as_written(Careful) is None
    for amount, is_kept in (("12.50", True), ("13", False), ("-1", False), ("NaN", False)):
        raw = msgspec.json.encode(wire_event("e", "careful_paid", properties={"amount": amount}))
        if is_kept:
            assert checker.check(raw, now_ms=NOW).event_id == "e"
            continue
        with pytest.raises(EventRejected) as caught:
            checker.check(raw, now_ms=NOW)
        assert "properties" in (caught.value.field or "")


def test_lines_are_read_as_written_too() -> None:
    line = as_written(Line)
    assert line is not None
    assert "Decimal" not in repr(typing.get_type_hints(line))


@pytest.mark.parametrize(
    ("text", "better"), [("١٢٫٥", "12.5"), ("١٢", "12"), ("1e3", None), ("1.299,00 €", "1299.00"), ("+12.50", "12.50")]
)
def test_advice_on_an_amount_never_makes_another_of_it(text: str, better: str | None) -> None:
    assert mend_amount(text) == better
