"""Sources, what they may do, and their keys: only a hash is kept; keys are random, one round of SHA-256 is enough."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...domain.sender import Mode
from ...errors import StoreError


class KeyOwner(NamedTuple):
    """Whom a key lets in. ``source_id`` is 0 for a read token.

    Args:
        key_hash: tells keys apart without the key.
        expires_at: UTC milliseconds from which it lets nobody in: it was rotated. None = never.
        origins: pages of these origins alone may use it; empty = any.
    """

    kind: str
    source_id: int
    shop_id: int
    source: str
    key_hash: str
    expires_at: int | None
    origins: frozenset[str]


class KeyRow(NamedTuple):
    """A key as lists show it; times in UTC milliseconds.

    Args:
        expires_at: when it ends because it was rotated.
        last_used_at: to the minute; None = never.
        mode, origins: its sender's; None and empty for a read token.
    """

    hint: str
    kind: str
    source: str | None
    shop: str | None
    created_at: int
    revoked_at: int | None
    expires_at: int | None
    last_used_at: int | None
    mode: str | None
    origins: tuple[str, ...]


class RotatedKey(NamedTuple):
    """A new key, and the old one it stands in for: its first characters and until when it is still good."""

    key: str
    replaced: str
    replaced_until_ms: int


def hash_key(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def ensure_source(  # noqa: PLR0913 - each is given by name
    connection: sqlite3.Connection, source: str, *, shop: str | None, own_shop: str, currency: str, now_ms: int
) -> int:
    """Return the source's id; make it, and its shop, when they are new.

    Args:
        shop: the shop it must belong to; None = wherever it is, and ``own_shop`` when it is new.

    Raises: StoreError when another shop has it.
    """
    row = connection.execute(
        "SELECT source_id, h.name FROM sources s JOIN shops h USING (shop_id) WHERE s.name = ?", (source,)
    ).fetchone()
    if row:
        if shop is not None and row[1] != shop:
            raise StoreError(f"the source {source!r} belongs to the shop {row[1]!r}, not {shop!r}; name another source")
        return int(row[0])
    shop = shop or own_shop
    connection.execute("INSERT INTO shops (name, currency) VALUES (?, ?) ON CONFLICT DO NOTHING", (shop, currency))
    shop_id = connection.execute("SELECT shop_id FROM shops WHERE name = ?", (shop,)).fetchone()[0]
    cursor = connection.execute(
        "INSERT INTO sources (shop_id, name, created_at) VALUES (?, ?, ?)", (shop_id, source, now_ms)
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def set_currency(connection: sqlite3.Connection, shop: str, currency: str) -> None:
    """Set the currency of a shop that exists already: the default one is made before any settings are known."""
    connection.execute("UPDATE shops SET currency = ? WHERE name = ? AND currency <> ?", (currency, shop, currency))


def create_key(connection: sqlite3.Connection, *, kind: str, source_id: int | None, now_ms: int) -> str:
    """Store a new key's hash and return the key itself, which cannot be shown again."""
    key = f"tt{kind[0]}_{secrets.token_urlsafe(24)}"
    connection.execute(
        "INSERT INTO keys (key_hash, hint, kind, source_id, created_at) VALUES (?, ?, ?, ?, ?)",
        (hash_key(key), key[:8], kind, source_id, now_ms),
    )
    return key


def rotate_key(connection: sqlite3.Connection, key_or_hint: str, *, grace_ms: int, now_ms: int) -> RotatedKey:
    """Store a new key beside an old one of the same kind and sender, and end the old one after a grace period.

    A key that was rotated before keeps the earlier end.

    Raises: StoreError when no valid key or several match.
    """
    key_hash, hint = find_valid(connection, key_or_hint, now_ms)
    kind, source_id, ends_at = connection.execute(
        "SELECT kind, source_id, expires_at FROM keys WHERE key_hash = ?", (key_hash,)
    ).fetchone()
    ends_at = min(now_ms + grace_ms, now_ms + grace_ms if ends_at is None else ends_at)
    connection.execute("UPDATE keys SET expires_at = ? WHERE key_hash = ?", (ends_at, key_hash))
    key = create_key(connection, kind=kind, source_id=source_id, now_ms=now_ms)
    return RotatedKey(key, hint, ends_at)


