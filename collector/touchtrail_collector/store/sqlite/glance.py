"""Looks at a database without leaving anything beside it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ...errors import StoreError
from .database import FileLock
from .own_file import claim_file, own_name
from .whole_file import companions


@contextmanager
def untouched(database: Path) -> Iterator[None]:
    """Leave nothing beside a file that is only read in the block, by connections that are closed in it.

    A connection that cannot write makes an empty log and its index where a stopped database has none, and cannot remove
    them: the next one to look would take the log for the sign of a crash.
    """
    name = own_name(database)
    had = any(path.exists() for path in companions(name))
    try:
        yield
    finally:
        if not had and name.with_name(f"{name.name}-wal").exists():
            remove_empty_log(name)


def remove_empty_log(database: Path) -> None:
    """Have SQLite remove an empty log; nothing is done where a collector has the database, or the log is not empty.

    SQLite removes it as the last connection that may write is closed, and sees to it that nobody reads there meanwhile.
    Beside a collector no other connection may write (reliability.md), hence the lock.
    """
    lock = FileLock(database)
    with suppress(StoreError, sqlite3.Error, OSError):
        lock.take()
        try:
            if database.with_name(f"{database.name}-wal").stat().st_size == 0:
                close_as_writer(database)
        finally:
            lock.step_back()


def close_as_writer(database: Path) -> None:
    """Open and close the connection that SQLite tidies up after. Raises as its parts do."""
    claim = claim_file(database, creates=False)
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        if claim is not None:
            os.close(claim)
