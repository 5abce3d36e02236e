"""A sink for the clients that are compared: takes every wire they speak, counts events by their ids, can hang.

Run as a program it prints its port and serves until its standard input is closed. ``GET /count`` answers how many
different events came; ``GET /hang`` makes it take requests and never answer from then on.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
import zlib
from typing import Any, Final, cast

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BATCH_NAMES: Final = ("events", "batch", "data")
_ID_NAMES: Final = ("event_id", "messageId", "uuid", "eid")


class Sink:
    """What came so far."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.hangs = False

    def answer(self, head: bytes, body: bytes) -> bytes | None:
        """Return the answer's body; None for no answer."""
        method, path = head.split(b" ", 2)[:2]
        if method == b"GET":
            self.hangs |= path == b"/hang"
            return json.dumps(len(self.ids)).encode()
        if self.hangs:
            return None
        found = self._read(body)
        before = len(self.ids)
        self.ids.update(found)
        new = len(self.ids) - before
        return json.dumps({"accepted": new, "duplicates": len(found) - new, "rejected": []}).encode()

    def _read(self, body: bytes) -> list[str]:
        document: Any = json.loads(zlib.decompress(body, 31) if body[:2] == b"\x1f\x8b" else body)
        events: list[dict[str, str]] = next((document[name] for name in _BATCH_NAMES if name in document), [])
        return [next(event[name] for name in _ID_NAMES if name in event) for event in events]


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body_bytes = int(length[1]) if length else 0
            if len(rest) < body_bytes:
                return
            self._buffer = rest[body_bytes:]
            answer = self._sink.answer(head, rest[:body_bytes])
            if answer is not None:
                self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


async def serve(port: int) -> None:
    """Serve on the port; 0 takes a free one."""
    loop, sink, end = asyncio.get_running_loop(), Sink(), asyncio.Event()
    server = await loop.create_server(lambda: Connection(sink), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)

    def wait_for_the_end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(end.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    await end.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
