"""`touchtrail doctor`: each fault that is planted is found, named, and told what to do about; nothing is changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlite_utils import Database

from derived_tables import store
from shop_events import wire_event
from touchtrail_collector.cli.doctor import doctor
from touchtrail_collector.host import PluginHost, PluginInfo
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.derivation_rules import rules_of
from touchtrail_collector.services.doctor import Finding, RunningCollector, Surroundings, examine, tell_keys
from touchtrail_collector.services.machine import clock_state, waiting_spools
from touchtrail_collector.settings import ServerSettings, Settings, StoreSettings
from touchtrail_collector.store.engine import RejectRow
from touchtrail_collector.store.sqlite.condition import sample_ids
from touchtrail_collector.store.sqlite.glance import remove_empty_log
from touchtrail_collector.store.sqlite.migrations import MIGRATIONS
from touchtrail_collector.store.sqlite.reader import open_reader
from touchtrail_collector.store.sqlite.store import now_ms

MINE = {"integrity", "schema", "ids", "keys", "quarantine", "derived", "permissions", "wal", "settings", "collector"}
"""The checks that are of the database alone; disk and clock are this machine's."""


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def db(tmp_path: Path, default_host: PluginHost) -> Path:
    """A database with forty events, a key that was used, and nothing to complain of."""
    path = tmp_path / "shop.db"
    collector = Collector(Settings(store=StoreSettings(db=path)), default_host, starts_projector=False)
    collector.store.create_key(source="web")
    collector.store.write(lambda connection: connection.execute("UPDATE keys SET last_used_at = 1"))
    store(collector, [wire_event(f"e{number}", anonymous_id=f"a{number}") for number in range(40)])
    collector.projector.catch_up()
    collector.store.writer._connection.seen.seal(collector.store.writer._connection)
    collector.close()
    return path


def around(db: Path, host: PluginHost, **changes: Any) -> Surroundings:
    settings = Settings(store=StoreSettings(db=db), server=changes.pop("server", ServerSettings()))
    given = {"settings": settings, "signature": rules_of(host, settings).signature, "plugins": host.plugins()}
    return Surroundings(**(given | changes))


def change(db: Path, *statements: str) -> None:
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def found(findings: Sequence[Finding], check: str) -> Finding:
    """Return the worst finding of a check."""
    order = ("problem", "warning", "ok")
    return min((one for one in findings if one.check == check), key=lambda one: order.index(one.state))


def test_a_sound_database_passes_every_check(db: Path, default_host: PluginHost) -> None:
    findings = [one for one in examine(around(db, default_host), thorough=True) if one.check in MINE]
    assert [one for one in findings if one.state != "ok"] == []
    assert {one.check for one in findings} == MINE


def test_nothing_is_changed(db: Path, default_host: PluginHost) -> None:
    before = hashlib.sha256(db.read_bytes()).digest(), db.stat().st_mtime_ns, set(db.parent.iterdir())
    examine(around(db, default_host), thorough=True)
    assert (hashlib.sha256(db.read_bytes()).digest(), db.stat().st_mtime_ns, set(db.parent.iterdir())) == before


def test_a_copy_that_was_never_served_gets_nothing_beside_it_either(db: Path, default_host: PluginHost) -> None:
    copy = db.with_name("copy.db")
    shutil.copy(db, copy)
    before = set(db.parent.iterdir())
    examine(around(copy, default_host))
    assert set(db.parent.iterdir()) == before


def test_the_log_of_a_crash_is_read_and_stays(db: Path, default_host: PluginHost) -> None:
    store_settings = Settings(store=StoreSettings(db=db))
    collector = Collector(store_settings, default_host, starts_projector=False)
    store(collector, [wire_event("newest")])
    crashed = db.with_name("crashed.db")
    shutil.copy(db, crashed)
    shutil.copy(f"{db}-wal", f"{crashed}-wal")
    collector.close()
    log = Path(f"{crashed}-wal").read_bytes()
    finding = found(examine(around(crashed, default_host)), "derived")
    assert "1 event is derived when the collector starts" in finding.message
    assert (Path(f"{crashed}-wal").read_bytes(), len(log) > 0) == (log, True)


