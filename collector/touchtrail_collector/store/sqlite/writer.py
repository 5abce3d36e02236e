"""The writer thread: the only code that writes to the file, in groups that share one fsync."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Protocol

from ...errors import StoreError, StoreUnavailable
from ..engine import EventRow, Receipt, RejectRow
from .database import WritingConnection
from .rows import insert_rows

logger = logging.getLogger("touchtrail_collector.store")

INSERT_EVENT = (
    "INSERT INTO events"
    " (seq, source_id, event_id, name, occurred_at, sent_at, received_at, anonymous_id, customer_id, body)"
)
INSERT_COUNT = "INSERT INTO counters (source_id, day, name, n)"
ADD_COUNT = "ON CONFLICT (source_id, day, name) DO UPDATE SET n = n + excluded.n"

Batch = tuple[Sequence[EventRow], Sequence[RejectRow]]
Done = Callable[[Any, BaseException | None], None]


class Job(Protocol):
    """Something to write. ``run`` does it inside the group's transaction, ``finish`` is told after the commit."""

    def run(self, connection: WritingConnection) -> Any: ...
    def finish(self, result: Any, error: BaseException | None) -> None: ...


class AppendJob:
    """One request's events and rejects, and whom to tell when they are committed."""

    __slots__ = ("done", "events", "rejects")

    def __init__(self, events: Sequence[EventRow], rejects: Sequence[RejectRow], done: Done) -> None:
        self.events = events
        self.rejects = rejects
        self.done = done

    def run(self, connection: WritingConnection) -> Receipt:
        return append_rows(connection, self.events, self.rejects)

    def finish(self, result: Any, error: BaseException | None) -> None:
        self.done(result, error)


class CallJob:
    """Any other work on the writing connection; it ends its group."""

    __slots__ = ("call", "done")

    def __init__(self, call: Callable[[WritingConnection], Any], done: Done) -> None:
        self.call = call
        self.done = done

    def run(self, connection: WritingConnection) -> Any:
        return self.call(connection)

    def finish(self, result: Any, error: BaseException | None) -> None:
        self.done(result, error)


def finish_future(future: Future[Any], result: Any, error: BaseException | None) -> None:
    """Hand a result or an error to whoever waits, unless they went away."""
    if not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


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
    answers = seen.find_new(connection, [row for batch in batches for row in batch])
    stored = []
    receipts = []
    start = 0
    for batch in batches:
        fresh = [row for row, is_new in zip(batch, islice(answers, start, None), strict=False) if is_new]
        start += len(batch)
        stored += fresh
        receipts.append(Receipt(len(fresh), len(batch) - len(fresh)))
    first_seq = seen.take_places(len(stored))
    insert_rows(connection, INSERT_EVENT, [(seq, *row) for seq, row in enumerate(stored, first_seq)])
    return receipts


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


