"""What a restored copy must learn from the file it replaces: what was erased, which keys were revoked, the password.

The store's rule: an id that is in the file's runs (seen.py) but not in its events was erased. A copy made before the
erasure still has the event; one made before the event came would take it in again when a late spool brings it. So both
the events and their ids' digests are carried over. Ids that were only *received* after the copy was made are not: their
events are lost with the replaced file, and must be taken when a sender has them still.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from . import derived, password
from .database import WritingConnection
from .seen import Digests, holds, id_digest, id_hasher, read_run, to_columns, write_run

SCAN_EVENTS = 50_000

END_KEY = (
    "UPDATE keys SET revoked_at = coalesce(revoked_at, ?1), expires_at = coalesce(?2, expires_at)"
    " WHERE key_hash = ?3 AND (revoked_at IS NULL AND ?1 IS NOT NULL OR ?2 IS NOT NULL AND expires_at IS NOT ?2)"
)


class CarriedOver(NamedTuple):
    """What was carried over: events left out of the copy, ids it knows as erased, keys it has as revoked."""

    events_left_out: int = 0
    ids_erased: int = 0
    keys_revoked: int = 0


class Knowledge(NamedTuple):
    """What the replaced file knows: its secret, digests of erased events, keys that were revoked or rotated, the
    password's hash (None = no password)."""

    secret: bytes
    erased: Digests
    ended: list[tuple[int | None, int | None, str]]
    password_hash: str | None


def read_secret(connection: sqlite3.Connection) -> bytes:
    """Return the secret of a file's hashes; copies of one database have the same, others never."""
    (secret,) = connection.execute("SELECT value FROM meta WHERE name = 'hash_key'").fetchone()
    return bytes.fromhex(secret)


def read_runs(connection: sqlite3.Connection) -> Digests:
    """Return the digests of all runs of a file, sorted; none where the file is older than runs."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'seen_runs'").fetchone() is None:
        return np.empty((0, 2), "<u8")
    runs = [read_run(connection, run_id) for (run_id,) in connection.execute("SELECT run_id FROM seen_runs")]
    return in_order(np.concatenate([np.empty((0, 2), "<u8"), *runs]))


def in_order(digests: Digests) -> Digests:
    """Return digests sorted as `holds` needs them."""
    ordered: Digests = digests[np.lexsort((digests[:, 1], digests[:, 0]))]
    return ordered


def scan_digests(connection: sqlite3.Connection) -> Iterator[tuple[list[int], Digests]]:
    """Yield the places and digests of all events, in slices."""
    hasher = id_hasher(read_secret(connection))
    cursor = connection.execute("SELECT seq, source_id, event_id FROM events ORDER BY seq")
    while rows := cursor.fetchmany(SCAN_EVENTS):
        digests = b"".join(id_digest(hasher, source_id, event_id) for _, source_id, event_id in rows)
        yield [seq for seq, _, _ in rows], to_columns(digests)


def missing_from(digests: Digests, known: Digests) -> Digests:
    """Return those digests that are not among the known ones, which are sorted."""
    if not len(known) or not len(digests):
        return digests
    at = np.minimum(np.searchsorted(known[:, 0], digests[:, 0]), len(known) - 1)
    unequal = (known[at] != digests).any(axis=1)
    # The search finds the first of several with the same first half: those few are looked up one by one.
    rest = digests[unequal]
    missing: Digests = rest[np.array([not holds(known, digest) for digest in rest], np.bool_)]
    return missing


def find_erased(connection: sqlite3.Connection) -> Digests:
    """Return the digests of the events that were erased from a file, sorted."""
    runs = read_runs(connection)
    if not len(runs):
        return runs
    events = [digests for _, digests in scan_digests(connection)]
    return missing_from(runs, in_order(np.concatenate([np.empty((0, 2), "<u8"), *events])))


def learn(current: sqlite3.Connection) -> Knowledge:
    """Return what a file knows that a copy of it must learn. Raises sqlite3.Error for a damaged file."""
    columns = {name for (name,) in current.execute("SELECT name FROM pragma_table_info('keys')")}
    expires_at = "expires_at" if "expires_at" in columns else "NULL"
    statement = f"SELECT revoked_at, {expires_at}, key_hash FROM keys WHERE revoked_at IS NOT NULL OR {expires_at} > 0"
    ended = current.execute(statement).fetchall()
    return Knowledge(read_secret(current), find_erased(current), ended, password.load_hash(current))


def carry_over(known: Knowledge, copy: WritingConnection) -> CarriedOver:
    """Take out of a copy what was erased from the file it replaces, and revoke what was revoked there.

    Where events go, everything derived goes with them: it is derived anew. The caller has opened the copy for writing
    and puts it in place afterwards.
    """
    erased = known.erased
    if len(erased):
        # Before events go: their places in the log must never be given away again (seen.py).
        copy.seen.seal(copy)
    copy.execute("PRAGMA secure_delete = ON")
    copy.execute("BEGIN IMMEDIATE")
    left_out = delete_events(copy, erased) if len(erased) else 0
    unknown = missing_from(erased, read_runs(copy))
    if len(unknown):
        (sealed,) = copy.execute("SELECT coalesce(max(last_seq), 0) FROM seen_runs").fetchone()
        write_run(copy, 0, sealed, unknown)
    if left_out:
        derived.reset(copy, "")
        copy.execute("DELETE FROM meta WHERE name = 'derived_by'")
    revoked = sum(copy.execute(END_KEY, row).rowcount for row in known.ended)
    # An old password may be one that leaked.
    password.save_hash(copy, known.password_hash)
    copy.execute("COMMIT")
    return CarriedOver(left_out, len(erased), revoked)


def delete_events(copy: sqlite3.Connection, erased: Digests) -> int:
    """Delete the events with these digests; return how many there were."""
    gone: list[int] = []
    firsts = erased[:, 0]
    for seqs, digests in scan_digests(copy):
        likely = np.flatnonzero(np.isin(digests[:, 0], firsts))
        gone += [seqs[place] for place in likely if holds(erased, digests[place])]
    copy.executemany("DELETE FROM events WHERE seq = ?", [(seq,) for seq in gone])
    return len(gone)
