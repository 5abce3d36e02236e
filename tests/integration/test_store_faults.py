"""Failures around a commit: what is on disk stays known, whatever the sender is told or others did to the file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from touchtrail_collector.errors import StoreUnavailable
from touchtrail_collector.store.engine import EventRow, Receipt
from touchtrail_collector.store.sqlite.seen import SeenEvents
from touchtrail_collector.store.sqlite.store import SqliteStore


class FullMemory(SeenEvents):
    """Has no memory left when ids are to be kept, so many times."""

    failures = 1

    def keep(self) -> None:
        if self.failures:
            self.failures -= 1
            raise MemoryError
        super().keep()


def row(event_id: str) -> EventRow:
    return EventRow(1, event_id, "page_viewed", 1, None, 1, "a", None, "{}")


def test_events_whose_ids_could_not_be_kept_after_the_commit_are_not_stored_again(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "shop.db") as store:
        store.ensure_source("web")
        connection = store.writer._connection
        connection.seen = FullMemory(connection, bytes.fromhex(store.meta("hash_key")))
        assert isinstance(store.append([row("1"), row("2")]).exception(), MemoryError)
        assert store.append([row("2"), row("3")]).result() == Receipt(1, 1)
        with store.reading() as reader:
            stored = reader.execute("SELECT seq, event_id FROM events ORDER BY seq").fetchall()
    assert stored == [(1, "1"), (2, "2"), (3, "3")]


INSERT = "INSERT INTO events VALUES (?, 1, ?, 'page_viewed', 1, NULL, 1, 'a', NULL, '{}')"


def test_what_another_program_wrote_keeps_no_sender_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It took the place in the log that is given away next; every batch would fail until a restart."""
    with SqliteStore(tmp_path / "shop.db") as store:
        store.ensure_source("web")
        assert store.append([row("1")]).result() == Receipt(1, 0)
        with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
            other.executemany(INSERT, [(2, "theirs"), (3, "also theirs")])
        assert store.append([row("2")]).result() == Receipt(1, 0)
        assert store.append([row("theirs"), row("3")]).result() == Receipt(1, 1)
        with store.reading() as reader:
            stored = reader.execute("SELECT seq, event_id FROM events ORDER BY seq").fetchall()
            counted = dict(reader.execute("SELECT name, n FROM counters"))
    assert stored == [(1, "1"), (2, "theirs"), (3, "also theirs"), (4, "2"), (5, "3")]
    assert counted == {"accepted": 3, "duplicate": 1}
    assert [record.message for record in caplog.records if "another program" in record.message] == [
        "another program has written to the database; never do that while the collector runs"
    ]


def test_events_committed_to_a_file_that_was_moved_are_refused_and_stored_once(tmp_path: Path) -> None:
    """The file is looked at after the commit; once it is known to be gone, nothing more is written to it."""
    path, moved = tmp_path / "shop.db", tmp_path / "moved.db"
    with SqliteStore(path) as store:
        store.ensure_source("web")
        store.append([row("1")]).result()
        path.rename(moved)
        futures = [store.append([row("2")]), store.append([row("3")]), store.append([row("4")])]
        for future in futures:
            assert isinstance(future.exception(), StoreUnavailable)
        assert "moved" in str(store.writer.find_trouble())
        moved.rename(path)
        assert store.append([row("2")]).result().stored + store.append([row("2"), row("5")]).result().stored <= 2
        with store.reading() as reader:
            stored = sorted(event_id for (event_id,) in reader.execute("SELECT event_id FROM events"))
            counted = dict(reader.execute("SELECT name, n FROM counters"))
    assert len(stored) == len(set(stored)) == counted["accepted"]
    assert {"1", "2", "5"} <= set(stored)
