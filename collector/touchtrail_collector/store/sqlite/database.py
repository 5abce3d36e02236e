"""Opens the file: the lock that keeps a second collector out, the writing connection, the schema."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from ...errors import DatabaseLocked, DatabaseMissing, DatabaseTooNew
from .migrations import KNOWN, MIGRATIONS


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
        """Take the lock or raise `DatabaseLocked`, which says who holds it."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise DatabaseLocked(self._database, describe_holder(self.read_holder())) from None
        self._fd = fd
        self.write_holder(holder or {})

    def write_holder(self, holder: dict[str, Any]) -> None:
        """Write down who holds the lock; only this user can read it."""
        assert self._fd is not None
        text = json.dumps({"pid": os.getpid(), **holder}).encode()
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, text, 0)

    def read_holder(self) -> dict[str, Any]:
        """Return what the holder wrote down, or {}."""
        try:
            holder = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return holder if isinstance(holder, dict) else {}

    def is_held(self) -> bool:
        """True when some process, this one included, holds the lock."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def release(self) -> None:
        """Give the lock back; the file stays, because deleting it would race with the next holder."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def describe_holder(holder: dict[str, Any]) -> str | None:
    """Return who holds a lock in a few words."""
    if "pid" not in holder:
        return None
    where = f" at {holder['url']}" if "url" in holder else ""
    return f"process {holder['pid']}{where}"


def open_writing_connection(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes and checkpoints, and bring the schema up to date.

    Raises: DatabaseTooNew when a newer touchtrail has changed the file; DatabaseMissing when its folder is missing.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    except sqlite3.OperationalError as error:
        raise DatabaseMissing(path) from error
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -32000")
    os.chmod(path, 0o600)
    migrate(connection, path)
    return connection


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply what is pending; refuse a file that a newer version has changed."""
    db = Database(connection)
    unknown = [migration.name for migration in MIGRATIONS.applied(db) if migration.name not in KNOWN]
    if unknown:
        raise DatabaseTooNew(unknown[-1], KNOWN[-1])
    if MIGRATIONS.pending(db):
        MIGRATIONS.apply(db)
