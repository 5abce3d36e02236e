"""The quarantine: what was rejected, as it came, with the reason, within its bounds."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple

import msgspec

from ..engine import QuarantineLimits, RejectRow
from .reject_shares import Going, find_superfluous
from .rows import insert_rows

State = Literal["open", "replayed", "dismissed"]

INSERT = "INSERT INTO quarantine (received_at, source_id, code, field, message, body, name, reader, digest)"
SAME_AGAIN = (
    "ON CONFLICT (digest) WHERE state = 'open' DO UPDATE SET times = times + 1, last_at = excluded.received_at,"
    " field = excluded.field, message = excluded.message"
)
SWEEP_MS = 3_600_000
"""What is too old is looked for once an hour: it means passing over all entries."""


class Reject(NamedTuple):
    """One rejected event.

    Args:
        last_at: when it came last; ``times``: how often, since it is open.
        reader: the source plugin whose form the body has; None = the collector's own.
    """

    id: int
    received_at: int
    last_at: int
    times: int
    source_id: int | None
    source: str | None
    reader: str | None
    code: str
    field: str | None
    name: str | None
    message: str
    body: bytes
    state: str


class RejectGroup(NamedTuple):
    """Rejects alike in code, field, event name and source, with the latest as example."""

    code: str
    field: str | None
    name: str | None
    source: str | None
    entries: int
    times: int
    first_at: int
    last_at: int
    example_id: int


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Which rejects are meant: every condition that is given must hold.

    Args:
        since_ms: those that came (last) at this time or later.
        state: None = any.
    """

    ids: Sequence[int] = ()
    code: str | None = None
    field: str | None = None
    name: str | None = None
    source: str | None = None
    since_ms: int | None = None
    state: State | None = "open"

    def where(self) -> tuple[str, list[object]]:
        """Return the condition on `quarantine q LEFT JOIN sources s`, and its values."""
        # As one value: SQLite allows 32,766 of them in a statement, and there may be more ids.
        conditions = ["q.id IN (SELECT value FROM json_each(?))"] if self.ids else ["1 = 1"]
        values: list[object] = [msgspec.json.encode(list(self.ids)).decode()] if self.ids else []
        given = {
            "q.code = ?": self.code, "q.field = ?": self.field, "q.name = ?": self.name, "s.name = ?": self.source,
            "coalesce(q.last_at, q.received_at) >= ?": self.since_ms, "q.state = ?": self.state,
        }  # fmt: skip
        for condition, value in given.items():
            if value is not None:
                conditions.append(condition)
                values.append(value)
        return " AND ".join(conditions), values


class QuarantineKeeper:
    """Puts rejects into quarantine and keeps it within its limits; belongs to the writing connection."""

    def __init__(self, limits: QuarantineLimits | None = None) -> None:
        self.limits = limits or QuarantineLimits()
        self._next_sweep_ms = 0

    def take(self, connection: sqlite3.Connection, rejects: Sequence[RejectRow], now_ms: int) -> Counter[int | None]:
        """Keep rejects, in the caller's transaction; what is there already is counted there.

        Returns: how many open rejects had to go, by source.
        """
        dropped: Counter[int | None] = Counter()
        if rejects:
            insert_rows(connection, INSERT, [(*row, digest_of(row)) for row in rejects], SAME_AGAIN)
        if now_ms >= self._next_sweep_ms:
            self._next_sweep_ms = now_ms + SWEEP_MS
            push_out(connection, find_old(connection, now_ms - self.limits.age_ms), dropped)
        if rejects:
            push_out(connection, find_superfluous(connection, self.limits), dropped)
        return dropped


def find_old(connection: sqlite3.Connection, before_ms: int) -> Iterator[Going]:
    """Yield the entries that did not come any more since."""
    yield from connection.execute(
        "SELECT id, source_id, iif(state = 'open', times, 0) FROM quarantine WHERE coalesce(last_at, received_at) < ?",
        (before_ms,),
    )


def push_out(connection: sqlite3.Connection, found: Iterable[Going], dropped: Counter[int | None]) -> None:
    """Delete entries and count, by source, those that were still open."""
    ids = []
    for reject_id, source_id, times in found:
        ids.append((reject_id,))
        if times:
            dropped[source_id] += times
    connection.executemany("DELETE FROM quarantine WHERE id = ?", ids)


