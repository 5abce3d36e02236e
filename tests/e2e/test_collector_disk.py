"""The database on a disk that is full, refuses writes, or is taken away: 503 meanwhile, nothing acknowledged lost."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from collector_process import COMMAND, touchtrail
from tiny_disk import TinyDisk, tiny_disk

from accounting import Book, assert_adds_up, assert_report_agrees, read_door
from shop_events import wire_event
from touchtrail import Client
from touchtrail_collector.store.engine import EventRow, Receipt
from touchtrail_collector.store.sqlite.seen import SeenEvents
from touchtrail_collector.store.sqlite.store import SqliteStore

BACK_S = 2.0
"""Events are accepted again so soon after there is room (reliability.md, promise 9)."""

DISK_MB = 12
ROOM_BYTES = 1_500_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[TinyDisk]:
    with tiny_disk(tmp_path / "disk", DISK_MB) as mounted:
        yield mounted


class Served:
    """A collector, and a sender that keeps a book of what it was told."""

    def __init__(self, db: Path, log: Path) -> None:
        with SqliteStore(db) as store:
            self.key = store.create_key(source="web")
            self.token = store.create_key(source=None)
        self.db = db
        self._log = log
        with log.open("wb") as errors:
            command = [*COMMAND, "serve", "--db", str(db), "--port", "0"]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]
        self.http = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=20)
        self.acknowledged: set[str] = set()
        self.refused: set[str] = set()
        self.book = Book()
        self.answers: Counter[int] = Counter()
        self._batches = 0

    def send(self, size: int = 20, *, bytes_each: int = 300, bad: int = 1) -> httpx.Response:
        """Send a batch of new events, the last ones damaged."""
        self._batches += 1
        ids = [f"{self._batches}-{place}" for place in range(size)]
        events = [wire_event(event_id, "thing_seen", properties={"filling": "x" * bytes_each}) for event_id in ids]
        events += [wire_event(f"bad-{self._batches}-{place}", colour="x" * bytes_each) for place in range(bad)]
        answer = self.http.post("/v1/events", json=events)
        self.answers[answer.status_code] += 1
        self.book.answer(answer.status_code, answer.content, size + bad)
        if answer.status_code == 200:
            assert answer.json()["accepted"] == size
            self.acknowledged.update(ids)
        else:
            assert_says_come_again(answer)
            self.refused.update(ids)
        return answer

    def send_until_full(self) -> None:
        """Send large and then ever smaller batches until not even one event goes through."""
        for size in (50, 10, 1):
            ends_at = time.monotonic() + 20
            while self.send(size, bad=min(size - 1, 2)).status_code == 200:
                assert time.monotonic() < ends_at, "the disk does not fill up"

    def ready(self) -> httpx.Response:
        """Ask whether events are taken."""
        return self.http.get("/readyz")

    def is_derived(self) -> bool:
        """Say whether everything that came is in the reports."""
        told = self.ready().json()
        return bool(told["projector_lag_events"] == 0 and told["projector_failure"] is None)

    def report(self, name: str) -> dict[str, Any]:
        """Ask for a report."""
        answer = self.http.get(f"/api/v1/reports/{name}", headers={"Authorization": f"Bearer {self.token}"})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command on the database."""
        return touchtrail(*arguments, db=self.db)

    def log(self) -> str:
        """Return what was said on stderr."""
        return self._log.read_text()

    def end(self) -> None:
        """Have it stop; it must end well."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(15) == 0


def assert_says_come_again(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), answer.text
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["content-type"] == "application/json"


@contextmanager
def serving(db: Path, log: Path) -> Iterator[Served]:
    served = Served(db, log)
    try:
        yield served
    finally:
        served.http.close()
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait(10)
        assert served.process.stdout is not None
        served.process.stdout.close()


def wait_until(is_so: Callable[[], object], limit_s: float) -> float:
    """Wait; return how long it took."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < limit_s, f"not within {limit_s} s"
        time.sleep(0.02)
    return time.monotonic() - began


