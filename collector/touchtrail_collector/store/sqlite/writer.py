"""The writer thread: the only code that writes to the file, in groups that share one fsync."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol

from ...errors import StoreError, StoreUnavailable
from ..engine import EventRow, Receipt, RejectRow
from .append import append_batches, append_rows
from .database import BUSY_TIMEOUT_MS, WAL_BYTES, WritingConnection, explain
from .turns import Turns

logger = logging.getLogger("touchtrail_collector.store")

LOG_LIMIT = 4
"""When the log is so many times as long as it may be (256 MB), reports under way are ended early; what is written until
they notice comes on top."""

HOLD_MAX_S = 20.0
"""How long reports are kept waiting for others to end: these have a deadline, but work between two statements."""

CUT_WAIT_S = 0.5
"""How long the cut itself, and with it every commit, waits for readers without a deadline, the projector's or another
program's."""

LOOK_S = 0.02
"""How often it is seen, without anybody's asking, whether the last reader has ended."""

PROBE_S = 0.5
"""How often it is tried, without anybody's asking, whether a database that could not be written can be again."""

GROUP_EVENTS = 800
"""A group that has so many events takes no further request: while it is written the event loop checks the next ones.
Larger groups save nothing more, and whoever sends in large batches would wait for all others (with 32 senders of 100
events each the slowest hundredth of answers took 80 to 130 ms instead of 150 to 400)."""

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


class Writer:
    """Takes jobs from any thread and commits them in groups.

    Whatever waits when the last commit ends forms the next group, up to ``group_requests`` and `GROUP_EVENTS`: under
    load many requests share one fsync, alone a request waits for nobody.

    Args:
        connection: the one writing connection; from now on it belongs to the thread.
        turns: the readers of the same file.
        on_commit: called after each commit with what it took in seconds and how many jobs it held.
        on_failure: called for each job that could not be written, with the error as it was raised.
    """

    def __init__(
        self,
        connection: WritingConnection,
        *,
        turns: Turns,
        group_requests: int = 200,
        on_commit: Callable[[float, int], None] | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._on_failure = on_failure
        self._connection = connection
        self._group_requests = group_requests
        self._on_commit = on_commit
        self._jobs: deque[Job | None] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_asleep = False
        self._closed = False
        self._closing = threading.Lock()
        self._is_sealing_late = False
        self._turns = turns
        self._held_since: float | None = None
        self._next_cut_at = 0.0
        self.log_bytes = WAL_BYTES
        """How long the write-ahead log may be before its cut is due."""
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
            elif not ending and self.failure is not None:
                self._probe()
            self._cut_log()
        if not self._truncate_log():  # nothing is lost: the next start reads it from the write-ahead log
            logger.warning("the write-ahead log stays beside the database: somebody reads it, or the disk is full")
        self._connection.close()

    def _ring(self) -> None:
        if self._is_asleep:
            self._is_asleep = False
            self._bell.put(None)

    def _next_group(self) -> tuple[list[Job], bool]:
        self._wait_for_jobs(self._patience_s())
        jobs = self._jobs
        group: list[Job] = []
        events = 0
        while jobs and len(group) < self._group_requests and events < GROUP_EVENTS:
            job = jobs.popleft()
            if job is None:
                return group, True
            group.append(job)
            if isinstance(job, CallJob):
                break
            if isinstance(job, AppendJob):
                events += len(job.events)
        return group, False

    def _patience_s(self) -> float | None:
        if self._held_since is not None:
            return LOOK_S
        return None if self.failure is None else PROBE_S

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
        connection.files.check_unless_fresh()
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
        find the log unread. Here new reports wait until those under way have ended, and commits go on meanwhile; in
        the end reports are ended early, so that whoever reads in this process cannot make the log longer than
        `LOG_LIMIT` times that and what is written until they notice. Other programs that never end cost a tenth of the
        time at most, and the log grows on.
        """
        log_bytes = self._connection.files.log_bytes  # as it was at the last commit
        now = time.monotonic()
        if log_bytes < self.log_bytes or now < self._next_cut_at:
            self._end_hold()
            return
        if self._held_since is None:
            self._held_since = now
        is_free = self._turns.hold()
        if not is_free and now - self._held_since < HOLD_MAX_S:
            if log_bytes >= LOG_LIMIT * self.log_bytes:
                self._turns.interrupt()
            return
        if not self._truncate_log():
            self._next_cut_at = time.monotonic() + 10 * (time.monotonic() - self._held_since)
        self._end_hold()

    def _end_hold(self) -> None:
        if self._held_since is not None:
            self._held_since = None
            self._turns.release()

    def _truncate_log(self) -> bool:
        """Cut the log to nothing, so that the file's size goes on saying how long the log is; say whether it went."""
        connection = self._connection
        connection.execute(f"PRAGMA busy_timeout = {round(CUT_WAIT_S * 1000)}")
        try:
            (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:  # a full disk: nothing is lost, and the next try comes
            logger.info("the write-ahead log could not be begun anew: %s", error)
            return False
        finally:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        if not is_busy:
            connection.files.log_bytes = 0
        return not is_busy

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
        is_learnt = isinstance(error, sqlite3.IntegrityError) and self._learn_anew()
        for job in group:
            if len(group) > 1 or is_learnt:
                try:
                    results = self._commit([job])
                except BaseException as own_error:  # noqa: BLE001
                    self._fail(job, own_error)
                else:
                    finish(job, results[0], None)
            else:
                self._fail(job, error)

    def _learn_anew(self) -> bool:
        """Read from the file what is known of it in memory: a place that is taken was given away by somebody else.

        Otherwise every sender would be refused until a restart.
        """
        logger.error("another program has written to the database; never do that while the collector runs")
        try:
            self._connection.seen.learn(self._connection)
        except sqlite3.Error:
            logger.exception("what it wrote cannot be read")
            return False
        return True

    def _fail(self, job: Job, error: BaseException) -> None:
        told = as_store_error(error)
        self._note(told)
        if self._on_failure is not None:
            self._on_failure(error)
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