def digest_of(reject: RejectRow) -> bytes:
    """Return what two rejects have in common that are the same: sender, code and what came (else the message)."""
    head = f"{reject.source_id}\0{reject.reader}\0{reject.code}\0".encode("utf-8", "surrogatepass")
    return blake2b(head + (reject.body or reject.message.encode()), digest_size=16).digest()


def find(reader: sqlite3.Connection, chosen: Chosen, *, limit: int = -1) -> list[Reject]:
    """Return rejects, newest first. ``limit`` -1 = all."""
    where, values = chosen.where()
    statement = (
        "SELECT q.id, q.received_at, coalesce(q.last_at, q.received_at), q.times, q.source_id, s.name, q.reader,"
        " q.code, q.field, q.name, q.message, q.body, q.state"
        f" FROM quarantine q LEFT JOIN sources s USING (source_id) WHERE {where} ORDER BY q.id DESC LIMIT ?"
    )
    return [Reject._make(row) for row in reader.execute(statement, (*values, limit))]


def find_ids(reader: sqlite3.Connection, chosen: Chosen) -> list[int]:
    """Return the numbers of rejects, oldest first: what came first is replayed first."""
    where, values = chosen.where()
    statement = f"SELECT q.id FROM quarantine q LEFT JOIN sources s USING (source_id) WHERE {where} ORDER BY q.id"
    return [row[0] for row in reader.execute(statement, values)]


def find_groups(reader: sqlite3.Connection, chosen: Chosen, *, limit: int = -1) -> list[RejectGroup]:
    """Return rejects in groups, those with most of them first."""
    where, values = chosen.where()
    statement = (
        "SELECT q.code, q.field, q.name, s.name, count(*), sum(q.times), min(q.received_at),"
        " max(coalesce(q.last_at, q.received_at)), max(q.id)"
        f" FROM quarantine q LEFT JOIN sources s USING (source_id) WHERE {where}"
        " GROUP BY q.code, q.field, q.name, q.source_id ORDER BY 6 DESC, 9 DESC LIMIT ?"
    )
    return [RejectGroup._make(row) for row in reader.execute(statement, (*values, limit))]


def mark(connection: sqlite3.Connection, ids: Sequence[int], state: State) -> int:
    """Set the state of rejects and return how many have changed.

    An entry that is opened again where the same came meanwhile becomes one with it.
    """
    if state == "open":
        return sum(reopen(connection, reject_id) for reject_id in ids)
    before = "'open'" if state == "dismissed" else "'open', 'dismissed'"
    statement = f"UPDATE quarantine SET state = ? WHERE id = ? AND state IN ({before})"
    return sum(connection.execute(statement, (state, reject_id)).rowcount for reject_id in ids)


def reopen(connection: sqlite3.Connection, reject_id: int) -> int:
    """Open a dismissed reject again; return 1, or 0 when it is not dismissed."""
    statement = "SELECT digest FROM quarantine WHERE id = ? AND state = 'dismissed'"
    row = connection.execute(statement, (reject_id,)).fetchone()
    if row is None:
        return 0
    if not merge_into_same(connection, reject_id, row[0]):
        connection.execute("UPDATE quarantine SET state = 'open' WHERE id = ?", (reject_id,))
    return 1


def restate(connection: sqlite3.Connection, reject_id: int, reject: RejectRow) -> None:
    """Write down the reason that stops an open reject now."""
    digest = digest_of(reject)
    if not merge_into_same(connection, reject_id, digest):
        connection.execute(
            "UPDATE quarantine SET code = ?, field = ?, message = ?, digest = ? WHERE id = ? AND state = 'open'",
            (reject.code, reject.field, reject.message, digest, reject_id),
        )


def merge_into_same(connection: sqlite3.Connection, reject_id: int, digest: bytes | None) -> bool:
    """Add an entry's count to the open one that is the same, if there is another, and delete it."""
    statement = "SELECT id FROM quarantine WHERE digest = ? AND state = 'open' AND id <> ?"
    same = connection.execute(statement, (digest, reject_id)).fetchone()
    if same is None:
        return False
    connection.execute(
        "UPDATE quarantine SET times = quarantine.times + gone.times,"
        " received_at = min(quarantine.received_at, gone.received_at),"
        " last_at = max(coalesce(quarantine.last_at, quarantine.received_at), coalesce(gone.last_at, gone.received_at))"
        " FROM (SELECT times, received_at, last_at FROM quarantine WHERE id = ?) AS gone WHERE quarantine.id = ?",
        (reject_id, same[0]),
    )
    connection.execute("DELETE FROM quarantine WHERE id = ?", (reject_id,))
    return True
