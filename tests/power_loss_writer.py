"""A writer to pull the plug on: appends batches to the real store and says what was acknowledged.

Run as `python power_loss_writer.py DATABASE [FAULT]`. Batches are made from their numbers, so that whoever reads what
was said knows every row. It meets full disks, readers that hold the log open, erasures, a restart; a sync that fails
is up to who runs it. FAULT plants a mistake that the replay must find.
"""

from __future__ import annotations

import concurrent.futures
import os
import random
import resource
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from touchtrail_collector.errors import StoreUnavailable
from touchtrail_collector.store.engine import EventRow, Receipt, RejectRow
from touchtrail_collector.store.sqlite import store as sqlite_store
from touchtrail_collector.store.sqlite.seen import SeenEvents, last_seq
from touchtrail_collector.store.sqlite.store import SqliteStore
from touchtrail_collector.store.sqlite.writer import Done, Job, Writer, finish

STEPS = 36
RUN_IDS = 24
CHECKPOINT_PAGES = 60
KEPT_WAL_BYTES = 120_000
FULL_DISK_STEPS, READER_STEPS, ERASING_STEPS = (9, 22), (11, 15), (18, 30)
TRUNCATING_STEP, RESTART_STEP = 20, 26


class Batch(msgspec.Struct, frozen=True):
    """One request: its rows, its rejects, and how many of its rows are repetitions within it."""

    events: list[EventRow]
    rejects: list[RejectRow]
    repeated: int


def batch(number: int) -> Batch:
    """Return the batch of a number: always the same."""
    chance = random.Random(number)
    events = [
        EventRow(
            1, f"{chance.getrandbits(96):024x}", "page_viewed", number, None, 1 + place, f"a-{number}", None,
            '{"filling":"' + "x" * chance.choice([0, 300, 3000]) + '"}',
        )
        for place in range(chance.randint(1, 9))
    ]  # fmt: skip
    repeated = events[:1] if number % 7 == 3 else []
    rejects = [RejectRow(1, 1, "bad", None, "bad", b"reject %d" % number)] if number % 5 == 0 else []
    return Batch(events + repeated, rejects, len(repeated))


def say(text: str) -> None:
    """Tell the world; from now on it counts as promised."""
    os.write(1, f"{text}\n".encode())


def insist(work: Callable[[], object]) -> None:
    """Do something again as long as the disk refuses it."""
    for _ in range(3):
        try:
            work()
        except (StoreUnavailable, sqlite3.OperationalError):
            continue
        return
    raise AssertionError("the disk never took it")


class EarlyWriter(Writer):
    """Acknowledges what it has not committed."""

    def append(self, events: Sequence[EventRow], rejects: Sequence[RejectRow], done: Done) -> None:
        done(Receipt(len(events), 0), None)
        super().append(events, rejects, lambda _, __: None)


class SwallowingWriter(Writer):
    """Acknowledges what could not be committed."""

    def _write_alone(self, group: list[Job], error: BaseException) -> None:
        for job in group:
            finish(job, Receipt(0, 0), None)


class BlindSeen(SeenEvents):
    """Takes every event for a new one."""

    def find_new(self, connection: sqlite3.Connection, rows: Sequence[EventRow]) -> list[bool]:
        return [True] * len(rows)


class HastySeen(SeenEvents):
    """Knows ids for good before their commit."""

    def find_new(self, connection: sqlite3.Connection, rows: Sequence[EventRow]) -> list[bool]:
        answers = super().find_new(connection, rows)
        self._pending = []
        return answers


class LooseSeen(SeenEvents):
    """Writes runs without a transaction around them."""

    def seal(self, connection: sqlite3.Connection) -> None:
        self._runs, self._newest = self._write_newest(connection, last_seq(connection)), set()


WRITERS: dict[str, type[Writer]] = {"acknowledges early": EarlyWriter, "swallows commit errors": SwallowingWriter}
MEMORIES: dict[str, type[SeenEvents]] = {
    "no deduplication": BlindSeen,
    "ids known before the commit": HastySeen,
    "runs without a transaction": LooseSeen,
}
NORMAL = "synchronous=NORMAL"
FAULTS = (*WRITERS, *MEMORIES, NORMAL)


