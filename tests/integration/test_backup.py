"""Backup while events come in, and restore: what is whole, what is refused, what was erased and stays so."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlite_utils import Database

from derived_tables import dump, store
from shop_events import wire_event
from touchtrail_collector.errors import DatabaseLocked, DatabaseTooNew, StoreError, StoreUnavailable, UsageError
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.backup import back_up, restore
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.settings import Settings, StoreSettings
from touchtrail_collector.store.sqlite import copy as copying
from touchtrail_collector.store.sqlite import seen
from touchtrail_collector.store.sqlite.carry_over import in_order, missing_from
from touchtrail_collector.store.sqlite.database import WritingConnection
from touchtrail_collector.store.sqlite.migrations import KNOWN, MIGRATIONS
from touchtrail_collector.store.sqlite.reader import open_reader
from touchtrail_collector.store.sqlite.whole_file import leftovers, partial_file


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


def opened(path: Path, host: PluginHost) -> Collector:
    return Collector(Settings(store=StoreSettings(db=path)), host, starts_projector=False)


def add(path: Path, host: PluginHost, ids: Sequence[str]) -> int:
    """Have a collector take and derive page views with these ids; return how many were new."""
    collector = opened(path, host)
    try:
        before = count_events(path)
        for start in range(0, len(ids), 1_000):
            batch = ids[start : start + 1_000]
            store(collector, [wire_event(event_id, anonymous_id=f"a-{event_id}") for event_id in batch])
        collector.projector.catch_up()
    finally:
        collector.close()
    return count_events(path) - before


def erase(path: Path, host: PluginHost, ids: Sequence[str]) -> None:
    """Erase events the way the store is made for: their ids stay in the runs."""
    collector = opened(path, host)

    def work(connection: WritingConnection) -> None:
        connection.executemany("DELETE FROM events WHERE event_id = ?", [(event_id,) for event_id in ids])

    try:
        collector.store.writer._connection.seen.seal(collector.store.writer._connection)
        collector.store.write(work)
        collector.projector.rebuild()
    finally:
        collector.close()


def ids_in(path: Path) -> list[str]:
    with closing(open_reader(path)) as reader:
        return [event_id for (event_id,) in reader.execute("SELECT event_id FROM events ORDER BY seq")]


def count_events(path: Path) -> int:
    return len(ids_in(path))


def files_beside(db: Path) -> set[str]:
    """Return the names in a database's folder, without what its readers leave."""
    return {path.name for path in db.parent.iterdir()} - {"shop.db-wal", "shop.db-shm"}


def numbered(*spans: range) -> list[str]:
    return [f"e{number}" for span in spans for number in span]


def test_a_copy_made_while_events_come_in_is_the_database_of_one_moment(
    db: Path, copy: Path, default_host: PluginHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "STEP_PAGES", 10)
    add(db, default_host, numbered(range(300)))
    collector = opened(db, default_host)
    steps: list[tuple[int, int]] = []

    def progress(done: int, pages: int) -> None:
        steps.append((done, pages))
        store(collector, [wire_event(f"during-{len(steps)}")])

    try:
        contents = back_up(db, copy, progress=progress)
        assert len(steps) > 5
        assert steps[-1][0] == steps[-1][1]
        assert count_events(db) == 300 + len(steps)
    finally:
        collector.close()
    assert ids_in(copy) == numbered(range(300))
    assert contents.events == 300
    assert contents.size_bytes == copy.stat().st_size
    with closing(open_reader(copy)) as reader:
        assert contents.last_received == reader.execute("SELECT max(received_at) FROM events").fetchone()[0]


def test_a_copy_is_one_private_file_and_leaves_nothing_else(db: Path, copy: Path, default_host: PluginHost) -> None:
    add(db, default_host, ["1"])
    back_up(db, copy)
    assert files_beside(db) == {"shop.db", "shop.db.lock", "copy.db"}
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_file_that_is_there_is_replaced_only_on_demand(db: Path, copy: Path, default_host: PluginHost) -> None:
    add(db, default_host, ["1"])
    copy.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        back_up(db, copy)
    assert copy.read_text() == "mine"
    assert back_up(db, copy, force=True).events == 1
    assert ids_in(copy) == ["1"]


