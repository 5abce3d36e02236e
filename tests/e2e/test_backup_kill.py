"""`touchtrail backup` and `restore` as people run them: beside a collector, and killed at every step on the way."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from collector_process import running_collector, touchtrail

from shop_events import wire_event
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.backup import restore
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.settings import Settings, StoreSettings
from touchtrail_collector.store.sqlite.copy import find_faults
from touchtrail_collector.store.sqlite.reader import open_reader

OLD = [f"old-{number}" for number in range(40)]
NEW = [f"new-{number}" for number in range(40)]


def ids_in(path: Path) -> list[str]:
    """Return the ids of a sound file's events."""
    with closing(open_reader(path)) as reader:
        assert find_faults(reader) == []
        return [event_id for (event_id,) in reader.execute("SELECT event_id FROM events ORDER BY seq")]


def add(path: Path, ids: list[str]) -> None:
    collector = Collector(Settings(store=StoreSettings(db=path)), PluginHost.of({}), starts_projector=False)
    try:
        source_id = collector.store.ensure_source("web")
        for event_id in ids:
            body = sqlite_json(wire_event(event_id))
            prepared = collector.ingest.prepare(body, source_id=source_id, now_ms=1_795_000_000_000)
            collector.store.append(prepared.events).result()
    finally:
        collector.close()


def sqlite_json(event: dict[str, object]) -> bytes:
    return httpx.Request("POST", "http://x", json=event).read()


def killed_at_every_step(work: str, folder: Path) -> list[Path]:
    """Have `killed_steps` do the work and return the folders it left, one for each step."""
    script = Path(__file__).with_name("killed_steps.py")
    run = subprocess.run(
        [sys.executable, str(script), work, str(folder)], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    return [folder.with_name(f"{folder.name}-{step}") for step in range(1, int(run.stdout) + 1)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A database with the new events and a backup with the old ones."""
    folder = tmp_path / "state"
    folder.mkdir()
    add(folder / "copy.db", OLD)
    with closing(sqlite3.connect(folder / "copy.db")) as source, closing(sqlite3.connect(folder / "shop.db")) as copy:
        source.backup(copy)
    add(folder / "shop.db", NEW)
    return folder


def test_a_backup_killed_at_any_step_leaves_the_old_copy_or_the_new_one(folder: Path) -> None:
    states = killed_at_every_step("backup", folder)
    assert len(states) > 30
    found = [ids_in(state / "copy.db") for state in states]
    assert all(ids in (OLD, OLD + NEW) for ids in found)
    assert OLD in found
    assert OLD + NEW in found
    assert all(ids_in(state / "shop.db") == OLD + NEW for state in states)


def test_a_restore_killed_at_any_step_leaves_the_old_database_or_the_new_one(folder: Path) -> None:
    states = killed_at_every_step("restore", folder)
    assert len(states) > 60
    found = [ids_in(state / "shop.db") for state in states]
    assert all(ids in (OLD, OLD + NEW) for ids in found)
    assert OLD in found
    assert OLD + NEW in found
    shapes = {shape_of(state, ids): (state, ids) for state, ids in zip(states, found, strict=True)}
    assert len(shapes) >= 6
    for state, ids in shapes.values():
        check_that_it_goes_on(state, ids)


def shape_of(folder: Path, ids: list[str]) -> tuple[int, frozenset[str]]:
    """Return which database is there and which files beside it, made-up parts of names aside."""
    return len(ids), frozenset(re.sub(r"\.[^.]{8}\.partial|\d{8}T\d{6}Z", "", path.name) for path in folder.iterdir())


def check_that_it_goes_on(folder: Path, ids: list[str]) -> None:
    """Take another event and restore once more where a restore was killed; nothing of it stays lying about."""
    add(folder / "shop.db", ["after"])
    restored = restore(folder / "copy.db", folder / "shop.db")
    assert ids_in(folder / "shop.db") == OLD
    assert restored.replaced is not None
    assert ids_in(restored.replaced) == [*ids, "after"]
    names = {path.name for path in folder.iterdir()}
    assert not any(name.endswith(".partial") or name.startswith(".shop.db") for name in names), names
    if ids == OLD:  # the killed one had replaced it: what it replaced must still be there
        assert any(ids_in(path) == OLD + NEW for path in folder.glob("shop.db.replaced-*"))


def test_a_backup_beside_a_collector_under_load_holds_whole_requests_and_can_be_restored(tmp_path: Path) -> None:
    db, copy = tmp_path / "shop.db", tmp_path / "copy.db"
    with running_collector(db) as collector:
        headers = {"Authorization": f"Bearer {collector.key()}"}
        stopping = threading.Event()
        acked: list[int] = []

        def send() -> None:
            with httpx.Client(headers=headers) as client:
                while not stopping.is_set():
                    batch = [wire_event(f"{len(acked)}-{place}") for place in range(10)]
                    answer = client.post(f"{collector.url}/v1/events", json=batch)
                    assert answer.json()["accepted"] == 10
                    acked.append(len(acked))

        sender = threading.Thread(target=send)
        sender.start()
        while len(acked) < 20:
            stopping.wait(0.01)
        before = len(acked)
        said = collector.run("backup", str(copy))
        stopping.set()
        sender.join()
        assert touchtrail("restore", str(copy), db=db).returncode == 1
    ids = ids_in(copy)
    assert before * 10 <= len(ids) <= len(acked) * 10
    assert len(ids) % 10 == 0
    assert f"{len(ids):,} events, the last one received 20" in said
    assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600
    again = touchtrail("backup", str(copy), db=db)
    assert (again.returncode, "--force" in again.stderr) == (2, True)
    restored = touchtrail("restore", str(copy), db=db)
    assert restored.returncode == 0, restored.stderr
    assert "the replaced file is kept as" in restored.stdout
    assert ids_in(db) == ids
    overview = touchtrail("report", "overview", "--format", "json", db=db)
    assert overview.returncode == 0, overview.stderr
