"""A load generator in one process: many connections, each sends a request, reads the answer, sends the next."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from typing import cast

import msgspec


class Measured(msgspec.Struct):
    """What a run took. ``latencies_ms`` are sorted."""

    seconds: float
    requests: int
    failures: int
    latencies_ms: list[float]

    def quantile(self, share: float) -> float:
        """Return the latency that this share of requests stayed under."""
        return self.latencies_ms[min(int(len(self.latencies_ms) * share), len(self.latencies_ms) - 1)]


class Connection(asyncio.Protocol):
    """One keep-alive connection that works through the shared requests."""

    def __init__(self, requests: Iterator[bytes], measured: Measured, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._measured = measured
        self._done = done
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass
        self._send_next()

    def data_received(self, data: bytes) -> None:
        """Take an answer, or a piece of it."""
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        self._buffer = body[length:]
        self._measured.requests += 1
        self._measured.latencies_ms.append((time.perf_counter() - self._sent_at) * 1000)
        if not head.startswith(b"HTTP/1.1 200"):
            self._measured.failures += 1
            print(self._buffer or head + body, file=sys.stderr)
        self._send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, also when the server closed."""
        if not self._done.done():
            self._done.set_result(None)

    def _send_next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


async def _run(host: str, port: int, requests: Sequence[bytes], connections: int) -> Measured:
    loop = asyncio.get_running_loop()
    measured = Measured(0.0, 0, 0, [])
    shared = iter(requests)
    waiting = [loop.create_future() for _ in range(connections)]
    started = time.perf_counter()
    for done in waiting:
        await loop.create_connection(lambda done=done: Connection(shared, measured, done), host, port)
    await asyncio.gather(*waiting)
    measured.seconds = time.perf_counter() - started
    measured.latencies_ms.sort()
    return measured


def post(path: str, body: bytes, key: str = "") -> bytes:
    """Return a whole HTTP request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def drive(port: int, requests: Sequence[bytes], connections: int) -> Measured:
    """Send the requests over so many connections and wait for every answer."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run("127.0.0.1", port, requests, connections))
