"""The writer thread: the only code that writes to the file, in groups that share one fsync."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Protocol

from ...errors import StoreError, StoreUnavailable
from ..engine import EventRow, Receipt, RejectRow
from .database import BUSY_TIMEOUT_MS, WAL_BYTES, WritingConnection, explain
from .rows import insert_rows

logger = logging.getLogger("touchtrail_collector.store")

INSERT_EVENT = (
    "INSERT INTO events"
    " (seq, source_id, event_id, name, occurred_at, sent_at, received_at, anonymous_id, customer_id, body)"
)
INSERT_COUNT = "INSERT INTO counters (source_id, day, name, n)"
ADD_COUNT = "ON CONFLICT (source_id, day, name) DO UPDATE SET n = n + excluded.n"

CUT_WAIT_S, CUT_WAIT_MAX_S = 0.25, 2.0
"""How long readers are waited for when the log is as long as it may be, and however long it is."""

PROBE_S = 0.5
"""How often it is tried, without anybody's asking, whether a database that could not be written can be again."""

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
        self._jobs: deque[Job | None] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_asleep = False
        self._closed = False
        self._closing = threading.Lock()
        self._is_sealing_late = False
        self._next_cut_at = 0.0
        self.failure: str | None = None
        """Why nothing can be written at the moment; None = the last commit succeeded."""
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

    def submit(self, *jobs: Job) -> None:
        """Queue jobs, all or none, and wake the thread at most once. Raises StoreUnavailable after `close`."""
        with self._closing:  # nothing may come after the mark that ends the queue: nobody would answer it
            if self._closed:
                raise StoreUnavailable("the collector is stopping")
            self._jobs.extend(jobs)
        self._ring()

    @property
    def is_alive(self) -> bool:
        """True as long as jobs are written."""
        return self._thread.is_alive()

    def find_trouble(self) -> str | None:
        """Return why nothing can be written at the moment, whether or not anybody has tried."""
        try:
            self._connection.files.check()
        except StoreUnavailable as error:
            return str(error)
        return self.failure

    @property
    def backlog(self) -> int:
        """Jobs that wait."""
        return len(self._jobs)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write everything that was queued, checkpoint and close the connection.

        Raises: StoreError when that takes longer; the thread then goes on by itself.
        """
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.append(None)
        self._ring()
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
                self._cut_log()
            elif not ending:
                self._probe()
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:  # nothing is lost: the next start reads it from the write-ahead log
            logger.warning("the write-ahead log stays beside the database: %s", error)
        finally:
            self._connection.close()

    def _ring(self) -> None:
        if self._is_asleep:
            self._is_asleep = False
            self._bell.put(None)

    def _next_group(self) -> tuple[list[Job], bool]:
        self._wait_for_jobs(None if self.failure is None else PROBE_S)
        jobs = self._jobs
        group: list[Job] = []
        while jobs and len(group) < self._group_requests:
            job = jobs.popleft()
            if job is None:
                return group, True
            group.append(job)
            if isinstance(job, CallJob):
                break
        return group, False

    def _wait_for_jobs(self, timeout_s: float | None) -> None:
        """Sleep until there are jobs, or for so long; who queues jobs while this thread works need not wake it."""
        while not self._jobs:
            # Asleep first, then the second look: a job queued in between rings. A ring too many costs a look.
            self._is_asleep = True
            try:
                if not self._jobs:
                    self._bell.get(timeout=timeout_s)
            except queue.Empty:
                break
        self._is_asleep = False

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
        connection.files.check()
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
        # What went into a file that is nobody's any more is not kept, whatever SQLite says.
        connection.files.check()
        self._note(None)
        return results

    def _seal(self) -> None:
        if not self._connection.seen.is_full():
            return
        try:
            self._connection.seen.seal(self._connection)
            self._is_sealing_late = False
        except sqlite3.Error as error:  # they stay in memory, and the next group tries again
            if not self._is_sealing_late:
                logger.warning("the newest event ids could not be put away yet: %s", error)
            self._is_sealing_late = True

    def _cut_log(self) -> None:
        """Have the write-ahead log begun anew when it is too long, though there is always somebody who reads.

        SQLite's own checkpoints wait for nobody: while each reader begins before the last one ends, they would never
        find the log unread. Here new readers are sent past the log, and the present ones waited for, a tenth of the
        time at most; the longer the log the longer. Whoever never ends costs that tenth, and the log grows on.
        """
        times_too_long = self._connection.files.log_bytes() / WAL_BYTES
        now = time.monotonic()
        if times_too_long < 1 or now < self._next_cut_at:
            return
        wait_s = min(CUT_WAIT_S * times_too_long, CUT_WAIT_MAX_S)
        try:
            self._connection.execute(f"PRAGMA busy_timeout = {round(wait_s * 1000)}")
            # Cut to nothing, so that the file's size goes on saying how long the log is.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        except sqlite3.Error as error:  # a full disk: nothing is lost, and the next try comes
            logger.info("the write-ahead log could not be begun anew: %s", error)
        ended = time.monotonic()
        self._next_cut_at = ended + 10 * (ended - now)

    def _probe(self) -> None:
        """See whether the database can be written again: whoever watches readiness sends nothing before it can."""
        if self._connection.files.is_disk_full():
            return
        try:
            self._commit([CallJob(rewrite_a_row, ignore)])
        except BaseException as error:  # noqa: BLE001 - as in `_write`
            self._note(as_store_error(error))

    def _note(self, error: BaseException | None) -> None:
        """Remember whether anything can be written, and log when that changes: not for each request that waits."""
        failure = str(error) if isinstance(error, StoreUnavailable) else None
        if failure is not None and self.failure is None:
            logger.error("%s; until then senders are told to come again", failure)
        elif error is None and self.failure is not None:
            logger.warning("the database can be written again")
        if failure is not None or error is None:
            self.failure = failure

    def _write_alone(self, group: list[Job], error: BaseException) -> None:
        # One job may have spoilt the others' commit: try each by itself, so that only the culprit fails.
        for job in group:
            if len(group) > 1:
                try:
                    results = self._commit([job])
                except BaseException as own_error:  # noqa: BLE001
                    self._fail(job, own_error)
                else:
                    finish(job, results[0], None)
            else:
                self._fail(job, error)

    def _fail(self, job: Job, error: BaseException) -> None:
        told = as_store_error(error)
        self._note(told)
        finish(job, None, told)


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
        return StoreUnavailable(f"the database cannot be written: {explain(error)}")
    return error


def rewrite_a_row(connection: WritingConnection) -> None:
    """Write a page that says what it said before."""
    connection.execute("UPDATE meta SET value = value WHERE name = 'hash_key'")


def ignore(_: Any, __: BaseException | None) -> None:
    """Be told of a job that nobody waits for."""
