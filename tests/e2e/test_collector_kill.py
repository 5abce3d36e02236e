"""kill -9 of a collector's process group, again and again on one database: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from collector_process import COMMAND, touchtrail

import killed_writer
from accounting import Book, assert_adds_up, read_door
from memory_folder import memory_folder
from random_shop import RandomShop
from shop_events import wire_event
from touchtrail_collector.cli.operation import ask_collector
from touchtrail_collector.errors import StoreError
from touchtrail_collector.store.engine import EventRow
from touchtrail_collector.store.sqlite.database import FileLock
from touchtrail_collector.store.sqlite.derived import TABLES
from touchtrail_collector.store.sqlite.store import SqliteStore

WAYS = {"at work": 12, "while it derives anew": 3, "at its start": 3, "while it stops": 3}
SENDERS = 6
REBUILD_KILLS = 3
REBUILD_EVENTS = 20_000


@pytest.fixture
def folder() -> Iterator[Path]:
    with memory_folder() as made:
        yield made


class Batch(msgspec.Struct, eq=False):
    """A request's body, and what is known of what became of it.

    Args:
        was_sent: it may have arrived.
        is_kept: it was acknowledged.
    """

    body: bytes
    ids: list[str]
    rejected: list[str]
    was_sent: bool = False
    is_kept: bool = False

    def possible(self) -> list[tuple[int, int]]:
        """Return which answers may come: how many were accepted, how many were duplicates."""
        stored, known = (len(self.ids), 0), (0, len(self.ids))
        if self.is_kept:
            return [known]
        return [stored, known] if self.was_sent else [stored]


class Load:
    """Senders that outlive the collector: what got no answer is sent again, to the next one too, with the same ids.

    Now and then one hangs up by itself before its answer comes.

    Args:
        events: what there is to send, without end; each id once.
    """

    def __init__(self, key: str, events: Iterator[dict[str, Any]], seed: int) -> None:
        self._path = f"/v1/events?key={key}"
        self._events = events
        self._lock = threading.Lock()
        self._is_open = threading.Event()
        self._port = 0
        self._stopping = False
        self._doubtful: list[Batch] = []
        self.acknowledged: list[Batch] = []
        self.answers: Counter[str] = Counter()
        self.book = Book()
        self.wrong: list[str] = []
        self._threads = [
            threading.Thread(target=self._send_all, args=(random.Random(f"{seed} {number}"),))
            for number in range(SENDERS)
        ]
        for thread in self._threads:
            thread.start()

    def go_to(self, url: str) -> None:
        """Send to this collector from now on."""
        self._port = int(url.rpartition(":")[2])
        self._is_open.set()

    def pause(self) -> None:
        """Nobody listens any more."""
        self._is_open.clear()

    def stop(self) -> None:
        """End the senders."""
        self._stopping = True
        self._is_open.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def finish(self) -> None:
        """Send what is doubtful until it is answered, and nothing new."""
        self.stop()
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=10)) as connection:
            while self._doubtful:
                self._send(connection, self._doubtful.pop())

    def _next(self, chance: random.Random) -> Batch:
        with self._lock:
            if self._doubtful:
                return self._doubtful.pop()
            if self.acknowledged and chance.random() < 0.1:
                return chance.choice(self.acknowledged)
            size = chance.choice([1, 1, 1, 1, 7, 20])
            events = list(islice(self._events, size))
        ids = [str(event["event_id"]) for event in events]
        bad = [f"bad-{event_id}" for event_id in ids[:1] if size == 20]
        events += [wire_event(event_id, colour="red") for event_id in bad]
        return Batch(msgspec.json.encode(events[0] if len(events) == 1 else events), ids, bad)

    def _send_all(self, chance: random.Random) -> None:
        while not self._stopping:
            if self._is_open.wait(0.2):
                with (
                    suppress(OSError, HTTPException),
                    closing(HTTPConnection("127.0.0.1", self._port, timeout=10)) as to,
                ):
                    while not self._stopping:
                        self._send(to, self._next(chance), hangs_up=chance.random() < 0.05)
                        time.sleep(chance.uniform(0.002, 0.01))
                time.sleep(0.005)

    def _send(self, connection: HTTPConnection, batch: Batch, *, hangs_up: bool = False) -> None:
        possible = batch.possible()
        batch.was_sent = True
        try:
            connection.request("POST", self._path, batch.body, {"Content-Type": "application/json"})
            if hangs_up:
                raise ConnectionAbortedError
            response = connection.getresponse()
            text = response.read()
        except (OSError, HTTPException):
            with self._lock:
                self.book.lose(len(batch.ids), len(batch.rejected))
            self._doubt(batch)
            raise
        with self._lock:
            self.book.answer(response.status, text, len(batch.ids) + len(batch.rejected))
        if response.status == 200:
            self._judge(batch, possible, msgspec.json.decode(text))
        elif response.status == 503:  # it is told to stop
            self.answers["503"] += 1
            self._doubt(batch)
        else:
            self.wrong.append(f"{response.status}: {text[:200]!r}")

    def _doubt(self, batch: Batch) -> None:
        with self._lock:
            if not batch.is_kept:
                self._doubtful.append(batch)

    def _judge(self, batch: Batch, possible: list[tuple[int, int]], receipt: dict[str, Any]) -> None:
        told = receipt["accepted"], receipt["duplicates"]
        rejected = [reject["id"] for reject in receipt["rejected"]]
        if told not in possible or rejected != batch.rejected:
            self.wrong.append(f"{told} where {possible} were possible; rejected {rejected}, not {batch.rejected}")
        kind = "again" if batch.is_kept else "new" if len(possible) == 1 else "after a lost answer"
        with self._lock:
            self.answers[f"{kind}: {'stored' if told[0] else 'duplicates'}"] += 1
            if not batch.is_kept:
                batch.is_kept = True
                self.acknowledged.append(batch)


class Doomed:
    """A real `touchtrail` process that leads a process group of its own."""

    def __init__(self, db: Path, *arguments: str) -> None:
        self.errors = db.with_name("stderr.txt")
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments, "--db", str(db)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def url(self) -> str:
        """Wait until it listens."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("touchtrail listening on http://127.0.0.1:"), line + self.errors.read_text()
        return line.split()[-1]

    def kill(self) -> bool:
        """Kill the whole group; return False when it had ended by itself."""
        os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code == -signal.SIGKILL

    def end(self) -> None:
        """Have it stop in its own time."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(15) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def doomed(db: Path, *arguments: str) -> Iterator[Doomed]:
    """Give a process that is gone at the end, whatever happens."""
    process = Doomed(db, *arguments)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.kill()


def look(db: Path, statement: str) -> list[tuple[Any, ...]]:
    """Ask a database without changing it."""
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as reader:
        return reader.execute(statement).fetchall()


def derived(db: Path) -> dict[str, list[Any]]:
    """Return every derived table."""
    return {table: sorted(look(db, f"SELECT * FROM {table}"), key=repr) for table in TABLES}


def wait_until_derived(url: str) -> None:
    ends_at = time.monotonic() + 30
    while httpx.get(f"{url}/readyz").json()["projector_lag_events"]:
        assert time.monotonic() < ends_at, "the projector does not catch up"
        time.sleep(0.02)


def shop_events(seed: int) -> Iterator[dict[str, Any]]:
    """Yield events of a small shop for ever, each id once."""
    shop = RandomShop(seed, people=300)
    while True:
        yield from {event["event_id"]: event for event in shop.events(200)}.values()


def visits(count: int) -> Iterator[dict[str, Any]]:
    """Yield events of people who have little to do with each other: quick to derive."""
    for number in range(count):
        person = f"a-{number // 7}"
        yield wire_event(f"v{number}", anonymous_id=person, customer_id=f"c-{person}" if number % 3 else None)


def wrong_in_log(db: Path, load: Load) -> list[str]:
    """Compare the log with what the senders know."""
    acknowledged = list(load.acknowledged)
    ids = [event_id for (event_id,) in look(db, "SELECT event_id FROM events")]
    bad = {event_id for (event_id,) in look(db, "SELECT json_extract(body, '$.event_id') FROM quarantine")}
    stored = set(ids)
    missing = {event_id for batch in acknowledged for event_id in batch.ids} - stored
    unkept = {event_id for batch in acknowledged for event_id in batch.rejected} - bad
    found = [f"{len(ids) - len(stored)} events are stored twice"] if len(stored) < len(ids) else []
    found += [f"{len(missing)} acknowledged events are missing"] if missing else []
    return [*found, *[f"{len(unkept)} acknowledged rejects are not in quarantine"]] if unkept else found


def ask_for_rebuild(db: Path, cut_off: list[str]) -> threading.Thread:
    """Have the running collector derive everything anew; note it when it does not live to the end of it."""

    def ask() -> None:
        try:
            ask_collector(FileLock(db).read_holder(), "rebuild", {})
        except StoreError as error:
            cut_off.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    return asking


class Lives:
    """One collector after another on a database under load, each killed at a random moment, and what that did."""

    def __init__(self, db: Path, load: Load, chance: random.Random) -> None:
        self._db = db
        self._load = load
        self._chance = chance
        self.killed: Counter[str] = Counter()
        self.at_work = 0
        self.rebuilds_cut_off: list[str] = []

    def live_and_die(self, way: str) -> None:
        """Run a collector and kill it."""
        chance = self._chance
        with doomed(self._db, "serve", "--port", "0") as collector:
            if way == "at its start":
                time.sleep(chance.uniform(0.1, 0.6))
                self.killed[way] += collector.kill()
                return
            self._load.go_to(collector.url())
            before = len(self._load.acknowledged)
            time.sleep(chance.uniform(0.03, 0.3))
            asking = ask_for_rebuild(self._db, self.rebuilds_cut_off) if way == "while it derives anew" else None
            if way == "while it stops":
                collector.process.send_signal(signal.SIGTERM)
            if way != "at work":
                time.sleep(chance.uniform(0.0, 0.06))
            self.killed[way] += collector.kill()
            self._load.pause()
            if asking is not None:
                asking.join()
            self.at_work += len(self._load.acknowledged) > before


def test_two_dozen_kills_of_one_collector_lose_and_double_nothing(folder: Path) -> None:
    seed = time.time_ns() % 1_000_000
    chance = random.Random(seed)
    db = folder / "shop.db"
    with SqliteStore(db) as store:
        key = store.create_key(source="web")
    load = Load(key, shop_events(seed), seed)
    lives = Lives(db, load, chance)
    wrong = []
    try:
        for way in chance.sample(list(WAYS), sum(WAYS.values()), counts=list(WAYS.values())):
            lives.live_and_die(way)
            wrong += [f"after a kill {way}: {problem}" for problem in wrong_in_log(db, load)]
        with doomed(db, "serve", "--port", "0") as collector:
            url = collector.url()
            load.go_to(url)
            load.finish()
            wait_until_derived(url)
            collector.end()
    finally:
        load.stop()
    wrong += wrong_in_log(db, load)
    events = look(db, "SELECT count(*) FROM events")[0][0]
    cut_off = len(lives.rebuilds_cut_off)
    print(f"seed {seed}: killed {dict(lives.killed)}, {lives.at_work} at work, {cut_off} in a rebuild; {events} events")
    print(dict(load.answers))
    assert load.wrong + wrong == []
    assert_all_is_whole(db, load, events)
    assert lives.killed.total() >= 20
    assert lives.at_work >= 12
    assert load.answers["after a lost answer: stored"] > 0
    assert load.answers["after a lost answer: duplicates"] > 0
    assert load.answers["again: duplicates"] > 20
    assert events > 1_000


def assert_all_is_whole(db: Path, load: Load, events: int) -> None:
    """The file, the counters and the derived tables agree with the log, and all of them with the answers."""
    assert look(db, "PRAGMA integrity_check") == [("ok",)]
    assert events == sum(len(batch.ids) for batch in load.acknowledged)
    assert_adds_up(load.book, read_door(db))
    assert load.book.unanswered < load.book.answered
    assert "Traceback" not in db.with_name("stderr.txt").read_text()
    as_it_grew = derived(db)
    assert touchtrail("rebuild", db=db).returncode == 0
    assert derived(db) == as_it_grew
    assert len(as_it_grew["persons"]) > 10


def test_kills_in_the_middle_of_a_rebuild_leave_nothing_half_derived(folder: Path) -> None:
    db = folder / "shop.db"
    rows = [
        EventRow(1, event["event_id"], event["name"], 1_767_225_600_000 + place, None, 1_767_225_600_000 + place, None,
                 None, msgspec.json.encode(event).decode())
        for place, event in enumerate(visits(REBUILD_EVENTS))
    ]  # fmt: skip
    with SqliteStore(db) as store:
        store.ensure_source("web")
        store.append(rows).result()
    assert touchtrail("rebuild", db=db).returncode == 0
    whole = derived(db)
    persons = len(whole["persons"])
    half_done = []
    for kill in range(REBUILD_KILLS):
        with doomed(db, "rebuild") as rebuild:
            wait_for_persons(db, persons * kill // REBUILD_KILLS, persons)
            rebuild.kill()
        left = look(db, "SELECT count(*) FROM persons")[0][0]
        half_done += [left] if look(db, "SELECT value FROM meta WHERE name = 'derived_seq'") == [("0",)] else []
    with doomed(db, "serve", "--port", "0") as collector:
        wait_until_derived(collector.url())
        collector.end()
    print(f"{REBUILD_KILLS} kills; {len(half_done)} left {half_done} of {persons} persons derived")
    assert derived(db) == whole
    assert look(db, "PRAGMA integrity_check") == [("ok",)]
    assert len(half_done) >= 2


def wait_for_persons(db: Path, more_than: int, all_of_them: int) -> None:
    """Wait until a rebuild has begun anew, and then until so many persons are derived."""
    ends_at = time.monotonic() + 20
    begun = False
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as reader:
        while time.monotonic() < ends_at:
            (persons,) = reader.execute("SELECT count(*) FROM persons").fetchone()
            begun = begun or persons < all_of_them
            if begun and persons >= more_than:
                return
    raise AssertionError("the rebuild never got so far")


def killed(scene: str, folder: Path) -> killed_writer.Report:
    """Play one of the scenes of `killed_writer` in a process that may fork."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # the process that forks has no threads
    command = [sys.executable, killed_writer.__file__, scene, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(done.stdout, type=killed_writer.Report)
    print(f"{scene}: {report.kills} kills, which left {report.left}")
    assert report.wrong == []
    return report


def test_a_migration_survives_a_kill_at_each_of_its_statements(folder: Path) -> None:
    report = killed("migration", folder)
    assert report.kills >= 50
    assert sum("0 runs" in state for state in report.left) >= 3
    assert sum("0 runs" not in state for state in report.left) >= 3


def test_putting_ids_away_survives_a_kill_at_each_of_its_statements(folder: Path) -> None:
    report = killed("sealing", folder)
    assert report.kills >= 40
    assert any("highest level 1" in state for state in report.left)
    assert len(report.left) >= 3


def test_the_last_checkpoint_survives_a_kill_between_any_two_pages(folder: Path) -> None:
    report = killed("checkpoint", folder)
    assert report.kills >= 10
    assert report.left.get("log there, file begun", 0) >= 4
