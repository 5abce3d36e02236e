"""What a restored copy must learn of shops, senders and keys: they are today's, whatever they were at the backup.

A key that was revoked, a mode or list of origins that was made stricter must not be as before; one that took a rotated
key's place must not be unknown, or its sender would be locked out with both.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from .keys import note_use

END_KEY = (
    "UPDATE keys SET revoked_at = coalesce(revoked_at, ?1), expires_at = coalesce(?2, expires_at)"
    " WHERE key_hash = ?3 AND (revoked_at IS NULL AND ?1 IS NOT NULL OR ?2 IS NOT NULL AND expires_at IS NOT ?2)"
)
ADD_KEY = (
    "INSERT INTO keys (key_hash, hint, kind, source_id, created_at, revoked_at, expires_at, last_used_at)"
    " VALUES (?, ?, ?, (SELECT source_id FROM sources WHERE name = ?), ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
SET_SENDER = "UPDATE sources SET mode = ?1, origins = ?2 WHERE name = ?3 AND (mode <> ?1 OR origins <> ?2)"
ADD_SENDER = (
    "INSERT INTO sources (source_id, shop_id, name, created_at, mode, origins)"
    " VALUES (?, (SELECT shop_id FROM shops WHERE name = ?), ?, ?, ?, ?)"
)


class Sender(NamedTuple):
    """A sender as it stands in a file; ``mode`` is None where the file is older than modes and origins."""

    source_id: int
    shop: str
    name: str
    created_at: int
    mode: str | None
    origins: str


class Key(NamedTuple):
    """A key as it stands in a file."""

    key_hash: str
    hint: str
    kind: str
    source: str | None
    created_at: int
    revoked_at: int | None
    expires_at: int | None
    last_used_at: int | None


class Senders(NamedTuple):
    """The shops of a file, by name with their currency, their senders, and all keys."""

    shops: list[tuple[str, str]]
    senders: list[Sender]
    keys: list[Key]


class SendersCarried(NamedTuple):
    """How many keys ended, how many are new to the copy, and how many of its senders got today's mode or origins."""

    keys_ended: int
    keys_added: int
    senders_changed: int


def learn_senders(current: sqlite3.Connection) -> Senders:
    """Return what a file knows of shops, senders and keys, whichever version wrote it."""
    mode, origins = columns_or_null(current, "sources", "s", "mode", "origins")
    expires_at, last_used_at = columns_or_null(current, "keys", "k", "expires_at", "last_used_at")
    senders = current.execute(
        f"SELECT s.source_id, h.name, s.name, s.created_at, {mode}, coalesce({origins}, '')"
        " FROM sources s JOIN shops h USING (shop_id) ORDER BY s.source_id"
    )
    keys = current.execute(
        f"SELECT k.key_hash, k.hint, k.kind, s.name, k.created_at, k.revoked_at, {expires_at}, {last_used_at}"
        " FROM keys k LEFT JOIN sources s USING (source_id) ORDER BY k.created_at, k.key_hash"
    )
    shops = current.execute("SELECT name, currency FROM shops ORDER BY shop_id").fetchall()
    return Senders(shops, [Sender._make(row) for row in senders], [Key._make(row) for row in keys])


def columns_or_null(connection: sqlite3.Connection, table: str, alias: str, *names: str) -> list[str]:
    """Return how a query names these columns of a table, NULL for those that an older version did not have."""
    there = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
    return [f"{alias}.{name}" if name in there else "NULL" for name in names]


def carry_senders(known: Senders, copy: sqlite3.Connection) -> SendersCarried:
    """Give a copy today's shops, senders and keys, in the caller's transaction."""
    copy.executemany("INSERT INTO shops (name, currency) VALUES (?, ?) ON CONFLICT DO NOTHING", known.shops)
    changed = sum(carry_sender(copy, sender) for sender in known.senders)
    ended = sum(copy.execute(END_KEY, (key.revoked_at, key.expires_at, key.key_hash)).rowcount for key in known.keys)
    added = sum(copy.execute(ADD_KEY, key).rowcount for key in known.keys)
    note_use(copy, {key.key_hash: key.last_used_at for key in known.keys if key.last_used_at is not None})
    return SendersCarried(ended, added, changed)


def carry_sender(copy: sqlite3.Connection, sender: Sender) -> int:
    """Give a copy one sender as it is today; return 1 when it had it otherwise."""
    if copy.execute("SELECT 1 FROM sources WHERE name = ?", (sender.name,)).fetchone():
        if sender.mode is None:
            return 0
        return copy.execute(SET_SENDER, (sender.mode, sender.origins, sender.name)).rowcount
    # Its number is part of how erased events are known: it stays the same, unless another sender has it by now.
    taken = copy.execute("SELECT 1 FROM sources WHERE source_id = ?", (sender.source_id,)).fetchone()
    source_id = None if taken else sender.source_id
    mode = sender.mode or "full"
    copy.execute(ADD_SENDER, (source_id, sender.shop, sender.name, sender.created_at, mode, sender.origins))
    return 0
