"""Read-only connections, for reports and the projector."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any

from ...errors import DatabaseMissing, StoreError
from .database import explain
from .own_file import is_ours, refuse_name_without_log
from .turns import Turns, turns_of

PROGRESS_STEPS = 100_000
"""Of SQLite's machine, a few milliseconds, between two looks at the deadline."""

CACHE_KB = 8_000
"""Of each reader's own; behind it is the system's. Most live for one report or a few steps of the projector, and what
they free is scattered over the process's memory."""

BEGIN_AND_END = frozenset({"BEGIN", "ROLLBACK"})


MEND = (
    "`touchtrail doctor` says what is wrong, `touchtrail restore FILE` puts a backup in its place; where another file "
    "was meant, name that one with --db"
)
"""What to do about a damaged database."""


class Unreadable(StoreError):
    """A file is no database of ours, or a damaged one.

    Args:
        fault: what is wrong with which file.
        advice: what to do where it is the database that was meant; who reads another file says what helps there.
    """

    def __init__(self, fault: str, advice: str) -> None:
        self.fault = fault
        super().__init__(f"{fault}; {advice}")


class Reader(sqlite3.Connection):
    """A connection that cannot write; what the layers above hold without knowing SQL."""

    ends_at: float = inf
    """When statements are interrupted, by the monotonic clock."""

    turns: Turns | None = None

    def is_over(self) -> bool:
        """Say whether the deadline has passed."""
        return time.monotonic() > self.ends_at

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement; none begins after the deadline, however short, but for the end of the transaction."""
        if self.is_over() and sql not in BEGIN_AND_END:
            error = sqlite3.OperationalError("interrupted")
            error.sqlite_errorcode = sqlite3.SQLITE_INTERRUPT
            raise error
        return super().execute(sql, parameters)

    def close(self) -> None:
        """End."""
        super().close()
        if self.turns is not None:
            self.turns.leave(self)


def open_reader(path: Path, *, deadline_s: float | None = None) -> Reader:
    """Open a connection that cannot write.

    Args:
        deadline_s: a statement that runs longer is interrupted, counted from the opening: readers that never end
            would let the write-ahead log grow without bound. The opening waits while this process is about to cut
            the log, for so long at most.

    Raises: DatabaseMissing, StoreError; QueryTimeout after waiting in vain, StoreUnavailable where the collector stops.
    """
    if not path.exists():
        raise DatabaseMissing(path)
    if not path.is_file():
        raise StoreError(f"{path} is no file; name a database or a backup of one")
    check_is_ours(path)
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, factory=Reader)
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    connection.execute("PRAGMA temp_store = MEMORY")
    if deadline_s is not None:
        try:
            turns_of(path).enter(connection, deadline_s)
        except BaseException:
            connection.close()
            raise
        connection.set_progress_handler(connection.is_over, PROGRESS_STEPS)
    return connection


def check_is_ours(path: Path) -> None:
    """Raise StoreError for a file that is no touchtrail database, or not the name that it is written by."""
    refuse_name_without_log(path)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = is_ours(connection)
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path} cannot be read: {explain(error)}") from None
    except sqlite3.DatabaseError as error:
        raise Unreadable(f"{path} cannot be read as a database: {error}", MEND) from None
    if not found:
        raise Unreadable(f"{path} is no touchtrail database", "name another file with --db")
