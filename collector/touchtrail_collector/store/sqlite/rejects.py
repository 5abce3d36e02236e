"""The quarantine: what was rejected, as it came, with the reason."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from ..engine import EventRow, Receipt
from .database import WritingConnection
from .writer import append_rows


class Reject(NamedTuple):
    """One rejected event."""

    id: int
    received_at: int
    source_id: int | None
    source: str | None
    code: str
    field: str | None
    message: str
    body: bytes
    state: str


def find(
    reader: sqlite3.Connection,
    *,
    ids: Sequence[int] = (),
    code: str | None = None,
    state: str | None = "open",
    limit: int = -1,
) -> list[Reject]:
    """Return rejects, newest first; each condition that is given must hold. ``limit`` -1 = all."""
    conditions = ["1 = 1"]
    values: list[object] = []
    if ids:
        conditions.append(f"q.id IN ({','.join('?' * len(ids))})")
        values.extend(ids)
    for column, value in (("q.code", code), ("q.state", state)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    statement = (
        "SELECT q.id, q.received_at, q.source_id, s.name, q.code, q.field, q.message, q.body, q.state"
        " FROM quarantine q LEFT JOIN sources s USING (source_id)"
        f" WHERE {' AND '.join(conditions)} ORDER BY q.id DESC LIMIT ?"
    )
    return [Reject._make(row) for row in reader.execute(statement, (*values, limit))]


def store_replayed(connection: WritingConnection, reject_id: int, event: EventRow) -> Receipt:
    """Store a repaired event and mark its reject, in the caller's transaction."""
    receipt = append_rows(connection, [event], ())
    connection.execute("UPDATE quarantine SET state = 'replayed' WHERE id = ?", (reject_id,))
    return receipt
