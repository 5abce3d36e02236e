"""The numbers of a database that its operator watches, cheap enough to be asked for every few seconds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ...errors import StoreError, StoreUnavailable
from .reader import open_reader

SQLITE_VERSION = sqlite3.sqlite_version

REASONS = {
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_IOERR: "disk_error",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_CANTOPEN: "read_only",
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}
OTHER_REASON = "other"


class Figures(NamedTuple):
    """How a database fares. Times in UTC milliseconds, None where there is no such event.

    Args:
        counters: what was counted at the door since the database was made, by name, all days and senders together.
        open_rejects: rejects in quarantine that wait for somebody; ``reject_bytes``: what all rejects in it take.
        waiting: places of the log that are not derived yet; ``waiting_since``: when the first of them was received.
        last_received: when the newest event was received.
    """

    counters: dict[str, int]
    open_rejects: int
    reject_bytes: int
    waiting: int
    waiting_since: int | None
    last_received: int | None


def read_figures(path: Path, *, deadline_s: float | None = None) -> Figures:
    """Return the numbers of one moment. Raises StoreError when the file cannot be read in time."""
    try:
        with closing(open_reader(path, deadline_s=deadline_s)) as reader:
            return ask_figures(reader)
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read: {error}") from None


def ask_figures(reader: sqlite3.Connection) -> Figures:
    """Return the numbers of one moment from an open connection."""
    reader.execute("BEGIN")
    try:
        # One row per day, sender and name, however many events; total(): sums beyond 64 bits are no error.
        counted = reader.execute("SELECT name, total(n) FROM counters GROUP BY name").fetchall()
        # The index of open rejects answers this; the table holds their bodies.
        (open_rejects,) = reader.execute("SELECT count(*) FROM quarantine WHERE state = 'open'").fetchone()
        (reject_bytes,) = reader.execute("SELECT bytes FROM quarantine_size").fetchone()
        derived = reader.execute("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'derived_seq'").fetchone()
        derived_seq = int(derived[0]) if derived else 0
        newest = "SELECT seq, received_at FROM events ORDER BY seq DESC LIMIT 1"
        last_seq, last_received = reader.execute(newest).fetchone() or (0, None)
        oldest = "SELECT received_at FROM events WHERE seq > ? ORDER BY seq LIMIT 1"
        waiting = reader.execute(oldest, (derived_seq,)).fetchone()
    finally:
        reader.execute("ROLLBACK")
    since = None if waiting is None else int(waiting[0])
    counters = {name: int(n) for name, n in counted}
    return Figures(counters, int(open_rejects), int(reject_bytes), max(last_seq - derived_seq, 0), since, last_received)


def failure_reason(error: BaseException) -> str | None:
    """Return in a word why something could not be written; None where the caller asked for what cannot be.

    Args:
        error: as it came out of the transaction, not what the sender is told.
    """
    if isinstance(error, sqlite3.Error):
        return REASONS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, OTHER_REASON)
    if isinstance(error, StoreUnavailable):  # `OpenFiles.check`: nothing else says so inside a transaction
        return "file_moved"
    return None if isinstance(error, StoreError) else OTHER_REASON
