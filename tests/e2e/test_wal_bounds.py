"""Readers that never end: the write-ahead log grows while they live, and is cut back when they are gone."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from collector_process import COMMAND

from shop_events import wire_event
from touchtrail_collector.errors import QueryTimeout
from touchtrail_collector.store.engine import EventRow
from touchtrail_collector.store.sqlite.database import WAL_BYTES
from touchtrail_collector.store.sqlite.queries import SqliteQuery
from touchtrail_collector.store.sqlite.reader import open_reader
from touchtrail_collector.store.sqlite.store import SqliteStore
from touchtrail_collector.store.sqlite.writer import CUT_WAIT_S, LOG_LIMIT

EVENTS = 50_000
BATCH_EVENTS = 2_500
FILLING = "x" * 1_500


class Watched:
    """A collector whose log is watched."""

    def __init__(self, db: Path, port: int, key: str, token: str) -> None:
        self.db = db
        self.wal = db.with_name(db.name + "-wal")
        self._port = port
        self._key = key
        self._token = token
        self._sent = 0

    def send(self, events: int) -> None:
        """Send events; all must be stored."""
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            for start in range(self._sent, self._sent + events, BATCH_EVENTS):
                size = min(BATCH_EVENTS, self._sent + events - start)
                batch = [
                    wire_event(
                        f"e-{start + place}",
                        "thing_seen",
                        anonymous_id=f"a-{(start + place) // 10}",
                        properties={"filling": FILLING},
                    )
                    for place in range(size)
                ]
                headers = {"Authorization": f"Bearer {self._key}"}
                connection.request("POST", "/v1/events", msgspec.json.encode(batch), headers)
                answer = connection.getresponse()
                assert (answer.status, msgspec.json.decode(answer.read())["accepted"]) == (200, size)
        self._sent += events

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self._token}"})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def wait_until_derived(self) -> None:
        """Wait until the reports have everything."""
        ends_at = time.monotonic() + 40
        while msgspec.json.decode(self.get("/readyz")[2])["projector_lag_events"]:
            assert time.monotonic() < ends_at
            time.sleep(0.05)

    def wal_mb(self) -> float:
        """Return the log's size."""
        return self.wal.stat().st_size / 1e6

    def told_wal_mb(self) -> float:
        """Return the same as `/metrics` says it."""
        found = re.search(r"^touchtrail_wal_bytes (\S+)$", self.get("/metrics")[2].decode(), re.MULTILINE)
        assert found is not None
        return float(found[1]) / 1e6


@contextmanager
def serving(db: Path, **settings: str) -> Iterator[Watched]:
    with SqliteStore(db) as store:
        key, token = store.create_key(source="web"), store.create_key(source=None)
    command = [*COMMAND, "serve", "--db", str(db), "--port", "0"]
    environment = os.environ | {f"TOUCHTRAIL_{name}": value for name, value in settings.items()}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield Watched(db, int(process.stdout.readline().rpartition(":")[2]), key, token)
        finally:
            process.terminate()
            assert process.wait(20) == 0


