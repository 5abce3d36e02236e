"""Being told to stop with requests under way: each gets its true answer or a closed connection, within seconds."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from collector_process import COMMAND

from shop_events import wire_event
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.settings import Settings
from touchtrail_collector.store.sqlite.store import SqliteStore

DRAINED_S = 5.0
SLACK_S = 3.0
"""For what comes after the drain (the derivation's last step, the last checkpoint) on a busy machine."""

BATCH = 30


class Told(msgspec.Struct):
    """What senders were told: ids by whether they were acknowledged, and how many connections just ended."""

    acknowledged: set[str] = msgspec.field(default_factory=set)
    unavailable: int = 0
    closed: int = 0
    wrong: list[bytes] = msgspec.field(default_factory=list)


@contextmanager
def serving(db: Path, *before: str, **settings: str) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """Give the process, its port and a write key; it must be gone at the end."""
    with SqliteStore(db) as store:
        key = store.create_key(source="web")
    environment = os.environ | {f"TOUCHTRAIL_{name}": value for name, value in settings.items()}
    with (
        db.with_name("stderr").open("wb") as errors,
        subprocess.Popen(
            [*before, *COMMAND, "serve", "--db", str(db), "--port", "0"],
            stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
        ) as process,
    ):  # fmt: skip
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().rpartition(":")[2]), key
        finally:
            process.kill()


def request(key: str, ids: list[str]) -> bytes:
    body = json.dumps([wire_event(event_id, anonymous_id=event_id) for event_id in ids]).encode()
    head = f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def read_to_end(sock: socket.socket) -> bytes:
    parts = []
    try:
        while part := sock.recv(65_536):
            parts.append(part)
    except OSError:
        pass
    return b"".join(parts)


class Sender(threading.Thread):
    """Sends batches one after another, a piece at a time, until the connection ends."""

    def __init__(self, port: int, key: str, name: str, told: Told) -> None:
        super().__init__(daemon=True)
        self._port, self._key, self._name, self._told = port, key, name, told
        self._chance = random.Random(name)

    def run(self) -> None:
        """Send until the end of the connection."""
        with closing(socket.create_connection(("127.0.0.1", self._port), timeout=20)) as sock:
            for number in range(10_000):
                ids = [f"{self._name}-{number}-{place}" for place in range(BATCH)]
                if not self._send(sock, request(self._key, ids), ids):
                    return

    def _send(self, sock: socket.socket, whole: bytes, ids: list[str]) -> bool:
        cut = self._chance.randrange(1, len(whole))
        try:
            sock.sendall(whole[:cut])
            time.sleep(self._chance.uniform(0, 0.02))
            sock.sendall(whole[cut:])
            answer = sock.recv(65_536)
        except OSError:
            answer = b""
        if answer.startswith(b"HTTP/1.1 200") and b'"accepted":%d' % BATCH in answer:
            self._told.acknowledged.update(ids)
            return True
        if not answer:
            self._told.closed += 1
        elif answer.startswith(b"HTTP/1.1 503"):
            self._told.unavailable += 1
        else:
            self._told.wrong.append(answer)
        return False


