"""Knows which events the log has already, whatever their ids look like, without an index that random ids would tear up.

A unique index over random ids touches a page of its own for almost every event: at three million events inserting was
eleven times slower than with time-ordered ids (measured). Here nothing is written per event:

- the ids of the newest events are kept in memory, as keyed 128-bit digests; a start reads them from the log's end;
- each `RUN_IDS` of them become a *run*: sorted digests, written once, with a Bloom filter that stays in memory;
- `RUNS_MERGED` small runs become a large one.

A digest outlives its event: an id that was erased is still known, so a late repetition does not bring the person back
(reliability.md, "The ack contract"). Only the process that holds the file's lock writes, so memory is never behind.

Source: the log-structured merge-tree (O'Neil et al., 1996) with two levels; Bloom filters (Bloom, 1970) with double
hashing (Kirsch and Mitzenmacher, 2006).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..engine import EventRow
from .rows import insert_rows

RUN_IDS: Final = 32_768
"""Ids kept in memory before they become a run."""

RUNS_MERGED: Final = 8
PART_IDS: Final = 4_096
"""Ids that are read together when a filter says "perhaps"."""

DIGEST_BYTES: Final = 16
FILTER_BITS: Final = 16
PROBES: Final = 6
"""16 bits and 6 probes per id: a filter is wrong for one foreign id in a thousand."""

Digests = NDArray[np.uint64]
"""Two columns: the first eight bytes of each digest, and the last. In the file: little-endian."""


class Run:
    """Ids that do not change any more: the filter and the places of the parts are in memory, the parts in the file.

    Args:
        firsts: the first half of each part's first digest.
        bits: the filter; a power of two of bits.
    """

    __slots__ = ("_bits", "_firsts", "_mask", "ids", "level", "run_id")

    def __init__(self, run_id: int, level: int, ids: int, firsts: Digests, bits: NDArray[np.uint8]) -> None:
        self.run_id = run_id
        self.level = level
        self.ids = ids
        self._firsts = firsts
        self._bits = bits
        self._mask = np.uint64(len(bits) * 8 - 1)

    def find(self, connection: sqlite3.Connection, digests: Digests) -> list[int]:
        """Return which of the digests are in the run, as places in the argument."""
        return [place for place in self.perhaps(digests) if self._has(connection, digests[place])]

    def perhaps(self, digests: Digests) -> list[int]:
        """Return those that the filter does not rule out."""
        places = np.arange(len(digests))
        for probe in range(PROBES):
            at = probe_bits(digests[places], probe, self._mask)
            places = places[(self._bits[at >> np.uint64(3)] >> (at & np.uint64(7)).astype(np.uint8)) & 1 == 1]
            if not len(places):
                break
        return [int(place) for place in places]

    def _has(self, connection: sqlite3.Connection, digest: Digests) -> bool:
        # Two digests with the same first half may stand on both sides of a part's border.
        last = int(np.searchsorted(self._firsts, digest[0], side="right")) - 1
        first = max(int(np.searchsorted(self._firsts, digest[0], side="left")) - 1, 0)
        return any(holds(read_part(connection, self.run_id, part), digest) for part in range(first, last + 1))


class SeenEvents:
    """The ids of every event in the log, and of those that were erased from it.

    ``find_new`` and ``seal`` run inside the caller's transaction; ``keep`` or ``forget`` tells how it ended.

    Args:
        connection: the writing connection, outside a transaction.
        key: the database's own secret, so that nobody can make ids that collide.
        run_ids: how many ids make a run.
    """

    def __init__(self, connection: sqlite3.Connection, key: bytes, *, run_ids: int = RUN_IDS) -> None:
        self._hasher = id_hasher(key)
        self._run_ids = run_ids
        self._newest: set[bytes] = set()
        self._pending: list[bytes] = []
        self._runs: list[Run] = []
        self._next_seq = self._kept_seq = 1
        self.learn(connection)

    def learn(self, connection: sqlite3.Connection) -> None:
        """Read everything from the file: at the start, and where it turns out that somebody else wrote to it."""
        self._newest, self._pending = set(), []
        self._load(connection)
        self._next_seq = self._kept_seq = last_seq(connection) + 1

    def find_new(self, connection: sqlite3.Connection, rows: Sequence[EventRow]) -> list[bool]:
        """Say of each row whether its event is new, here and among the rows before it; from now on it is known."""
        newest, pending = self._newest, self._pending
        digests = id_digests(self._hasher, rows)
        old = self._find_in_runs(connection, digests)
        # Nearly always: all are new, and each comes once.
        if not old and newest.isdisjoint(digests) and len(given := set(digests)) == len(digests):
            newest |= given
            pending += digests
            return [True] * len(digests)
        answers = []
        for place, digest in enumerate(digests):
            is_new = digest not in newest and place not in old
            if is_new:
                newest.add(digest)
                pending.append(digest)
            answers.append(is_new)
        return answers

    def take_places(self, events: int) -> int:
        """Return the first of so many new places in the log; none is ever given twice, erased events included."""
        first = self._next_seq
        self._next_seq += events
        return first

    def keep(self) -> None:
        """The transaction was committed."""
        self._kept_seq = self._next_seq
        self._pending = []

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._newest.difference_update(self._pending)
        self._pending = []
        self._next_seq = self._kept_seq

    def is_full(self) -> bool:
        """Say whether the newest ids are due to become a run."""
        return len(self._newest) >= self._run_ids

    def seal(self, connection: sqlite3.Connection) -> None:
        """Write the newest ids as a run, in a transaction of its own; needed too before events are erased."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            runs = self._write_newest(connection, last_seq(connection))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._runs, self._newest = runs, set()

    def _find_in_runs(self, connection: sqlite3.Connection, digests: Sequence[bytes]) -> set[int]:
        if not self._runs or not digests:
            return set()
        columns = to_columns(b"".join(digests))
        return {place for run in self._runs for place in run.find(connection, columns)}

    def _load(self, connection: sqlite3.Connection) -> None:
        self._runs = [
            Run(run_id, level, ids, np.frombuffer(firsts, "<u8"), np.frombuffer(bits, np.uint8))
            for run_id, level, ids, firsts, bits in connection.execute(
                "SELECT run_id, level, ids, firsts, filter FROM seen_runs ORDER BY run_id"
            )
        ]
        sealed = connection.execute("SELECT coalesce(max(last_seq), 0) FROM seen_runs").fetchone()[0]
        statement = "SELECT seq, source_id, event_id FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        while True:
            rows = connection.execute(statement, (sealed, self._run_ids)).fetchall()
            self._newest.update(id_digests(self._hasher, [row[1:] for row in rows]))
            if len(rows) < self._run_ids:
                return
            sealed = rows[-1][0]
            connection.execute("BEGIN IMMEDIATE")
            self._runs = self._write_newest(connection, sealed)
            connection.execute("COMMIT")
            self._newest = set()

    def _write_newest(self, connection: sqlite3.Connection, sealed_seq: int) -> list[Run]:
        runs = list(self._runs)
        if self._newest:
            runs.append(write_run(connection, 0, sealed_seq, to_columns(b"".join(self._newest))))
        small = [run for run in runs if run.level == 0]
        if len(small) < RUNS_MERGED:
            return runs
        merged = np.concatenate([read_run(connection, run.run_id) for run in small])
        for run in small:
            connection.execute("DELETE FROM seen_parts WHERE run_id = ?", (run.run_id,))
            connection.execute("DELETE FROM seen_runs WHERE run_id = ?", (run.run_id,))
        large = write_run(connection, 1, sealed_seq, merged)
        return [*(run for run in runs if run.level), large]


