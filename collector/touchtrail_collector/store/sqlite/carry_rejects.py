"""What a restored copy must learn of quarantine: what is gone from it today was erased, or had to go, and stays gone.

Nothing else says which rejects were erased: they have no id that is kept.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b

from .append import count_up, utc_day
from .reject_shares import Going
from .rejects import push_out


def reject_contents(connection: sqlite3.Connection) -> frozenset[bytes]:
    """Return what tells apart what the rejects of a file hold."""
    rows = connection.execute("SELECT source_id, body, message FROM quarantine")
    return frozenset(content_of(source_id, body, message) for source_id, body, message in rows)


def content_of(source_id: int | None, body: bytes, message: str) -> bytes:
    """Return what a reject holds as a digest: not its reason, which a replay changes, and not its number."""
    return blake2b(f"{source_id}\0".encode() + (body or message.encode()), digest_size=16).digest()


def leave_out_rejects(contents: frozenset[bytes], copy: sqlite3.Connection, now_ms: int) -> int:
    """Take out of a copy, in the caller's transaction, what the current file has not any more; return how many.

    Those that were open are counted as dropped: what was rejected is kept, replayed, or counted.
    """
    dropped: Counter[int | None] = Counter()
    gone = list(find_gone(contents, copy))
    push_out(copy, gone, dropped)
    counts = {(source or 0, utc_day(now_ms), "quarantine_dropped"): times for source, times in dropped.items()}
    count_up(copy, Counter(counts))
    return len(gone)


def find_gone(contents: frozenset[bytes], copy: sqlite3.Connection) -> Iterator[Going]:
    """Yield the entries of a copy whose content is not among these."""
    statement = "SELECT id, source_id, iif(state = 'open', times, 0), body, message FROM quarantine ORDER BY id"
    for reject_id, source_id, times, body, message in copy.execute(statement):
        if content_of(source_id, body, message) not in contents:
            yield reject_id, source_id, times