def test_a_running_collectors_log_is_left_alone(db: Path, default_host: PluginHost) -> None:
    collector = Collector(Settings(store=StoreSettings(db=db)), default_host, starts_projector=False)
    try:
        remove_empty_log(db)
        examine(around(db, default_host))
        store(collector, [wire_event("after")])
        assert Path(f"{db}-wal").stat().st_size > 0
    finally:
        collector.close()
    with closing(open_reader(db)) as reader:
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (41,)


KEYS = {
    (1, 0): ("ok", "1 valid write key, in use"),
    (3, 0): ("ok", "3 valid write keys, all in use"),
    (1, 1): ("warning", "the only write key was never used"),
    (3, 1): ("warning", "1 of 3 write keys was never used"),
    (3, 2): ("warning", "2 of 3 write keys were never used"),
}


@pytest.mark.parametrize("numbers", KEYS)
def test_keys_are_told_in_a_sentence_that_fits_their_number(numbers: tuple[int, int]) -> None:
    finding = tell_keys(*numbers)
    assert (finding.state, finding.message) == KEYS[numbers]


def test_events_that_were_not_looked_up_are_no_finding(tmp_path: Path, default_host: PluginHost) -> None:
    path = tmp_path / "new.db"
    Collector(Settings(store=StoreSettings(db=path)), default_host, starts_projector=False).close()
    assert "ids" not in {finding.check for finding in examine(around(path, default_host))}


def damage(db: Path) -> None:
    """Overwrite the first page of a table."""
    with closing(sqlite3.connect(db)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'touchpoints'").fetchone()
    with db.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)


def older(db: Path) -> None:
    db.unlink()
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        MIGRATIONS.apply(Database(connection), stop_before="m003_seen")
    db.chmod(0o600)


def reject(db: Path) -> None:
    host = PluginHost.of({})
    collector = Collector(Settings(store=StoreSettings(db=db)), host, starts_projector=False)
    collector.store.append([], [RejectRow(now_ms(), 1, "unknown_field", "x", "there is no field x", b"{}")]).result()
    collector.close()


