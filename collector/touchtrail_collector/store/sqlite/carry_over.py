"""What a restored copy must learn from the file it replaces: what was erased, senders and their keys, the password.

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
from .carry_rejects import leave_out_rejects, reject_contents
from .carry_senders import Senders, carry_senders, learn_senders
from .database import WritingConnection
from .seen import Digests, holds, id_digest, id_hasher, read_run, to_columns, write_run
from .store import now_ms

SCAN_EVENTS = 50_000


class CarriedOver(NamedTuple):
    """What was carried over.

    Args:
        events_left_out: events of the copy that were erased since; ``ids_erased``: all ids it knows as erased.
        rejects_left_out: entries of its quarantine that are gone since, erased or pushed out.
        keys_ended: keys that were revoked or rotated since; ``keys_added``: made since.
        senders_changed: those whose mode or origins are others since.
    """

    events_left_out: int = 0
    ids_erased: int = 0
    rejects_left_out: int = 0
    keys_ended: int = 0
    keys_added: int = 0
    senders_changed: int = 0


class Knowledge(NamedTuple):
    """What the replaced file knows.

    Args:
        secret: of its hashes.
        erased: digests of erased events.
        rejects: what its quarantine holds (`reject_contents`).
        password_hash: None = no password.
    """

    secret: bytes
    erased: Digests
    rejects: frozenset[bytes]
    senders: Senders
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
    return Knowledge(
        read_secret(current), find_erased(current), reject_contents(current), learn_senders(current),
        password.load_hash(current),
    )  # fmt: skip


def carry_over(known: Knowledge, copy: WritingConnection) -> CarriedOver:
    """Take out of a copy what is gone from the file it replaces, and give it the senders, keys and password of there.

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
    rejects_left_out = leave_out_rejects(known.rejects, copy, now_ms())
    senders = carry_senders(known.senders, copy)
    # An old password may be one that leaked.
    password.save_hash(copy, known.password_hash)
    copy.execute("COMMIT")
    return CarriedOver(left_out, len(erased), rejects_left_out, *senders)


def delete_events(copy: sqlite3.Connection, erased: Digests) -> int:
    """Delete the events with these digests; return how many there were."""
    gone: list[int] = []
    firsts = erased[:, 0]
    for seqs, digests in scan_digests(copy):
        likely = np.flatnonzero(np.isin(digests[:, 0], firsts))
        gone += [seqs[place] for place in likely if holds(erased, digests[place])]
    copy.executemany("DELETE FROM events WHERE seq = ?", [(seq,) for seq in gone])
    return len(gone)
