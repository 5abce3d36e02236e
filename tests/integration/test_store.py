"""The file and its one writer: groups, failures, the lock, permissions, what cannot be opened."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from touchtrail_collector.errors import DatabaseLocked, DatabaseMissing, DatabaseTooNew, StoreError, StoreUnavailable
from touchtrail_collector.store.engine import EventRow, Receipt
from touchtrail_collector.store.sqlite.database import FileLock
from touchtrail_collector.store.sqlite.reader import open_reader
from touchtrail_collector.store.sqlite.store import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "shop.db") as opened:
        opened.ensure_source("web")
        yield opened


def row(event_id: str, **members: object) -> EventRow:
    return EventRow(1, event_id, "page_viewed", 1, None, 1, "a", None, "{}")._replace(**members)


def count(store: SqliteStore, table: str = "events") -> int:
    with store.reading() as reader:
        return int(reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def held_back(store: SqliteStore) -> threading.Event:
    """Make the writer wait, so that what comes now forms one group."""
    gate = threading.Event()
    started = threading.Event()

    def wait(_: sqlite3.Connection) -> None:
        started.set()
        gate.wait(10)

    store.begin_write(wait)
    started.wait(10)
    return gate


def test_a_group_shares_a_commit_and_each_gets_its_own_receipt(tmp_path: Path) -> None:
    commits: list[int] = []
    with SqliteStore(tmp_path / "shop.db", on_commit=lambda _, jobs: commits.append(jobs)) as store:
        store.ensure_source("web")
        gate = held_back(store)
        futures = [store.append([row(str(n)), row(str(n)), row("same")]) for n in range(50)]
        gate.set()
        assert [future.result() for future in futures] == [Receipt(2, 1), *[Receipt(1, 2)] * 49]
        assert commits[-1] == 50


def test_one_bad_job_spoils_nothing_for_the_others_of_its_group(store: SqliteStore) -> None:
    gate = held_back(store)
    good = store.append([row("1")])
    bad = store.append([row("2"), row("3", body=None)])
    late = store.append([row("4")])
    failing = store.begin_write(lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)"))
    gate.set()
    assert (good.result(), late.result()) == (Receipt(1, 0), Receipt(1, 0))
    with pytest.raises(sqlite3.IntegrityError):
        bad.result()
    with pytest.raises(StoreUnavailable):
        failing.result()
    assert count(store) == 2


def test_one_who_fails_when_told_does_not_stop_the_writer(store: SqliteStore, caplog: pytest.LogCaptureFixture) -> None:
    store.append_then([row("1")], [], lambda receipt, error: 1 // 0)
    assert store.append([row("2")]).result() == Receipt(1, 0)
    assert count(store) == 2
    assert "nobody could be told" in caplog.text


def test_a_future_nobody_waits_for_any_more_is_no_trouble(store: SqliteStore) -> None:
    gate = held_back(store)
    future = store.append([row("1")])
    assert future.cancel()
    gate.set()
    assert store.append([row("2")]).result() == Receipt(1, 0)


def test_a_full_disk_is_survived(store: SqliteStore) -> None:
    """A limit on the file's pages fails like a full disk does (SQLITE_FULL): nothing of the batch is there."""
    pages = store.write(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    store.writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match="full"):
        store.append([row(str(n), body="x" * 5000) for n in range(50)]).result()
    assert count(store) == 0
    store.writer._connection.execute("PRAGMA max_page_count = 1000000")
    assert store.append([row("1", body="x" * 5000)]).result() == Receipt(1, 0)


def test_after_close_nothing_is_taken_and_everything_before_is_there(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "shop.db")
    store.ensure_source("web")
    gate = held_back(store)
    futures = [store.append([row(str(n))]) for n in range(20)]
    gate.set()
    store.close()
    store.close()
    assert all(future.result() == Receipt(1, 0) for future in futures)
    with pytest.raises(StoreUnavailable):
        store.append([row("late")])
    assert not Path(f"{store.path}-wal").exists() or Path(f"{store.path}-wal").stat().st_size == 0


def test_a_writer_that_does_not_come_to_an_end_keeps_the_file_locked(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "shop.db")
    gate = held_back(store)
    with pytest.raises(StoreError, match="still had"):
        store.close(timeout_s=0.05)
    assert store.lock.is_held()
    gate.set()
    store.close()
    assert not store.lock.is_held()


def test_every_submitted_job_is_answered_whenever_the_end_comes(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "shop.db")
    store.ensure_source("web")
    answered: list[bool] = []

    def send(sender: int) -> None:
        for number in range(300):
            try:
                future = store.append([row(f"{sender}-{number}")])
            except StoreUnavailable:
                return
            future.result(timeout=10)
            answered.append(True)

    senders = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for sender in senders:
        sender.start()
    while len(answered) < 50:
        pass
    store.close()
    for sender in senders:
        sender.join(10)
        assert not sender.is_alive()
    reader = open_reader(store.path)
    assert reader.execute("SELECT count(*) FROM events").fetchone()[0] == len(answered)
    reader.close()