PLANTED: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "a damaged page": (damage, "integrity", "problem", "restore a backup"),
    "a missing file": (lambda db: db.unlink(), "database", "problem", "there is no database"),
    "no database": (lambda db: db.write_text("text" * 2000), "database", "problem", "cannot be read as a database"),
    "an older schema": (older, "schema", "warning", "make a backup, then start the collector"),
    "a newer schema": (
        lambda db: change(db, "UPDATE _sqlite_migrations SET name = 'm999' WHERE name LIKE 'm002%'"),
        "schema", "problem", "upgrade",
    ),
    "lost ids": (
        lambda db: change(db, "UPDATE seen_parts SET digests = zeroblob(length(digests))"),
        "ids", "problem", "40 of 40 events",
    ),
    "a row without its parent": (
        lambda db: change(db, "UPDATE sources SET shop_id = 77"), "integrity", "problem", "a row of sources refers to",
    ),
    "no key": (lambda db: change(db, "DELETE FROM keys"), "keys", "warning", "touchtrail keys create"),
    "a revoked key": (lambda db: change(db, "UPDATE keys SET revoked_at = 1"), "keys", "warning", "no valid write key"),
    "an expired key": (lambda db: change(db, "UPDATE keys SET expires_at = 1"), "keys", "warning", "no valid write key"),
    "an unused key": (lambda db: change(db, "UPDATE keys SET last_used_at = NULL"), "keys", "warning", "never used"),
    "a reject": (reject, "quarantine", "warning", "1 reject waits"),
    "an event not derived": (
        lambda db: change(db, "UPDATE meta SET value = '39' WHERE name = 'derived_seq'"),
        "derived", "ok", "1 event is derived when the collector starts",
    ),
    "other rules": (
        lambda db: change(db, "UPDATE meta SET value = 'others' WHERE name = 'derived_by'"),
        "derived", "warning", "touchtrail rebuild",
    ),
    "events not derived": (
        lambda db: change(db, "UPDATE meta SET value = '10' WHERE name = 'derived_seq'"),
        "derived", "ok", "30 events are derived when the collector starts",
    ),
    "an open file": (lambda db: db.chmod(0o644), "permissions", "warning", "mode 0644"),
    "a hard link": (
        lambda db: os.link(db, db.with_name("other.db")), "names", "problem", "the collector does not start before",
    ),
    "an interrupted restore": (
        lambda db: os.link(db, db.with_name(".shop.db.replaced-20260101T000000Z")), "leftovers", "warning",
        "run the restore again",
    ),
    "a file of tomorrow": (lambda db: os.utime(db, (4e9, 4e9)), "clock", "problem", "in the future"),
    "an event of tomorrow": (
        lambda db: change(db, "UPDATE events SET received_at = 4000000000000"), "clock", "problem", "set back",
    ),
    "a sender's wrong clock": (
        lambda db: change(db, "UPDATE events SET sent_at = received_at - 400000 WHERE seq % 4 = 0"), "senders", "warning",
        "10 of the last",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(db: Path, default_host: PluginHost, fault: str) -> None:
    plant, check, state, said = PLANTED[fault]
    plant(db)
    finding = found(examine(around(db, default_host)), check)
    assert (finding.state, said in f"{finding.message} {finding.action}") == (state, True), finding
    assert finding.action is not None or state == "ok" or check == "database"


REFUSALS = {
    "database or disk is full; free some disk space": "do what it says; a restart does not help",
    "the writer has ended; see the log": "look at its log, then restart it",
    "the collector is stopping": "wait until it has stopped",
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_why_a_collector_takes_no_events_is_told_with_what_helps(
    db: Path, default_host: PluginHost, reason: str
) -> None:
    readiness = {"is_ready": False, "message": f"events are not taken now: {reason}"}
    running = RunningCollector(pid=7, url="u", readiness=readiness)
    finding = found(examine(around(db, default_host, collector=running)), "collector")
    assert (finding.state, finding.message) == ("problem", f"process 7 at u takes no events: {reason}")
    assert str(finding.action).startswith(REFUSALS[reason])


SURROUNDINGS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "wrong settings": ({"problems": ["server.prot is unknown"]}, "settings", "problem", "server.prot is unknown"),
    "any host": ({"server": ServerSettings(allowed_hosts=("*",))}, "settings", "warning", "allowed_hosts"),
    "a silent collector": (
        {"collector": RunningCollector(pid=7, url="http://127.0.0.1:9")}, "collector", "problem", "does not answer",
    ),
    "a stopping collector": (
        {"collector": RunningCollector(pid=7, url="u", readiness={"is_ready": False})}, "collector", "problem", "no events",
    ),
    "a failing derivation": (
        {"collector": RunningCollector(pid=7, url="u", readiness={"is_ready": True, "projector_failure": "OSError: x"})},
        "derived", "problem", "OSError: x",
    ),
    "a broken plugin": (
        {"plugin_problems": ["channel.sad: no module"]}, "plugins", "warning", "channel.sad: no module",
    ),
    "a failing plugin": (
        {"plugins": [PluginInfo(id="channel.sad", kind="channel", distribution=None, version=None, calls=9, failures=2)]},
        "plugins", "warning", "channel.sad failed 2 of 9 times",
    ),
    "a disabled plugin": (
        {"plugins": [PluginInfo(id="source.x", kind="source", distribution=None, version=None, state="disabled")]},
        "plugins", "ok", "disabled by the settings: source.x",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", SURROUNDINGS)
def test_what_is_wrong_around_the_database_is_found(db: Path, default_host: PluginHost, fault: str) -> None:
    changes, check, state, said = SURROUNDINGS[fault]
    finding = found(examine(around(db, default_host, **changes)), check)
    assert (finding.state, said in finding.message) == (state, True), finding


def test_events_that_wait_long_beside_a_running_collector_are_told(db: Path, default_host: PluginHost) -> None:
    change(db, "UPDATE meta SET value = '10' WHERE name = 'derived_seq'", "UPDATE events SET received_at = 1000")
    running = RunningCollector(pid=1, url="u", readiness={"is_ready": True})
    finding = found(examine(around(db, default_host, collector=running)), "derived")
    assert (finding.state, "30 events wait" in finding.message) == ("warning", True)


def test_ids_are_looked_up_all_over_the_log_and_what_is_not_put_away_yet_is_passed_over(
    db: Path, default_host: PluginHost
) -> None:
    collector = Collector(Settings(store=StoreSettings(db=db)), default_host, starts_projector=False)
    store(collector, [wire_event(f"late{number}") for number in range(5)])
    collector.close()
    with closing(open_reader(db)) as reader:
        assert sample_ids(reader) == (40, 0)


def test_only_spool_files_that_nobody_touches_any_more_are_told(tmp_path: Path) -> None:
    base = tmp_path / "spool"
    for name, age_s in (("old", 4_000), ("young", 10)):
        (base / name).mkdir(parents=True)
        file = base / name / "1.seg"
        file.write_bytes(b"x" * 500)
        then = file.stat().st_mtime - age_s
        os.utime(file, (then, then))
    assert waiting_spools(base, older_than_s=600) == {base / "old": 500}
    assert waiting_spools(tmp_path / "nowhere", older_than_s=600) == {}


def test_what_a_dead_program_left_in_its_spool_is_told_with_its_place(
    db: Path, default_host: PluginHost, tmp_path: Path
) -> None:
    left = tmp_path / "state" / "touchtrail" / "spool" / ("ab" * 16) / "1.seg"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x" * 500)
    os.utime(left, (1e9, 1e9))
    finding = found(examine(around(db, default_host)), "spool")
    assert finding.state == "warning"
    assert str(left.parent) in finding.message
    assert "touchtrail drain" in str(finding.action)


def test_the_clock_is_known_to_be_in_one_of_three_states() -> None:
    assert clock_state() in ("synchronised", "free", "unknown")


def run_doctor(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(doctor, arguments)
    return result.exit_code, result.stdout


def test_the_command_ends_with_1_only_for_a_problem_and_speaks_json(db: Path) -> None:
    code, text = run_doctor("--db", str(db), "--json")
    told = json.loads(text)
    assert code == (1 if told["state"] == "problem" else 0)
    assert {one["check"] for one in told["findings"]} >= MINE - {"settings"} | {"sqlite", "disk", "clock", "plugins"}
    assert all(one.keys() == {"check", "state", "message", "action"} for one in told["findings"])
    damage(db)
    code, text = run_doctor("--db", str(db))
    assert code == 1
    assert "PROBLEM  integrity" in text
    assert "→ stop the collector, keep the file, and restore a backup" in text


def test_wrong_settings_do_not_keep_it_from_the_database(db: Path) -> None:
    (db.parent / "touchtrail.toml").write_text("[server]\nprot = 1\n")
    code, text = run_doctor("--db", str(db))
    assert code == 1
    assert "server.prot is unknown" in text
    assert "ok       integrity" in text


def test_a_running_collector_is_asked(db: Path, default_host: PluginHost) -> None:
    settings = Settings(store=StoreSettings(db=db))
    collector = Collector(settings, default_host, starts_projector=False)
    collector.announce("http://127.0.0.1:9")  # nobody listens there
    try:
        code, text = run_doctor("--db", str(db))
    finally:
        collector.close()
    assert code == 1
    assert f"process {os.getpid()} has the database open but does not answer" in text
    assert shutil.disk_usage(db.parent).free > 0
