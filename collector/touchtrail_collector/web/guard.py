"""HTTP connections that do not wait for ever: deadlines, limits and JSON errors around uvicorn's protocols.

Middleware sees a request when its headers are whole, which is too late for whoever never finishes them. So the
protocols themselves are extended, by a class in front of each (`protocol_httptools`, `protocol_h11`).
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final, Literal, Protocol

from .connections import DOOR_STATE, LINGER_S, Door, Reason
from .errors import (
    HttpError,
    malformed_request,
    request_timeout,
    too_many_connections,
    too_many_headers,
    unavailable,
)

Phase = Literal["nothing", "headers", "body"]

MAX_HEADERS: Final = 100
PROGRESS_BYTES: Final = 65_536
"""Whoever reads so much of an answer within its deadline is given another one: slow lines are no attack."""

DRAIN_BYTES: Final = 2_000_000
"""What is thrown away between two looks of the door: an endless body would keep the event loop to itself (measured)."""


class Cycle(Protocol):
    """One request and its answer, as both of uvicorn's protocols have it."""

    disconnected: bool
    keep_alive: bool
    more_body: bool
    response_started: bool
    response_complete: bool
    message_event: asyncio.Event


class GuardedConnection(asyncio.Protocol):
    """What goes in front of a protocol of uvicorn's: knows what is being waited for, and since when.

    A subclass names the door and says when a request's headers and body begin and end (`enter`).
    """

    door: Door
    app_state: dict[str, Any]
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    client: tuple[str, int] | None
    cycle: Any
    flow: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app_state[DOOR_STATE] = self.door
        self.address = ""
        self.phase: Phase = "nothing"
        self.waits_since = 0.0
        self.problem: HttpError | None = None
        self._deadline = 0.0
        self._header_bytes = 0
        self._drained_bytes = 0
        self._has_spoken = False
        self._is_new_phase = False
        self.is_ending = False
        self._unread: tuple[float, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the connection in, or say that there is no room."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self.enter("headers")
        self._begin_waiting()
        if not self.door.admit(self, self.loop):
            self.refuse(too_many_connections(), "crowded")

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place free."""
        self.door.left(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand what came to the parser; what comes after the end is thrown away."""
        if self._is_drained:
            self._drain(len(data))
        if self.is_ending:
            return
        if self.phase == "nothing":
            self.enter("headers")
        self._has_spoken = True
        self._header_bytes += len(data)
        super().data_received(data)
        if self.phase == "nothing" or self.is_ending:
            return
        self._begin_waiting()
        limit = self.door.settings.header_limit_bytes
        if self.phase == "headers" and self._header_bytes > limit:
            self.refuse(too_many_headers(limit, MAX_HEADERS), "large_headers")

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has said nothing since its last answer."""
        if not self.transport.is_closing():
            self.door.tally.cut("idle")
        super().timeout_keep_alive_handler()  # type: ignore[misc]

    def on_response_complete(self) -> None:
        """Wait for the next request; who still sends the body of one that was answered is not heard for long."""
        super().on_response_complete()  # type: ignore[misc]
        if self.phase == "nothing":
            self.waits_since = self.loop.time()
            return
        self._begin_waiting()
        if self.phase == "body" and self.cycle.response_complete:
            self._deadline = min(self._deadline, self.loop.time() + LINGER_S)

    def enter(self, phase: Phase) -> None:
        """Note that headers, a body, or nothing that has a deadline is waited for from now on."""
        self.phase = phase
        self._is_new_phase = True
        if phase == "headers":
            self._header_bytes = 0

    def _begin_waiting(self) -> None:
        """Set the deadline of what is waited for; a request that comes in one piece never needs one."""
        if self._is_new_phase:
            self._is_new_phase = False
            settings = self.door.settings
            self.waits_since = self.loop.time()
            allowed_s = settings.headers_timeout_s if self.phase == "headers" else settings.body_timeout_s
            self._deadline = self.waits_since + allowed_s

    def check_headers(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Refuse headers that are too many or too large. Raises: HttpError."""
        limit = self.door.settings.header_limit_bytes
        size = len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
        if size > limit or len(headers) > MAX_HEADERS:
            self.problem = too_many_headers(limit, MAX_HEADERS)
            raise self.problem

    @property
    def is_idle(self) -> bool:
        """True while nothing is under way: between two requests, or before the first byte."""
        if self.phase == "headers":
            return not self._has_spoken
        is_answered = self.cycle is None or self.cycle.response_complete
        return self.phase == "nothing" and is_answered and not self.transport.get_write_buffer_size()

    @property
    def is_sending(self) -> bool:
        """True while a request is coming in."""
        return self.phase != "nothing"

    @property
    def _is_drained(self) -> bool:
        """True while what comes is thrown away: after the end, or the rest of a body that was answered already."""
        return self.is_ending or (self.phase == "body" and self.cycle.response_complete)

    def _drain(self, size: int) -> None:
        self._drained_bytes += size
        if self._drained_bytes >= DRAIN_BYTES:
            self.flow.pause_reading()

    def look(self, now: float) -> None:
        """Cut the connection off when it is past a deadline."""
        if self._drained_bytes:
            self._drained_bytes = 0
            self.flow.resume_reading()
        if self.is_ending:
            if now > self._deadline:
                self.abort()
        elif self._reads_too_slowly(now):
            self.door.tally.cut("slow_reader")
            self.abort()
        elif self.phase != "nothing" and self.flow.read_paused:
            # That we read no further is not the sender's fault: it gets time again when we do.
            self._deadline = max(self._deadline, now + LINGER_S)
        elif self.phase != "nothing" and now > self._deadline:
            self._time_out()

    def make_room(self) -> None:
        """Go: somebody else needs the place."""
        if self.is_idle:
            self.door.tally.cut("crowded")
            self.transport.close()
        else:
            self.refuse(too_many_connections(), "crowded")

    def turn_away(self) -> None:
        """Have whoever is still sending a request come again: the collector stops."""
        if self.phase != "nothing" and not self.is_ending:
            self.refuse(unavailable("the collector is stopping"), "stopping")

    def abort(self) -> None:
        """Go at once, without a word."""
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser could not read, in our form instead of uvicorn's plain text."""
        if self.problem is None:
            self.refuse(malformed_request(), "malformed")
        else:
            self.refuse(self.problem, "large_headers")

    def refuse(self, error: HttpError, reason: Reason) -> None:
        """Answer the request that is coming in with an error and end the connection."""
        self.door.tally.cut(reason)
        cycle: Cycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            if getattr(self, "pipeline", None):  # answers of earlier requests are owed first, in whatever state
                self.abort()
                return
            if not cycle.more_body:  # this one came whole: it is answered, what follows it is not
                self.is_ending = True
                self._deadline = self.loop.time() + self.door.settings.answer_timeout_s
                cycle.keep_alive = False
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.abort()
                return
        self._end_with(error)

    def _time_out(self) -> None:
        settings = self.door.settings
        if not self._has_spoken:
            self.door.tally.cut("silent")
            self.transport.close()
        elif self.phase != "body":
            self.refuse(request_timeout("headers", settings.headers_timeout_s), "slow_headers")
        elif self.cycle.response_complete:
            self.door.tally.cut("late_body")
            self.abort()
        else:
            self.refuse(request_timeout("body", settings.body_timeout_s), "slow_body")

    def _end_with(self, error: HttpError) -> None:
        """Write the last words, then wait a moment for the other end to have read them (RFC 9112, section 9.6)."""
        self.is_ending = True
        self._deadline = self.loop.time() + LINGER_S
        self.door.show_out(self, self.loop)
        if self.transport.is_closing():
            return
        self.door.tally.answer(error.status)
        self.transport.write(as_http(error))
        self.transport.write_eof()
        self.flow.resume_reading()

    def _reads_too_slowly(self, now: float) -> bool:
        left = self.transport.get_write_buffer_size()
        if not left:
            self._unread = None
        elif self._unread is None or self._unread[1] - left >= PROGRESS_BYTES:
            self._unread = (now, left)
        else:
            since, most = self._unread
            self._unread = (since, max(most, left))
            return now - since > self.door.settings.answer_timeout_s
        return False


def as_http(error: HttpError) -> bytes:
    """Return an error as the bytes of an HTTP answer that ends its connection."""
    answer = error.response()
    lines = [f"HTTP/1.1 {answer.status_code} {HTTPStatus(answer.status_code).phrase}".encode()]
    lines += [name + b": " + value for name, value in answer.raw_headers]
    return b"\r\n".join([*lines, b"connection: close", b"", bytes(answer.body)])