@pytest.mark.parametrize("name", ["shop.db", "shop.db-wal", "shop.db-shm", "shop.db.lock", "link.db"])
def test_the_databases_own_files_are_no_place_for_a_copy(db: Path, name: str, default_host: PluginHost) -> None:
    add(db, default_host, ["1"])
    (db.parent / "link.db").symlink_to(db)
    with pytest.raises(UsageError):
        back_up(db, db.parent / name, force=True)
    assert ids_in(db) == ["1"]


def test_a_copy_into_a_folder_that_is_not_there_says_so(db: Path, default_host: PluginHost) -> None:
    add(db, default_host, ["1"])
    with pytest.raises(StoreError, match="there is no folder"):
        back_up(db, db.parent / "nowhere" / "copy.db")


def damage(path: Path) -> None:
    """Overwrite a page in the middle of the file, as a failing disk does."""
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        for page in range(pages // 3, pages * 2 // 3):
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)


def test_a_damaged_database_gives_no_copy(db: Path, copy: Path, default_host: PluginHost) -> None:
    add(db, default_host, numbered(range(300)))
    damage(db)
    with pytest.raises(StoreError, match=r"damaged|malformed"):
        back_up(db, copy)
    assert not copy.exists()
    assert leftovers(copy) == []


def test_what_a_killed_backup_left_goes_with_the_next_and_what_another_works_on_stays(copy: Path) -> None:
    dead = copy.with_name(".copy.db.dead.partial")
    dead.write_text("half")
    dead.with_name(dead.name + "-journal").write_text("half")
    with partial_file(copy) as first, partial_file(copy) as second:
        assert not dead.exists()
        assert first.exists()
        assert first != second
    assert list(copy.parent.iterdir()) == []


def test_a_restored_database_is_what_it_was_and_the_replaced_one_is_kept(
    db: Path, copy: Path, default_host: PluginHost
) -> None:
    add(db, default_host, numbered(range(50)))
    before = state(db, default_host)
    back_up(db, copy)
    add(db, default_host, numbered(range(50, 80)))
    restored = restore(copy, db)
    assert state(db, default_host) == before
    assert restored.contents.events == 50
    assert restored.replaced is not None
    assert restored.replaced.name.startswith("shop.db.replaced-")
    assert ids_in(restored.replaced) == numbered(range(80))
    assert stat.S_IMODE(db.stat().st_mode) == 0o600
    assert restored.carried is not None
    assert not any(restored.carried)


def state(path: Path, host: PluginHost) -> object:
    collector = opened(path, host)
    try:
        collector.projector.catch_up()
        return dump(collector)
    finally:
        collector.close()


def test_two_restores_in_one_second_keep_both_files(db: Path, copy: Path, default_host: PluginHost) -> None:
    add(db, default_host, ["1"])
    back_up(db, copy)
    kept = {restore(copy, db).replaced for _ in range(3)}
    assert len(kept) == 3
    assert all(path is not None and ids_in(path) == ["1"] for path in kept)


def test_a_restore_where_there_is_no_database_makes_one(db: Path, copy: Path, default_host: PluginHost) -> None:
    add(db, default_host, ["1"])
    back_up(db, copy)
    other = db.with_name("other.db")
    other.with_name("other.db-wal").write_bytes(b"of a file that is gone")
    assert restore(copy, other).replaced is None
    assert ids_in(other) == ["1"]
    assert add(other, default_host, ["1", "2"]) == 1


def test_what_was_erased_since_the_backup_stays_erased(db: Path, copy: Path, default_host: PluginHost) -> None:
    add(db, default_host, numbered(range(60)))
    back_up(db, copy)
    add(db, default_host, numbered(range(60, 90)))
    gone = numbered(range(10, 20), range(80, 90))
    erase(db, default_host, gone)
    restored = restore(copy, db)
    kept = numbered(range(10), range(20, 60))
    assert ids_in(db) == kept
    assert restored.carried is not None
    assert restored.carried[:2] == (10, 20)
    # A late spool brings all of it again: the erased ones are known, those the backup had not yet are taken.
    assert add(db, default_host, numbered(range(90))) == 20
    assert ids_in(db) == [*kept, *numbered(range(60, 80))]
    people = state(db, default_host)
    assert "a-e15" not in repr(people)
    assert "a-e25" in repr(people)


