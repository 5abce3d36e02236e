"""What people write into cells: amounts, whole numbers, times and days."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_plugins.sources import _csv_cell as cell


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("129.90", "129.90"), ("129,90", "129.90"), ("1.299,90", "1299.90"), ("1,299.90", "1299.90"),
        ("1.299.000", "1299000"), ("1,299,000", "1299000"), ("1 299,90", "1299.90"), ("1'299.90", "1299.90"),
        ("1\u202f299,90\u00a0€", "1299.90"), ("€ 12,5", "12.5"), ("EUR 12.50", "12.50"), ("12,50 EUR", "12.50"),
        ("0", "0"), ("007", "7"), ("0.125", "0.125"), ("0,125", "0.125"), (",50", "0.50"), ("-3,50", "-3.50"),
        ("3,50-", "-3.50"), ("+3", "3"), ("1234.567", "1234.567"),
    ],
)  # fmt: skip
def test_an_amount_is_read_when_it_can_mean_one_thing_only(text: str, amount: str) -> None:
    assert cell.to_amount(text) == amount


@pytest.mark.parametrize("text", ["1.299", "1,299", "12.345", "999,000"])
def test_an_amount_that_can_be_read_two_ways_is_refused_until_the_option_says_which(text: str) -> None:
    with pytest.raises(cell.CellError, match="decimal=point or --option decimal=comma"):
        cell.to_amount(text)
    readings = set()
    for decimal in ("point", "comma"):
        readings.add(Decimal(cell.to_amount(text, decimal)))
    assert max(readings) == 1000 * min(readings)


@pytest.mark.parametrize(
    ("text", "decimal"),
    [("abc", "auto"), ("12a", "auto"), ("1.2.3", "auto"), ("1,23.45.6", "auto"), ("1.29", "comma"), ("1,29", "point"),
     ("--1", "auto"),
     ("1e5", "auto"), ("٣", "auto"), (".", "auto"), ("12 34", "auto"), ("1.299.00,5", "auto")],
)  # fmt: skip
def test_what_is_no_amount_is_refused(text: str, decimal: cell.Decimal) -> None:
    with pytest.raises(cell.CellError, match="expected an amount such as"):
        cell.to_amount(text, decimal)


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2), st.booleans(), st.booleans())
def test_any_amount_is_read_back_as_it_was_written_in_either_manner(
    amount: Decimal, is_german: bool, is_parted: bool
) -> None:
    text = f"{amount:,.2f}" if is_parted else f"{amount:.2f}"
    if is_german:
        text = text.translate(str.maketrans(",.", ".,"))
    assert Decimal(cell.to_amount(text)) == amount


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused_with_what_was_expected(text: str) -> None:
    for convert in (
        cell.to_amount,
        cell.to_count,
        cell.to_number,
        cell.to_moment,
        cell.to_day,
        cell.to_flag,
        cell.to_currency,
    ):
        try:
            read = convert(text)
        except cell.CellError as error:
            read = str(error)
            assert "expected" in read or "can mean" in read
        assert read is not None


@pytest.mark.parametrize(
    ("text", "count"), [("2", 2), ("2,0", 2), ("2.00", 2), ("1.299", 1299), ("1,299,000", 1299000), ("1 299", 1299)]
)
def test_a_whole_number_may_be_parted_in_thousands(text: str, count: int) -> None:
    assert cell.to_count(text) == count


@pytest.mark.parametrize("text", ["2,5", "-1", "two", "", "1.2990"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(cell.CellError, match="whole number"):
        cell.to_count(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00.000Z"),
        ("2026-11-21T10:00:00.123456+01:00", "2026-11-21T09:00:00.123Z"),
        ("2026-11-21 10:00", "2026-11-21T09:00:00.000Z"),
        ("2026-07-21 10:00", "2026-07-21T08:00:00.000Z"),
        ("2026-11-21", "2026-11-20T23:00:00.000Z"),
        ("21.11.2026 10:00", "2026-11-21T09:00:00.000Z"),
        ("1.3.2026, 9:05:07", "2026-03-01T08:05:07.000Z"),
        ("21.11.2026 10:00 Uhr", "2026-11-21T09:00:00.000Z"),
    ],
)
def test_a_time_without_a_zone_is_in_the_files_zone(text: str, moment: str) -> None:
    assert cell.to_moment(text, ZoneInfo("Europe/Berlin")) == moment


@pytest.mark.parametrize(
    "text", ["11/21/2026", "21.13.2026", "2026-11-31", "21.11.26 10:00", "10:00", "0001-01-01T00:00:00+14:00"]
)
def test_what_is_no_time_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(cell.CellError, match=r"expected a time such as 2026-11-21T10:00:00Z, .* or 21\.11\.2026 10:00"):
        cell.to_moment(text)


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2090, 1, 1)))
def test_a_german_time_is_the_same_as_the_iso_time(at: datetime) -> None:
    at = at.replace(microsecond=0)
    assert cell.to_moment(f"{at:%d.%m.%Y %H:%M:%S}", UTC) == cell.to_moment(at.isoformat(), UTC)
    assert cell.to_day(f"{at:%d.%m.%Y}") == at.date().isoformat()