def stored(db: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [event_id for (event_id,) in reader.execute("SELECT event_id FROM events")]


@pytest.fixture(autouse=True)
def heeds_hang_ups() -> Iterator[None]:
    """Let collectors heed a hang-up although these tests may be run by ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


SIGNALS = {
    "SIGTERM": [signal.SIGTERM], "SIGINT": [signal.SIGINT], "SIGHUP": [signal.SIGHUP],
    "SIGTERM twice": [signal.SIGTERM, signal.SIGTERM], "Ctrl-C, then SIGTERM": [signal.SIGINT, signal.SIGTERM],
    "impatient": [signal.SIGTERM] * 20,
}  # fmt: skip


@pytest.mark.parametrize("numbers", SIGNALS.values(), ids=SIGNALS)
def test_a_stop_under_load_answers_truly_or_closes_and_keeps_what_it_acknowledged(
    tmp_path: Path, numbers: list[signal.Signals]
) -> None:
    db = tmp_path / "shop.db"
    told = Told()
    with serving(db) as (process, port, key):
        senders = [Sender(port, key, f"s{number}", told) for number in range(8)]
        for sender in senders:
            sender.start()
        ends_at = time.monotonic() + 20
        while len(told.acknowledged) < 600:
            assert time.monotonic() < ends_at
            time.sleep(0.01)
        began = time.monotonic()
        for number in numbers:
            if process.poll() is None:
                process.send_signal(number)
            time.sleep(0.03)
        code = process.wait(DRAINED_S + SLACK_S)
        took_s = time.monotonic() - began
        for sender in senders:
            sender.join(10)
            assert not sender.is_alive()
    assert not Path(f"{db}-wal").exists()
    ids = stored(db)
    print(f"stopped in {took_s:.2f} s: {len(told.acknowledged)} acknowledged, {len(ids)} stored, {told.closed} closed")
    assert (code, told.wrong) == (0, [])
    assert len(ids) == len(set(ids))
    assert told.acknowledged <= set(ids)
    assert told.closed + told.unavailable == len(senders)
    assert db.with_name("stderr").read_text() == ""


def test_requests_that_never_end_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    """Those that come whole while it drains are answered; those that do not are closed at the limit."""
    db = tmp_path / "shop.db"
    # Long enough that a machine which stands still for half a second has not used up what is left for the database.
    with serving(db, SERVER_SHUTDOWN_TIMEOUT_S="4", SERVER_BODY_TIMEOUT_S="60") as (process, port, key):
        late, never, begun, idle = (socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(4))
        whole = request(key, ["late"])
        late.sendall(whole[:-5])
        never.sendall(request(key, ["never"])[:-5])
        begun.sendall(b"POST /v1/events HTT")
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        late.sendall(whole[-5:])
        answer = read_to_end(late)
        turned_away = read_to_end(never)
        assert [read_to_end(sock) for sock in (begun, idle)] == [b"", b""]
        code = process.wait(20)
        took_s = time.monotonic() - began
        for sock in (late, never, begun, idle):
            sock.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"accepted":1' in answer
    assert b"connection: close" in answer.lower()
    assert turned_away.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 2\r\n" in turned_away
    assert json.loads(turned_away.partition(b"\r\n\r\n")[2])["code"] == "unavailable"
    assert db.with_name("stderr").read_text() == ""
    assert stored(db) == ["late"]
    assert code == 0
    assert took_s < 4 + SLACK_S


ENDLESS_COSTS = """
DROP TABLE costs;
CREATE VIEW costs AS
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
SELECT i - i AS shop_id, CAST(i - i AS TEXT) AS day, i AS channel_id, 'EUR' AS currency,
       i AS amount_minor, i AS impressions, i AS clicks
FROM n;
"""


def make_reports_endless(db: Path) -> None:
    """Have the reports that ask for costs take for ever."""
    settings = Settings.load(db=db, environ={})
    collector = Collector(settings, PluginHost.load(settings), starts_projector=False)
    collector.projector.prepare()  # else the server would, and find a view where it wants a table
    collector.close()
    with closing(sqlite3.connect(db)) as connection:
        connection.executescript(ENDLESS_COSTS)


def drip(sock: socket.socket, whole: bytes, sent: list[int]) -> None:
    """Send the body of a request a byte at a time, so that it would take minutes."""
    head_bytes = whole.index(b"\r\n\r\n") + 4
    with suppress(OSError):
        sock.sendall(whole[:head_bytes])
        for place in range(head_bytes, len(whole)):
            sock.sendall(whole[place : place + 1])
            sent.append(place)
            time.sleep(0.2)


@pytest.mark.parametrize(
    ("is_stuck", "numbers"),
    [(False, [signal.SIGTERM]), (True, [signal.SIGINT, signal.SIGTERM, signal.SIGTERM])],
    ids=["commits go on", "commits wait for another program"],
)
def test_a_stop_with_everything_under_way_that_can_be_is_over_in_five_seconds(
    tmp_path: Path, is_stuck: bool, numbers: list[signal.Signals]
) -> None:
    """An endless report, a client that sends byte by byte, senders, and a database that somebody else has locked."""
    db = tmp_path / "shop.db"
    told = Told()
    make_reports_endless(db)
    with (
        serving(db, STORE_REPORT_DEADLINE_S="60", SERVER_BODY_TIMEOUT_S="60") as (process, port, key),
        closing(sqlite3.connect(db, isolation_level=None)) as other,
    ):
        senders = [Sender(port, key, f"s{number}", told) for number in range(8)]
        for sender in senders:
            sender.start()
        token = subprocess.run(
            [*COMMAND, "keys", "create", "--read", "--db", str(db)], check=True, capture_output=True, text=True
        ).stdout.strip()
        report, slow = (socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(2))
        ask = f"GET /api/v1/reports/channels HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
        report.sendall(ask.encode())
        dripped: list[int] = []
        dripping = threading.Thread(target=drip, args=(slow, request(key, ["slow"]), dripped), daemon=True)
        dripping.start()
        ends_at = time.monotonic() + 20
        while len(told.acknowledged) < 300 or len(dripped) < 3:
            assert time.monotonic() < ends_at
            time.sleep(0.01)
        if is_stuck:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(0.5)
        acknowledged = len(told.acknowledged)
        began = time.monotonic()
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.1)
        code = process.wait(DRAINED_S + SLACK_S)
        took_s = time.monotonic() - began
        answers = [read_to_end(sock) for sock in (report, slow)]
        for sender in senders:
            sender.join(10)
            assert not sender.is_alive()
        for sock in (report, slow):
            sock.close()
        dripping.join(5)
    ids = stored(db)
    print(
        f"stopped in {took_s:.2f} s: {len(told.acknowledged)} acknowledged, {acknowledged} before, {len(ids)} stored, "
        f"{len(dripped)} bytes dripped, answers {[answer[:12] for answer in answers]}"
    )
    assert (code, told.wrong) == (0, [])
    assert took_s < DRAINED_S + 1  # for the machine's own work on a busy day
    assert len(ids) == len(set(ids))
    assert told.acknowledged <= set(ids)
    assert told.closed + told.unavailable == len(senders)
    assert len(told.acknowledged) == acknowledged or not is_stuck
    assert len(dripped) >= 3
    for answer in answers:
        assert answer == b"" or answer.startswith(b"HTTP/1.1 503"), answer
    assert "Traceback" not in db.with_name("stderr").read_text()


def test_a_hang_up_is_ignored_where_whoever_started_it_wanted_that(tmp_path: Path) -> None:
    """`nohup touchtrail serve` outlives its terminal."""
    ignoring = (
        "import signal, os, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    with serving(tmp_path / "shop.db", sys.executable, "-c", ignoring) as (process, port, key):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        with closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as sock:
            sock.sendall(request(key, ["after"]).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            assert read_to_end(sock).startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DRAINED_S + SLACK_S) == 0
    assert stored(tmp_path / "shop.db") == ["after"]
