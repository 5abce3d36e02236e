"""Data quality: everything that could make another number wrong is counted, named and explained."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from seeded_shop import RULES, SeededShop, ms
from shop_events import START_MS, wire_event
from touchtrail_collector.cli.rendering import format_csv
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.reports import REPORTS, ReportContext
from touchtrail_collector.services.reports.data_quality import DataQualityParameters
from touchtrail_collector.settings import QuarantineSettings
from touchtrail_collector.store.sqlite.queries import SqliteQuery


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SeededShop]:
    with SeededShop(tmp_path / "shop.db") as shop:
        shop.insert("sources", source_id=2, shop_id=1, name="till", created_at=0)
        yield shop


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


def test_rejects_are_shown_by_code_and_day_against_the_period_before(shop: SeededShop) -> None:
    for source_id, day, name, n in (
        (1, "2026-01-08", "rejected:too_large", 5), (1, "2026-01-10", "rejected:unknown_field", 1),
        (1, "2026-01-11", "rejected:unknown_field", 3), (0, "2026-01-13", "rejected:plugin_failed", 2),
        (1, "2026-01-13", "rejected:unknown_field", 4), (1, "2026-01-13", "accepted", 9),
        (1, "2026-01-12", "quarantine_dropped", 6), (1, "2026-01-01", "quarantine_dropped", 7),
    ):  # fmt: skip
        shop.insert("counters", source_id=source_id, day=day, name=name, n=n)
    report = shop.report("data-quality", start="2026-01-11", end="2026-01-13")
    assert [(row.code, row.n, row.before, row.change) for row in report.rejects] == [
        ("unknown_field", 7, 1, 6), ("plugin_failed", 2, 0, 2), ("too_large", 0, 5, -5),
    ]  # fmt: skip
    assert [(str(row.day), row.code, row.n) for row in report.reject_days] == [
        ("2026-01-11", "unknown_field", 3), ("2026-01-13", "plugin_failed", 2), ("2026-01-13", "unknown_field", 4),
    ]  # fmt: skip
    assert (figure(report, "pushed_out"), check(report, "pushed_out").state) == (6, "look")
    assert {row.before for row in shop.report("data-quality").rejects} == {None}


def test_how_full_quarantine_is_and_since_when_rejects_wait(shop: SeededShop) -> None:
    for received, state in (("2026-01-05", "open"), ("2026-01-03", "open"), ("2026-01-01", "dismissed")):
        shop.insert(
            "quarantine",
            received_at=ms(received),
            source_id=1,
            code="x",
            message="m",
            body=b"1234",
            state=state,
            times=2,
        )
    context = shop.context()
    context = type(context)(query=context.query, quarantine=QuarantineSettings(max_entries=12, max_bytes=100_000))
    fill = shop.report("data-quality", context).quarantine_fill
    assert (fill.open, fill.oldest_open_ms, fill.entries, fill.bytes) == (2, ms("2026-01-03"), 3, 15)
    assert (fill.max_entries, fill.max_bytes, fill.full, fill.dropped) == (12, 100_000, 0.25, 0)
    assert shop.report("data-quality", context).quarantine[0].n == 4


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


def lose(
    shop: SeededShop, received: str, n: int, reason: str = "spool_full", outcome: str = "dropped", **row: Any
) -> None:
    """Store what a sender tells of events it lost; ``properties`` replaces or adds some of what it tells."""
    properties = {"outcome": outcome, "reason": reason, "events": n} | row.pop("properties", {})
    body = msgspec.json.encode({"event_id": "e", "name": "events_lost", "properties": properties}).decode()
    shop.event("events_lost", received, **{"anonymous_id": None, "body": body} | row)


def test_losses_the_senders_counted_are_listed_by_reason_with_the_last_time_and_what_to_do(shop: SeededShop) -> None:
    lose(shop, "2026-01-05T10:00", 3)
    lose(
        shop, "2026-01-06T10:00", 4,
        properties={"since": "2026-01-05T10:00:00Z", "until": "2026-01-06T09:30:00.250Z", "sender": "touchtrail-python/0.1.0"},
    )  # fmt: skip
    lose(shop, "2026-01-06T10:00", 5, "no_person", "refused", source_id=2)
    lose(shop, "2026-01-07T10:00", 1, "cosmic_rays", properties={"until": "2099-01-01T00:00:00Z", "sender": "rocket/1"})
    report = shop.report("data-quality")
    assert [(row.source, row.outcome, row.reason, row.events, row.reports, row.sender) for row in report.losses] == [
        ("web", "dropped", "spool_full", 7, 2, "touchtrail-python/0.1.0"),
        ("till", "refused", "no_person", 5, 1, None),
        ("web", "dropped", "cosmic_rays", 1, 1, "rocket/1"),
    ]
    # The end of the outage where it is told, the report's own time else; never after the report came.
    assert [row.last_lost_ms for row in report.losses] == [
        ms("2026-01-06T09:30") + 250, ms("2026-01-06T10:00"), ms("2026-01-07T10:00"),
    ]  # fmt: skip
    actions = [row.action for row in report.losses]
    assert "max_spool_bytes" in actions[0]
    assert "anonymous_id" in actions[1]
    assert "sender's own" in actions[2]
    assert [(row.source, row.dropped, row.refused) for row in report.sources] == [("web", 8, 0), ("till", 0, 5)]
    assert (check(report, "lost").state, check(report, "lost").n) == ("look", 13)
    assert check(report, "lost").action.startswith(f"Most for `spool_full`: {actions[0]}")


def test_what_was_sent_is_what_was_stored_came_again_was_rejected_dropped_and_refused(shop: SeededShop) -> None:
    # The door counts the two reports of losses among the accepted; the sum of the shop's own events does not.
    for name, n in (("accepted", 1002), ("duplicate", 10), ("rejected:unknown_field", 3)):
        shop.insert("counters", source_id=1, day="2026-01-05", name=name, n=n)
    lose(shop, "2026-01-05T10:00", 40)
    lose(shop, "2026-01-05T11:00", 2, "too_large", "refused")
    report = shop.report("data-quality", start="2026-01-05", end="2026-01-05")
    names = ("sent", "accepted", "duplicates", "rejected", "dropped", "refused")
    expected = [1055, 1000, 10, 3, 40, 2]
    assert [figure(report, name) for name in names] == expected
    assert [getattr(report.sources[0], name) for name in names] == expected
    assert (check(report, "lost").n, check(report, "lost").of) == (42, 1055)


def test_a_few_events_lost_of_many_are_a_note(shop: SeededShop) -> None:
    shop.insert("counters", source_id=1, day="2026-01-05", name="accepted", n=10_000)
    lose(shop, "2026-01-05T10:00", 10)
    assert check(shop.report("data-quality"), "lost").state == "note"
    lose(shop, "2026-01-05T10:00", 1)
    assert check(shop.report("data-quality"), "lost").state == "look"


def test_losses_belong_to_the_utc_days_the_door_counts_by(shop: SeededShop) -> None:
    lose(shop, "2026-01-04T23:30", 1)
    lose(shop, "2026-01-05T00:30", 20)
    lose(shop, "2026-01-05T23:59", 300)
    lose(shop, "2026-01-06T00:00", 4000)
    report = shop.report("data-quality", start="2026-01-05", end="2026-01-05", time_zone="Europe/Berlin")
    assert figure(report, "dropped") == 320


def test_a_report_of_losses_is_no_event_of_the_shop(shop: SeededShop) -> None:
    known = shop.event("page_viewed", "2026-01-05T10:00")
    shop.insert("cluster_events", cluster_id=1, seq=known)
    shop.insert("counters", source_id=1, day="2026-01-09", name="accepted", n=1)
    lose(shop, "2026-01-09T10:00", 3, age=timedelta(days=5), skew=timedelta(hours=3))
    lose(shop, "2026-01-09T10:00", 3, age=timedelta(days=-5))
    report = shop.report("data-quality")
    names = ("events", "accepted", "custom", "late", "skewed", "future", "rejected")
    assert [figure(report, name) for name in names] == [1, 0, 0, 0, 0, 0, 0]
    assert report.custom_events == ()
    web = report.sources[0]
    assert (web.last_occurred_ms, web.last_received_ms) == (ms("2026-01-05T10:00"), ms("2026-01-05T10:00"))


def test_claims_no_64_bits_hold_are_summed_exactly_and_rendered(shop: SeededShop) -> None:
    most = 2**53 - 1
    for hour in range(24):
        for minute in range(50):
            lose(shop, f"2026-01-05T{hour:02}:{minute:02}", most)
    report = shop.report("data-quality")
    assert 1200 * most > 2**63
    assert (figure(report, "dropped"), figure(report, "sent"), check(report, "lost").of) == (1200 * most,) * 3
    assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report
    table = next(table for table in REPORTS["data-quality"].tables(report) if table.name == "losses")
    row = dict(zip(*list(csv.reader(io.StringIO(format_csv(table)))), strict=True))
    assert (row["reason"], row["events"]) == ("spool_full", str(1200 * most))


def test_of_ten_thousand_reasons_the_largest_are_listed_and_the_rest_summed(shop: SeededShop) -> None:
    shop.db.execute("BEGIN")
    for number in range(10_000):
        lose(shop, "2026-01-05T10:00", number + 1, f"reason_{number}")
    lose(shop, "2026-01-05T10:00", 1, "too_large", "refused")
    shop.db.execute("COMMIT")
    report = shop.report("data-quality")
    dropped = [row for row in report.losses if row.outcome == "dropped"]
    rest = dropped[0]
    assert (rest.reason, rest.reasons, rest.reports) == (None, 9980, 9980)
    assert [(row.reason, row.events) for row in dropped[1:]] == [
        (f"reason_{number}", number + 1) for number in range(9999, 9979, -1)
    ]
    assert sum(row.events for row in dropped) == figure(report, "dropped") == 10_000 * 10_001 // 2
    assert [row.reason for row in report.losses if row.outcome == "refused"] == ["too_large"]
    assert "reason_9999" in check(report, "lost").action


@pytest.mark.parametrize(
    ("properties", "counted"),
    [
        ({"events": 0}, 0),
        ({"events": -5}, 0),
        ({"events": 2**53}, 0),
        ({"events": 2**80}, 0),
        ({"events": 1.5}, 0),
        ({"events": "7"}, 0),
        ({"events": [7]}, 0),
        ({"events": None}, 0),
        ({"outcome": "stolen"}, 0),
        ({"outcome": None}, 0),
        ({"outcome": {"dropped": 1}}, 0),
        ({"reason": None}, 7),
        ({"reason": ["x"] * 50}, 7),
        ({"reason": "", "sender": 5, "until": "now"}, 7),
        ({"until": 1e300, "since": "x"}, 7),
    ],
    ids=str,
)
def test_claims_that_make_no_sense_count_no_events_and_break_nothing(
    shop: SeededShop, properties: dict[str, Any], counted: int
) -> None:
    shop.insert("counters", source_id=1, day="2026-01-05", name="accepted", n=2)
    lose(shop, "2026-01-05T10:00", 7, properties=properties)
    shop.event("events_lost", "2026-01-05T10:00", body="no json")
    report = shop.report("data-quality")
    assert (figure(report, "lost"), figure(report, "accepted"), figure(report, "sent")) == (counted, 0, counted)
    assert [row.events for row in report.losses] == [counted] * bool(counted)
    assert all(row.last_lost_ms <= ms("2026-01-05T10:00") for row in report.losses)


def test_texts_of_a_sender_are_cut_short_and_cannot_steer_a_terminal(shop: SeededShop) -> None:
    lose(shop, "2026-01-05T10:00", 7, "\x1b[2J\n" + "x" * 60_000, properties={"sender": "\x1b]0;me\x07" + "y" * 9_000})
    row = shop.report("data-quality").losses[0]
    assert row.reason == "�[2J�" + "x" * 59
    assert row.sender is not None
    assert (len(row.sender), row.sender[:6]) == (64, "�]0;me")
    assert (row.reason + row.sender).isprintable()


def test_a_report_of_losses_makes_no_person_and_no_touchpoint_even_when_it_names_one(collector: Collector) -> None:
    """Through the real door and derivation: browsers and other senders put what they like around it."""
    collector.store.write(
        lambda db: (
            db.execute("INSERT INTO sources (source_id, shop_id, name, created_at) VALUES (1, 1, 'web', 0)") and None
        )
    )
    lost = {"outcome": "dropped", "reason": "spool_full", "events": 5}
    sent = [
        wire_event("l-1", "events_lost", anonymous_id=None, properties=lost),
        wire_event("l-2", "events_lost", customer_id="c-9", session_id="s", properties=lost, page={"url": "https://a.example/?gclid=x"}),
        wire_event("l-3", "events_lost", anonymous_id=None, properties=lost | {"events": -1}),
        wire_event("p-1", "page_viewed", anonymous_id="a-1"),
    ]  # fmt: skip
    prepared = collector.ingest.prepare(msgspec.json.encode(sent), source_id=1, now_ms=START_MS)
    assert [(reject.id, reject.field) for reject in prepared.rejected] == [("l-3", "properties.events")]
    assert collector.store.append(prepared.events, prepared.reject_rows).result() == (3, 0)
    collector.projector.catch_up()
    with collector.store.reading() as reader:
        people = reader.execute("SELECT customer_id, events FROM persons").fetchall()
        steps = reader.execute("SELECT name FROM touchpoints").fetchall()
        report = REPORTS["data-quality"].run(ReportContext(query=SqliteQuery(reader)), DataQualityParameters())
    assert ([tuple(row) for row in people], [tuple(row) for row in steps]) == ([(None, 1)], [("page_viewed",)])
    names = ("sent", "accepted", "rejected", "dropped", "events", "custom", "personless", "waiting")
    assert [figure(report, name) for name in names] == [12, 1, 1, 10, 1, 0, 0, 0]
