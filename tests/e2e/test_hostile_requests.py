"""Hostile requests to a real process: its log stays readable line by line, its memory small, good clients are served."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from collector_process import COMMAND, touchtrail

from accounting import Book, assert_adds_up, read_door
from shop_events import wire_event

EVIL = "evil\x1b[31m\u202e\x85 INFO forged"
RSS_MB = 200


class Served(NamedTuple):
    """A collector whose log goes into a file."""

    url: str
    log: Path
    process: subprocess.Popen[str]
    key: str

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.url.rpartition(":")[2])

    def peak_mb(self) -> float:
        """Return the most memory the process ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Served]:
    db = folder / "shop.db"
    key = touchtrail("keys", "create", "--source", "web", db=db).stdout.strip()
    log = folder / "log"
    command = [*COMMAND, "serve", "--db", str(db), "--port", "0"]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | environment
        ) as process,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().rpartition(" ")[2].strip()
        try:
            yield Served(url, log, process, key)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def say(served: Served, request: bytes) -> bytes:
    """Send bytes and return the beginning of what is answered."""
    with socket.create_connection(served.address, timeout=20) as connection:
        connection.sendall(request)
        return connection.recv(65_536)


@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_nothing_of_a_request_forges_a_line_of_the_log(tmp_path: Path, log_format: str) -> None:
    variables = {"TOUCHTRAIL_SERVER_ACCESS_LOG": "true", "TOUCHTRAIL_SERVER_LOG_FORMAT": log_format}
    with serving(tmp_path, **variables) as served:
        raw = EVIL.encode()
        quoted = "%0d%0aINFO%20forged%1b%5b31m"
        requests = [
            b"GET /" + raw.replace(b" ", b"") + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
            f"GET /{quoted}?key={quoted} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode(),
            f"{quoted} / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(),
            b"GET / HTTP/1.1\r\nHost: " + raw + b"\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 1.2.3.4\x1b\nINFO forged\r\nUser-Agent: " + raw + b"\r\n\r\n",
            b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + raw + b"\r\nConnection: close\r\n"
            b"Content-Length: 2\r\n\r\n[]",
            b"POST /v1/track HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Encoding: " + raw + b"\r\nConnection: close\r\n"
            b"Content-Length: 2\r\n\r\n{}",
        ]  # fmt: skip
        statuses = [say(served, request).split(b" ")[1:2] for request in requests]
        names = [wire_event("1", EVIL), wire_event("2", **{EVIL: 1}), wire_event(EVIL, "own", anonymous_id=EVIL)]
        headers = {"Authorization": f"Bearer {served.key}"}
        answer = httpx.post(f"{served.url}/v1/events", json=names, headers=headers)
        assert (answer.json()["accepted"], len(answer.json()["rejected"])) == (1, 2)
    assert all(status and not status[0].startswith(b"5") for status in statuses), statuses
    written = served.log.read_bytes().decode()
    assert set(written) & set("\x1b\r\x85\u202e\0") == set()
    lines = written.splitlines()
    assert len(lines) >= 5
    assert not any(line.startswith(("INFO forged", "forged", "[31m")) for line in lines)
    if log_format == "json":
        assert all(isinstance(json.loads(line), dict) for line in lines)
    assert "Traceback" not in written


def bomb(megabytes: int) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(squeezer.compress(b"\0" * 1_000_000) for _ in range(megabytes)) + squeezer.flush()


def test_bombs_and_lies_about_the_length_take_little_memory(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        headers = {"Authorization": f"Bearer {served.key}"}
        bodies = [bomb(400), b"[" * 4_900_000, b'{"a":' * 900_000, b"[" + b'"' * 4_000_000, b" " * 4_999_999]
        names = ",".join(json.dumps(wire_event(str(n), "x" * 40 + "!")) for n in range(2_500))
        bodies += [f"[{names}]".encode(), b"[" + b"{}," * 1_600_000 + b"{}]"]

        def send(number: int) -> httpx.Response:
            with httpx.Client(timeout=60) as client:
                return client.post(f"{served.url}/v1/events", content=bodies[number % len(bodies)], headers=headers)

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(send, range(42)))
        statuses = [answer.status_code for answer in answers]
        book = Book()
        for answer in answers:
            book.answer(answer.status_code, answer.content)
        head = f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {served.key}\r\n"
        lies = [
            say(served, f"{head}Content-Length: 1000000000\r\n\r\n".encode() + b" " * 6_000_000),
            say(served, f"{head}Content-Length: -5\r\n\r\n[]".encode()),
            say(served, f"{head}Content-Length: 5x\r\n\r\n[]".encode()),
            say(served, f"{head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]".encode()),
            say(served, f"{head}Content-Length: 2\r\nConnection: close\r\n\r\n[]GET / HTTP/1.1\r\n\r\n".encode()),
        ]
        good = httpx.post(f"{served.url}/v1/events", json=[wire_event("good")], headers=headers)
        book.answer(good.status_code, good.content, 1)
        peak_mb = served.peak_mb()
        print(f"{len(statuses)} hostile bodies: {peak_mb:.0f} MB at most")
    assert set(statuses) <= {200, 400, 413}
    assert statuses.count(200) == 6, statuses
    assert [answer[9:12] for answer in lies] == [b"413", b"400", b"400", b"400", b"200"]
    assert_adds_up(book, read_door(tmp_path / "shop.db"))
    assert (book.accepted, book.rejected.total()) == (1, 6 * 2_500)
    assert peak_mb <= RSS_MB, f"{peak_mb:.0f} MB"
    assert "Traceback" not in served.log.read_text()