def id_hasher(key: bytes) -> blake2b:
    """Return what `id_digest` copies for each id, keyed with a database's own secret."""
    return blake2b(digest_size=DIGEST_BYTES, key=key, person=b"touchtrail-seen")


def id_digest(hasher: blake2b, source_id: int, event_id: str) -> bytes:
    """Return what is kept of an event's id."""
    return id_digests(hasher, [(source_id, event_id)])[0]


def id_digests(hasher: blake2b, rows: Iterable[Sequence[Any]]) -> list[bytes]:
    """Return the same for the first two columns of rows; in one loop, as a call for each would take as long again."""
    copy = hasher.copy
    digests = []
    for row in rows:
        own = copy()
        own.update(f"{row[0]}:{row[1]}".encode("utf-8", "surrogatepass"))
        digests.append(own.digest())
    return digests


def last_seq(connection: sqlite3.Connection) -> int:
    """Return the highest place in the log that was ever given away, erased events included."""
    statement = (
        "SELECT max((SELECT coalesce(max(seq), 0) FROM events), (SELECT coalesce(max(last_seq), 0) FROM seen_runs))"
    )
    return int(connection.execute(statement).fetchone()[0])


def to_columns(digests: bytes) -> Digests:
    """Return digests as numbers, two to each."""
    return np.frombuffer(digests, "<u8").reshape(-1, 2)


