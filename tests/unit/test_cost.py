"""Advertising costs: a span becomes days that add up to it, in the channel that was paid for."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop_events import Facts, small_classifier
from touchtrail_collector.domain.cost import Cost, costs_of

CLASSIFIER = small_classifier()


def costs(**properties: Any) -> list[Cost]:
    given = {"currency": "EUR", "amount": "10.00", "starts_on": "2026-02-27"} | properties
    return list(costs_of(Facts()("ad_spend_reported", **given), CLASSIFIER))


def test_one_day_without_an_end_is_one_row() -> None:
    (cost,) = costs(impressions=5, clicks=1)
    assert (cost.day, cost.amount_minor, cost.impressions, cost.clicks) == ("2026-02-27", 1000, 5, 1)


def test_a_span_is_spread_over_its_days_the_remainder_first() -> None:
    rows = costs(ends_on="2026-03-01", amount="10.00", impressions=4)
    assert [(row.day, row.amount_minor, row.impressions, row.clicks) for row in rows] == [
        ("2026-02-27", 334, 2, None), ("2026-02-28", 333, 1, None), ("2026-03-01", 333, 1, None),
    ]  # fmt: skip


@settings(deadline=None)
@given(amount=st.decimals(0, 10**9, places=2), days=st.integers(1, 40), clicks=st.integers(0, 10**6))
def test_days_add_up_to_what_was_reported(amount: Any, days: int, clicks: int) -> None:
    end = (date(2026, 1, 1) + timedelta(days=days - 1)).isoformat()
    rows = costs(starts_on="2026-01-01", ends_on=end, amount=str(amount), clicks=clicks)
    assert len(rows) == days
    assert sum(row.amount_minor for row in rows) == round(amount * 100)
    assert sum(row.clicks or 0 for row in rows) == clicks


@pytest.mark.parametrize(
    ("named", "channel"),
    [
        ({"channel": "paid"}, "Paid"),
        ({"channel": " EMAIL "}, "Email"),
        ({"medium": "cpc", "source": "google"}, "Paid"),
        ({"channel": "carrier pigeon", "medium": "email"}, "Email"),
        ({"channel": "carrier pigeon"}, "Unassigned"),
        ({}, "Unassigned"),
    ],
)
def test_the_channel_is_the_one_named_else_what_its_clicks_would_be(named: dict[str, str], channel: str) -> None:
    assert [row.channel for row in costs(**named)] == [channel]


@pytest.mark.parametrize(
    "nonsense",
    [{"ends_on": "2026-02-26"}, {"starts_on": "soon"}, {"amount": "much"}, {"amount": None}, {"currency": None}],
)
def test_what_makes_no_sense_costs_nothing(nonsense: dict[str, Any]) -> None:
    assert costs(**nonsense) == []
