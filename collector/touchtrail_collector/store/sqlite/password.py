"""The hash of the dashboard's password, one of the file's own values; no row = there is no password."""

from __future__ import annotations

import sqlite3

NAME = "password_hash"


def load_hash(reader: sqlite3.Connection) -> str | None:
    """Return what is kept of the password, None where there is none."""
    row = reader.execute("SELECT value FROM meta WHERE name = ?", (NAME,)).fetchone()
    return None if row is None else str(row[0])


def save_hash(connection: sqlite3.Connection, password_hash: str | None) -> None:
    """Keep a hash in the place of what was there; None = no password."""
    if password_hash is None:
        connection.execute("DELETE FROM meta WHERE name = ?", (NAME,))
    else:
        connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (NAME, password_hash))


def replace_hash(connection: sqlite3.Connection, *, kept: str, password_hash: str) -> None:
    """Keep another hash where this one is still kept."""
    connection.execute("UPDATE meta SET value = ? WHERE name = ? AND value = ?", (password_hash, NAME, kept))
