"""Whatever oddity is let in, nothing that reads it afterwards breaks: derivation, reports, exports, quarantine."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, seed, settings

from derived_tables import retold
from in_process_http import Application
from odd_events import ODD_EVENTS
from touchtrail_collector.cli import cli
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.reports import REPORTS
from touchtrail_collector.settings import Settings, StoreSettings
from touchtrail_collector.store.sqlite.tables import TABLES

EVENTS = 3_000


def odd_events() -> list[dict[str, Any]]:
    """Return the same odd events each time: a third as Hypothesis made them, the others crossed with each other."""
    made: list[dict[str, Any]] = []

    @seed(20261121)
    @settings(
        max_examples=EVENTS // 3, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(ODD_EVENTS)
    def make(event: dict[str, Any]) -> None:
        made.append(event)

    make()
    chance = random.Random(20261121)
    while len(made) < EVENTS:
        one, other = chance.choice(made), chance.choice(made)
        members = [member for member in other if member not in ("name", "properties") and chance.random() < 0.5]
        made.append(one | {member: other[member] for member in members})
    # Ids are often the same by chance; a few of those are enough.
    return [event | ({"event_id": f"odd-{n}"} if n % 20 else {}) for n, event in enumerate(made)]


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """Return a database into which odd events went through the door and the projector, and what was answered."""
    db = tmp_path_factory.mktemp("odd") / "shop.db"
    given = Settings(store=StoreSettings(db=db))
    collector = Collector(given, PluginHost.load(given), starts_projector=False)
    counts = {"sent": 0, "accepted": 0, "duplicates": 0, "rejected": 0}
    try:
        key = collector.store.create_key(source="web")
        collector.reload_keys()
        app = Application(collector, key)
        made = odd_events()
        bodies = [json.dumps(made[start : start + 250]).encode() for start in range(0, len(made), 250)]
        for answer in app.ask_all(
            [
                ("POST", "/v1/events", {"content": body, "headers": {"authorization": f"Bearer {key}"}})
                for body in bodies
            ]
        ):
            assert answer.status_code == 200, answer.text
            told = answer.json()
            counts["accepted"] += told["accepted"]
            counts["duplicates"] += told["duplicates"]
            counts["rejected"] += len(told["rejected"])
            for rejected in told["rejected"]:
                assert rejected["code"]
                assert 0 < len(rejected["message"]) < 500
                assert "regex" not in rejected["message"]
                assert "Expected `" not in rejected["message"]
        counts["sent"] = len(made)
        collector.projector.catch_up()
    finally:
        collector.close()
    return db, counts


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, list(arguments))
    assert done.exit_code == 0, (arguments, done.output, done.exception)
    return done.output


def test_every_odd_event_is_kept_or_named(fed: tuple[Path, dict[str, int]]) -> None:
    _, counts = fed
    assert counts["sent"] == EVENTS
    assert counts["accepted"] + counts["duplicates"] + counts["rejected"] == EVENTS
    assert counts["accepted"] >= EVENTS // 5
    assert counts["rejected"] >= EVENTS // 5


@pytest.mark.parametrize("output", ["table", "json", "csv"])
@pytest.mark.parametrize("name", REPORTS)
def test_no_report_breaks(name: str, output: str, fed: tuple[Path, dict[str, int]]) -> None:
    text = run("report", name, "--db", str(fed[0]), "--format", output)
    assert text
    if output == "json":
        assert json.loads(text)["scope"]


def test_every_persons_road_can_be_shown(fed: tuple[Path, dict[str, int]]) -> None:
    people = json.loads(run("report", "journeys", "--db", str(fed[0]), "--format", "json", "--limit", "20"))["people"]
    assert len(people) >= 5
    for person in people:
        assert run("report", "journeys", "--db", str(fed[0]), "--person", f"person:{person['person_id']}")


@pytest.mark.parametrize("exporter", ["csv", "jsonl"])
@pytest.mark.parametrize("table", TABLES)
def test_no_export_breaks(table: str, exporter: str, fed: tuple[Path, dict[str, int]], tmp_path: Path) -> None:
    target = tmp_path / "rows"
    run("export", exporter, "--to", str(target), "--table", table, "--db", str(fed[0]))
    if exporter == "jsonl":
        assert all(msgspec.json.decode(line) for line in target.read_bytes().splitlines())


def test_a_rebuild_gives_the_same_and_quarantine_can_be_looked_through(fed: tuple[Path, dict[str, int]]) -> None:
    db, counts = fed
    given = Settings(store=StoreSettings(db=db))
    collector = Collector(given, PluginHost.load(given), starts_projector=False)
    try:
        before = retold(collector)
        assert collector.projector.rebuild() == counts["accepted"]
        assert retold(collector) == before
    finally:
        collector.close()
    each = json.loads(run("quarantine", "list", "--each", "--limit", "10000", "--json", "--db", str(db)))
    assert sum(row["times"] for row in each) == counts["rejected"]
    for row in each[:: max(1, len(each) // 40)]:
        assert run("quarantine", "show", str(row["id"]), "--db", str(db))
    assert run("quarantine", "list", "--db", str(db))