def test_a_second_opener_is_told_who_has_the_file(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with SqliteStore(path) as store:
        store.lock.write_holder({"url": "http://127.0.0.1:1", "admin_token": "t"})
        store.lock.write_holder({"url": "http://127.0.0.1:2"})
        with pytest.raises(DatabaseLocked, match=f"process {os.getpid()} at http://127.0.0.1:2"):
            SqliteStore(path)
        assert store.lock.is_held()
    assert not FileLock(path).is_held()
    assert FileLock(path).read_holder() == {}


def test_what_a_dead_process_left_in_the_lock_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    (tmp_path / "shop.db.lock").write_text(
        json.dumps({"pid": 1, "url": "http://127.0.0.1:9", "admin_token": "x" * 500})
    )
    assert not FileLock(path).is_held()
    with SqliteStore(path) as store:
        assert store.lock.read_holder() == {"pid": os.getpid()}


def test_the_glance_of_another_command_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    SqliteStore(path).close()
    stop = threading.Event()

    def glance() -> None:
        while not stop.is_set():
            FileLock(path).is_held()

    looking = threading.Thread(target=glance)
    looking.start()
    try:
        for _ in range(20):
            SqliteStore(path).close()
    finally:
        stop.set()
        looking.join()


def test_a_lock_whose_file_comes_and_goes_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """The file of a lock is removed from what is refused: who waited for that one must not think that it has it."""
    path = tmp_path / "text.db"
    path.write_text("no database")
    holders: list[int] = []
    most: list[int] = []

    def come_and_go() -> None:
        for _ in range(200):
            lock = FileLock(path)
            try:
                lock.take()
            except DatabaseLocked:
                continue
            holders.append(1)
            most.append(len(holders))
            time.sleep(0)
            holders.pop()
            lock.release()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most), len(most) > 100) == (1, True)


def test_nobody_else_may_read_the_files(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        lock = tmp_path / "shop.db.lock"
        lock.touch(0o666)
        with SqliteStore(tmp_path / "shop.db") as store:
            store.ensure_source("web")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"shop.db": 0o600, "shop.db-wal": 0o600, "shop.db-shm": 0o600, "shop.db.lock": 0o600}


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "shop.db.lock").symlink_to(victim)
    with pytest.raises(StoreError, match=r"shop\.db\.lock cannot be opened"):
        SqliteStore(tmp_path / "shop.db")
    assert victim.read_text() == "precious"
    assert FileLock(tmp_path / "shop.db").read_holder() == {}


def test_what_cannot_be_opened_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no folder"):
        SqliteStore(tmp_path / "missing" / "shop.db")
    text = tmp_path / "notes.db"
    text.write_text("these are my notes, not a database\n" * 100)
    with pytest.raises(StoreError, match="name another file with --db"):
        SqliteStore(text)
    assert text.read_text().startswith("these are my notes")
    assert not FileLock(text).is_held()
    folder = tmp_path / "folder.db"
    folder.mkdir()
    with pytest.raises(StoreError, match="Is a directory"):
        SqliteStore(folder)
    with pytest.raises(DatabaseMissing):
        open_reader(tmp_path / "none.db")


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    SqliteStore(path).close()
    newer = sqlite3.connect(path)
    newer.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('touchtrail', 'm999_future', 'x')"
    )
    newer.commit()
    newer.close()
    with pytest.raises(DatabaseTooNew, match="m999_future"):
        SqliteStore(path)
    assert not FileLock(path).is_held()


def test_readers_cannot_write(store: SqliteStore) -> None:
    with store.reading() as reader, pytest.raises(sqlite3.OperationalError):
        reader.execute("DELETE FROM events")


def test_a_query_that_takes_too_long_is_stopped(store: SqliteStore) -> None:
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with store.reading(deadline_s=0.05) as reader, pytest.raises(sqlite3.OperationalError, match="interrupted"):
        reader.execute(endless).fetchone()


def test_keys_are_kept_as_hashes_and_revoked_exactly(store: SqliteStore) -> None:
    first, second = store.create_key(source="web"), store.create_key(source="till")
    with store.reading() as reader:
        everything = str(reader.execute("SELECT * FROM keys").fetchall())
    assert first not in everything
    with pytest.raises(StoreError, match="0 valid keys"):
        store.revoke_key(first[:8] + "x" * 24)
    assert store.revoke_key(second[:8]) == second[:8]
    assert store.revoke_key(first) == first[:8]
    assert store.key_owners() == {}
    with pytest.raises(StoreError, match="0 valid keys"):
        store.revoke_key(first)


def test_a_source_stays_in_its_shop(store: SqliteStore) -> None:
    store.create_key(source="app", shop="outlet")
    store.create_key(source="app", shop="outlet")
    store.create_key(source="app")
    with pytest.raises(StoreError, match="belongs to the shop 'outlet', not 'default'"):
        store.create_key(source="app", shop="default")
    assert {owner.shop_id for owner in store.key_owners().values()} == {2}
