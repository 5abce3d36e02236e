"""A tiny collector for the SDK's tests: real HTTP on a free loopback port, keeps every event once by its id."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Sink(ThreadingHTTPServer):
    """Answers ``POST /v1/events`` with an ack, or with the statuses it was told to answer first."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.events: dict[str, dict[str, Any]] = {}
        self.requests: list[dict[str, str]] = []
        self.statuses: list[int] = []
        self.hangs = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Sink
    protocol_version = "HTTP/1.1"

    # Head and body of an answer are two writes: the second would wait 40 ms for the first one's acknowledgement.
    disable_nagle_algorithm = True

    def log_message(self, *args: object) -> None:
        pass

    def handle(self) -> None:
        # Clients are killed here, and let go of requests that take too long.
        with suppress(ConnectionError):
            super().handle()

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError("the client is gone")
        if self.headers.get("Content-Encoding") == "gzip":
            body = zlib.decompress(body, 31)
        batch = json.loads(body)
        with self.server.lock:
            self.server.requests.append({"path": self.path, "sent_at": batch["sent_at"], **dict(self.headers)})
            status = self.server.statuses.pop(0) if self.server.statuses else 200
            answer = self._store(batch["events"]) if status == 200 else b"no"
        if self.server.hangs.is_set():
            threading.Event().wait(30)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _store(self, events: list[dict[str, Any]]) -> bytes:
        new = {event["event_id"]: event for event in events if event["event_id"] not in self.server.events}
        self.server.events |= new
        return json.dumps({"accepted": len(new), "duplicates": len(events) - len(new), "rejected": []}).encode()


@contextmanager
def running_sink(port: int = 0) -> Iterator[Sink]:
    """A sink that serves until the block ends; ``port`` 0 takes a free one."""
    sink = Sink(port)
    thread = threading.Thread(target=sink.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        sink.shutdown()
        sink.server_close()
        thread.join()