def look(db: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as reader:
        return reader.execute(statement).fetchall()


def assert_whole(served: Served) -> None:
    """The file is sound and has what was acknowledged, that and nothing else; the counts agree."""
    assert look(served.db, "PRAGMA integrity_check") == [("ok",)]
    ids = [event_id for (event_id,) in look(served.db, "SELECT event_id FROM events")]
    assert len(ids) == len(set(ids))
    assert set(ids) == served.acknowledged
    assert_adds_up(served.book, read_door(served.db))
    assert "Traceback" not in served.log()


def test_a_full_disk_loses_nothing_and_is_recovered_from_without_a_restart(disk: TinyDisk, tmp_path: Path) -> None:
    with serving(disk.path / "shop.db", tmp_path / "log") as served:
        served.send(100)
        disk.fill(leaving=ROOM_BYTES)
        served.send_until_full()
        assert disk.free_bytes() < 50_000
        for _ in range(60):
            served.send(50)
        assert_lives_on_full(served, disk, tmp_path)
        refused_before = len(served.refused)
        disk.empty()
        accepted_s = wait_until(lambda: served.send(50).status_code == 200, BACK_S)
        ready_s = wait_until(lambda: served.ready().status_code == 200, BACK_S)
        derived_s = wait_until(served.is_derived, 2 * BACK_S)
        for command in (["quarantine", "dismiss", "1"], ["rebuild"]):
            assert served.run(*command).returncode == 0
        assert served.send().status_code == 200
        assert_report_agrees(served.report("data-quality"), read_door(served.db))
        served.end()
        assert_whole(served)
    print(
        f"{len(served.acknowledged)} events acknowledged, {len(served.refused)} refused in {served.answers[503]} answers; "
        f"accepted again after {accepted_s:.2f} s, ready {ready_s:.2f} s later, derived {derived_s:.2f} s later"
    )
    assert refused_before > 1_000
    assert len(served.acknowledged) > 500
    # Said once when it begins and once when it ends, however many requests meet it.
    assert len(served.log().splitlines()) < served.answers[503] / 2
    assert served.log().count("can be written again") >= 1


def assert_lives_on_full(served: Served, disk: TinyDisk, tmp_path: Path) -> None:
    """Everything that only reads works, what writes says what is to be done, and whoever watches is told."""
    ready = served.ready()
    assert (ready.status_code, ready.json()["code"], ready.json()["is_ready"]) == (503, "not_ready", False)
    assert "free some disk space" in ready.json()["message"]
    assert int(ready.headers["retry-after"]) > 0
    time.sleep(1.2)  # it must not be taken for ready by itself
    assert served.ready().status_code == 503
    assert served.http.get("/healthz").status_code == 200
    assert "touchtrail_ready 0.0" in served.http.get("/metrics").text
    for name in ("overview", "data-quality", "orders"):
        assert served.report(name)["scope"]
    assert served.report("data-quality")["figures"]["accepted"] == len(served.acknowledged)
    backup = tmp_path / "backup.db"
    assert served.run("backup", str(backup)).returncode == 0
    assert len(look(backup, "SELECT 1 FROM events")) == len(served.acknowledged)
    before = sorted(os.listdir(disk.path))
    for command in (
        ["keys", "create", "--source", "till"], ["rebuild"], ["quarantine", "dismiss", "--all"],
        ["backup", str(disk.path / "copy.db")],
    ):  # fmt: skip
        done = served.run(*command)
        assert done.returncode == 1, (command, done.stdout)
        assert done.stderr.count("\n") == 1, done.stderr
        assert "free some disk space" in done.stderr
    assert sorted(os.listdir(disk.path)) == before


def test_the_client_delivers_each_event_once_through_a_full_disk(disk: TinyDisk, tmp_path: Path) -> None:
    with (
        serving(disk.path / "shop.db", tmp_path / "log") as served,
        Client(served.url, key=served.key, spool_dir=tmp_path / "spool", backoff_max_s=0.2, linger_s=0.05) as client,
    ):
        tracked: set[str] = set()

        def track(number: int) -> None:
            for _ in range(number):
                event_id = f"sdk-{len(tracked)}"
                assert client.track("clicked", anonymous_id="a", event_id=event_id, properties={"filling": "x" * 400})
                tracked.add(event_id)

        track(50)
        disk.fill(leaving=ROOM_BYTES)
        served.send_until_full()
        for _ in range(10):
            track(200)
            time.sleep(0.05)
        health = client.health()
        assert health.delivered < len(tracked)
        assert health.dropped == {}
        disk.empty()
        assert client.flush(20), client.health()
        health = client.health()
        served.end()
    ids = [event_id for (event_id,) in look(served.db, "SELECT event_id FROM events")]
    sdk_ids = [event_id for event_id in ids if event_id.startswith("sdk-")]
    assert len(sdk_ids) == len(tracked) == 2_050
    assert set(sdk_ids) == tracked
    assert health.delivered + health.duplicates == len(tracked)


SERVE = ["serve", "--port", "0"]
KEYS = ["keys", "create", "--source", "till"]


@pytest.mark.parametrize("is_new", [True, False], ids=["new database", "old database"])
def test_a_command_on_a_full_disk_says_what_to_do_and_damages_nothing(
    disk: TinyDisk, tmp_path: Path, is_new: bool
) -> None:
    db = disk.path / "shop.db"
    commands = [SERVE, KEYS] if is_new else [SERVE, ["rebuild"], ["backup", str(disk.path / "copy.db")]]
    if not is_new:
        with serving(db, tmp_path / "log") as served:
            served.send(200)
            served.end()
    disk.fill()
    for command in commands:
        refused = touchtrail(*command, db=db)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused
        assert "free some disk space" in refused.stderr
    disk.empty()
    assert touchtrail("rebuild", db=db).returncode == 0
    assert look(db, "PRAGMA integrity_check") == [("ok",)]
    assert look(db, "SELECT count(*) FROM events") == [(0 if is_new else 200,)]
    assert [name for name in os.listdir(disk.path) if not name.startswith("shop.db")] == []


def test_ids_that_a_full_disk_kept_from_being_put_away_are_known_and_put_away_later(disk: TinyDisk) -> None:
    def rows(*numbers: int) -> list[EventRow]:
        return [EventRow(1, f"e-{number}", "clicked", 1, None, 1, "a", None, "{}") for number in numbers]

    with SqliteStore(disk.path / "shop.db") as store:
        store.ensure_source("web")
        connection = store.writer._connection
        connection.seen = SeenEvents(connection, bytes.fromhex(store.meta("hash_key")), run_ids=20_000)
        assert store.append(rows(*range(19_995))).result() == Receipt(19_995, 0)
        disk.fill(leaving=60_000)
        assert store.append(rows(*range(19_990, 20_000))).result() == Receipt(5, 5)
        assert store.append(rows(1, 20_001)).exception() is None or store.writer.failure
        assert connection.seen.is_full()
        assert look(store.path, "SELECT count(*) FROM seen_runs") == [(0,)]
        disk.empty()
        assert store.append(rows(20_002)).result() == Receipt(1, 0)
        wait_until(lambda: look(store.path, "SELECT count(*) FROM seen_runs") == [(1,)], 5)
        again = store.append(rows(*range(20_000), 20_002)).result()
        assert (again.stored, again.duplicates) == (0, 20_001)
    assert look(disk.path / "shop.db", "SELECT count(*), count(DISTINCT event_id) FROM events")[0][0] >= 20_001


@contextmanager
def every_write_refused(served: Served) -> Iterator[None]:
    """No file of the collector's process may grow or be written to: what a broken disk says too."""
    before = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def files_immutable(served: Served) -> Iterator[None]:
    """Nobody may write to the database's files, root included, though they are open."""
    files = [str(served.db), f"{served.db}-wal"]
    made = subprocess.run(["chattr", "+i", *files], capture_output=True, text=True, check=False)
    if made.returncode:
        # Overlays and tmpfs know no such thing: there the other way of refusing writes is all that can be shown.
        pytest.skip(f"NOT TESTED: this file system has no immutable files: {made.stderr.strip()}")
    yield
    subprocess.run(["chattr", "-i", *files], check=True)


@pytest.mark.parametrize("refusing", [every_write_refused, files_immutable])
def test_a_database_that_cannot_be_written_any_more_is_written_again_as_soon_as_it_can(
    tmp_path: Path, refusing: Callable[[Served], Any]
) -> None:
    with serving(tmp_path / "shop.db", tmp_path / "log") as served:
        served.send(100)
        with refusing(served):
            for _ in range(10):
                assert_says_come_again(served.send())
            assert served.ready().status_code == 503
            assert served.http.get("/healthz").status_code == 200
            assert served.report("data-quality")["figures"]["accepted"] == 100
        wait_until(lambda: served.ready().status_code == 200, BACK_S)
        assert served.send().status_code == 200
        wait_until(served.is_derived, 2 * BACK_S)
        served.end()
        assert_whole(served)
    assert (served.answers[200], served.answers[503]) == (2, 10)


def test_a_read_only_disk_is_said_in_one_line(disk: TinyDisk, tmp_path: Path) -> None:
    db = disk.path / "shop.db"
    with serving(db, tmp_path / "log") as served:
        served.send(30)
        served.end()
    disk.remount("ro")
    try:
        refused = touchtrail(*SERVE, db=db)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
        assert "Read-only file system" in refused.stderr
    finally:
        disk.remount("rw")
    assert look(db, "SELECT count(*) FROM events") == [(30,)]


def test_a_database_moved_away_while_it_is_served_takes_nothing_until_it_is_back(tmp_path: Path) -> None:
    """SQLite would write on to a file without a name, and what was acknowledged would be gone at the stop."""
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    folder.mkdir()
    with serving(folder / "shop.db", tmp_path / "log") as served:
        served.send(50)
        folder.rename(elsewhere)
        assert served.ready().status_code == 503
        for _ in range(5):
            assert_says_come_again(served.send())
        told = served.http.get("/api/v1/reports/overview", headers={"Authorization": f"Bearer {served.token}"})
        assert_says_come_again(told)
        assert served.http.get("/metrics").status_code == served.http.get("/healthz").status_code == 200
        elsewhere.rename(folder)
        wait_until(lambda: served.ready().status_code == 200, BACK_S)
        assert served.send(50).status_code == 200
        served.end()
        assert_whole(served)
    assert len(served.acknowledged) == 100


def test_a_folder_removed_while_it_is_served_is_said_and_the_stop_is_clean(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with serving(folder / "shop.db", tmp_path / "log") as served:
        served.send(50)
        shutil.rmtree(folder)
        folder.mkdir()
        for _ in range(5):
            assert_says_come_again(served.send())
        message = served.ready().json()["message"]
        assert "removed" in message
        assert str(tmp_path) not in message
        # Another database under its name is not this one.
        SqliteStore(folder / "shop.db").close()
        assert_says_come_again(served.send())
        served.end()
    assert "Traceback" not in served.log()
    assert served.answers == {200: 1, 503: 6}
