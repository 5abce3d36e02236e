"""Sources and their keys. Only a hash of a key is kept: keys are random, so one round of SHA-256 is enough."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from typing import NamedTuple

from ...errors import StoreError


class KeyOwner(NamedTuple):
    """Whom a key lets in. ``source_id`` is 0 for a read token."""

    kind: str
    source_id: int
    shop_id: int
    source: str


class KeyRow(NamedTuple):
    """A key as lists show it."""

    hint: str
    kind: str
    source: str | None
    shop: str | None
    created_at: int
    revoked_at: int | None


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


def revoke_key(connection: sqlite3.Connection, key_or_hint: str, *, now_ms: int) -> str:
    """Revoke a key given whole or by its first characters. Raises StoreError when none or several match."""
    found = (
        connection.execute(
            "SELECT key_hash, hint FROM keys WHERE revoked_at IS NULL AND key_hash = ?", (hash_key(key_or_hint),)
        ).fetchall()
        or connection.execute(
            "SELECT key_hash, hint FROM keys WHERE revoked_at IS NULL AND hint = ?", (key_or_hint,)
        ).fetchall()
    )
    if len(found) != 1:
        raise StoreError(f"{len(found)} valid keys match {key_or_hint[:8]!r}; `touchtrail keys list` shows them")
    connection.execute("UPDATE keys SET revoked_at = ? WHERE key_hash = ?", (now_ms, found[0][0]))
    return str(found[0][1])


def list_keys(reader: sqlite3.Connection) -> list[KeyRow]:
    """Return every key, oldest first."""
    rows = reader.execute(
        "SELECT k.hint, k.kind, s.name, h.name, k.created_at, k.revoked_at FROM keys k"
        " LEFT JOIN sources s USING (source_id) LEFT JOIN shops h USING (shop_id) ORDER BY k.created_at, k.hint"
    )
    return [KeyRow._make(row) for row in rows]


def load_owners(reader: sqlite3.Connection) -> dict[str, KeyOwner]:
    """Return whom each valid key's hash lets in."""
    rows = reader.execute(
        "SELECT k.key_hash, k.kind, coalesce(k.source_id, 0), coalesce(s.shop_id, 0), coalesce(s.name, '')"
        " FROM keys k LEFT JOIN sources s USING (source_id) WHERE k.revoked_at IS NULL"
    )
    return {row[0]: KeyOwner(*row[1:]) for row in rows}
