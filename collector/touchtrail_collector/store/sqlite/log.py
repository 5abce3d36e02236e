"""The event log as read: in order of arrival, or by place."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final, NamedTuple

from ..engine import StoredEvent

COLUMNS = (
    "SELECT e.seq, e.source_id, s.shop_id, e.event_id, e.name, e.occurred_at, e.sent_at, e.received_at, e.body"
    " FROM events e JOIN sources s USING (source_id)"
)


SCAN_BYTES: Final = 4_000_000
"""Of bodies, read at once: an event may have 64 KB, and what is made of it ten times as much."""

FETCHED: Final = 500


class NamedEvent(NamedTuple):
    """What tells to whom an event belongs."""

    seq: int
    shop_id: int
    event_id: str
    name: str
    body: str


# In C: `_make` itself is a Python function, and would be a fifth of the time of reading.
stored_event = partial(tuple.__new__, StoredEvent)
named_event = partial(tuple.__new__, NamedEvent)


def scan(reader: sqlite3.Connection, after_seq: int, limit: int) -> list[StoredEvent]:
    """Return events in log order, the first one after ``after_seq``; fewer than ``limit`` where they are large."""
    rows = reader.execute(f"{COLUMNS} WHERE e.seq > ? ORDER BY e.seq LIMIT ?", (after_seq, limit))
    return list(map(stored_event, fetch(rows)))


def scan_named(reader: sqlite3.Connection, after_seq: int, until_seq: int, limit: int) -> list[NamedEvent]:
    """Return the same with fewer columns, from after one place until another one, that included."""
    rows = reader.execute(
        "SELECT e.seq, s.shop_id, e.event_id, e.name, e.body FROM events e JOIN sources s USING (source_id)"
        " WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT ?",
        (after_seq, until_seq, limit),
    )
    return list(map(named_event, fetch(rows)))


def fetch(rows: sqlite3.Cursor) -> list[Any]:
    """Return rows that end with a body, until there are `SCAN_BYTES` of these."""
    fetched: list[Any] = []
    text_bytes = 0
    while text_bytes < SCAN_BYTES and (more := rows.fetchmany(FETCHED)):
        fetched += more
        text_bytes += sum(map(len, map(itemgetter(-1), more)))
    rows.close()
    return fetched


def read_events(reader: sqlite3.Connection, seqs: Sequence[int]) -> Iterator[StoredEvent]:
    """Yield the events at these places one by one, so that the text of each is gone before the next one's is there."""
    # One statement for all of them: statements of five hundred marks took a third longer.
    rows = reader.execute(f"{COLUMNS} WHERE e.seq IN (SELECT value FROM json_each(?))", (json.dumps(list(seqs)),))
    return map(stored_event, rows)


def last_seq(reader: sqlite3.Connection) -> int:
    """Return the place of the newest event, 0 in an empty log."""
    row = reader.execute("SELECT max(seq) FROM events").fetchone()
    return int(row[0] or 0)
