"""One database file as the layers above see it: the log, the keys, the derived tables, the readers."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ...domain.sender import Mode
from ..engine import EventLog, EventRow, QuarantineLimits, Receipt, RejectRow, StoredEvent
from . import keys, log
from .database import FileLock, WritingConnection, open_writing_connection
from .own_file import own_name, refuse_foreign
from .reader import Reader, open_reader
from .turns import turns_of
from .writer import AppendJob, Done, Writer, finish_future

T = TypeVar("T")


def now_ms() -> int:
    """Return the time in UTC milliseconds."""
    return time.time_ns() // 1_000_000


class SqliteStore(EventLog):
    """The database, opened for writing by this process alone.

    Args:
        path: the file, by any name; made when it is not there.
        holder: what to write into the lock file, so that a second process can say who holds the database.
        group_requests: how many requests may share one commit.
        on_commit: told of each commit: seconds, requests.
        on_failure: told of each job that could not be written: the error.
        quarantine: how much quarantine holds.

    Raises: DatabaseLocked, DatabaseTooNew, StoreError.
    """

    def __init__(  # noqa: PLR0913 - each is given by name
        self,
        path: Path,
        *,
        holder: dict[str, Any] | None = None,
        group_requests: int = 200,
        on_commit: Callable[[float, int], None] | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
        quarantine: QuarantineLimits | None = None,
    ) -> None:
        self.path = own_name(path)
        refuse_foreign(self.path)
        self.lock = FileLock(self.path)
        self.lock.acquire(holder, creates=True)
        try:
            connection = open_writing_connection(self.path)
        except BaseException:
            self.lock.release()
            raise
        if quarantine is not None:
            connection.quarantine.limits = quarantine
        self._turns = turns_of(self.path)
        self._turns.open()
        self.writer = Writer(
            connection,
            turns=self._turns,
            group_requests=group_requests,
            on_commit=on_commit,
            on_failure=on_failure,
        )

    def end_reports(self) -> None:
        """Interrupt the queries of reports that are under way, and begin none any more."""
        self._turns.end()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what was queued and give the file back. Raises StoreError when that takes longer."""
        self.writer.close(timeout_s)
        # Only now: while the writer still works, no other process may; its end gives the lock back in any case.
        self.lock.release()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, events: Sequence[EventRow], rejects: Sequence[RejectRow] = ()) -> Future[Receipt]:
        """Commit a batch as a whole; the future is done only after the commit is on disk."""
        future: Future[Receipt] = Future()
        self.writer.append(events, rejects, partial(finish_future, future))
        return future

    def append_then(
        self,
        events: Sequence[EventRow],
        rejects: Sequence[RejectRow],
        done: Callable[[Receipt | None, BaseException | None], None],
    ) -> None:
        """The same without a future: ``done`` is called in the writer's thread."""
        self.writer.append(events, rejects, done)

    def append_all(self, batches: Iterable[tuple[Sequence[EventRow], Sequence[RejectRow], Done]]) -> None:
        """Do the same for several requests that came at once; none of them may be empty."""
        self.writer.submit(*(AppendJob(events, rejects, done) for events, rejects, done in batches))

    def scan(self, after_seq: int, limit: int) -> list[StoredEvent]:
        """Return events in log order, the first one after ``after_seq``."""
        with self.reading() as reader:
            return log.scan(reader, after_seq, limit)

    def write(self, work: Callable[[WritingConnection], T]) -> T:
        """Run ``work`` on the writing connection in a transaction and wait for its commit."""
        result: T = self.writer.call(work).result()
        return result

    def begin_write(self, work: Callable[[WritingConnection], T]) -> Future[T]:
        """Do the same without waiting."""
        return self.writer.call(work)

    @contextmanager
    def reading(self, deadline_s: float | None = None) -> Iterator[Reader]:
        """Give a connection that cannot write, closed at the end of the block."""
        reader = open_reader(self.path, deadline_s=deadline_s)
        try:
            yield reader
        finally:
            reader.close()

    def meta(self, name: str) -> str:
        """Return one of the file's own values. Raises KeyError."""
        with self.reading() as reader:
            row = reader.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise KeyError(name)
        return str(row[0])

    def create_key(  # noqa: PLR0913 - each is given by name
        self,
        *,
        source: str | None,
        shop: str | None = None,
        own_shop: str = "default",
        currency: str = "EUR",
        origins: Sequence[str] | None = None,
        mode: Mode | None = None,
    ) -> str:
        """Make a write key for a source, or a read token when there is none, and return it.

        Args:
            shop: the shop the source must belong to; None = ``own_shop`` where it is new.
            origins, mode: from now on the source's, see `set_sender`; None = as they are.

        Raises: StoreError when the source belongs to another shop.
        """

        def work(connection: sqlite3.Connection) -> str:
            source_id = None
            if source is not None:
                source_id = keys.ensure_source(
                    connection, source, shop=shop, own_shop=own_shop, currency=currency, now_ms=now_ms()
                )
                keys.set_sender(connection, source, origins=origins, mode=mode)
            kind = "read" if source is None else "write"
            return keys.create_key(connection, kind=kind, source_id=source_id, now_ms=now_ms())

        return self.write(work)

    def ensure_source(self, source: str, *, shop: str = "default", currency: str = "EUR") -> int:
        """Return the id of a source; when it is new it is made, in this shop."""
        return self.write(
            lambda connection: keys.ensure_source(
                connection, source, shop=None, own_shop=shop, currency=currency, now_ms=now_ms()
            )
        )

    def set_currency(self, shop: str, currency: str) -> None:
        """Set a shop's currency, where there is the shop."""
        self.write(lambda connection: keys.set_currency(connection, shop, currency))

    def revoke_key(self, key_or_hint: str) -> str:
        """Revoke a key and return its first characters."""
        return self.write(lambda connection: keys.revoke_key(connection, key_or_hint, now_ms=now_ms()))

    def rotate_key(self, key_or_hint: str, *, grace_ms: int) -> keys.RotatedKey:
        """Make a key that takes another one's place; that one is good for so many milliseconds more."""
        return self.write(
            lambda connection: keys.rotate_key(connection, key_or_hint, grace_ms=grace_ms, now_ms=now_ms())
        )

    def set_sender(self, source: str, *, origins: Sequence[str] | None, mode: Mode | None) -> None:
        """Set from which origins a source's keys may be used (empty = any) and what is kept; None = as it is."""
        self.write(lambda connection: keys.set_sender(connection, source, origins=origins, mode=mode))

    def begin_note_use(self, used: Mapping[str, int]) -> None:
        """Have it written down when keys were last used; nobody waits for it. Raises StoreUnavailable."""
        self.begin_write(lambda connection: keys.note_use(connection, used))

    def list_keys(self) -> list[keys.KeyRow]:
        """Return every key, oldest first."""
        with self.reading() as reader:
            return keys.list_keys(reader)

    def key_owners(self) -> dict[str, keys.KeyOwner]:
        """Return whom the hash of each key that was not revoked lets in, rotated ones with their end."""
        with self.reading() as reader:
            return keys.load_owners(reader)

    def source_modes(self) -> dict[int, Mode]:
        """Return what may be kept of each source's events, by source id."""
        with self.reading() as reader:
            return keys.load_modes(reader)
