"""A restored database has today's senders, keys and password, and brings back nothing that is gone from quarantine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlite_utils import Database

from in_process_http import Application
from shop_events import START_MS, wire_event
from touchtrail_collector.cli.restore import tell
from touchtrail_collector.domain.repair import Repair
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.admin import run_operation
from touchtrail_collector.services.backup import Restored, back_up, restore
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.quarantine import ReplayRules, mark, replay
from touchtrail_collector.settings import Settings, StoreSettings
from touchtrail_collector.store.sqlite import password
from touchtrail_collector.store.sqlite.carry_over import CarriedOver
from touchtrail_collector.store.sqlite.database import WritingConnection
from touchtrail_collector.store.sqlite.migrations import MIGRATIONS
from touchtrail_collector.store.sqlite.reader import open_reader
from touchtrail_collector.store.sqlite.rejects import Chosen
from touchtrail_collector.store.sqlite.store import SqliteStore


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


@contextmanager
def collecting(path: Path, host: PluginHost) -> Iterator[Collector]:
    collector = Collector(Settings(store=StoreSettings(db=path)), host, starts_projector=False)
    try:
        yield collector
    finally:
        collector.close()


def run(collector: Collector, operation: str, **arguments: Any) -> Any:
    return run_operation(collector, operation, arguments)


def carried_by(copy: Path, db: Path) -> CarriedOver:
    restored = restore(copy, db)
    assert restored.carried is not None
    return restored.carried


def test_a_key_that_was_revoked_since_the_backup_stays_revoked(db: Path, copy: Path, default_host: PluginHost) -> None:
    with collecting(db, default_host) as collector:
        early, late = collector.store.create_key(source="web"), collector.store.create_key(source="web")
        back_up(db, copy)
        collector.store.revoke_key(late)
    assert carried_by(copy, db) == CarriedOver(keys_ended=1)
    with collecting(db, default_host) as collector:
        assert collector.find_owner(early) is not None
        assert collector.find_owner(late) is None


def test_a_key_that_was_rotated_since_the_backup_still_ends_and_the_new_one_lets_in(
    db: Path, copy: Path, default_host: PluginHost
) -> None:
    with collecting(db, default_host) as collector:
        old = run(collector, "create_key", source="web")["key"]
        token = run(collector, "create_key")["key"]
        back_up(db, copy)
        new = run(collector, "rotate_key", key=old, grace_hours=0)["key"]
        new_token = run(collector, "rotate_key", key=token, grace_hours=0)["key"]
    assert carried_by(copy, db) == CarriedOver(keys_ended=2, keys_added=2)
    with collecting(db, default_host) as collector:
        owners = [collector.find_owner(key) for key in (old, token, new, new_token)]
        assert [owner and (owner.kind, owner.source) for owner in owners] == [
            None, None, ("write", "web"), ("read", ""),
        ]  # fmt: skip
    assert carried_by(copy, db) == CarriedOver(keys_ended=2, keys_added=2), "a second restore finds the same"


@pytest.mark.parametrize(
    ("before", "since", "mode", "origins"),
    [
        ({}, {"mode": "consent_required"}, "consent_required", ()),
        ({}, {"origins": ["https://shop.example"]}, "full", ("https://shop.example",)),
        (
            {"origins": ["https://shop.example", "https://old.example"]},
            {"origins": ["https://shop.example"]}, "full", ("https://shop.example",),
        ),
        ({"mode": "consent_required", "origins": ["https://a.example"]}, {"origins": []}, "consent_required", ()),
    ],
    ids=["a stricter mode", "origins where there were none", "fewer origins", "what was loosened on purpose"],
)  # fmt: skip
def test_what_a_sender_may_do_is_what_it_may_today(
    db: Path, copy: Path, default_host: PluginHost, before: Any, since: Any, mode: str, origins: tuple[str, ...]
) -> None:
    with collecting(db, default_host) as collector:
        key = run(collector, "create_key", source="web", **before)["key"]
        back_up(db, copy)
        run(collector, "set_sender", source="web", **since)
    assert carried_by(copy, db) == CarriedOver(senders_changed=1)
    with collecting(db, default_host) as collector:
        (row,) = collector.store.list_keys()
        assert (row.mode, row.origins) == (mode, origins)
        app = Application(collector, key)
        elsewhere = app.ask("POST", "/v1/events", headers={"origin": "https://old.example"} | bearer(key), json=[])
        assert elsewhere.status_code == (403 if origins else 200)
        without_consent = app.post([wire_event("1")]).json()
        assert without_consent["accepted"] == (1 if mode == "full" else 0)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_a_sender_that_was_made_since_keeps_its_key_its_shop_and_what_was_erased_of_it(
    db: Path, copy: Path, default_host: PluginHost
) -> None:
    with collecting(db, default_host) as collector:
        run(collector, "create_key", source="web")
        back_up(db, copy)
        origins = ["https://b.example"]
        key = run(collector, "create_key", source="app", shop="second", mode="full", origins=origins)["key"]
        Application(collector, key).post([wire_event("gone"), wire_event("kept")])
        connection = collector.store.writer._connection
        connection.seen.seal(connection)
        collector.store.write(lambda writing: writing.execute("DELETE FROM events WHERE event_id = 'gone'"))
    assert carried_by(copy, db) == CarriedOver(ids_erased=1, keys_added=1)
    with collecting(db, default_host) as collector:
        row = next(row for row in collector.store.list_keys() if row.source == "app")
        assert (row.shop, row.mode, row.origins, row.last_used_at is None) == ("second", "full", tuple(origins), False)
        answer = Application(collector, key).post([wire_event("gone"), wire_event("kept")]).json()
        assert (answer["accepted"], answer["duplicates"]) == (1, 1), "the erased one is known, the lost one is taken"


def test_a_sender_whose_number_another_has_in_the_backup_gets_a_new_one(
    db: Path, copy: Path, default_host: PluginHost
) -> None:
    with collecting(db, default_host) as collector:
        run(collector, "create_key", source="web")
        back_up(db, copy)
        key = run(collector, "create_key", source="app")["key"]
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("INSERT INTO sources (source_id, shop_id, name, created_at) VALUES (2, 1, 'till', 1)")
        connection.commit()
    assert carried_by(copy, db) == CarriedOver(keys_added=1)
    with collecting(db, default_host) as collector:
        owner = collector.find_owner(key)
        assert owner is not None
        assert (owner.source, owner.source_id) == ("app", 3)


def test_a_current_file_of_a_version_without_modes_is_learnt_from_as_far_as_it_goes(db: Path, copy: Path) -> None:
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        MIGRATIONS.apply(Database(connection), stop_before="m003_seen")
        connection.execute("INSERT INTO sources VALUES (1, 1, 'web', 0)")
        connection.execute("INSERT INTO keys VALUES ('hash', 'ttw_abcd', 'write', 1, 0, NULL)")
    back_up(db, copy)
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        connection.execute("UPDATE keys SET revoked_at = 7")
        connection.execute("INSERT INTO keys VALUES ('other', 'ttw_efgh', 'write', 1, 0, NULL)")
    assert carried_by(copy, db) == CarriedOver(keys_ended=1, keys_added=1)
    with closing(open_reader(db)) as reader:
        assert reader.execute("SELECT mode, origins FROM sources").fetchall() == [("full", "")]
        assert reader.execute("SELECT key_hash, revoked_at FROM keys").fetchall() == [("hash", 7), ("other", None)]


@pytest.mark.parametrize("now", [None, "new hash"], ids=["removed since", "changed since"])
def test_the_password_is_the_one_of_today_not_of_the_backup(db: Path, copy: Path, now: str | None) -> None:
    with SqliteStore(db) as store:
        store.write(lambda connection: password.save_hash(connection, "old hash"))
    back_up(db, copy)
    with SqliteStore(db) as store:
        store.write(lambda connection: password.save_hash(connection, now))
    restore(copy, db)
    with closing(sqlite3.connect(db)) as reader:
        assert password.load_hash(reader) == now


def quarantined(path: Path) -> list[tuple[str, int]]:
    """Return what waits in a file's quarantine, by the event's id, with how often it came."""
    with closing(open_reader(path)) as reader:
        rows = reader.execute(
            "SELECT CAST(body AS TEXT) ->> '$.event_id', times FROM quarantine WHERE state = 'open' ORDER BY id"
        )
        return rows.fetchall()


def reject(collector: Collector, *ids: str) -> None:
    body = msgspec.json.encode([wire_event(event_id, colour="secret-of-Jane") for event_id in ids])
    prepared = collector.ingest.prepare(body, source_id=collector.store.ensure_source("web"), now_ms=START_MS)
    assert len(prepared.reject_rows) == len(ids)
    collector.store.append(prepared.events, prepared.reject_rows).result()


def erase_reject(collector: Collector, event_id: str) -> None:
    """Erase what quarantine holds of somebody, as erasure does it: the row goes and nothing says that it was there."""

    def work(connection: WritingConnection) -> None:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("DELETE FROM quarantine WHERE CAST(body AS TEXT) ->> '$.event_id' = ?", (event_id,))

    collector.store.write(work)


def test_a_reject_that_was_erased_since_the_backup_is_not_even_in_the_restored_files_free_pages(
    db: Path, copy: Path, default_host: PluginHost
) -> None:
    with collecting(db, default_host) as collector:
        reject(collector, "other", "Erase-Me-7", "Erase-Me-7")
        back_up(db, copy)
        erase_reject(collector, "Erase-Me-7")
        # Its number is given to another one now: what counts is what it holds.
        reject(collector, "after")
    assert b"Erase-Me-7" in copy.read_bytes()
    assert carried_by(copy, db) == CarriedOver(rejects_left_out=1)
    assert quarantined(db) == [("other", 1)]
    assert b"Erase-Me-7" not in db.read_bytes()
    with closing(open_reader(db)) as reader:
        counters = dict(reader.execute("SELECT name, sum(n) FROM counters GROUP BY name").fetchall())
    assert counters == {"rejected:unknown_field": 3, "quarantine_dropped": 2}, "what is gone is counted"


def test_rejects_that_are_there_in_whatever_state_come_back_as_they_were(
    db: Path, copy: Path, default_host: PluginHost
) -> None:
    with collecting(db, default_host) as collector:
        reject(collector, "1", "2", "3")
        back_up(db, copy)
        replay(collector, Chosen(ids=[1]), ReplayRules(repair=Repair(drop=["colour"])))
        mark(collector, Chosen(ids=[2]), "dismissed")
        reject(collector, "3", "4")
    assert not any(carried_by(copy, db)), "the event of 1 is lost with the replaced file: its reject waits again"
    assert quarantined(db) == [("1", 1), ("2", 1), ("3", 1)]


def test_what_was_carried_over_is_told_a_line_each() -> None:
    class Contents:
        size_bytes, events, last_received = 1_000_000, 3, None

    restored = Restored(contents=Contents, replaced=Path("old"), migrated=[], carried=CarriedOver(1, 2, 3, 4, 5, 6))  # type: ignore[arg-type]
    lines = tell(restored, Path("shop.db"))
    assert [line.split(" ", 2)[0] for line in lines[2:]] == ["2", "3", "4", "5", "6"]
    nothing = Restored(contents=Contents, replaced=Path("old"), migrated=[], carried=CarriedOver())  # type: ignore[arg-type]
    assert len(tell(nothing, Path("shop.db"))) == 2