def revoke_key(connection: sqlite3.Connection, key_or_hint: str, *, now_ms: int) -> str:
    """Revoke a key given whole or by its first characters. Raises StoreError when none or several match."""
    key_hash, hint = find_valid(connection, key_or_hint, now_ms)
    connection.execute("UPDATE keys SET revoked_at = ? WHERE key_hash = ?", (now_ms, key_hash))
    return hint


def find_valid(connection: sqlite3.Connection, key_or_hint: str, now_ms: int) -> tuple[str, str]:
    """Return hash and first characters of the one valid key meant. Raises StoreError when none or several match."""
    is_valid = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)"
    for column, value in (("key_hash", hash_key(key_or_hint)), ("hint", key_or_hint)):
        statement = f"SELECT key_hash, hint FROM keys WHERE {column} = ? AND {is_valid}"
        found = connection.execute(statement, (value, now_ms)).fetchall()
        if found:
            break
    if len(found) != 1:
        raise StoreError(f"{len(found)} valid keys match {key_or_hint[:8]!r}; `touchtrail keys list` shows them")
    return str(found[0][0]), str(found[0][1])


def set_sender(
    connection: sqlite3.Connection, source: str, *, origins: Sequence[str] | None, mode: Mode | None
) -> None:
    """Change what a sender may do; None = as it is. Raises StoreError when there is no such sender."""
    if connection.execute("SELECT 1 FROM sources WHERE name = ?", (source,)).fetchone() is None:
        raise StoreError(f"there is no source {source!r}; `touchtrail keys create --source NAME` makes one")
    if origins is not None:
        connection.execute("UPDATE sources SET origins = ? WHERE name = ?", (" ".join(origins), source))
    if mode is not None:
        connection.execute("UPDATE sources SET mode = ? WHERE name = ?", (mode, source))


def note_use(connection: sqlite3.Connection, used: Mapping[str, int]) -> None:
    """Write down when keys were last used, by hash."""
    statement = "UPDATE keys SET last_used_at = ? WHERE key_hash = ? AND coalesce(last_used_at, 0) < ?"
    connection.executemany(statement, [(at, key_hash, at) for key_hash, at in used.items()])


def list_keys(reader: sqlite3.Connection) -> list[KeyRow]:
    """Return every key, oldest first."""
    rows = reader.execute(
        "SELECT k.hint, k.kind, s.name, h.name, k.created_at, k.revoked_at, k.expires_at, k.last_used_at, s.mode,"
        " coalesce(s.origins, '') FROM keys k"
        " LEFT JOIN sources s USING (source_id) LEFT JOIN shops h USING (shop_id) ORDER BY k.created_at, k.hint"
    )
    return [KeyRow._make((*row[:-1], tuple(row[-1].split()))) for row in rows]


def load_owners(reader: sqlite3.Connection) -> dict[str, KeyOwner]:
    """Return whom the hash of each key that was not revoked lets in, rotated ones with their end."""
    rows = reader.execute(
        "SELECT k.kind, coalesce(k.source_id, 0), coalesce(s.shop_id, 0), coalesce(s.name, ''), k.key_hash,"
        " k.expires_at, coalesce(s.origins, '') FROM keys k LEFT JOIN sources s USING (source_id)"
        " WHERE k.revoked_at IS NULL"
    )
    return {row[4]: KeyOwner._make((*row[:-1], frozenset(row[-1].split()))) for row in rows}


def load_modes(reader: sqlite3.Connection) -> dict[int, Mode]:
    """Return what may be kept of each sender's events, by source id."""
    return dict(reader.execute("SELECT source_id, mode FROM sources").fetchall())
