"""`touchtrail serve` as a process: kills and stops under load, one writer per file, the other commands beside it."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from collector_process import COMMAND, touchtrail

from shop_events import wire_event


class Served:
    """One `touchtrail serve` on a free port."""

    def __init__(self, db: Path, *arguments: str) -> None:
        self.db = db
        self.errors = db.with_name("stderr.txt")
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--db", str(db), "--port", "0", *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("touchtrail listening on http://127.0.0.1:"), line + self.errors.read_text()
        self.url = line.split()[-1]

    def end(self, number: int, timeout_s: float = 15) -> int:
        """Send a signal, wait for the end and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(timeout_s)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def serving(db: Path, *arguments: str) -> Iterator[Served]:
    """Give a running collector; whatever happens, it is gone at the end."""
    served = Served(db, *arguments)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.end(signal.SIGKILL)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
def key(db: Path) -> str:
    done = touchtrail("keys", "create", "--source", "web", db=db)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
    return done.stdout.strip()


class Load:
    """Senders that send batches of their own until the collector no longer answers, and remember what it acknowledged."""

    def __init__(self, url: str, key: str, name: str, senders: int = 4) -> None:
        self.acknowledged: set[str] = set()
        self.unexpected: list[str] = []
        self._threads = [threading.Thread(target=self._send, args=(url, key, f"{name}-{n}")) for n in range(senders)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, events: int) -> None:
        ends_at = time.monotonic() + 20
        while len(self.acknowledged) < events:
            assert time.monotonic() < ends_at, self.unexpected
            time.sleep(0.005)

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _send(self, url: str, key: str, name: str) -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=10) as client:
            for number in range(100_000):
                ids = [f"{name}-{number}-{place}" for place in range(7)]
                events = [wire_event(event_id, anonymous_id=name) for event_id in ids]
                try:
                    answer = client.post(f"{url}/v1/events", json=events)
                except httpx.TransportError:
                    return
                if answer.status_code == 503 and "retry-after" in answer.headers:
                    return
                if answer.status_code != 200 or answer.json()["accepted"] != 7:
                    self.unexpected.append(answer.text)
                    return
                self.acknowledged.update(ids)


