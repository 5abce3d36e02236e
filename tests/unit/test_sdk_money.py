"""Money: exact amounts, ISO 4217 exponents, shares that add up."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail import CurrencyError, Money, MoneyError
from touchtrail.money import exponent, to_minor


@pytest.mark.parametrize(("currency", "digits"), [("EUR", 2), ("JPY", 0), ("ISK", 0), ("KWD", 3), ("CLF", 4)])
def test_exponents_are_those_of_iso_4217(currency: str, digits: int) -> None:
    assert exponent(currency) == digits


@pytest.mark.parametrize("code", ["XYZ", "eur", "", "EURO", None, 7])
def test_an_unknown_code_is_a_currency_error(code: object) -> None:
    with pytest.raises(CurrencyError, match="ISO 4217"):
        exponent(code)  # type: ignore[arg-type]
    with pytest.raises(CurrencyError):
        Money(1, code)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("129.90", "EUR", 12990),
        ("0.005", "EUR", 1),
        ("-0.005", "EUR", -1),
        ("0.0049", "EUR", 0),
        ("1234.5", "JPY", 1235),
        ("1.2345", "KWD", 1235),
        ("1.23456", "CLF", 12346),
        ("1E+3", "EUR", 100000),
    ],
)
def test_to_minor_rounds_half_up_to_the_minor_unit(amount: str, currency: str, minor: int) -> None:
    assert to_minor(Decimal(amount), currency) == minor


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity", "1E+1000000", "sNaN"])
def test_an_amount_that_is_no_money_is_a_money_error(amount: str) -> None:
    with pytest.raises(MoneyError):
        to_minor(Decimal(amount), "EUR")
    with pytest.raises(MoneyError):
        Money.from_decimal(Decimal(amount), "EUR")


@given(st.integers(-(10**15), 10**15), st.sampled_from(["EUR", "JPY", "KWD", "UYW"]))
def test_decimal_and_back_is_the_same_money(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert Money.from_decimal(money.to_decimal(), currency) == money
    assert Money.parse(str(money)) == money
    assert to_minor(money.to_decimal(), currency) == minor


def test_too_many_decimals_are_an_error_unless_rounding_is_asked_for() -> None:
    with pytest.raises(MoneyError, match="2 decimals of EUR"):
        Money.from_decimal("1.005", "EUR")
    assert Money.from_decimal("1.005", "EUR", round_half_even=True) == Money(100, "EUR")
    assert Money.from_decimal("1.015", "EUR", round_half_even=True) == Money(102, "EUR")
    assert Money.from_decimal("1.000", "EUR") == Money(100, "EUR")


@pytest.mark.parametrize("text", ["", "12", "12 EUR 3", "twelve EUR", "12,50 EUR"])
def test_text_that_is_no_money_is_a_money_error(text: str) -> None:
    with pytest.raises(MoneyError):
        Money.parse(text)


def test_money_adds_subtracts_and_compares_within_one_currency_only() -> None:
    ten, three = Money(1000, "EUR"), Money.parse("EUR 3.00")
    assert ten + three == Money(1300, "EUR")
    assert three - ten == Money(-700, "EUR") == -(ten - three)
    assert three < ten
    assert ten >= three
    with pytest.raises(CurrencyError, match="EUR and USD"):
        ten + Money(1, "USD")
    with pytest.raises(CurrencyError):
        _ = ten < Money(1, "USD")


weights = st.lists(
    st.one_of(st.integers(0, 10**6), st.floats(0, 1e6), st.decimals(0, 1000, places=3)), min_size=1, max_size=12
).filter(any)


@given(st.integers(-(10**12), 10**12), weights)
def test_shares_add_up_and_stay_within_a_unit_of_their_exact_part(minor: int, parts: list[float]) -> None:
    shares = [share.amount_minor for share in Money(minor, "EUR").allocate(parts)]
    assert sum(shares) == minor
    ratios = [Decimal(part) for part in parts]
    for share, ratio in zip(shares, ratios, strict=True):
        assert abs(share - minor * ratio / sum(ratios)) < Decimal("1.0001")
        assert share == 0 or ratio > 0


@given(st.integers(0, 10**9), weights)
def test_a_negative_amount_is_shared_like_its_positive_twin(minor: int, parts: list[float]) -> None:
    positive = Money(minor, "EUR").allocate(parts)
    assert Money(-minor, "EUR").allocate(parts) == tuple(-share for share in positive)


def test_left_over_units_go_to_the_largest_remainder_and_ties_to_the_earliest() -> None:
    assert [share.amount_minor for share in Money(100, "EUR").allocate([1, 1, 1])] == [34, 33, 33]
    assert [share.amount_minor for share in Money(5, "EUR").allocate([1, 2, 1])] == [1, 3, 1]
    assert [share.amount_minor for share in Money(10, "EUR").allocate([0.1, 0.2, 0])] == [3, 7, 0]


@pytest.mark.parametrize("parts", [[], [0, 0], [1, -1], [float("nan")], [float("inf")], ["1"]])
def test_weights_that_cannot_share_are_a_money_error(parts: list[object]) -> None:
    with pytest.raises(MoneyError, match="weights"):
        Money(1, "EUR").allocate(parts)  # type: ignore[arg-type]
