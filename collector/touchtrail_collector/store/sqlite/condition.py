"""How a database is, for `touchtrail doctor`: read, never changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DatabaseTooNew, StoreError
from .carry_over import read_secret
from .copy import check_schema, find_faults
from .figures import Figures, ask_figures
from .reader import open_reader
from .seen import Run, id_digest, id_hasher, to_columns
from .store import now_ms

SAMPLED_EVENTS = 1_000
RECENT_EVENTS = 1_000
SLOW_SENDER_MS = 300_000

WAL_RESET_FIXED = (3, 51, 3)
"""The first SQLite whose log cannot lose commits when two connections write and checkpoint at once (reliability.md)."""

IS_WAL_RESET_SAFE = sqlite3.sqlite_version_info >= WAL_RESET_FIXED


class Condition(NamedTuple):
    """What was found in a database of a known schema.

    Args:
        faults: what is damaged.
        pending: migrations it still lacks; the rest is not read then.
        sampled, unknown_ids: events looked up in the runs of ids, and how many were not there.
        derived_by: the signature of the rules it was derived by; None = it was never derived.
        write_keys, unused_keys: valid write keys, and those of them that were never used.
        skewed: of the newest events, those whose sender's clock was more than five minutes off.
    """

    faults: list[str]
    pending: list[str]
    figures: Figures | None = None
    sampled: int = 0
    unknown_ids: int = 0
    derived_by: str | None = None
    write_keys: int = 0
    unused_keys: int = 0
    skewed: int = 0
    recent: int = 0


def examine_database(path: Path, *, thorough: bool = False) -> Condition:
    """Look at a database.

    Args:
        thorough: hold every index against its table as well, which takes several times as long.

    Raises: DatabaseMissing, DatabaseTooNew; StoreError for what is no database of ours.
    """
    with closing(open_reader(path)) as reader:
        faults = find_faults(reader, quick=not thorough)
        try:
            pending = check_schema(reader)
            return Condition(faults, pending) if pending else read_condition(reader, faults)
        except DatabaseTooNew:
            raise
        except (sqlite3.Error, ValueError, TypeError) as error:
            if faults:
                return Condition(faults, [])
            raise StoreError(f"{path} cannot be read: {error}") from None


def read_condition(reader: sqlite3.Connection, faults: list[str]) -> Condition:
    """Return everything there is to be told of a database of our own schema."""
    sampled, unknown = sample_ids(reader)
    derived_by = reader.execute("SELECT value FROM meta WHERE name = 'derived_by'").fetchone()
    write_keys, unused_keys = reader.execute(
        "SELECT count(*), sum(last_used_at IS NULL) FROM keys"
        " WHERE kind = 'write' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)",
        (now_ms(),),
    ).fetchone()
    recent, skewed = reader.execute(
        "SELECT count(sent_at), sum(abs(received_at - sent_at) > ?)"
        " FROM (SELECT sent_at, received_at FROM events ORDER BY seq DESC LIMIT ?)",
        (SLOW_SENDER_MS, RECENT_EVENTS),
    ).fetchone()
    return Condition(
        faults,
        [],
        figures=ask_figures(reader),
        sampled=sampled,
        unknown_ids=unknown,
        derived_by=None if derived_by is None else str(derived_by[0]),
        write_keys=int(write_keys),
        unused_keys=int(unused_keys or 0),
        skewed=int(skewed or 0),
        recent=int(recent),
    )


def sample_ids(reader: sqlite3.Connection) -> tuple[int, int]:
    """Look events from all over the log up in the runs; return how many, and how many were not found.

    What came after the newest run is known from the log itself and needs no looking up.
    """
    rows = reader.execute("SELECT run_id, level, ids, firsts, filter FROM seen_runs ORDER BY run_id").fetchall()
    runs = [Run(run_id, level, ids, np.frombuffer(firsts, "<u8"), np.frombuffer(bits, np.uint8))
            for run_id, level, ids, firsts, bits in rows]  # fmt: skip
    (sealed,) = reader.execute("SELECT coalesce(max(last_seq), 0) FROM seen_runs").fetchone()
    places = sorted({1 + number * max(sealed - 1, 0) // SAMPLED_EVENTS for number in range(SAMPLED_EVENTS + 1)})
    hasher = id_hasher(read_secret(reader))
    statement = "SELECT source_id, event_id FROM events WHERE seq >= ? AND seq <= ? ORDER BY seq LIMIT 1"
    found = {reader.execute(statement, (place, sealed)).fetchone() for place in places} - {None}
    if not found:
        return 0, 0
    digests = to_columns(b"".join(id_digest(hasher, source_id, event_id) for source_id, event_id in sorted(found)))
    known = {place for run in runs for place in run.find(reader, digests)}
    return len(digests), len(digests) - len(known)
