"""`touchtrail report`: every report in every format, in a narrow terminal and a pipe, and answers to what is wrong."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from seeded_shop import RULES, SeededShop
from touchtrail_collector.cli import rendering
from touchtrail_collector.cli.report import OPTION_HELP, report
from touchtrail_collector.services.reports import REPORTS, Measure, Table, TableColumn
from touchtrail_collector.services.reports.conversion_paths import LookbackDays
from touchtrail_collector.settings import AttributionSettings
from touchtrail_collector.store.sqlite.database import FileLock


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SeededShop]:
    with SeededShop(tmp_path / "shop.db") as shop:
        shop.person(1, customer_id="=HYPERLINK(1)")
        shop.event("page_viewed", "2026-01-05")
        shop.derived_until(1)
        shop.touch(1, "2026-01-05", "Paid Search")
        shop.touch(1, "2026-01-06", "Email", "click", campaign="[bold]sale")
        shop.order("A-1", 1, "2026-01-07", 123_456_789, changes=(("2026-01-09", "refunded", -1_000),))
        shop.cost("2026-01-05", "Paid Search", 5_000)
        yield shop


def run(shop: SeededShop, *arguments: str) -> Result:
    return CliRunner().invoke(report, [*arguments, "--db", str(shop.path)])


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_every_report_prints_in_every_format(shop: SeededShop, name: str, output: str) -> None:
    result = run(shop, name, "--format", output)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.strip()
    assert "\x1b" not in result.stdout


def test_json_is_the_result_struct(shop: SeededShop) -> None:
    result = run(shop, "attribution", "--format", "json", "--model", "linear", "--end", "2026-01-31")
    decoded = json.loads(result.stdout)
    assert decoded["scope"]["end"] == "2026-01-31"
    assert [(row["channel"], row["credits"][0]["revenue_minor"]) for row in decoded["channels"]] == [
        ("Paid Search", 61_727_895),  # the odd cent goes to the earlier touch
        ("Email", 61_727_894),
    ]


def test_csv_has_plain_numbers_their_currency_and_no_total(shop: SeededShop) -> None:
    rows = list(csv.DictReader(io.StringIO(run(shop, "attribution", "--format", "csv").stdout)))
    assert {row["channel"] for row in rows} == {"Email", "Paid Search"}
    assert rows[0]["currency"] == "EUR"
    assert sum(float(row["linear"]) for row in rows) == pytest.approx(1_234_557.89)


def test_csv_cells_that_a_spreadsheet_would_run_are_disarmed(shop: SeededShop) -> None:
    (row,) = csv.DictReader(io.StringIO(run(shop, "journeys", "--format", "csv").stdout))
    assert row["customer_id"] == "'=HYPERLINK(1)"


def test_one_table_of_several_can_be_chosen(shop: SeededShop) -> None:
    chosen = run(shop, "attribution", "--format", "csv", "--table", "conversions")
    assert chosen.stdout.splitlines()[0].startswith("channel,first_touch")
    wrong = run(shop, "attribution", "--table", "revenues")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "revenue, conversions, roas" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["overwiev"], "overview, attribution, channels, journeys, paths, orders, data-quality"),
        (["attribution", "--model", "shapely"], "first_touch"),
        (
            ["attribution", "--start", "21.11.2026"],
            "start: '21.11.2026' does not fit: give YYYY-MM-DD, such as 2026-11-",
        ),
        (["attribution", "--set", "position_based.first=0,5"], "is '0,5'; give a number such as 0.5, with a point"),
        (["attribution", "--set", "position_based.first=5"], "position_based: "),
        (
            ["paths", "--lookback-days", "99999"],
            "lookback_days: '99999' does not fit: give a whole number from 1 to 3,650",
        ),
        (["paths", "--lookback-days", "0"], "1 to 3,650"),
        (["attribution", "--repeat", "twice"], "repeat"),
        (["paths", "--limit", "0"], "limit"),
        (["journeys", "--person", "nobody"], "touchtrail report journeys"),
        (["overview", "--colour", "red"], "--colour"),
    ],
)
def test_what_is_wrong_ends_with_2_and_says_what_there_is(shop: SeededShop, arguments: list[str], says: str) -> None:
    result = run(shop, *arguments) if arguments[0] in REPORTS else CliRunner().invoke(report, arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def test_an_empty_database_is_answered_with_what_to_do_next(tmp_path: Path) -> None:
    with SeededShop(tmp_path / "empty.db") as shop:
        result = run(shop, "overview")
        assert result.exit_code == 0
        assert "touchtrail demo" in result.stdout
        assert json.loads(run(shop, "overview", "--format", "json").stdout)["reach"]["persons"] == 0


def test_settings_give_the_time_zone_and_the_window(shop: SeededShop) -> None:
    text = '[shop]\ntime_zone = "Europe/Berlin"\n[attribution]\nlookback_days = 1\nimpressions = false\n'
    shop.path.with_name("touchtrail.toml").write_text(text)
    decoded = json.loads(run(shop, "attribution", "--format", "json").stdout)
    assert decoded["scope"]["time_zone"] == "Europe/Berlin"
    assert decoded["window"] == {"lookback_days": 1, "repeat": "full", "impressions": False, "path": "all"}
    assert (
        json.loads(run(shop, "channels", "--impressions", "--format", "json").stdout)["window"]["impressions"] is True
    )


def test_events_that_are_not_derived_yet_are_mentioned(shop: SeededShop) -> None:
    shop.event("page_viewed", "2026-01-05", seq=1_000)
    note = "1 event has come in that is not in these numbers yet: start `touchtrail serve` or run `touchtrail rebuild`."
    assert note in run(shop, "overview").stdout
    shop.event("page_viewed", "2026-01-05", seq=1_001)
    assert "2 events have come in that are not" in run(shop, "overview").stdout


def test_a_running_collector_needs_no_word_on_how_to_derive_what_waits(shop: SeededShop) -> None:
    shop.event("page_viewed", "2026-01-05", seq=1_000)
    lock = FileLock(shop.path)
    lock.acquire({"url": "http://127.0.0.1:1", "admin_token": "t"})
    try:
        assert "1 event has come in that is not in these numbers yet.\n" in run(shop, "overview").stdout
    finally:
        lock.release()


@pytest.mark.parametrize("output", ["table", "json"])
def test_numbers_of_other_rules_than_the_commands_are_told_on_stderr(shop: SeededShop, output: str) -> None:
    older = msgspec.structs.replace(RULES, channel_rule_sets=("default/2020.1",))
    shop.db.execute("UPDATE meta SET value = ? WHERE name = 'derived_rules'", (msgspec.json.encode(older).decode(),))
    result = run(shop, "overview", "--format", output)
    assert result.exit_code == 0
    assert result.stderr == (
        "touchtrail: these numbers were derived with the channel rules default/2020.1, not this command's"
        " (default/2026.11); run `touchtrail rebuild`\n"
    )


def test_the_range_of_the_look_back_is_the_settings() -> None:
    (setting,) = (field for field in msgspec.structs.fields(AttributionSettings) if field.name == "lookback_days")
    assert setting.type == LookbackDays


def test_one_of_a_thing_is_not_told_in_the_plural(shop: SeededShop) -> None:
    shop.db.execute("UPDATE persons SET sessions = 1, events = 1")
    assert "; 1 session, 1 event." in run(shop, "journeys", "--person", "person:1").stdout


def test_every_parameter_of_every_report_has_a_help_text() -> None:
    names = {field.name for entry in REPORTS.values() for field in msgspec.structs.fields(entry.parameters)}
    assert names == OPTION_HELP.keys()
    for name in REPORTS:
        assert CliRunner().invoke(report, [name, "--help"]).exit_code == 0


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("width", [80, 60])
def test_a_narrow_terminal_cuts_no_number(shop: SeededShop, name: str, width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, highlight=False, force_terminal=False)
    tables = REPORTS[name].tables(shop.report(name))
    rendering.print_tables(tables, console)
    assert max(len(line) for line in out.getvalue().splitlines()) <= width
    assert "…" not in out.getvalue()
    if name == "attribution":
        # Six totals, and the one channel that first and both last touches give everything to.
        assert out.getvalue().count("1,234,557.89") == 9


def test_cells_read_as_their_kind() -> None:
    cells = [
        ("integer", 1_234_567, "1,234,567"), ("decimal", 0.5, "0.50"), ("share", 0.1234, "12.3 %"),
        ("micro", 1_500_000, "1.50"),
        ("time", 1_767_225_600_000, "2026-01-01 01:00"), ("text", "[red]", "[red]"), ("money", None, "–"),
    ]  # fmt: skip
    for kind, value, expected in cells:
        assert rendering.format_cell(value, kind, currency="EUR", time_zone="Europe/Berlin") == expected


@pytest.mark.parametrize(
    ("currency", "expected"), [("EUR", "-1,234.56"), ("JPY", "-123,456"), ("KWD", "-123.456"), ("XXZ", "-1,234.56")]
)
def test_money_has_as_many_decimals_as_its_currency(currency: str, expected: str) -> None:
    assert rendering.format_cell(-123_456, "money", currency=currency, time_zone="UTC") == expected


def test_a_measure_brings_its_own_kind_and_currency_into_csv() -> None:
    table = Table(
        name="t",
        title="T",
        columns=(TableColumn("what", "What"), TableColumn("value", "Value", "measure")),
        rows=(("a", Measure(150, "money", "USD")), ("b", Measure(0.5, "share"))),
        currency="EUR",
    )
    assert rendering.format_csv(table) == "what,value,currency\na,1.50,USD\nb,0.5,EUR\n"
