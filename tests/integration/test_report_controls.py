"""What senders wrote cannot steer the terminal of whoever reads a report or an export."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from derived_tables import store
from seeded_shop import SeededShop
from shop_events import wire_event
from touchtrail_collector.cli import rendering
from touchtrail_collector.cli.report import report
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.reports import REPORTS, Table, TableColumn
from touchtrail_collector.services.table_export import export_table
from touchtrail_collector.settings import Settings, StoreSettings

EVIL = "\x1b]0;pwned\a\x1b[2J \0 \r \x9b2J \x7f \u202etxt.exe \u2066x"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SeededShop]:
    with SeededShop(tmp_path / "shop.db") as shop:
        shop.person(1, customer_id=EVIL)
        shop.event("page_viewed", "2026-01-05")
        shop.derived_until(1)
        shop.touch(1, "2026-01-05", "Email", "click", campaign=EVIL)
        shop.order(f"A-1{EVIL}", 1, "2026-01-07", 1_000)
        yield shop


@pytest.mark.parametrize("name", ["journeys", "orders", "attribution", "paths", "overview", "channels", "data-quality"])
@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_no_report_lets_a_control_character_through(shop: SeededShop, name: str, output: str) -> None:
    tables = [table.name for table in REPORTS[name].tables(shop.report(name))] if output == "csv" else [None]
    shown = b""
    for table in tables:
        chosen = ["--table", table] if table else []
        result = CliRunner().invoke(report, [name, "--format", output, *chosen, "--db", str(shop.path)])
        assert (result.exit_code, result.stderr) == (0, "")
        shown += result.stdout_bytes
    assert not RAW.search(shown.decode())
    assert (b"pwned" in shown) is (name in {"journeys", "orders"})


@pytest.mark.parametrize("arguments", [["journeys", "--person", "person:1"], ["attribution", "--order", f"A-1{EVIL}"]])
def test_nor_do_titles_of_one_person_or_order(shop: SeededShop, arguments: list[str]) -> None:
    result = CliRunner().invoke(report, [*arguments, "--db", str(shop.path)])
    assert result.exit_code == 0
    assert not RAW.search(result.stdout_bytes.decode())
    assert "\\x1b]0;pwned" in result.stdout


def test_programs_read_from_json_what_came(shop: SeededShop) -> None:
    shown = CliRunner().invoke(report, ["journeys", "--format", "json", "--db", str(shop.path)]).stdout
    assert json.loads(shown)["people"][0]["customer_id"] == EVIL


def test_csv_shows_them_and_still_disarms_formulas() -> None:
    table = Table(
        name="t", title="T", columns=(TableColumn("what", "What"),),
        rows=(("\x1b[2J",), ("=1\x9b",), ("\r=1",), ("a\tb\nc\r\nd",), ("\N{WOMAN}\u200d\N{ROCKET}",)),
    )  # fmt: skip
    cells = [row["what"] for row in csv.DictReader(io.StringIO(rendering.format_csv(table), newline=""))]
    assert cells == ["\\u001b[2J", "'=1\\u009b", "'\\u000d=1", "a\tb\nc\r\nd", "\N{WOMAN}\u200d\N{ROCKET}"]


def test_a_cell_cannot_pass_for_a_row_of_its_own() -> None:
    table = Table(name="t", title="T\nU", columns=(TableColumn("what", "What"),), rows=(("a\nTotal  9",),))
    out = io.StringIO()
    rendering.print_tables([table], rendering.Console(file=out, width=80))
    assert [line.rstrip() for line in out.getvalue().splitlines()] == ["", "T\\nU", "What", "a\\nTotal  9"]


def exported(path: Path, exporter: str, table: str) -> str:
    settings = Settings(store=StoreSettings(db=path))
    target = path.with_name("out")
    assert export_table(settings, PluginHost.load(settings), exporter, target, table=table, options={}) == 1
    return target.read_bytes().decode()


@pytest.mark.parametrize("exporter", ["csv", "jsonl"])
@pytest.mark.parametrize("table", ["persons", "touchpoints", "orders"])
def test_no_export_lets_one_through(shop: SeededShop, exporter: str, table: str) -> None:
    text = exported(shop.path, exporter, table)
    assert not RAW.search(text.replace("\r\n", "\n"))
    assert "\\u001b]0;pwned\\u0007" in text
    assert exporter == "csv" or EVIL in "".join(map(str, json.loads(text).values()))


@pytest.mark.parametrize("exporter", ["csv", "jsonl"])
def test_an_events_own_json_stays_the_same_in_a_cell(tmp_path: Path, exporter: str) -> None:
    settings = Settings(store=StoreSettings(db=tmp_path / "shop.db"))
    collector = Collector(settings, PluginHost.load(settings), starts_projector=False)
    store(collector, [wire_event("e", customer_id=EVIL)])
    collector.close()
    text = exported(settings.store.db, exporter, "events")
    assert not RAW.search(text.replace("\r\n", "\n"))
    (row,) = csv.DictReader(io.StringIO(text, newline="")) if exporter == "csv" else [json.loads(text)]
    assert json.loads(row["body"])["customer_id"] == EVIL