def test_erased_events_are_not_even_in_the_restored_files_free_pages(
    db: Path, copy: Path, default_host: PluginHost
) -> None:
    add(db, default_host, ["keep", "Erase-Me-7", "keep-too"])
    back_up(db, copy)
    assert b"Erase-Me-7" in copy.read_bytes()
    erase(db, default_host, ["Erase-Me-7"])
    restore(copy, db)
    assert b"Erase-Me-7" not in db.read_bytes()


def test_restoring_twice_and_from_a_restored_database_keeps_what_was_erased(
    db: Path, copy: Path, default_host: PluginHost
) -> None:
    add(db, default_host, numbered(range(20)))
    back_up(db, copy)
    erase(db, default_host, numbered(range(5)))
    for _ in range(3):
        restored = restore(copy, db)
        assert restored.carried is not None
        assert restored.carried[:2] == (5, 5)
        assert ids_in(db) == numbered(range(5, 20))
    assert add(db, default_host, numbered(range(20))) == 0


def test_a_place_in_the_log_is_not_given_twice_after_a_restore(db: Path, copy: Path, default_host: PluginHost) -> None:
    add(db, default_host, ["1", "2", "3"])
    back_up(db, copy)
    erase(db, default_host, ["3"])
    restore(copy, db)
    add(db, default_host, ["4"])
    with closing(open_reader(db)) as reader:
        assert reader.execute("SELECT seq, event_id FROM events").fetchall() == [(1, "1"), (2, "2"), (4, "4")]


digest_lists = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=40)


def columns(pairs: Sequence[tuple[int, int]]) -> NDArray[np.uint64]:
    return np.array(pairs, "<u8").reshape(-1, 2)


@given(digest_lists, digest_lists)
def test_missing_digests_are_those_a_set_says_also_where_first_halves_agree(
    digests: list[tuple[int, int]], known: list[tuple[int, int]]
) -> None:
    missing = missing_from(columns(digests), in_order(columns(known)))
    assert [(int(a), int(b)) for a, b in missing] == [pair for pair in digests if pair not in set(known)]


