"""Read-only connections for commands that need every table as this version knows it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ...errors import StoreError
from .copy import check_schema
from .reader import Reader, open_reader


def open_current_reader(path: Path) -> Reader:
    """Open a connection that cannot write to a file that has this version's schema.

    Raises: DatabaseMissing; DatabaseTooNew; StoreError, which says what to do, for a file of an older version.
    """
    reader = open_reader(path)
    try:
        pending = check_schema(reader)
    except sqlite3.Error as error:
        reader.close()
        raise StoreError(f"{path} cannot be read: {error}; `touchtrail doctor` says what is wrong") from None
    except BaseException:
        reader.close()
        raise
    if pending:
        reader.close()
        raise StoreError(
            f"{path} was written by an older touchtrail and is not brought up to date yet: make a backup, then restart "
            "the collector, or run `touchtrail rebuild` where none runs"
        )
    return reader
