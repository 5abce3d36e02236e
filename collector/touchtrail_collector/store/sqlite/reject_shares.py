"""Who makes room when quarantine is full: the sender who takes most of it, so that a noisy one costs nobody else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ..engine import QuarantineLimits

Going = tuple[int, int | None, int]
"""An entry that has to go: id, source, how often it came while it was open (0 = it is closed, no loss)."""

CLOSED = "SELECT id, source_id, 0, length(body) + length(message) FROM quarantine WHERE state <> 'open' ORDER BY id"
OPEN_OF_SOURCE = (
    "SELECT id, source_id, times, length(body) + length(message) FROM quarantine"
    " WHERE state = 'open' AND coalesce(source_id, 0) = ? ORDER BY id"
)


def find_superfluous(connection: sqlite3.Connection, limits: QuarantineLimits) -> Iterator[Going]:
    """Yield what has to go: closed entries first, then always the oldest of the sender who takes most room.

    The caller deletes only afterwards what it was given.
    """
    shares = Shares(connection)
    if not shares.is_beyond(limits):
        return
    for reject_id, source_id, times, bytes_ in connection.execute(CLOSED):
        yield reject_id, source_id, times
        shares.take(source_id, bytes_)
        if not shares.is_beyond(limits):
            return
    oldest = Oldest(connection)
    while shares.is_beyond(limits):
        reject_id, source_id, times, bytes_ = oldest.next_of(shares.largest(limits))
        yield reject_id, source_id, times
        shares.take(source_id, bytes_)


class Shares:
    """How much of quarantine each sender takes, and all of them together, while some of it goes.

    Attributes:
        by_source: entries and bytes by source id, 0 = senders that are not known.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT source_id, entries, bytes FROM quarantine_shares WHERE entries > 0")
        self.by_source: dict[int, list[int]] = {source_id: [entries, size] for source_id, entries, size in rows}
        self.entries = sum(entries for entries, _ in self.by_source.values())
        self.bytes = sum(size for _, size in self.by_source.values())

    def is_beyond(self, limits: QuarantineLimits) -> bool:
        """True while there is more than there may be."""
        return self.entries > limits.entries or self.bytes > limits.bytes

    def take(self, source_id: int | None, bytes_: int) -> None:
        """Note that one entry goes."""
        share = self.by_source[source_id or 0]
        share[0] -= 1
        share[1] -= bytes_
        self.entries -= 1
        self.bytes -= bytes_

    def largest(self, limits: QuarantineLimits) -> int:
        """Return who takes most of what there is too much of."""
        place = 0 if self.entries > limits.entries else 1
        return max(self.by_source, key=lambda source_id: self.by_source[source_id][place])


class Oldest:
    """Gives the open entries of each sender, oldest first, one by one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._cursors: dict[int, sqlite3.Cursor] = {}

    def next_of(self, source_id: int) -> tuple[int, int | None, int, int]:
        """Return an entry's id, source, how often it came, and its bytes; the caller knows that there is one."""
        cursor = self._cursors.get(source_id)
        if cursor is None:
            cursor = self._cursors[source_id] = self._connection.execute(OPEN_OF_SOURCE, (source_id,))
        row: tuple[int, int | None, int, int] = next(cursor)
        return row