class Shop:
    """Sends batches to a store and sends again what was refused."""

    def __init__(self, path: Path, fault: str | None) -> None:
        self._path = path
        self._fault = fault
        self._refused: list[int] = []
        self._next = 0
        self.store = self.open()

    def open(self) -> SqliteStore:
        """Open the store with small runs, frequent checkpoints and a short log, and plant the fault."""
        vars(sqlite_store)["Writer"] = WRITERS.get(self._fault or "", Writer)
        store = SqliteStore(self._path)
        store.ensure_source("web")
        connection = store.writer._connection
        memory = MEMORIES.get(self._fault or "", SeenEvents)
        connection.seen = memory(connection, bytes.fromhex(store.meta("hash_key")), run_ids=RUN_IDS)
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {KEPT_WAL_BYTES}")
        if self._fault == NORMAL:
            connection.execute("PRAGMA synchronous = NORMAL")
        return store

    def send(self, batches: int, again: Sequence[int] = ()) -> None:
        """Send new batches, and old ones again, as one group, and wait until each is answered."""
        numbers = [*range(self._next, self._next + batches), *again]
        self._next += batches
        say("sending " + " ".join(map(str, numbers)))
        gate = threading.Event()
        self.store.begin_write(lambda _: gate.wait(10))
        for number in numbers:
            rows = batch(number)
            self.store.append_then(rows.events, rows.rejects, self._answer(number))
        gate.set()
        self.wait()

    def wait(self) -> None:
        """Wait until everything before has been written, whether or not the disk takes it, and what follows from it.

        A run of ids is written after the group that filled it, this method's first call included: hence a second.
        """
        for _ in range(2):
            assert concurrent.futures.wait([self.store.begin_write(lambda _: None)], timeout=20).done

    def _answer(self, number: int) -> Done:
        def answer(receipt: Receipt | None, error: BaseException | None) -> None:
            if receipt is not None:
                say(f"stored {number} {receipt.stored} {receipt.duplicates}")
            else:
                say(f"refused {number}")
                self._refused.append(number)

        return answer

    def send_refused(self) -> None:
        """Send again what was refused, until it is taken."""
        for _ in range(5):
            refused, self._refused = self._refused, []
            if refused:
                self.send(0, refused)
        assert not self._refused

    def fill_the_disk(self) -> None:
        """Send batches while the files cannot grow; then there is space again."""
        signals = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, signals[1]))
        self.send(3)
        resource.setrlimit(resource.RLIMIT_FSIZE, signals)
        assert self._refused or self._fault, "the full disk was not noticed"

    def erase(self, number: int) -> None:
        """Delete a batch's events for good; their ids are in runs already."""
        ids = [row.event_id for row in batch(number).events]

        def work(connection: sqlite3.Connection) -> None:
            (sealed,) = connection.execute("SELECT max(last_seq) FROM seen_runs").fetchone()
            for event_id in ids:
                connection.execute("DELETE FROM events WHERE event_id = ? AND seq <= ?", (event_id, sealed))

        say(f"erasing {number}")
        insist(lambda: self.store.write(work))
        say(f"erased {number}")

    def step(self, number: int) -> None:
        """Do one step of the story."""
        self.send((1, 1, 3, 6)[number % 4], again=[number // 2, number // 3] if number % 5 == 4 else ())
        self.send_refused()
        if number in FULL_DISK_STEPS:
            self.fill_the_disk()
            self.send_refused()
        if number in ERASING_STEPS:
            self.erase(number - 10)
        if number == TRUNCATING_STEP:
            truncate = "PRAGMA wal_checkpoint(TRUNCATE)"
            insist(lambda: self.store.writer._connection.execute(truncate))
        if number == RESTART_STEP:
            self.store.close()
            self.store = self.open()


def run(path: Path, fault: str | None) -> None:
    """Write through the whole story; leave without closing, as a power loss would."""
    shop = Shop(path, fault)
    say("opened")
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    for number in range(STEPS):
        if number == READER_STEPS[0]:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM events").fetchone()
        if number == READER_STEPS[1]:
            reader.close()
        shop.step(number)
    say("done")
    os._exit(0)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