def test_an_erased_event_is_found_among_many_runs(
    db: Path, copy: Path, default_host: PluginHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3,000 ids in runs of 100, merged ones among them."""
    ids = [f"{number:x}" for number in random.Random(4).sample(range(10**9), 3_000)]
    add(db, default_host, ids)
    back_up(db, copy)
    collector = opened(db, default_host)
    connection = collector.store.writer._connection
    connection.execute("DELETE FROM seen_parts")
    connection.execute("DELETE FROM seen_runs")
    connection.seen = seen.SeenEvents(connection, bytes.fromhex(collector.store.meta("hash_key")), run_ids=100)
    assert connection.execute("SELECT count(*), max(level) FROM seen_runs").fetchone()[1] == 1
    collector.close()
    erase(db, default_host, ids[::7])
    restored = restore(copy, db)
    assert restored.carried is not None
    assert restored.carried[:2] == (429, 429)
    assert ids_in(db) == [event_id for place, event_id in enumerate(ids) if place % 7]


def test_a_running_collector_is_named_and_left_alone(db: Path, copy: Path, default_host: PluginHost) -> None:
    add(db, default_host, ["1"])
    back_up(db, copy)
    collector = opened(db, default_host)
    try:
        with pytest.raises(DatabaseLocked, match="stop that one"):
            restore(copy, db)
    finally:
        collector.close()


@pytest.mark.parametrize("force", [False, True])
def test_a_database_that_somebody_reads_is_left_alone(
    db: Path, copy: Path, default_host: PluginHost, force: bool
) -> None:
    add(db, default_host, ["1"])
    back_up(db, copy)
    with closing(open_reader(db)) as reader:
        reader.execute("SELECT * FROM events").fetchone()
        with pytest.raises(StoreUnavailable, match="another program reads"):
            restore(copy, db, force=force)
    assert restore(copy, db).contents.events == 1


def test_another_database_is_replaced_only_on_demand(db: Path, copy: Path, default_host: PluginHost) -> None:
    add(db, default_host, ["1"])
    back_up(db, copy)
    other = db.with_name("other.db")
    add(other, default_host, ["x"])
    with pytest.raises(StoreError, match=r"is another database.*--force"):
        restore(copy, other)
    assert ids_in(other) == ["x"]
    restored = restore(copy, other, force=True)
    assert ids_in(other) == ["1"]
    assert restored.carried is None
    assert restored.replaced is not None
    assert ids_in(restored.replaced) == ["x"]


@pytest.mark.parametrize("fault", ["page", "text", "empty"])
def test_a_damaged_database_is_replaced_only_on_demand(
    db: Path, copy: Path, default_host: PluginHost, fault: str
) -> None:
    add(db, default_host, numbered(range(300)))
    back_up(db, copy)
    if fault == "page":
        damage(db)
        with db.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * 4096 * 20)
    else:
        db.write_text("no database" * 1000 if fault == "text" else "")
    db.with_name("shop.db-wal").write_bytes(b"what is left of a log")
    with pytest.raises(StoreError, match="--force"):
        restore(copy, db)
    restored = restore(copy, db, force=True)
    assert restored.carried is None
    assert ids_in(db) == numbered(range(300))
    assert restored.replaced is not None
    assert restored.replaced.exists()


def test_a_damaged_backup_changes_nothing(db: Path, copy: Path, default_host: PluginHost) -> None:
    add(db, default_host, numbered(range(300)))
    back_up(db, copy)
    damage(copy)
    before = db.read_bytes()
    with pytest.raises(StoreError, match=r"damaged|malformed"):
        restore(copy, db)
    assert db.read_bytes() == before
    assert files_beside(db) == {"shop.db", "shop.db.lock", "copy.db"}


def test_a_backup_of_an_older_version_is_brought_up_to_date(db: Path, copy: Path, default_host: PluginHost) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        MIGRATIONS.apply(Database(connection), stop_before="m003_seen")
        connection.execute("INSERT INTO sources VALUES (1, 1, 'web', 0)")
        body = '{"anonymous_id": "a-1"}'
        connection.execute("INSERT INTO events VALUES (1, 1, 'e1', 'page_viewed', 1, 1, 1, 'a-1', NULL, ?)", (body,))
    restored = restore(copy, db)
    assert restored.migrated == list(KNOWN[2:])
    assert len(restored.migrated) > 0
    assert add(db, default_host, ["e1", "e2"]) == 1


def test_a_backup_of_a_newer_version_is_refused(db: Path, copy: Path, default_host: PluginHost) -> None:
    add(db, default_host, ["1"])
    back_up(db, copy)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("UPDATE _sqlite_migrations SET name = 'm999_later' WHERE name LIKE 'm002%'")
    with pytest.raises(DatabaseTooNew):
        restore(copy, db)
    assert ids_in(db) == ["1"]


def test_the_database_itself_is_no_backup(db: Path, default_host: PluginHost) -> None:
    add(db, default_host, ["1"])
    with pytest.raises(UsageError, match="the database itself"):
        restore(db, db)


def test_a_folder_is_no_backup(db: Path, default_host: PluginHost) -> None:
    add(db, default_host, ["1"])
    with pytest.raises(StoreError, match="is no file; name a database or a backup"):
        restore(db.parent, db)


def test_a_restore_through_a_link_leaves_the_link(db: Path, copy: Path, default_host: PluginHost) -> None:
    add(db, default_host, ["1"])
    link = db.with_name("link.db")
    link.symlink_to(db)
    back_up(link, copy)
    add(link, default_host, ["2"])
    restored = restore(copy, link)
    assert link.is_symlink()
    assert restored.replaced is not None
    assert restored.replaced.name.startswith("shop.db.replaced-")
    assert (count_events(db), count_events(link), count_events(restored.replaced)) == (1, 1, 2)


def test_a_backup_with_a_second_name_can_be_restored(db: Path, copy: Path, default_host: PluginHost) -> None:
    """As tools keep old backups that have not changed; such a file is whole, there is no log."""
    add(db, default_host, ["1", "2"])
    back_up(db, copy)
    os.link(copy, copy.with_name("yesterday.db"))
    assert restore(copy, db).contents.events == 2


def test_a_start_finishes_what_a_killed_restore_left(db: Path, default_host: PluginHost) -> None:
    add(db, default_host, ["1"])
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    hidden = db.with_name(f".{db.name}.replaced-20260101T000000Z")
    os.link(db, hidden)
    assert add(db, default_host, ["2"]) == 1
    assert (hidden.exists(), db.stat().st_nlink) == (False, 1)
