"""A client that sends any bytes and reads what comes back: fast on a kept connection, and never in the way."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any

import msgspec


class Answer(msgspec.Struct, frozen=True):
    """One HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body decoded."""
        return msgspec.json.decode(self.body)


class NoAnswer(Exception):
    """The connection ended, or nothing came, before an answer was whole."""


class RawClient:
    """One connection at a time to a server on this machine; a new one where the server closed the last.

    Attributes:
        sent: how many requests were answered.
    """

    def __init__(self, port: int, *, timeout_s: float = 10) -> None:
        self._port = port
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._left = b""
        self.sent = 0

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._left = None, b""

    def post(self, target: bytes, body: bytes, headers: bytes = b"") -> Answer:
        """Send a body with its right length."""
        head = b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n%b\r\n" % (target, len(body), headers)
        return self.ask(head + body)

    def ask(self, request: bytes, *, is_head: bool = False, alone: bool = False) -> Answer:
        """Send bytes and return the first answer.

        Args:
            is_head: the answer has no body, whatever its length says.
            alone: on a connection of its own, because what is sent may be more or less than one request.

        Raises: NoAnswer.
        """
        if alone:
            self.close()
        answer = self._ask(request, is_head)
        self.sent += 1
        if alone or answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def _ask(self, request: bytes, is_head: bool) -> Answer:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=self._timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(request)
            return self._read(is_head)
        except (OSError, NoAnswer) as error:
            self.close()
            raise NoAnswer(f"{type(error).__name__} {error} after {request[:300]!r}") from None

    def _read(self, is_head: bool) -> Answer:
        while True:
            head = self._until(b"\r\n\r\n")
            first, *lines = head[:-4].decode("latin-1").split("\r\n")
            status = int(first.split(" ", 2)[1])
            if status >= 200:
                break
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        if is_head or status in (204, 304):
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, self._chunks())
        if "content-length" not in headers:
            return Answer(status, headers, self._rest())
        return Answer(status, headers, self._exactly(int(headers["content-length"])))

    def _more(self) -> bool:
        assert self._socket is not None
        data = self._socket.recv(65_536)
        self._left += data
        return bool(data)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._left:
            if not self._more():
                raise NoAnswer(f"the connection ended after {self._left[:100]!r}")
        head, _, self._left = self._left.partition(mark)
        return head + mark

    def _exactly(self, size: int) -> bytes:
        while len(self._left) < size:
            if not self._more():
                raise NoAnswer(f"the connection ended {size - len(self._left)} bytes early")
        body, self._left = self._left[:size], self._left[size:]
        return body

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self._until(b"\r\n"), 16):
            parts.append(self._exactly(size))
            self._until(b"\r\n")
        self._until(b"\r\n")
        return b"".join(parts)

    def _rest(self) -> bytes:
        while self._more():
            pass
        body, self._left = self._left, b""
        return body
