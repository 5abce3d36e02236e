"""Failures between a commit and its answer: what is on disk stays known, whatever the sender is told."""

from __future__ import annotations

from pathlib import Path

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