def stored_ids(db: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [event_id for (event_id,) in reader.execute("SELECT event_id FROM events")]


def test_what_was_acknowledged_survives_kills_under_load(db: Path, key: str) -> None:
    acknowledged: set[str] = set()
    for round_number in range(4):
        with serving(db) as served:
            load = Load(served.url, key, f"round-{round_number}")
            load.wait_for(100 + 150 * round_number)
            assert served.end(signal.SIGKILL) == -signal.SIGKILL
            load.wait()
        assert load.unexpected == []
        acknowledged |= load.acknowledged
        ids = stored_ids(db)
        assert len(ids) == len(set(ids))
        assert acknowledged <= set(ids)
    with serving(db) as served:
        wait_until_derived(served)
        assert "Traceback" not in served.errors.read_text()
        assert served.end(signal.SIGTERM) == 0
    before = derived_persons(db)
    assert touchtrail("rebuild", db=db).returncode == 0
    assert derived_persons(db) == before


def wait_until_derived(served: Served) -> None:
    ends_at = time.monotonic() + 20
    while httpx.get(f"{served.url}/readyz").json()["projector_lag_events"]:
        assert time.monotonic() < ends_at
        time.sleep(0.02)


def derived_persons(db: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as reader:
        return reader.execute("SELECT * FROM persons ORDER BY person_id").fetchall()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_loses_nothing_and_says_nothing(db: Path, key: str, number: int) -> None:
    with serving(db) as served:
        load = Load(served.url, key, "load")
        load.wait_for(300)
        assert served.end(number) == 0
        load.wait()
        assert load.unexpected == []
        assert served.errors.read_text() == ""
        assert not Path(f"{db}-wal").exists()
        assert (db.with_name("shop.db.lock")).read_text() == ""
        assert load.acknowledged <= set(stored_ids(db))


def test_an_idle_collector_stops_at_once(db: Path) -> None:
    with serving(db) as served, httpx.Client() as client:
        assert client.get(f"{served.url}/healthz").status_code == 200  # a connection is kept open
        started = time.monotonic()
        assert served.end(signal.SIGTERM) == 0
        assert time.monotonic() - started < 2


def test_a_second_collector_is_told_who_has_the_file(db: Path) -> None:
    with serving(db) as served:
        second = touchtrail("serve", "--port", "0", db=db)
        assert (second.returncode, second.stdout) == (1, "")
        assert second.stderr.count("\n") == 1
        assert f"process {served.process.pid} at {served.url}" in second.stderr
        assert served.end(signal.SIGTERM) == 0


def test_after_a_kill_the_file_is_free(db: Path) -> None:
    for _ in range(2):
        with serving(db) as served:
            served.end(signal.SIGKILL)
    assert touchtrail("keys", "create", "--source", "web", db=db).returncode == 0


def test_a_port_in_use_is_said_in_one_line(db: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = touchtrail("serve", "--port", str(port), db=db)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in refused.stderr


def test_a_folder_that_is_missing_is_said_in_one_line(tmp_path: Path) -> None:
    for command in (["serve", "--port", "0"], ["keys", "create", "--read"], ["rebuild"]):
        refused = touchtrail(*command, db=tmp_path / "missing" / "shop.db")
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert "there is no folder" in refused.stderr


def test_other_commands_work_beside_a_running_collector(db: Path, tmp_path: Path) -> None:
    costs = tmp_path / "costs.csv"
    costs.write_text("date,channel,campaign,amount,currency\n2026-01-01,Paid Search,may,10.00,EUR\nsoon,x,y,1,EUR\n")
    with serving(db) as served:

        def run(*arguments: str, code: int = 0) -> str:
            done = touchtrail(*arguments, db=db)
            assert done.returncode == code, done.stderr
            return done.stdout

        key = run("keys", "create", "--source", "web").strip()
        headers = {"Authorization": f"Bearer {key}"}
        batch = [wire_event("1"), wire_event("2", colour="red")]
        answer = httpx.post(f"{served.url}/v1/events", json=batch, headers=headers)
        assert (answer.json()["accepted"], len(answer.json()["rejected"])) == (1, 1)
        assert "unknown_field" in run("quarantine", "list")
        assert '"colour":"red"' in run("quarantine", "show", "1", "--raw")
        repaired = tmp_path / "repaired.json"
        repaired.write_text('{"event_id":"2","name":"page_viewed","anonymous_id":"a-1"}')
        assert "1 stored" in run("quarantine", "replay", "1", "--with", str(repaired))
        assert "1 events stored, 0 were there already, 1 rejected" in run("import", "csv", str(costs))
        assert "0 events stored, 1 were there already" in run("import", "csv", str(costs))
        assert '"times": 2' in run("quarantine", "list", "--each", "--json")
        assert "0 would be stored, 0 are there already, 1 would" in run("quarantine", "replay", "--dry-run", code=1)
        assert "1 dismissed" in run("quarantine", "dismiss", "--code", "invalid_line")
        assert "1 opened again" in run("quarantine", "reopen", "--all")
        assert "3 events derived anew" in run("rebuild")
        wait_until_derived(served)
        target = tmp_path / "events.csv"
        assert "3 rows of events" in run("export", "csv", "--to", str(target), "--table", "events")
        assert target.read_text().count("page_viewed") >= 2
        assert list(tmp_path.glob("*.part")) == []
        run("keys", "revoke", key)
        assert httpx.post(f"{served.url}/v1/events", json=batch, headers=headers).status_code == 401
        assert "revoked" in run("keys", "list")
        assert served.end(signal.SIGTERM) == 0
        assert served.errors.read_text() == ""


def test_hostile_requests_bring_no_traceback(db: Path, key: str) -> None:
    with serving(db) as served:
        address = ("127.0.0.1", int(served.url.rpartition(":")[2]))
        shapes = [
            b"GARBAGE\r\n\r\n",
            b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nshort",
            b"POST /v1/events?key=" + key.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\n[",
            b"POST /v1/events?key="
            + key.encode()
            + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
        ]
        for shape in shapes:
            with socket.create_connection(address) as connection:
                connection.sendall(shape)
        answer = httpx.post(
            f"{served.url}/v1/events", json=[wire_event("1")], headers={"Authorization": f"Bearer {key}"}
        )
        assert answer.json()["accepted"] == 1
        assert served.end(signal.SIGTERM) == 0
        assert "Traceback" not in served.errors.read_text()


def test_an_idle_collector_is_small_and_starts_soon(db: Path) -> None:
    touchtrail("keys", "create", "--read", db=db)
    started = time.monotonic()
    with serving(db) as served:
        took_s = time.monotonic() - started
        time.sleep(0.2)
        status = Path(f"/proc/{served.process.pid}/status")
        if status.exists():
            resident_kb = next(
                int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS")
            )
            assert resident_kb < 100_000
        assert took_s < 10  # a second on an idle machine; this one is shared
