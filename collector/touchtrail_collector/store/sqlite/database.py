"""Opens the file: the lock that keeps a second collector out, the writing connection, the schema."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from ...errors import DatabaseLocked, DatabaseTooNew, StoreError
from .migrations import KNOWN, MIGRATIONS
from .rejects import QuarantineKeeper
from .seen import SeenEvents

WAL_BYTES = 64_000_000
"""What a long rebuild leaves of the write-ahead log is cut back to this."""


class WritingConnection(sqlite3.Connection):
    """The one connection that writes, and what it must know to write an event once."""

    seen: SeenEvents
    quarantine: QuarantineKeeper


class FileLock:
    """An exclusive lock beside the database. Who holds it writes down how to be reached.

    Only one process may write: SQLite before 3.51.3 can lose committed data when two connections write and
    checkpoint at once (reliability.md).
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._database = database
        self._fd: int | None = None

    def acquire(self, holder: dict[str, Any] | None = None) -> None:
        """Take the lock and write down who has it.

        Raises: DatabaseLocked, which says who holds it; StoreError when the file cannot be made.
        """
        fd = self._open(os.O_RDWR | os.O_CREAT)
        if not try_lock(fd):
            os.close(fd)
            raise DatabaseLocked(self._database, describe_holder(self.read_holder()))
        self._fd = fd
        os.fchmod(fd, 0o600)  # it may be there already; the token in it is for this user alone
        self.write_holder(holder or {})

    def _open(self, flags: int) -> int:
        try:
            return os.open(self.path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise StoreError(
                f"there is no folder {self._database.parent}; make it, or name another file with --db"
            ) from None
        except OSError as error:
            raise StoreError(f"{self.path} cannot be opened for writing: {error.strerror}") from None

    def write_holder(self, holder: dict[str, Any]) -> None:
        """Write down who holds the lock; only this user can read it."""
        assert self._fd is not None
        text = json.dumps({"pid": os.getpid(), **holder}).encode()
        # Blanks at the end are no harm to JSON, and a reader never sees half of two texts.
        os.pwrite(self._fd, text.ljust(os.fstat(self._fd).st_size), 0)

    def read_holder(self) -> dict[str, Any]:
        """Return what the holder wrote down, or {}."""
        try:
            fd = self._open(os.O_RDONLY)
        except StoreError:
            return {}
        with open(fd, encoding="utf-8") as file:
            try:
                holder = json.load(file)
            except ValueError:
                return {}
        return holder if isinstance(holder, dict) else {}

    def is_held(self) -> bool:
        """True when some process, this one included, holds the lock."""
        try:
            fd = self._open(os.O_RDWR)
        except StoreError:
            return False
        try:
            return not try_lock(fd, tries=1)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Give the lock back; the file stays, because deleting it would race with the next holder."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def try_lock(fd: int, tries: int = 5) -> bool:
    """Lock a file, or return False when somebody else has it; another command's glance at it is waited for."""
    for left in reversed(range(tries)):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if left:
                time.sleep(0.02)
        else:
            return True
    return False


def describe_holder(holder: dict[str, Any]) -> str | None:
    """Return who holds a lock in a few words."""
    if "pid" not in holder:
        return None
    where = f" at {holder['url']}" if "url" in holder else ""
    return f"process {holder['pid']}{where}"


def open_writing_connection(path: Path) -> WritingConnection:
    """Open the one connection that writes and checkpoints, and bring the schema up to date.

    Raises: DatabaseTooNew when a newer touchtrail has changed the file; StoreError when it is no database, or one that
        cannot be written.
    """
    try:
        # Made here, not by SQLite: its companions -wal and -shm take over the file's permissions as it is opened.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        os.chmod(path, 0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be opened for writing: {error.strerror}") from None
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=256, factory=WritingConnection
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -32000")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        migrate(connection)
        (secret,) = connection.execute("SELECT value FROM meta WHERE name = 'hash_key'").fetchone()
        connection.seen = SeenEvents(connection, bytes.fromhex(secret))
        connection.quarantine = QuarantineKeeper()
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise StoreError(f"{path} cannot be used: {error}; is it a touchtrail database?") from None
        raise
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Apply what is pending; refuse a file that a newer version has changed."""
    db = Database(connection)
    unknown = [migration.name for migration in MIGRATIONS.applied(db) if migration.name not in KNOWN]
    if unknown:
        raise DatabaseTooNew(unknown[-1], KNOWN[-1])
    if MIGRATIONS.pending(db):
        MIGRATIONS.apply(db)
