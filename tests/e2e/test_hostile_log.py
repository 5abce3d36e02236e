"""The log of a real collector under hostile requests: one record a line, and nothing in it that must not be there."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
from collector_process import COMMAND, touchtrail

from shop_events import wire_event

RECORD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING|ERROR) [\w.]+: ")
SECRET = "jane.doe"
FORGED = "2026-01-01T00:00:00.000Z ERROR touchtrail_collector.web: forged"

HOSTILE = [
    f"GET /%0d%0a{FORGED.replace(' ', '%20')} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(),
    f"GET /x?key=ttw_{SECRET}&email={SECRET}@shop.example HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(),
    f"GET /{SECRET}@shop.example HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: session={SECRET}\r\n\r\n".encode(),
    b"GET /\x1b[31mred\x07\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "GET /\u2028\x85 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(),
    f"GET /healthz HTTP/1.1\r\nHost: evil\x0b{FORGED}\r\nUser-Agent: {FORGED}\r\n\r\n".encode(),
    f"\r\n{FORGED}\r\n\r\n".encode(),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no http at all \xff\xfe\r\n\r\n",
    f"POST /v1/events?key=ttw_{SECRET} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{SECRET}\n".encode(),
]


def send(port: int, request: bytes) -> bytes:
    """Send bytes as they are and return the beginning of what comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        try:
            return connection.recv(4096)
        except (TimeoutError, ConnectionError):
            return b""


@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_hostile_requests_leave_whole_records_and_nothing_private(tmp_path: Path, log_format: str) -> None:
    db, errors = tmp_path / "shop.db", tmp_path / "stderr.txt"
    key = touchtrail("keys", "create", "--source", "web", db=db).stdout.strip()
    command = [*COMMAND, "serve", "--db", str(db), "--port", "0", "--log-format", log_format]
    variables = os.environ | {"TOUCHTRAIL_SERVER_ACCESS_LOG": "true"}
    with (
        errors.open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=variables, text=True) as process,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        answered = [send(int(url.rpartition(":")[2]), request) for request in HOSTILE]
        answer = httpx.post(f"{url}/v1/events?key={key}", json=[wire_event("1", customer_id=SECRET)])
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert answer.status_code == 200
    assert sum(one.startswith(b"HTTP/1.1 ") for one in answered) >= 7, answered
    text = errors.read_bytes().decode()
    lines = text.splitlines()
    assert len(lines) >= 6
    for line in lines:
        if log_format == "json":
            assert json.loads(line).keys() >= {"time", "level", "logger", "message"}
        else:
            assert RECORD.match(line), line
        assert not line.startswith(FORGED)
    assert "POST /v1/events 200" in text
    for private in (SECRET, key, "\x1b", "\x07"):
        assert private not in text


def test_without_being_asked_requests_are_not_logged_at_all(tmp_path: Path) -> None:
    db, errors = tmp_path / "shop.db", tmp_path / "stderr.txt"
    command = [*COMMAND, "serve", "--db", str(db), "--port", "0"]
    with errors.open("wb") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert httpx.get(f"{url}/healthz").status_code == 200
        told = json.loads(touchtrail("doctor", "--json", db=db).stdout)
        metrics = httpx.get(f"{url}/metrics").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert errors.read_text() == ""
    (collector,) = [one for one in told["findings"] if one["check"] == "collector"]
    assert collector["message"] == f"process {process.pid} takes events at {url}"
    assert "touchtrail_ready 1.0" in metrics
