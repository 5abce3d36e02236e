"""Opens the file: the lock that keeps a second collector out, the writing connection, the schema."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from ...errors import DatabaseLocked, DatabaseTooNew, StoreError, StoreUnavailable
from .migrations import KNOWN, MIGRATIONS
from .rejects import QuarantineKeeper
from .seen import SeenEvents

WAL_BYTES = 64_000_000
"""What a long rebuild leaves of the write-ahead log is cut back to this."""

BUSY_TIMEOUT_MS = 5000

SPARE_BYTES = 1_000_000
"""With less room than this a database that could not be written is not tried again of our own accord."""


NOTHING: dict[None, None] = {}
# For each value that is no number and no text, None too, sqlite3 asks two objects for a way to adapt it, which takes
# longer than all else it does for the value. It does not where it is told one: here a C function that gives None back.
sqlite3.register_adapter(type(None), NOTHING.get)


class WritingConnection(sqlite3.Connection):
    """The one connection that writes, and what it must know to write an event once."""

    seen: SeenEvents
    quarantine: QuarantineKeeper
    files: OpenFiles


class OpenFiles:
    """Says whether the names of the database and its log still lead to the files that are open.

    SQLite goes on writing to a file that was removed or replaced by another, and says that all is well; what was
    acknowledged then would be gone with the process.

    Args:
        database: open and in WAL mode, so that both files are there.
    """

    def __init__(self, database: Path) -> None:
        self._folder = database.parent
        self._known = [(name, identify(name)) for name in (str(database), f"{database}-wal")]

    def check(self) -> None:
        """Raise StoreUnavailable where a file was moved or removed; being put back is enough to go on."""
        for name, identity in self._known:
            if identify(name) != identity:
                raise StoreUnavailable(
                    "the database's file was moved, replaced or removed while it is in use; put it back, or restart "
                    "the collector"
                )

    def log_bytes(self) -> int:
        """Return the size of the write-ahead log; 0 where it is gone."""
        try:
            return os.stat(self._known[1][0]).st_size
        except OSError:
            return 0

    def is_disk_full(self) -> bool:
        """Say whether there is less room than the next requests need, however small a write would still go through."""
        try:
            return shutil.disk_usage(self._folder).free < SPARE_BYTES
        except OSError:
            return False


def identify(name: str) -> tuple[int, int] | None:
    """Return what tells a file from all others; None where it is not there."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def explain(error: sqlite3.Error) -> str:
    """Return what SQLite says, and what to do about it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    advice = {
        sqlite3.SQLITE_FULL: "free some disk space",
        sqlite3.SQLITE_IOERR: "free some disk space, or check the disk",
        sqlite3.SQLITE_READONLY: "make the file and its folder writable",
        sqlite3.SQLITE_BUSY: "end the other program that writes to it",
        sqlite3.SQLITE_LOCKED: "end the other program that writes to it",
        sqlite3.SQLITE_CORRUPT: "run `touchtrail doctor`, and restore a backup",
        sqlite3.SQLITE_NOTADB: "is it a touchtrail database?",
    }
    return f"{error}; {advice.get(code, 'check the disk and the folder it lies in')}"


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
        try:
            self.write_holder(holder or {})
        except BaseException:
            self.release()
            raise

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
        """Write down who holds the lock; only this user can read it. Raises StoreError where there is no room."""
        assert self._fd is not None
        text = json.dumps({"pid": os.getpid(), **holder}).encode()
        try:
            # Blanks at the end are no harm to JSON, and a reader never sees half of two texts.
            os.pwrite(self._fd, text.ljust(os.fstat(self._fd).st_size), 0)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror}; free some disk space") from None

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
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -32000")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        migrate(connection)
        (secret,) = connection.execute("SELECT value FROM meta WHERE name = 'hash_key'").fetchone()
        connection.seen = SeenEvents(connection, bytes.fromhex(secret))
        connection.quarantine = QuarantineKeeper()
        connection.files = OpenFiles(path)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise StoreError(f"{path} cannot be used: {explain(error)}") from None
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
