"""Attribution: credits add up to the ledger, on both bases, at any as-of date, in one currency, without robots."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from seeded_shop import SeededShop, ms
from touchtrail_collector.api import AttributionModel
from touchtrail_collector.errors import ReportError

MONTHS = [
    ("2026-01-01", "2026-01-31"),
    ("2026-02-01", "2026-02-28"),
    ("2026-03-01", "2026-03-31"),
    ("2026-04-01", "2026-12-31"),
]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SeededShop]:
    with SeededShop(tmp_path / "shop.db") as shop:
        yield shop


@pytest.fixture
def story(shop: SeededShop) -> SeededShop:
    """The order that did not stay: an ad seen, a newsletter clicked, a half refunded, the rest cancelled."""
    shop.person(1)
    shop.touch(1, "2026-01-10", "Display", "impression", name="ad_impression")
    shop.touch(1, "2026-01-12", "Email", "click", name="email_clicked")
    shop.order(
        "A-1",
        1,
        "2026-01-15",
        10_000,
        changes=(("2026-02-01", "refunded", -5_000), ("2026-03-05", "cancelled", -5_000)),
    )
    return shop


def revenue(report: Any, model: str) -> dict[str, int]:
    pairs = ((row.channel, credit) for row in report.channels for credit in row.credits)
    return {channel: credit.revenue_minor for channel, credit in pairs if credit.model == model}


def conversions(report: Any, model: str) -> dict[str, int]:
    pairs = ((row.channel, credit) for row in report.channels for credit in row.credits)
    return {channel: credit.conversions_micro for channel, credit in pairs if credit.model == model}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("first_touch", {"Display": 10_000, "Email": 0}),
        ("last_touch", {"Display": 0, "Email": 10_000}),
        ("linear", {"Display": 5_000, "Email": 5_000}),
        ("position_based", {"Display": 5_000, "Email": 5_000}),
        # Ages 5 and 3 days, half-life 7: the older touch has 2^(-2/7) of the younger one's weight.
        ("time_decay", {"Display": 4_507, "Email": 5_493}),
    ],
)
def test_each_model_shares_the_order_as_it_was_before_the_takebacks(
    story: SeededShop, model: str, expected: Any
) -> None:
    assert revenue(story.report("attribution", as_of="2026-01-31"), model) == expected


def test_takebacks_lower_the_credit_of_the_touches_it_was_given_to(story: SeededShop) -> None:
    half = story.report("attribution", as_of="2026-02-01")
    nothing = story.report("attribution")
    assert revenue(half, "linear") == {"Display": 2_500, "Email": 2_500}
    assert revenue(nothing, "linear") == {"Display": 0, "Email": 0}
    assert (nothing.conversions, nothing.revenue_minor) == (1, 0)
    assert conversions(nothing, "linear") == {"Display": 500_000, "Email": 500_000}


def test_on_the_change_basis_a_takeback_is_negative_on_the_day_it_happens(story: SeededShop) -> None:
    february = story.report("attribution", start="2026-02-01", end="2026-02-28", basis="change_date")
    assert revenue(february, "last_touch") == {"Display": 0, "Email": -5_000}
    assert conversions(february, "last_touch") == {"Display": 0, "Email": 0}
    assert (february.conversions, february.revenue_minor) == (0, -5_000)


def test_an_order_does_not_exist_before_the_day_it_was_placed(story: SeededShop) -> None:
    report = story.report("attribution", as_of="2026-01-14")
    assert (report.conversions, report.revenue_minor, report.channels) == (0, 0, ())


def test_impressions_can_be_left_out(story: SeededShop) -> None:
    report = story.report("attribution", impressions="false", as_of="2026-01-31")
    assert revenue(report, "first_touch") == {"Email": 10_000}
    assert report.window.impressions is False


def test_touches_outside_the_window_leave_the_order_in_the_bucket_of_its_own(story: SeededShop) -> None:
    report = story.report("attribution", lookback_days="2", as_of="2026-01-31")
    assert revenue(report, "linear") == {"(none)": 10_000}
    assert conversions(report, "linear") == {"(none)": 1_000_000}
    assert report.channels[-1].medium is None


def test_since_last_gives_the_second_order_only_what_came_after_the_first(story: SeededShop) -> None:
    story.touch(1, "2026-01-20", "Store", "encounter")
    story.order("A-2", 1, "2026-01-25", 3_000)
    february_free = {"start": "2026-01-20", "end": "2026-01-31"}
    full = story.report("attribution", **february_free)
    since = story.report("attribution", repeat="since_last", **february_free)
    assert revenue(full, "linear") == {"Display": 1_000, "Email": 1_000, "Store": 1_000}
    assert revenue(since, "linear") == {"Store": 3_000}


def test_exposure_counts_touches_of_one_channel_in_a_row_once(shop: SeededShop) -> None:
    shop.person(1)
    for day, channel in ((1, "Email"), (2, "Email"), (3, "Email"), (4, "Display"), (5, "Email")):
        shop.touch(1, f"2026-01-0{day}", channel)
    shop.order("A-1", 1, "2026-01-06", 9_000)
    assert revenue(shop.report("attribution"), "linear") == {"Email": 7_200, "Display": 1_800}
    assert revenue(shop.report("attribution", path="exposure"), "linear") == {"Email": 6_000, "Display": 3_000}


def test_robots_and_other_currencies_are_left_out_and_listed(story: SeededShop) -> None:
    story.person(2, is_bot=1)
    story.touch(2, "2026-01-10", "Paid Search")
    story.order("B-1", 2, "2026-01-11", 77_700)
    story.order("A-2", 1, "2026-01-16", 20_000, currency="USD", changes=(("2026-01-20", "refunded", -5_000),))
    report = story.report("attribution", as_of="2026-01-31")
    assert report.revenue_minor == 10_000
    assert report.scope.bots_left_out == 1
    assert [msgspec.structs.astuple(other) for other in report.other_currencies] == [("USD", 1, 20_000, 15_000)]
    dollars = story.report("attribution", currency="usd")
    assert (dollars.scope.currency, dollars.revenue_minor) == ("USD", 15_000)


def test_an_order_in_another_currency_still_ends_a_path_under_since_last(story: SeededShop) -> None:
    story.order("A-0", 1, "2026-01-11", 500, currency="USD")
    report = story.report("attribution", repeat="since_last", as_of="2026-01-31")
    assert revenue(report, "linear") == {"Email": 10_000}


def test_costs_without_credit_and_credit_without_costs_both_show(story: SeededShop) -> None:
    story.cost("2026-01-10", "Display", 2_500)
    story.cost("2026-01-11", "Paid Search", 1_000)
    story.cost("2026-01-11", "Paid Search", 900, "USD")
    story.cost("2025-12-31", "Display", 99_999)
    report = story.report("attribution", start="2026-01-01", end="2026-01-31", as_of="2026-01-31", model="linear")
    rows = {row.channel: (row.cost_minor, row.credits[0].roas, row.credits[0].cpa_minor) for row in report.channels}
    assert rows == {"Display": (2_500, 2.0, 5_000), "Email": (None, None, None), "Paid Search": (1_000, 0.0, None)}
    assert [msgspec.structs.astuple(cost) for cost in report.other_costs] == [("Paid Search", "USD", 900)]


def test_periods_are_days_of_the_time_zone(shop: SeededShop) -> None:
    shop.person(1)
    shop.order("late", 1, "2026-01-31T23:30", 100)  # in Berlin it is February already
    shop.order("early", 1, "2026-01-31T22:30", 10)
    utc = shop.report("attribution", start="2026-01-01", end="2026-01-31")
    berlin = shop.report("attribution", start="2026-02-01", end="2026-02-28", time_zone="Europe/Berlin")
    assert (utc.revenue_minor, berlin.revenue_minor) == (110, 100)


def test_credit_opens_down_to_the_touches_and_their_events(story: SeededShop) -> None:
    report = story.report("attribution", order="A-1", as_of="2026-01-31", model=["linear", "first_touch"])
    seen = [
        (touch.name, touch.channel, touch.age_ms, [c.revenue_minor for c in touch.credits]) for touch in report.touches
    ]
    day = 86_400_000
    assert seen == [
        ("ad_impression", "Display", 5 * day, [5_000, 10_000]),
        ("email_clicked", "Email", 3 * day, [5_000, 0]),
    ]
    assert [touch.seq for touch in report.touches] == [1, 2]


@pytest.mark.parametrize(
    ("texts", "parameter", "says"),
    [
        ({"model": "shapely"}, "model", "first_touch"),
        ({"set": "position_based.frist=0.5"}, "set", "position_based.first"),
        ({"set": "position_based.first=2"}, "set", "0 to 1"),
        ({"set": "position_based.first"}, "set", "name=value"),
        ({"order": "A-9"}, "order", "no person placed it"),
        ({"order": "A-1", "start": "2026-06-01"}, "order", "not credited with these parameters"),
        ({"lookback_days": "-1"}, "lookback_days", "lookback_days"),
        ({"lookback_days": "many"}, "lookback_days", "many"),
        ({"start": "2026-13-01"}, "start", "2026-13-01"),
        ({"start": "2026-02-01", "end": "2026-01-01"}, "end", "before it starts"),
        ({"time_zone": "Mars/Base"}, "time_zone", "Europe/Berlin"),
        ({"currency": "EURO"}, "currency", "ISO 4217"),
        ({"shop": "other"}, "shop", "default"),
        ({"basis": "both"}, "basis", "both"),
        ({"colour": "red"}, "colour", "lookback_days"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_there_is(
    story: SeededShop, texts: Any, parameter: str, says: str
) -> None:
    with pytest.raises(ReportError) as caught:
        story.report("attribution", **texts)
    assert caught.value.parameter == parameter
    assert says in str(caught.value)


def test_a_ledger_that_does_not_add_up_is_refused_and_named(story: SeededShop) -> None:
    story.db.execute("UPDATE orders SET net_minor = 1 WHERE order_id = 'A-1'")
    with pytest.raises(ReportError, match=r"A-1.*rebuild"):
        story.report("attribution")


def test_the_result_names_everything_that_changes_a_number(story: SeededShop) -> None:
    report = story.report("attribution", set="position_based.first=0.5", model="position_based", lookback_days="7")
    model = {
        "name": "position_based",
        "version": 1,
        "parameters": {"first": 0.5, "last": 0.4},
        "conserves_credit": True,
    }
    assert msgspec.json.decode(msgspec.json.encode(report.models)) == [model]
    assert msgspec.to_builtins(report.window) == {
        "lookback_days": 7,
        "repeat": "full",
        "impressions": True,
        "path": "all",
    }
    scope = msgspec.json.decode(msgspec.json.encode(report.scope))
    assert scope.items() >= {"time_zone": "UTC", "currency": "EUR", "channel_rule_sets": ["default/2026.11"]}.items()


def test_a_model_that_conserves_no_credit_is_shown_and_said_to(story: SeededShop) -> None:
    model = AttributionModel(
        name="any_touch",
        version=3,
        credit=lambda paths, _: np.ones(len(paths.channel_codes)),
        conserves_credit=False,
    )
    context = story.context({"any_touch": model})
    report = story.report("attribution", context, as_of="2026-01-31")
    assert revenue(report, "any_touch") == {"Display": 10_000, "Email": 10_000}
    assert report.models[0].conserves_credit is False


def test_a_data_driven_model_is_given_the_paths_of_people_who_did_not_order(story: SeededShop) -> None:
    story.person(2)
    story.touch(2, "2026-01-11", "Store", "encounter")
    seen = []

    def credit(paths: Any, _: Any) -> Any:
        seen.append((paths.converted.tolist(), np.diff(paths.offsets).tolist()))
        return np.repeat(1 / np.maximum(np.diff(paths.offsets), 1), np.diff(paths.offsets))

    model = AttributionModel(name="learned", version=1, credit=credit, needs_non_converting=True)
    story.report("attribution", story.context({"learned": model}))
    assert seen == [([True, False], [2, 1])]


def random_shop(shop: SeededShop, seed: int) -> None:
    """People with up to nine touches and three orders, half of them with takebacks, over a third of a year."""
    draw = random.Random(seed)

    def moment(first: int, last: int) -> str:
        day = draw.randint(first, last)
        return f"2026-{1 + day // 28:02}-{1 + day % 28:02}T{draw.randint(0, 23):02}:00"

    for person in range(1, 25):
        shop.person(person)
        times = sorted(moment(0, 100) for _ in range(draw.randint(0, 9)))
        for at in times:
            shop.touch(person, at, draw.choice(["Direct", "Email", "Paid Search", "Display", "Store"]))
        for n in range(draw.randint(0, 3)):
            gross = draw.choice([1, 99, 10_000, 12_345])
            back = draw.randint(0, gross) if draw.random() < 0.5 else 0
            changes = ((moment(100, 139), "refunded", -back),) if back else ()
            shop.order(f"o{person}-{n}", person, moment(0, 100), gross, changes=changes)


@pytest.mark.parametrize("repeat", ["full", "since_last"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_months_of_the_change_basis_add_up_to_the_order_basis_per_channel_and_model(
    shop: SeededShop, seed: int, repeat: str
) -> None:
    random_shop(shop, seed)
    whole = shop.report("attribution", repeat=repeat)
    added: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for start, end in MONTHS:
        month = shop.report("attribution", repeat=repeat, basis="change_date", start=start, end=end)
        for row in month.channels:
            for credit in row.credits:
                added[row.channel, credit.model][0] += credit.conversions_micro
                added[row.channel, credit.model][1] += credit.revenue_minor
    expected = {
        (row.channel, credit.model): [credit.conversions_micro, credit.revenue_minor]
        for row in whole.channels
        for credit in row.credits
    }
    assert {key: sums for key, sums in added.items() if key in expected} == expected
    assert not any(any(sums) for key, sums in added.items() if key not in expected)
    ledger = shop.db.execute("SELECT count(*), sum(net_minor) FROM orders").fetchone()
    assert (whole.conversions, whole.revenue_minor) == tuple(ledger)


def test_an_order_known_only_from_later_events_is_no_conversion(story: SeededShop) -> None:
    story.order("ghost", 1, None, 0, state="unknown")
    assert story.report("attribution", as_of="2026-01-31").conversions == 1


def test_a_takeback_dated_before_its_order_is_counted_on_its_own_day(story: SeededShop) -> None:
    """Senders' clocks differ: a refund can bear a time before the order's."""
    story.order("A-2", 1, "2026-01-20", 1_000, changes=(("2026-01-18", "refunded", -400),))
    before = story.report("attribution", basis="change_date", start="2026-01-16", end="2026-01-19", as_of="2026-01-19")
    after = story.report("attribution", basis="change_date", start="2026-01-20", end="2026-01-20")
    assert (before.conversions, before.revenue_minor) == (0, -400)
    assert (after.conversions, after.revenue_minor) == (1, 1_000)


def test_a_touch_in_the_very_moment_of_the_order_belongs_to_it(shop: SeededShop) -> None:
    shop.person(1)
    shop.touch(1, "2026-01-15", "Email")
    shop.order("A-1", 1, "2026-01-15", 100)
    shop.touch(1, "2026-01-15T00:01", "Display")
    assert ms("2026-01-15") == 1_768_435_200_000
    assert revenue(shop.report("attribution"), "linear") == {"Email": 100}
