"""Copies of a database: made while it is in use, checked, described."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlite_utils import Database

from ...errors import DatabaseTooNew, StoreError
from .database import explain
from .migrations import KNOWN, MIGRATIONS
from .reader import MEND, Unreadable, open_reader

Progress = Callable[[int, int], None]

STEP_PAGES = 2_000
"""Copied at a time, about 8 MB: often enough for a progress bar."""

MOST_FAULTS = 5
"""Faults of a damaged file that are named."""


class Contents(NamedTuple):
    """What is in a database. ``last_received`` in UTC milliseconds, None where there is no event."""

    size_bytes: int
    events: int
    last_received: int | None


def copy_database(source: Path, target: Path, progress: Progress | None = None) -> None:
    """Copy a database into an empty file, as it is at one moment, whoever writes to it meanwhile.

    The copy is one file without companions, whole on disk as far as SQLite is concerned; the caller syncs and moves it.
    While the copy is made the source's write-ahead log cannot be cut back and grows with what is written.

    Args:
        progress: told pages done and pages in all.

    Raises: DatabaseMissing, StoreError.

    Source: sqlite.org/backup.html; a copy in steps begins anew when another process writes, so the snapshot is held.
    """
    with closing(open_reader(source)) as reader, closing(sqlite3.connect(target, isolation_level=None)) as copy:
        try:
            # Until it gets its name the copy is nobody's: no journal, and one fsync at its end.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM meta").fetchone()
            reader.backup(copy, pages=STEP_PAGES, progress=as_backup_progress(progress), sleep=0.05)
            reader.execute("ROLLBACK")
            # The source is in WAL mode, and a copy would be too; one that is not can be read from anywhere.
            copy.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            raise StoreError(f"{source} could not be copied to {target.parent}: {explain(error)}") from None


def as_backup_progress(progress: Progress | None) -> Callable[[int, int, int], object] | None:
    """Return the function that SQLite's copying calls with its status, pages left and pages in all."""
    if progress is None:
        return None
    return lambda _, left, pages: progress(pages - left, pages)


def find_faults(connection: sqlite3.Connection, *, quick: bool = False) -> list[str]:
    """Return what is damaged in a file, a few lines at most; an empty list is a sound one.

    Args:
        quick: leave out whether indexes and tables agree, which takes most of the time.
    """
    check = "quick_check" if quick else "integrity_check"
    try:
        lines = [str(row[0]) for row in connection.execute(f"PRAGMA {check}({MOST_FAULTS})")]
        broken = connection.execute("PRAGMA foreign_key_check").fetchmany(MOST_FAULTS)
    except sqlite3.DatabaseError as error:
        return [str(error)]
    faults = [] if lines == ["ok"] else lines
    return [*faults, *(f"a row of {table} refers to {parent}, where there is none" for table, _, parent, _ in broken)]


def check_schema(connection: sqlite3.Connection) -> list[str]:
    """Return the migrations a file still lacks. Raises DatabaseTooNew when a newer version has changed it."""
    applied = [migration.name for migration in MIGRATIONS.applied(Database(connection))]
    unknown = [name for name in applied if name not in KNOWN]
    if unknown:
        raise DatabaseTooNew(unknown[-1], KNOWN[-1])
    return [name for name in KNOWN if name not in applied]


def describe(connection: sqlite3.Connection, path: Path) -> Contents:
    """Return what is in a database."""
    (events,) = connection.execute("SELECT count(*) FROM events").fetchone()
    last = connection.execute("SELECT received_at FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return Contents(path.stat().st_size, int(events), None if last is None else int(last[0]))


@contextmanager
def checked_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a read-only connection to a file that was found sound and of a known schema.

    Raises: DatabaseMissing, DatabaseTooNew; Unreadable, which names the damage.
    """
    with closing(open_reader(path)) as reader:
        faults = find_faults(reader)
        if faults:
            raise Unreadable(f"{path} is damaged: {'; '.join(faults)}", MEND)
        check_schema(reader)
        yield reader
