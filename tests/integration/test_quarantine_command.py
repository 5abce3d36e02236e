"""`touchtrail quarantine` as it is typed, beside a running collector and without one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from in_process_http import Application
from shop_events import wire_event
from touchtrail_collector.cli import cli
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.settings import Settings, StoreSettings
from touchtrail_collector.store.sqlite.reader import open_reader

Run = Callable[..., Result]
ESCAPES = "\x1b]0;owned\x07\x1b[2J\r\n\u202e\x9b31m"


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
def run(db: Path) -> Run:
    def run_one(*arguments: str, code: int = 0, **given: Any) -> Result:
        done = CliRunner().invoke(cli, ["quarantine", *arguments, "--db", str(db)], **given)
        assert done.exit_code == code, done.output
        return done

    return run_one


def send(db: Path, *events: Any) -> None:
    collector = Collector(Settings(store=StoreSettings(db=db)), PluginHost.of({}), starts_projector=False)
    try:
        key = collector.store.create_key(source="web")
        collector.reload_keys()
        assert Application(collector, key).post(list(events)).status_code == 200
    finally:
        collector.close()


def stored(db: Path) -> list[str]:
    reader = open_reader(db)
    try:
        return [name for (name,) in reader.execute("SELECT event_id FROM events ORDER BY seq")]
    finally:
        reader.close()


def orders(*numbers: str) -> list[Any]:
    properties = {"currency": "EUR", "totl": "5"}
    return [wire_event(f"e{n}", "order_placed", properties=properties | {"order_id": n}) for n in numbers]


def test_rejects_are_listed_in_groups_with_what_mends_them(db: Path, run: Run) -> None:
    send(db, *orders("1", "2", "3"), wire_event("x", occurred_at="2026-01-01T00:00:00"))
    output = run("list").output
    assert "3 ×  unknown_field  properties.totl  in order_placed  from web" in output
    command = (
        "touchtrail quarantine replay --code unknown_field --field properties.totl --name order_placed --source web"
        " --rename properties.totl=properties.total"
    )
    assert command in output
    assert "1 ×  invalid_value  occurred_at  in page_viewed  from web" in output
    # Every time needs its own value: the command is for the example alone.
    assert "replay 4 --set occurred_at=2026-01-01T00:00:00Z" in output
    assert run(*command.split()[2:]).output == "3 stored, 0 were there already, 0 still rejected\n"
    assert stored(db) == ["e1", "e2", "e3"]


def test_lists_can_be_narrowed_and_read_by_programs(db: Path, run: Run) -> None:
    send(db, *orders("1", "2"), wire_event("x", size=1))
    groups = json.loads(run("list", "--json").output)
    assert [(group["code"], group["entries"]) for group in groups] == [("unknown_field", 2), ("unknown_field", 1)]
    assert groups[0]["example"]["suggestion"]["options"] == ["--rename", "properties.totl=properties.total"]
    each = json.loads(run("list", "--each", "--format", "json", "--since", "1h").output)
    assert [row["id"] for row in each] == [3, 2, 1]
    assert len(run("list", "--each", "--field", "size").output.splitlines()) == 1
    assert run("list", "--since", "2100-01-01").output == "Nothing is in quarantine.\n"
    assert json.loads(run("list", "--json", "--source", "till").output) == []
    assert "is no day" in run("list", "--since", "gestern", code=2).output


def test_one_is_shown_with_its_fault_marked(db: Path, run: Run) -> None:
    lines = [{"sku": "a"}, {"sku": "b", "quantity": -1}]
    send(db, wire_event("1", "order_placed", properties={"order_id": "1", "currency": "EUR", "lines": lines}))
    output = run("show", "1").output
    assert "invalid_value at properties.lines[1].quantity: properties.lines[1].quantity must be at least 0" in output
    marked = [line for line in output.splitlines() if line.startswith("▶")]
    assert [line.strip("▶ ") for line in marked] == ['"quantity": -1']
    shown = json.loads(run("show", "1", "--json").output)
    assert (shown["code"], shown["times"]) == ("invalid_value", 1)
    assert json.loads(run("show", "1", "--raw").output)["properties"]["lines"] == lines
    assert "There is no reject 7" in run("show", "7", code=2).output


def test_what_senders_write_cannot_change_a_terminal(db: Path, run: Run) -> None:
    send(db, wire_event("1", **{ESCAPES: 1}), wire_event("2", ESCAPES), wire_event("3", "own", page=ESCAPES))
    broken = ESCAPES.encode() + b"\xff"
    collector = Collector(Settings(store=StoreSettings(db=db)), PluginHost.of({}), starts_projector=False)
    collector.store.write(
        lambda connection: (
            connection.execute(
                "INSERT INTO quarantine (received_at, code, message, body) VALUES (1, 'x', ?, ?)", (ESCAPES, broken)
            )
            and None
        )
    )
    collector.close()
    outputs = [run("list").output, run("list", "--each").output, *(run("show", str(n)).output for n in range(1, 5))]
    outputs.append(run("replay", code=1).output)
    assert sum("\\x1b" in output or "\\u001b" in output for output in outputs) >= 6
    for output in outputs:
        assert not set(output) & set("\x1b\x07\r\u202e\x9b"), output


def test_dry_runs_edits_and_files(db: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send(db, wire_event("1", colour=1), wire_event("2", colour=1), wire_event("3", colour=1))
    assert run("replay", "--drop", "colour", "--dry-run").output == (
        "3 would be stored, 0 are there already, 0 would still be rejected\n"
    )
    assert stored(db) == []
    repaired = tmp_path / "repaired.json"
    repaired.write_bytes(msgspec.json.encode(wire_event("1")))
    assert "1 stored" in run("replay", "1", "--with", str(repaired)).output
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i /colour/d "$1"\nsed -i \'s/"a-1",/"a-1"/\' "$1"\n')
    editor.chmod(0o700)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    assert "1 stored" in run("replay", "2", "--edit").output
    assert "name its number" in run("replay", "--edit", code=2).output
    assert "unknown_field" in run("replay", "3", code=1).output
    assert "takes two names" in run("replay", "--rename", "colour", code=2).output
    assert stored(db) == ["1", "2"]
    assert os.access(editor, os.X_OK)


def test_rejects_are_dismissed_and_opened_again(db: Path, run: Run) -> None:
    send(db, wire_event("1", colour=1), wire_event("2", size=1))
    assert "Say which" in run("dismiss", code=2).output
    assert run("dismiss", "--field", "colour").output == "1 dismissed\n"
    assert run("dismiss", "--all").output == "1 dismissed\n"
    assert run("list").output == "Nothing is in quarantine.\n"
    assert len(run("list", "--each", "--state", "dismissed").output.splitlines()) == 2
    assert run("reopen", "2").output == "1 opened again\n"
    assert run("reopen", "2").output == "0 opened again\n"
    assert "there is no reject 9" in str(run("reopen", "9", code=1).exception)
