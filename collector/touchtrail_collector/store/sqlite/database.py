"""Opens the file: the lock that keeps a second collector out, the writing connection, the schema."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from contextlib import suppress
from errno import EACCES, EPERM, EROFS
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from ...errors import DatabaseLocked, DatabaseTooNew, StoreError
from .migrations import KNOWN, MIGRATIONS
from .open_files import OpenFiles
from .own_file import claim_file, holds_ours, own_name
from .rejects import QuarantineKeeper
from .seen import SeenEvents
from .whole_file import finish_interrupted

WAL_BYTES = 64_000_000
"""What a long rebuild leaves of the write-ahead log is cut back to this."""

BUSY_TIMEOUT_MS = 5000

CACHE_KB = 16_000
"""Of the writing connection; with twice as much nothing was faster on 200,000 events (measured)."""

NOTHING: dict[None, None] = {}
# For each value that is no number and no text, None too, sqlite3 asks two objects for a way to adapt it, which takes
# longer than all else it does for the value. It does not where it is told one: here a C function that gives None back.
sqlite3.register_adapter(type(None), NOTHING.get)


class WritingConnection(sqlite3.Connection):
    """The one connection that writes, and what it must know to write an event once."""

    seen: SeenEvents
    quarantine: QuarantineKeeper
    files: OpenFiles


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
        sqlite3.SQLITE_NOTADB: "name another file with --db; where this one was a database, `touchtrail restore FILE` "
        "puts a backup in its place",
    }
    return f"{error}; {advice.get(code, 'check the disk and the folder it lies in')}"


class FileLock:
    """An exclusive lock beside the database, and on its file. Who holds it writes down how to be reached.

    Only one process may write: SQLite before 3.51.3 can lose committed data when two connections write and
    checkpoint at once (reliability.md).

    Args:
        database: by any name; the lock lies beside the one that links lead to.
    """

    def __init__(self, database: Path) -> None:
        self._database = own_name(database)
        self.path = self._database.with_name(self._database.name + ".lock")
        self._fd: int | None = None
        self._claim: int | None = None
        self._is_made = False

    def acquire(self, holder: dict[str, Any] | None = None, *, creates: bool = False) -> None:
        """Take the lock, write down who has it, and finish what a killed restore left.

        Args:
            creates: make the database's file when it is not there.

        Raises: DatabaseLocked, which says who holds it; StoreError when the file cannot be made, or the database has
            another name.
        """
        self.take()
        assert self._fd is not None
        try:
            os.fchmod(self._fd, 0o600)  # it may be there already; the token in it is for this user alone
            self.write_holder(holder or {})
            finish_interrupted(self._database)
            self._claim = claim_file(self._database, creates=creates)
        except BaseException:
            self.release()
            raise

    def take(self) -> None:
        """Take the lock alone, for a moment. Raises as `acquire` does."""
        while self._fd is None:
            fd, is_made = self._open_or_make()
            if not try_lock(fd):
                os.close(fd)
                raise DatabaseLocked(self._database, describe_holder(self.read_holder()))
            if is_at(fd, self.path):
                self._fd, self._is_made = fd, is_made
            else:
                os.close(fd)  # who had it before removed the file, and a lock on that one keeps nobody out

    def _open_or_make(self) -> tuple[int, bool]:
        while True:
            with suppress(FileExistsError):
                return self._open(os.O_RDWR | os.O_CREAT | os.O_EXCL, FileExistsError), True
            with suppress(FileNotFoundError):  # it was there a moment ago
                return self._open(os.O_RDWR, FileNotFoundError), False

    def _open(self, flags: int, *passing: type[OSError]) -> int:
        try:
            return os.open(self.path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except passing:
            raise
        except OSError as error:
            raise StoreError(explain_folder(self._database.parent, self.path, error)) from None

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
        """Give the lock back; its file stays beside a database of ours, and goes from a file that was refused."""
        self._let_go(removes=self._is_made and not holds_ours(self._database))

    def step_back(self) -> None:
        """Give the lock back after a moment; its file goes where there was none before."""
        self._let_go(removes=self._is_made)

    def _let_go(self, *, removes: bool) -> None:
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            if removes:
                self.path.unlink(missing_ok=True)  # before others can have it: see `take`
            os.close(self._fd)
            self._fd = None


def explain_folder(folder: Path, path: Path, error: OSError) -> str:
    """Return why no file can be opened beside a database, and what to do about it."""
    if isinstance(error, FileNotFoundError) and not folder.is_dir():
        return f"there is no folder {folder}; make it, or name another file with --db"
    if isinstance(error, NotADirectoryError):
        return f"{folder} is no folder; name another file with --db"
    if isinstance(error, FileNotFoundError):  # of a system that makes up what is in it: /proc
        return f"no file can be made in the folder {folder}; name one in another folder with --db"
    text = f"{path} cannot be opened for writing: {error.strerror}"
    if error.errno in (EACCES, EPERM, EROFS):
        return f"{text}; run it as the user whom the folder belongs to, or name another file with --db"
    return text


def is_at(fd: int, path: Path) -> bool:
    """Say whether a name still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except OSError:
        return False


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

    Args:
        path: the file's own name, see `own_name`.

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
        connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
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
