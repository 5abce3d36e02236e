"""Overview, channels, paths and orders: every number against tables one can add up by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from seeded_shop import SeededShop
from touchtrail_collector.services.reports import REPORTS


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SeededShop]:
    """Ann orders twice, Bob looks, Eve is a robot, Dan came long ago; Ann's first order is half refunded."""
    with SeededShop(tmp_path / "shop.db") as shop:
        ann = shop.person(1, "2026-01-05", customer_id="c-ann")
        bob = shop.person(2, "2026-01-20")
        eve = shop.person(3, "2026-01-20", is_bot=1)
        dan = shop.person(4, "2025-06-01")
        shop.touch(ann, "2026-01-05", "Paid Search")
        shop.touch(ann, "2026-01-06", "Paid Search")
        shop.touch(ann, "2026-01-07", "Email", "click")
        shop.touch(ann, "2026-02-10", "Email", "click")
        shop.touch(ann, "2026-02-11", None, "notice", creditable=0, name="order_shipped")
        shop.touch(bob, "2026-01-20", "Display", "impression")
        shop.touch(bob, "2026-01-21", "Store", "encounter")
        shop.touch(dan, "2025-06-01", "Paid Search")
        shop.touch(dan, "2026-01-31T23:30", "Direct")
        for day in range(1, 6):
            shop.touch(eve, f"2026-01-2{day}", "Paid Search")
        shop.order("A-1", ann, "2026-01-08", 10_000, state="refunded", changes=(("2026-02-03", "refunded", -4_000),))
        shop.order("A-2", ann, "2026-02-12", 6_001, state="shipped")
        shop.order("A-3", ann, "2026-02-12", 5_000, currency="USD")
        shop.order("R-1", eve, "2026-01-26", 99_999)
        shop.session(ann, "2026-01-05", "Paid Search")
        shop.session(ann, "2026-02-10", "Email")
        shop.session(eve, "2026-01-21", "Paid Search")
        shop.signal(ann, "2026-01-06", "page_slow", "pain", channel_id=3)
        shop.signal(ann, "2026-02-20", "order_delivered", "gain")
        shop.signal(eve, "2026-01-22", "script_failed", "pain", channel_id=3)
        shop.cost("2026-01-05", "Paid Search", 2_000, clicks=40, impressions=900)
        yield shop


def fields(struct: Any, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(struct, name) for name in names)


def test_overview_answers_the_four_questions(shop: SeededShop) -> None:
    report = shop.report("overview", start="2026-01-01", end="2026-01-31")
    assert fields(report.reach, "persons", "new_persons", "returning_persons", "sessions", "touchpoints") == (
        3,
        2,
        1,
        1,
        6,
    )
    assert fields(report.fit, "identified", "customers", "new_share", "new_conversion_rate") == (1, 1, 2 / 3, 0.5)
    assert fields(report.experience, "pain_signals", "gain_signals") == (1, 0)
    assert msgspec.structs.astuple(report.conversion.totals) == (1, 10_000, 0, 4_000, 0, 6_000)
    sales = ("buyers", "new_buyers", "conversion_rate", "average_order_minor", "kept_share", "repeat_rate")
    assert fields(report.conversion, *sales) == (1, 1, 1 / 3, 10_000, 0.6, 0.0)
    assert report.scope.bots_left_out == 1


def test_overview_counts_repeat_buyers_until_the_end_of_the_period_and_rounds_half_up(shop: SeededShop) -> None:
    report = shop.report("overview")
    assert report.conversion.repeat_rate == 1.0
    assert report.conversion.average_order_minor == 8_001  # 16 001 / 2
    assert fields(report.other_currencies[0], "currency", "orders", "net_minor") == ("USD", 1, 5_000)


def test_overview_months_follow_the_time_zone(shop: SeededShop) -> None:
    utc = shop.report("overview", start="2026-01-01")
    berlin = shop.report("overview", start="2026-01-01", time_zone="Europe/Berlin")
    names = ("month", "persons", "new_persons", "sessions", "touchpoints", "orders", "gross_minor", "net_minor")
    assert [fields(month, *names) for month in utc.months] == [
        ("2026-01", 3, 2, 1, 6, 1, 10_000, 6_000),
        ("2026-02", 1, 0, 1, 2, 1, 6_001, 6_001),
    ]
    assert [fields(month, "month", "persons", "touchpoints") for month in berlin.months] == [
        ("2026-01", 2, 5),
        ("2026-02", 2, 3),
    ]


def test_overview_leaves_months_without_anything_out(shop: SeededShop) -> None:
    assert [month.month for month in shop.report("overview").months] == ["2025-06", "2026-01", "2026-02"]


def test_overview_summarises_surveys_of_people(shop: SeededShop) -> None:
    for n, score in enumerate((10, 9, 7, 0)):
        shop.signal(1, f"2026-03-0{n + 1}", "nps", "neutral", score=float(score), scale=10.0)
    shop.signal(3, "2026-03-01", "nps", "pain", score=0.0, scale=10.0)
    shop.signal(1, "2026-03-01", "nps", "pain", score=3.0, scale=5.0)
    experience = shop.report("overview").experience
    (nps,) = experience.surveys
    assert fields(nps, "kind", "n", "score", "mean") == ("nps", 4, 25.0, 6.5)
    assert experience.answers_left_out == 1


