"""What one commit appends: the events that are new, the rejects, and the counters by which everything adds up."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain, compress, count

from ..engine import EventRow, Receipt, RejectRow
from .database import WritingConnection
from .losses import find_losses
from .rows import insert_rows, insert_values

INSERT_EVENT = (
    "INSERT INTO events"
    " (seq, source_id, event_id, name, occurred_at, sent_at, received_at, anonymous_id, customer_id, body)"
)
EVENT_VALUES = 1 + len(EventRow._fields)
INSERT_COUNT = "INSERT INTO counters (source_id, day, name, n)"
ADD_COUNT = "ON CONFLICT (source_id, day, name) DO UPDATE SET n = n + excluded.n"

Batch = tuple[Sequence[EventRow], Sequence[RejectRow]]


def append_rows(connection: WritingConnection, events: Sequence[EventRow], rejects: Sequence[RejectRow]) -> Receipt:
    """Insert one batch inside the caller's transaction; an event that is there already counts as a duplicate."""
    return append_batches(connection, [(events, rejects)])[0]


def append_batches(connection: WritingConnection, batches: Sequence[Batch]) -> list[Receipt]:
    """Insert several requests' batches inside the caller's transaction and return a receipt for each."""
    receipts = insert_events(connection, [batch for batch, _ in batches])
    counts: Counter[tuple[int, str, str]] = Counter()
    for (batch, rejects), receipt in zip(batches, receipts, strict=True):
        count_batch(counts, batch, rejects, receipt)
    append_rejects(connection, batches, counts)
    count_up(connection, counts)
    return receipts


def insert_events(connection: WritingConnection, batches: Sequence[Sequence[EventRow]]) -> list[Receipt]:
    """Insert the events that are new inside the caller's transaction and return a receipt for each batch."""
    seen = connection.seen
    rows = list(chain.from_iterable(batches))
    answers = seen.find_new(connection, rows)
    stored = list(compress(rows, answers))
    receipts = []
    start = 0
    for batch in batches:
        fresh = sum(answers[start : start + len(batch)])
        start += len(batch)
        receipts.append(Receipt(fresh, len(batch) - fresh))
    # Each row's place and then the row itself, all of it in C.
    places = zip(count(seen.take_places(len(stored))))
    values = chain.from_iterable(chain.from_iterable(zip(places, stored, strict=False)))
    insert_values(connection, INSERT_EVENT, values, shape=(len(stored), EVENT_VALUES))
    count_losses(connection, stored)
    return receipts


def count_losses(connection: sqlite3.Connection, stored: Sequence[EventRow]) -> None:
    """Add what new events say was lost to the day's counters."""
    counts: Counter[tuple[int, str, str]] = Counter()
    for row, name, events in find_losses(stored):
        counts[row.source_id, utc_day(row.received_at), name] += events
    count_up(connection, counts)


def append_rejects(
    connection: WritingConnection, batches: Sequence[Batch], counts: Counter[tuple[int, str, str]]
) -> None:
    """Put rejects into quarantine; the oldest go when there are too many or are too old, which is counted."""
    rejects = [row for _, rows in batches for row in rows if row.body is not None]
    now_ms = max((row.received_at for events, rows in batches for row in (events or rows)[-1:]), default=0)
    for source_id, dropped in connection.quarantine.take(connection, rejects, now_ms).items():
        counts[source_id or 0, utc_day(now_ms), "quarantine_dropped"] += dropped


def count_up(connection: sqlite3.Connection, counts: Counter[tuple[int, str, str]]) -> None:
    """Add to the counters, by source, UTC day and name."""
    insert_rows(connection, INSERT_COUNT, [(*key, n) for key, n in counts.items() if n], ADD_COUNT)


def count_batch(
    counts: Counter[tuple[int, str, str]],
    events: Sequence[EventRow],
    rejects: Sequence[RejectRow],
    receipt: Receipt,
) -> None:
    """Add a batch to the day's counters: what was sent must equal stored + duplicates + rejected."""
    if not events and not rejects:
        return
    first = events[0] if events else rejects[0]
    source_id, day = first.source_id or 0, utc_day(first.received_at)
    counts[source_id, day, "accepted"] += receipt.stored
    counts[source_id, day, "duplicate"] += receipt.duplicates
    for reject in rejects:
        counts[source_id, day, f"rejected:{reject.code}"] += 1


_day_cache: dict[int, str] = {}


def utc_day(at_ms: int) -> str:
    """Return the UTC day of a time, `2026-11-21`."""
    number = at_ms // 86_400_000
    day = _day_cache.get(number)
    if day is None:
        day = _day_cache[number] = datetime.fromtimestamp(number * 86_400, UTC).strftime("%Y-%m-%d")
    return day
