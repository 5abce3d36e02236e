"""Read-only connections, for reports and the projector."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from ...errors import DatabaseMissing, StoreError
from .database import explain

Reader = sqlite3.Connection
"""A connection that cannot write; what the layers above hold without knowing SQL."""


def open_reader(path: Path, *, deadline_s: float | None = None) -> Reader:
    """Open a connection that cannot write.

    Args:
        deadline_s: a statement that runs longer is interrupted, counted from the opening: readers that never end
            would let the write-ahead log grow without bound.

    Raises: DatabaseMissing.
    """
    if not path.exists():
        raise DatabaseMissing(path)
    check_is_ours(path)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.execute("PRAGMA cache_size = -32000")
    connection.execute("PRAGMA temp_store = MEMORY")
    if deadline_s is not None:
        ends_at = time.monotonic() + deadline_s
        connection.set_progress_handler(lambda: time.monotonic() > ends_at, 100_000)
    return connection


def check_is_ours(path: Path) -> None:
    """Raise StoreError for a file that is no touchtrail database."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchone()
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path} cannot be read: {explain(error)}") from None
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path} cannot be read as a database: {error}; name another file with --db") from None
    if found is None:
        raise StoreError(f"{path} is no touchtrail database; name another file with --db")
