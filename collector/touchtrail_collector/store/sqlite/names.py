"""The names of properties of senders' own, as many as are kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable


def load_names(reader: sqlite3.Connection) -> dict[int, set[str]]:
    """Return the names of each sender."""
    found: dict[int, set[str]] = {}
    for source_id, name in reader.execute("SELECT source_id, name FROM property_names"):
        found.setdefault(source_id, set()).add(name)
    return found


def add_names(connection: sqlite3.Connection, source_id: int, names: Iterable[str]) -> None:
    """Keep names of a sender."""
    rows = [(source_id, name) for name in names]
    connection.executemany("INSERT OR IGNORE INTO property_names (source_id, name) VALUES (?, ?)", rows)