class Writer:
    """Takes jobs from any thread and commits them in groups.

    Whatever waits when the last commit ends forms the next group, up to ``group_requests``: under load many
    requests share one fsync, alone a request waits for nobody.

    Args:
        connection: the one writing connection; from now on it belongs to the thread.
        on_commit: called after each commit with what it took in seconds and how many jobs it held.
    """

    def __init__(
        self,
        connection: WritingConnection,
        *,
        group_requests: int = 200,
        on_commit: Callable[[float, int], None] | None = None,
    ) -> None:
        self._connection = connection
        self._group_requests = group_requests
        self._on_commit = on_commit
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closed = False
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=self._loop, name="touchtrail-writer", daemon=True)
        self._thread.start()

    def append(self, events: Sequence[EventRow], rejects: Sequence[RejectRow], done: Done) -> None:
        """Queue a batch; ``done`` is told in this thread, after the commit is on disk."""
        if events or rejects:
            self.submit(AppendJob(events, rejects, done))
        else:
            done(Receipt(0, 0), None)

    def call(self, work: Callable[[WritingConnection], Any]) -> Future[Any]:
        """Run ``work`` on the writing connection, inside a transaction."""
        future: Future[Any] = Future()
        self.submit(CallJob(work, partial(finish_future, future)))
        return future

    def submit(self, job: Job) -> None:
        """Queue a job. Raises StoreUnavailable after `close`."""
        with self._closing:  # nothing may come after the mark that ends the queue: nobody would answer it
            if self._closed:
                raise StoreUnavailable("the collector is stopping")
            self._jobs.put(job)

    @property
    def is_alive(self) -> bool:
        """True as long as jobs are written."""
        return self._thread.is_alive()

    @property
    def backlog(self) -> int:
        """Jobs that wait."""
        return self._jobs.qsize()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write everything that was queued, checkpoint and close the connection.

        Raises: StoreError when that takes longer; the thread then goes on by itself.
        """
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise StoreError(f"the writer still had {self.backlog} jobs after {timeout_s} s")

    def _loop(self) -> None:
        ending = False
        while not ending:
            group, ending = self._next_group()
            if group:
                self._write(group)
                self._seal()
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:  # nothing is lost: the next start reads it from the write-ahead log
            logger.warning("the write-ahead log stays beside the database: %s", error)
        finally:
            self._connection.close()

    def _next_group(self) -> tuple[list[Job], bool]:
        first = self._jobs.get()
        if first is None:
            return [], True
        group = [first]
        while len(group) < self._group_requests and not isinstance(group[-1], CallJob):
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _write(self, group: list[Job]) -> None:
        started = time.perf_counter()
        try:
            results = self._commit(group)
        except BaseException as error:  # noqa: BLE001 - this thread's one boundary: whoever waits gets the error
            self._write_alone(group, error)
            return
        for job, result in zip(group, results, strict=True):
            finish(job, result, None)
        if self._on_commit is not None:
            self._on_commit(time.perf_counter() - started, len(group))

    def _commit(self, group: Sequence[Job]) -> list[Any]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = run_group(connection, group)
            connection.execute("COMMIT")
        except BaseException:
            connection.seen.forget()
            # On a full disk SQLite has rolled back by itself, and a second ROLLBACK would hide the error.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        # Out of the block: if this fails, what is committed must not be forgotten, or it would be stored twice.
        connection.seen.keep()
        return results

    def _seal(self) -> None:
        if not self._connection.seen.is_full():
            return
        try:
            self._connection.seen.seal(self._connection)
        except sqlite3.Error as error:  # they stay in memory, and the next group tries again
            logger.warning("the newest event ids could not be put away: %s", error)

    def _write_alone(self, group: list[Job], error: BaseException) -> None:
        # One job may have spoilt the others' commit: try each by itself, so that only the culprit fails.
        for job in group:
            if len(group) > 1:
                try:
                    results = self._commit([job])
                except BaseException as own_error:  # noqa: BLE001
                    finish(job, None, as_store_error(own_error))
                else:
                    finish(job, results[0], None)
            else:
                finish(job, None, as_store_error(error))


def run_group(connection: WritingConnection, group: Sequence[Job]) -> list[Any]:
    """Run a group's jobs inside one transaction, all appends as one; return each job's result."""
    appends = [job for job in group if isinstance(job, AppendJob)]
    results: list[Any] = append_batches(connection, [(job.events, job.rejects) for job in appends]) if appends else []
    results.extend(job.run(connection) for job in group[len(appends) :])
    return results


def finish(job: Job, result: Any, error: BaseException | None) -> None:
    """Tell whoever waits; if they fail, the others are told all the same and the thread goes on."""
    try:
        job.finish(result, error)
    except Exception:
        logger.exception("nobody could be told that a job was %s", "written" if error is None else "not written")


def as_store_error(error: BaseException) -> BaseException:
    """Turn SQLite's own errors into the collector's; the sender may try again later."""
    if isinstance(error, sqlite3.OperationalError):
        return StoreUnavailable(f"the database cannot be written: {error}; free some disk space or check its folder")
    return error
