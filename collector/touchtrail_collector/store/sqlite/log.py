"""The event log as read: in order of arrival, or by place."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ..engine import StoredEvent

COLUMNS = (
    "SELECT e.seq, e.source_id, s.shop_id, e.event_id, e.name, e.occurred_at, e.sent_at, e.received_at, e.body"
    " FROM events e JOIN sources s USING (source_id)"
)


def scan(reader: sqlite3.Connection, after_seq: int, limit: int) -> list[StoredEvent]:
    """Return events in log order, the first one after ``after_seq``."""
    rows = reader.execute(f"{COLUMNS} WHERE e.seq > ? ORDER BY e.seq LIMIT ?", (after_seq, limit))
    return [StoredEvent._make(row) for row in rows]


def read_events(reader: sqlite3.Connection, seqs: Sequence[int]) -> list[StoredEvent]:
    """Return the events at these places."""
    events: list[StoredEvent] = []
    for start in range(0, len(seqs), 500):
        chunk = seqs[start : start + 500]
        marks = ",".join("?" * len(chunk))
        events.extend(StoredEvent._make(row) for row in reader.execute(f"{COLUMNS} WHERE e.seq IN ({marks})", chunk))
    return events


def last_seq(reader: sqlite3.Connection) -> int:
    """Return the place of the newest event, 0 in an empty log."""
    row = reader.execute("SELECT max(seq) FROM events").fetchone()
    return int(row[0] or 0)
