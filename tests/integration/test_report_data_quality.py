"""Data quality: everything that could make another number wrong is counted, named and explained."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from seeded_shop import RULES, SeededShop, ms


@pytest.fixture
def shop(tmp_path: Path) -> SeededShop:
    shop = SeededShop(tmp_path / "shop.db")
    shop.insert("sources", source_id=2, shop_id=1, name="till", created_at=0)
    return shop


def figure(report: Any, name: str) -> int:
    return int(getattr(report.figures, name))


def check(report: Any, name: str) -> Any:
    return next(found for found in report.checks if found.name == name)


def test_clocks_are_judged_per_source(shop: SeededShop) -> None:
    shop.event("page_viewed", "2026-01-05T10:00")
    shop.event("page_viewed", "2026-01-05T10:00", age=timedelta(hours=24), skew=timedelta(seconds=5))
    shop.event("page_viewed", "2026-01-05T10:00", age=timedelta(hours=25), source_id=2)
    shop.event("page_viewed", "2026-01-05T10:00", skew=timedelta(seconds=-6), source_id=2)
    shop.event("page_viewed", "2026-01-05T11:00", age=timedelta(minutes=-1), source_id=2, sent_at=None)
    report = shop.report("data-quality")
    rows = {row.source: (row.events, row.late, row.skewed, row.future) for row in report.sources}
    assert rows == {"web": (2, 0, 0, 0), "till": (3, 1, 1, 1)}
    till = report.sources[1]
    assert (till.last_occurred_ms, till.last_received_ms) == (ms("2026-01-05T11:01"), ms("2026-01-05T11:00"))
    assert check(report, "future").state == "look"


def test_limits_are_parameters_and_stand_in_the_result(shop: SeededShop) -> None:
    shop.event("page_viewed", "2026-01-05T10:00", age=timedelta(hours=3), skew=timedelta(seconds=20))
    report = shop.report("data-quality", late_hours="2", skew_s="30")
    assert (figure(report, "late"), figure(report, "skewed"), report.late_hours, report.skew_s) == (1, 0, 2, 30)


def test_the_door_counters_are_summed_over_the_period(shop: SeededShop) -> None:
    for day, name, n in (
        ("2026-01-05", "accepted", 10), ("2026-01-06", "accepted", 5), ("2026-01-06", "duplicate", 2),
        ("2026-01-06", "rejected:unknown_field", 3), ("2026-01-06", "rejected:too_large", 1),
        ("2026-02-01", "accepted", 99),
    ):  # fmt: skip
        shop.insert("counters", source_id=1, day=day, name=name, n=n)
    web = shop.report("data-quality", end="2026-01-31").sources[0]
    assert (web.accepted, web.duplicates, web.rejected) == (15, 2, 4)
    assert [(row.code, row.n) for row in web.rejected_by_code] == [("too_large", 1), ("unknown_field", 3)]


def test_open_quarantine_is_shown_with_the_latest_example(shop: SeededShop) -> None:
    for source_id, field, state in (
        (1, "price", "open"),
        (1, "prize", "open"),
        (None, None, "open"),
        (1, "x", "replayed"),
    ):
        shop.insert(
            "quarantine", received_at=ms("2026-01-05"), source_id=source_id, code="unknown_field", field=field,
            message=f"{field} is unknown", body=b"{}", state=state,
        )  # fmt: skip
    report = shop.report("data-quality")
    assert [(row.source, row.n, row.field, row.message) for row in report.quarantine] == [
        ("web", 2, "prize", "prize is unknown"), (None, 1, None, "None is unknown"),
    ]  # fmt: skip
    assert check(report, "quarantined").n == 3


def test_names_the_vocabulary_lacks_are_listed_unless_a_plugin_adds_them(shop: SeededShop) -> None:
    for name in ("page_veiwed", "page_viewed", "podcast_heard", "page_veiwed"):
        shop.event(name, "2026-01-05")
    report = shop.report("data-quality")
    assert [(row.name, row.n) for row in report.custom_events] == [("page_veiwed", 2), ("podcast_heard", 1)]
    context = shop.context()
    context = type(context)(
        query=context.query,
        event_types={**context.event_types, "podcast_heard": next(iter(context.event_types.values()))},
    )
    assert figure(shop.report("data-quality", context), "custom") == 2


def test_what_is_not_derived_yet_is_counted(shop: SeededShop) -> None:
    first = shop.event("page_viewed", "2026-01-05")
    shop.event("page_viewed", "2026-01-05")
    shop.derived_until(first)
    report = shop.report("data-quality")
    assert (report.scope.derived_seq, report.scope.waiting_events, figure(report, "waiting")) == (first, 1, 1)
    assert check(report, "waiting").state == "look"


def test_events_that_belong_to_nobody_are_counted_costs_aside(shop: SeededShop) -> None:
    known = shop.event("page_viewed", "2026-01-05")
    shop.event("page_viewed", "2026-01-05")
    shop.derived_until(shop.event("ad_spend_reported", "2026-01-05"))
    shop.insert("cluster_events", cluster_id=1, seq=known)
    assert figure(shop.report("data-quality"), "personless") == 1


def test_people_and_orders_that_reports_leave_out_are_counted(shop: SeededShop) -> None:
    shop.person(1)
    shop.person(2, is_bot=1, events=7)
    shop.order("A-1", 1, "2026-01-05", 100, reports=2, conflicts=1)
    shop.order("A-2", 1, None, 0, state="unknown")
    shop.order("R-1", 2, "2026-01-05", 100)
    report = shop.report("data-quality")
    names = (
        "persons",
        "bots",
        "bot_events",
        "bot_orders",
        "unknown_orders",
        "conflicting_orders",
        "orders_without_touch",
    )
    assert [figure(report, name) for name in names] == [2, 1, 7, 1, 1, 1, 1]
    assert [(row.order_id, row.conflicts) for row in report.conflicts] == [("A-1", 1)]


def test_a_ledger_that_does_not_add_up_is_always_wrong_and_comes_first(shop: SeededShop) -> None:
    shop.person(1)
    shop.touch(1, "2026-01-04", "Email")
    shop.order("A-1", 1, "2026-01-05", 100, net_minor=90)
    report = shop.report("data-quality")
    assert (report.checks[0].name, report.checks[0].state) == ("ledger_gaps", "wrong")
    assert [(gap.order_id, gap.net_minor, gap.changes_minor) for gap in report.ledger_gaps] == [("A-1", 90, 100)]


def test_rules_that_are_not_the_callers_are_a_finding_and_the_scope_names_those_of_the_data(shop: SeededShop) -> None:
    others = msgspec.structs.replace(RULES, session_gap_min=10, rules_digest="other")
    report = shop.report("data-quality", shop.context(own_rules=others))
    assert (check(report, "other_rules").state, check(report, "other_rules").n) == ("look", 1)
    assert (report.scope.session_gap_min, report.scope.rules_digest) == (30, RULES.rules_digest)
    assert report.scope.channel_rule_sets == ("default/2026.11",)
    assert figure(shop.report("data-quality", shop.context(own_rules=RULES)), "other_rules") == 0


def test_a_database_nothing_was_derived_in_names_no_rules_and_no_moment(shop: SeededShop) -> None:
    shop.db.execute("DELETE FROM meta WHERE name = 'derived_rules'")
    report = shop.report("data-quality", shop.context(own_rules=RULES))
    assert (report.scope.channel_rule_sets, report.scope.derive_version, report.scope.known_until_ms) == (
        (),
        None,
        None,
    )
    assert figure(report, "other_rules") == 0


def test_the_result_says_as_of_when_it_is_known(shop: SeededShop) -> None:
    shop.event("page_viewed", "2026-01-05")
    second = shop.event("page_viewed", "2026-01-07")
    shop.event("page_viewed", "2026-01-09")
    shop.derived_until(second)
    assert shop.report("attribution").scope.known_until_ms == ms("2026-01-07")


def test_with_nothing_wrong_every_check_is_ok_and_still_says_what_it_means(shop: SeededShop) -> None:
    shop.person(1)
    shop.touch(1, "2026-01-04", "Email")
    shop.order("A-1", 1, "2026-01-05", 100)
    report = shop.report("data-quality")
    assert {found.state for found in report.checks} == {"ok"}
    assert all(found.meaning and found.action for found in report.checks)