@contextmanager
def shell_that_never_ends(db: Path) -> Iterator[Callable[[], int]]:
    """Give a foreign process that holds one state of the database; call it to count the events it sees."""
    try:
        shell = subprocess.Popen(
            ["sqlite3", f"file:{db}?mode=ro"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    except FileNotFoundError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("NOT TESTED: the program sqlite3 is not installed")
    with shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        question, answer = shell.stdin, shell.stdout

        def count() -> int:
            question.write("SELECT count(*) FROM events;\n")
            question.flush()
            return int(answer.readline())

        question.write("BEGIN;\n")
        yield count
        question.close()
        assert shell.wait(10) == 0


def test_the_log_grows_only_while_somebody_reads_and_reports_end_at_their_deadline(tmp_path: Path) -> None:
    with serving(tmp_path / "shop.db", STORE_REPORT_DEADLINE_S="0.01") as watched:
        watched.send(1_000)
        before_mb = watched.wal_mb()
        with shell_that_never_ends(watched.db) as count:
            assert count() == 1_000
            began = time.monotonic()
            watched.send(EVENTS)
            sent_s = time.monotonic() - began
            watched.wait_until_derived()
            grown_mb, told_mb = watched.wal_mb(), watched.told_wal_mb()
            assert count() == 1_000
            began = time.monotonic()
            status, headers, body = watched.get("/api/v1/reports/data-quality")
            report_s = time.monotonic() - began
        # What comes next finds nobody in its way: the first commit empties the log, the second cuts it back.
        for _ in range(4):
            watched.send(10)
            watched.wait_until_derived()
        left_mb = watched.wal_mb()
        after_mb = watched.told_wal_mb()
    print(
        f"log: {before_mb:.1f} MB before, {grown_mb:.0f} MB after {EVENTS} events in {sent_s:.1f} s beside a shell "
        f"that never ends, {left_mb:.1f} MB when it had gone; report stopped after {report_s:.2f} s"
    )
    assert before_mb < 10
    assert grown_mb > WAL_BYTES / 1e6
    assert told_mb == pytest.approx(grown_mb, rel=0.1)
    assert left_mb <= WAL_BYTES / 1e6
    assert after_mb <= grown_mb
    assert (status, msgspec.json.decode(body)["code"]) == (503, "query_timeout")
    assert int(headers["retry-after"]) > 0
    assert report_s < 5
    assert not watched.wal.exists()  # a clean stop leaves none


def rows(start: int, number: int) -> list[EventRow]:
    return [
        EventRow(1, f"e-{place}", "clicked", 1, None, 1, "a", None, "x" * 2_000)
        for place in range(start, start + number)
    ]


def test_readers_that_take_turns_without_a_pause_do_not_keep_the_log_growing(tmp_path: Path) -> None:
    """Some report is under way at any moment, and each began before the one before it ended."""
    with SqliteStore(tmp_path / "shop.db") as store:
        store.ensure_source("web")
        ends = threading.Event()
        overlaps = 0

        def read_in_turns() -> int:
            turns = 0
            current = begin(store)
            while not ends.wait(0.02):
                following = begin(store)
                current.close()
                current = following
                turns += 1
            current.close()
            return turns

        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read_in_turns)
            sizes_mb = []
            for number in range(250):
                store.append(rows(number * 500, 500)).result()
                sizes_mb.append(os.stat(f"{store.path}-wal").st_size / 1e6)
            ends.set()
            overlaps = reading.result()
        written_mb = os.stat(store.path).st_size / 1e6
    print(
        f"{overlaps} turns; {written_mb:.0f} MB written, log at most {max(sizes_mb):.0f} MB, {sizes_mb[-1]:.0f} at last"
    )
    assert overlaps >= 5
    # Without being cut it would be as long as all that was written.
    assert written_mb > 200
    assert max(sizes_mb) < 0.75 * written_mb


ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
REPORT_S = 1.5
LOG_BYTES = 2_000_000


class Askers:
    """Reports that are asked for without a pause: four that never end by themselves, and a quick one."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._ends = threading.Event()
        self._counting = threading.Lock()
        self.under_way = 0
        self.took_s: list[float] = []
        self.quick = 0
        self.longest_wait_s = 0.0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask as long as the block runs."""
        with ThreadPoolExecutor(5) as pool:
            asking = [pool.submit(self._ask_endlessly, 0.3 * number) for number in range(4)]
            asking.append(pool.submit(self._ask_quickly))
            try:
                yield
            finally:
                self._ends.set()
            for asked in asking:
                asked.result()

    def _ask_endlessly(self, first_s: float) -> None:
        time.sleep(first_s)
        while not self._ends.is_set():
            with suppress(QueryTimeout), self._store.reading(REPORT_S) as reader:
                began = time.monotonic()
                self._count(1)
                try:
                    with SqliteQuery(reader).snapshot():
                        reader.execute("SELECT seq FROM events LIMIT 1").fetchone()
                        reader.execute(ENDLESS).fetchone()
                finally:
                    self._count(-1)
                    self.took_s.append(time.monotonic() - began)

    def _ask_quickly(self) -> None:
        while not self._ends.wait(0.05):
            began = time.monotonic()
            with self._store.reading(20) as reader, SqliteQuery(reader).snapshot():
                self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - began)
                reader.execute("SELECT seq FROM events LIMIT 1").fetchone()
            self.quick += 1

    def _count(self, more: int) -> None:
        with self._counting:
            self.under_way += more


@pytest.mark.parametrize("events", [100, 10], ids=["many events", "few events"])
def test_reports_that_run_to_their_deadline_without_a_pause_keep_the_log_bounded(tmp_path: Path, events: int) -> None:
    """Where many events come they are ended early; where few do, the next ones wait until they end by themselves."""
    with SqliteStore(tmp_path / "shop.db") as store:
        store.ensure_source("web")
        store.writer.log_bytes = LOG_BYTES
        askers = Askers(store)
        sizes_mb, overlaps, commits_s = [], [], []
        with askers.asking():
            time.sleep(0.5)
            began = time.monotonic()
            while time.monotonic() - began < 5:
                before = time.monotonic()
                store.append(rows(len(sizes_mb) * events, events)).result()
                commits_s.append(time.monotonic() - before)
                sizes_mb.append(os.stat(f"{store.path}-wal").st_size / 1e6)
                overlaps.append(askers.under_way)
        written_mb = os.stat(store.path).st_size / 1e6
    early = sum(took_s < 0.9 * REPORT_S for took_s in askers.took_s)
    cuts = sum(after < before for before, after in pairwise(sizes_mb))
    limit_mb = LOG_LIMIT * LOG_BYTES / 1e6
    print(
        f"{written_mb:.0f} MB written, log at most {max(sizes_mb):.1f} MB, cut {cuts} times; slowest of {len(commits_s)} "
        f"commits {max(commits_s):.2f} s; {len(askers.took_s)} endless reports, {early} ended early, at most "
        f"{max(overlaps)} at once; {askers.quick} quick ones, longest wait {askers.longest_wait_s:.2f} s"
    )
    assert max(overlaps) >= 2
    assert len(askers.took_s) >= 5
    assert askers.quick >= 5
    assert cuts >= 2
    # A reader looks at its deadline every few milliseconds, when it gets the interpreter.
    assert max(sizes_mb) < 2 * limit_mb
    assert max(commits_s) < CUT_WAIT_S + 2
    assert askers.longest_wait_s < REPORT_S + CUT_WAIT_S + 2


def begin(store: SqliteStore) -> Any:
    """Open a reader that holds the state of this moment until it is closed."""
    reader = open_reader(store.path)
    reader.execute("BEGIN")
    reader.execute("SELECT seq FROM events LIMIT 1").fetchone()
    return reader
