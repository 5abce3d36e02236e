"""Puts a copy in the place of a database, whose own file is kept beside it under a dated name.

What is killed on the way leaves either the old database or the new one under the name; the steps are in this order:

1. the replaced file's write-ahead log is folded into it, so that the one file is all there is;
2. it gets a second, hidden name;
3. the copy takes over the first name, in one step;
4. the hidden name becomes the dated one. `finish_interrupted` does this for a restore that was killed before it could.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from ...errors import StoreError, StoreUnavailable
from .carry_over import CarriedOver, Knowledge, carry_over, learn, read_secret
from .database import open_writing_connection
from .reader import open_reader
from .whole_file import KEPT, companions, put_in_place, sync


class OtherDatabase(StoreError):
    """The current file is another database than the one that was backed up."""


def prepare_copy(copy: Path, known: Knowledge | None) -> CarriedOver | None:
    """Bring a copy's schema up to date and carry over what the file it replaces knows; None where that is nothing."""
    with closing(open_writing_connection(copy)) as connection:
        carried = None if known is None else carry_over(known, connection)
        connection.execute("PRAGMA journal_mode = DELETE")
    return carried


def learn_from(database: Path, copy: Path) -> Knowledge:
    """Return what a file knows that a copy of it must learn; afterwards the file has no write-ahead log any more.

    The caller holds its lock.

    Raises: StoreUnavailable while somebody reads it; OtherDatabase when the copy is of another one; StoreError when it
        is damaged.
    """
    fold_wal(database)
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as reader:
            known = learn(reader)
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise StoreError(f"{database} cannot be read: {error}") from None
    with closing(open_reader(copy)) as reader:
        if read_secret(reader) != known.secret:
            raise OtherDatabase(f"{database} is another database than the one that was backed up")
    return known


def fold_wal(database: Path) -> None:
    """Fold a database's write-ahead log into its file. Raises as `learn_from` does."""
    try:
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreUnavailable(f"another program reads {database}; end it and try again") from None
        raise StoreError(f"{database} cannot be used: {error}") from None
    if mode != "delete":
        raise StoreUnavailable(f"another program reads {database}; end it and try again")


def swap(copy: Path, database: Path, *, day: str) -> Path | None:
    """Put a prepared copy in a database's place; return the name under which the old file is kept.

    Args:
        day: what dates the kept file's name, `20261122T061500Z`.
    """
    if not database.exists():
        for stray in companions(database):
            stray.unlink(missing_ok=True)  # of a database that is gone; SQLite would take it for the new one's
        put_in_place(copy, database)
        return None
    kept = free_name(database, day)
    for path in companions(database):  # left of a damaged file only, whose log could not be folded in
        if path.exists():
            os.replace(path, kept.with_name(kept.name + path.name.removeprefix(database.name)))
    hidden = kept.with_name(f".{kept.name}")
    add_name(database, hidden)
    sync(database.parent)
    put_in_place(copy, database)
    os.replace(hidden, kept)
    sync(database.parent)
    return kept


def free_name(database: Path, day: str) -> Path:
    """Return a name for the replaced file that nothing has."""
    kept = database.with_name(f"{database.name}{KEPT}{day}")
    number = 1
    while kept.exists():
        number += 1
        kept = kept.with_name(f"{database.name}{KEPT}{day}-{number}")
    return kept


def add_name(database: Path, name: Path) -> None:
    """Give a file a second name; a copy of it where the file system knows no second names."""
    try:
        os.link(database, name)
    except OSError:
        shutil.copy2(database, name)
        sync(name)
