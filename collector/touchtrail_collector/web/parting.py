"""How much is read of a connection, and how it is ended: by its guard, not by whoever answers on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sized
from http import HTTPStatus
from typing import Any, Final, Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from .errors import HttpError
from .headers import Headers

PROGRESS_BYTES: Final = 65_536
"""Whoever reads so much of an answer within its deadline is given another one: slow lines are no attack."""


class Cycle(Protocol):
    """One request and its answer, as both of uvicorn's protocols have it."""

    disconnected: bool
    keep_alive: bool
    more_body: bool
    response_started: bool
    response_complete: bool
    message_event: asyncio.Event
    transport: asyncio.Transport


class PatientFlow(FlowControl):
    """Flow control that reads no further while something that came waits.

    uvicorn reads on after each answer, and so gathers more requests than it answers: gigabytes of them from a client
    that sends and never reads.

    Args:
        waiting: empty as long as nothing waits.
    """

    def __init__(self, transport: asyncio.Transport, *waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def pause_reading(self) -> None:
        """Read no further; uvicorn sometimes reads on without telling its flow control (`H11Protocol`)."""
        self.read_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, unless something waits."""
        if not any(self._waiting):
            super().resume_reading()


class LentTransport(asyncio.Transport):
    """A connection's transport as those have it that answer: to close it is a request to its guard.

    To close a socket with something unread in it is to reset the connection, which throws the answer away that the
    other end has not read yet (RFC 9112, section 9.6).

    Args:
        close: is called instead of closing.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        super().__init__()
        self._transport = transport
        self._close = close

    def write(self, data: Any) -> None:
        """Send."""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """True when nothing can be sent any more."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Ask the guard to end the connection."""
        self._close()


class Outflow:
    """Notices who does not read what it is sent."""

    def __init__(self) -> None:
        self._since: tuple[float, int] | None = None

    def is_stuck(self, left_bytes: int, now: float, allowed_s: float) -> bool:
        """True when too little was read for too long.

        Args:
            left_bytes: what was written and not taken yet.
            now: by the loop's clock.
            allowed_s: how long `PROGRESS_BYTES`, or the last of an answer, may take.
        """
        if not left_bytes:
            self._since = None
        elif self._since is None or self._since[1] - left_bytes >= PROGRESS_BYTES:
            self._since = (now, left_bytes)
        else:
            since, most = self._since
            self._since = (since, max(most, left_bytes))
            return now - since > allowed_s
        return False


def as_http(error: HttpError, headers: Headers) -> bytes:
    """Return an error as the bytes of an HTTP answer that ends its connection.

    Args:
        headers: sent besides the error's own.
    """
    answer = error.response()
    lines = [f"HTTP/1.1 {answer.status_code} {HTTPStatus(answer.status_code).phrase}".encode()]
    lines += [name + b": " + value for name, value in (*answer.raw_headers, *headers)]
    return b"\r\n".join([*lines, b"connection: close", b"", bytes(answer.body)])