def probe_bits(digests: Digests, probe: int, mask: np.uint64) -> Digests:
    """Return which bit of a filter each digest has for a probe."""
    bits: Digests = (digests[:, 0] + np.uint64(probe) * (digests[:, 1] | np.uint64(1))) & mask
    return bits


def make_filter(digests: Digests) -> NDArray[np.uint8]:
    """Return the filter of so many digests: at least `FILTER_BITS` bits for each."""
    bits = np.zeros(1 << (len(digests) * FILTER_BITS - 1).bit_length(), np.bool_)
    for probe in range(PROBES):
        bits[probe_bits(digests, probe, np.uint64(len(bits) - 1))] = True
    return np.packbits(bits, bitorder="little")


def write_run(connection: sqlite3.Connection, level: int, sealed_seq: int, digests: Digests) -> Run:
    """Write digests as a run, sorted."""
    digests = digests[np.argsort(digests[:, 0], kind="stable")]
    firsts = np.ascontiguousarray(digests[::PART_IDS, 0])
    bits = make_filter(digests)
    values = (level, sealed_seq, len(digests), firsts.astype("<u8").tobytes(), bits.tobytes())
    statement = "INSERT INTO seen_runs (level, last_seq, ids, firsts, filter) VALUES (?, ?, ?, ?, ?)"
    run_id = connection.execute(statement, values).lastrowid
    assert run_id is not None
    parts = [
        (run_id, number, digests[start : start + PART_IDS].astype("<u8").tobytes())
        for number, start in enumerate(range(0, len(digests), PART_IDS))
    ]
    insert_rows(connection, "INSERT INTO seen_parts (run_id, part, digests)", parts)
    return Run(run_id, level, len(digests), firsts, bits)


def read_run(connection: sqlite3.Connection, run_id: int) -> Digests:
    """Return all digests of a run."""
    rows = connection.execute("SELECT digests FROM seen_parts WHERE run_id = ? ORDER BY part", (run_id,))
    return np.frombuffer(b"".join(digests for (digests,) in rows), "<u8").reshape(-1, 2)


def read_part(connection: sqlite3.Connection, run_id: int, part: int) -> Digests:
    """Return the digests of one part."""
    statement = "SELECT digests FROM seen_parts WHERE run_id = ? AND part = ?"
    (digests,) = connection.execute(statement, (run_id, part)).fetchone()
    return np.frombuffer(digests, "<u8").reshape(-1, 2)


def holds(part: Digests, digest: Digests) -> bool:
    """Say whether a digest is in a part."""
    start = int(np.searchsorted(part[:, 0], digest[0], side="left"))
    end = int(np.searchsorted(part[:, 0], digest[0], side="right"))
    return bool((part[start:end, 1] == digest[1]).any())