def test_channels_counts_contacts_people_first_contacts_and_last_touches(shop: SeededShop) -> None:
    report = shop.report("channels", start="2026-01-01", end="2026-01-31")
    names = (
        "channel",
        "visits",
        "clicks",
        "impressions",
        "encounters",
        "persons",
        "first_contacts",
        "last_touch_orders",
    )
    assert [fields(row, *names) for row in report.channels] == [
        ("Email", 0, 1, 0, 0, 1, 0, 1),
        ("Direct", 1, 0, 0, 0, 1, 0, 0),
        ("Display", 0, 0, 1, 0, 1, 1, 0),
        ("Paid Search", 2, 0, 0, 0, 1, 1, 0),
        ("Store", 0, 0, 0, 1, 1, 0, 0),
    ]
    paid = next(row for row in report.channels if row.channel == "Paid Search")
    assert fields(paid, "medium", "online", "sessions", "pain_signals") == ("paid", True, 1, 1)
    assert fields(paid, "cost_minor", "paid_impressions", "paid_clicks") == (2_000, 900, 40)


def test_channels_shows_orders_without_a_touch_in_a_bucket_of_their_own(shop: SeededShop) -> None:
    shop.person(8)
    shop.order("A-8", 8, "2026-01-15", 500)
    report = shop.report("channels", start="2026-01-01", end="2026-01-31")
    assert fields(report.channels[-1], "channel", "medium", "last_touch_orders") == ("(none)", None, 1)


def test_paths_ranks_the_ways_to_an_order(shop: SeededShop) -> None:
    report = shop.report("paths")
    names = ("path", "conversions", "share", "net_minor", "median_days", "touches", "not_converting")
    assert [fields(row, *names) for row in report.paths] == [
        (("Email",), 1, 0.5, 6_001, 2.0, 1, 0),
        (("Paid Search", "Paid Search", "Email"), 1, 0.5, 6_000, 3.0, 3, 0),
    ]
    assert fields(report, "conversions", "net_minor", "different_paths", "non_converting_paths") == (2, 12_001, 2, 2)
    assert fields(report, "median_days", "median_touches") == (2.5, 2.0)


def test_paths_can_collapse_repeats_and_counts_people_on_the_same_path_who_did_not_order(shop: SeededShop) -> None:
    shop.person(9)
    for at, channel in (("2026-01-02", "Paid Search"), ("2026-01-03", "Email"), ("2026-01-04", "Email")):
        shop.touch(9, at, channel)
    report = shop.report("paths", path="exposure", limit="1", end="2026-01-31")
    assert fields(report.paths[0], "path", "touches", "not_converting") == (("Paid Search", "Email"), 2, 1)


def test_orders_sums_by_state_and_by_month_of_order_and_of_change(shop: SeededShop) -> None:
    report = shop.report("orders")
    assert [msgspec.structs.astuple(row) for row in report.states] == [
        ("shipped", 1, 6_001, 6_001),
        ("refunded", 1, 10_000, 6_000),
    ]
    assert [msgspec.structs.astuple(row) for row in report.months] == [
        ("2026-01", 1, 10_000, 0, 4_000, 0, 6_000, 10_000),
        ("2026-02", 1, 6_001, 0, 0, 0, 6_001, 2_001),
    ]
    assert report.booked_minor == report.totals.net_minor == 12_001


def test_orders_lists_the_newest_first_and_the_conflicts(shop: SeededShop) -> None:
    shop.order("A-4", 1, "2026-03-01", 100, reports=3, conflicts=1)
    report = shop.report("orders", limit="2")
    assert [order.order_id for order in report.orders] == ["A-4", "A-2"]
    assert [fields(order, "order_id", "reports", "conflicts") for order in report.conflicts] == [("A-4", 3, 1)]


def test_a_change_in_a_month_without_orders_still_shows_its_month(shop: SeededShop) -> None:
    months = shop.report("orders", start="2026-02-01", end="2026-02-05").months
    assert [fields(month, "month", "orders", "booked_minor") for month in months] == [("2026-02", 0, -4_000)]


@pytest.mark.parametrize("name", REPORTS)
def test_an_empty_database_gives_noughts_and_not_an_error(tmp_path: Path, name: str) -> None:
    with SeededShop(tmp_path / "empty.db") as shop:
        report = shop.report(name)
        assert report.scope.shop == "default"
        assert REPORTS[name].tables(report)


@pytest.mark.parametrize("name", REPORTS)
def test_a_result_goes_through_json_and_back(shop: SeededShop, name: str) -> None:
    result = shop.report(name)
    assert msgspec.json.decode(msgspec.json.encode(result), type=REPORTS[name].result) == result


@pytest.mark.parametrize("name", REPORTS)
def test_table_rows_have_a_cell_per_column_and_names_of_tables_are_unique(shop: SeededShop, name: str) -> None:
    tables = REPORTS[name].tables(shop.report(name))
    assert len({table.name for table in tables}) == len(tables)
    for table in tables:
        assert {len(row) for row in table.rows} <= {len(table.columns)}


def test_several_shops_are_kept_apart(shop: SeededShop) -> None:
    shop.insert("shops", shop_id=2, name="outlet", currency="CHF")
    shop.person(20, shop_id=2)
    shop.touch(20, "2026-01-10", "Email")
    shop.order("A-1", 20, "2026-01-11", 700, shop_id=2, currency="CHF")
    outlet = shop.report("attribution", shop="outlet")
    assert (outlet.scope.currency, outlet.conversions, outlet.revenue_minor) == ("CHF", 1, 700)
    assert shop.report("orders", shop="default").totals.orders == 2
    assert shop.report("overview", shop="outlet").reach.persons == 1


def test_a_wrong_clock_centuries_away_breaks_no_report(shop: SeededShop) -> None:
    for at in (-(10**13), 10**15):
        shop.db.execute(
            "UPDATE touchpoints SET at = ? WHERE seq = (SELECT max(seq) FROM touchpoints WHERE at < 1e13)", (at,)
        )
        assert shop.report("overview").months
        shop.report("attribution")
