"""HTTP connections that do not wait for ever: deadlines, limits and JSON errors around uvicorn's protocols.

Middleware sees a request when its headers are whole, which is too late for whoever never finishes them. So the
protocols themselves are extended, by a class in front of each (`protocol_httptools`, `protocol_h11`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Final, Literal

from .connections import DOOR_STATE, LINGER_S, Door, Reason
from .errors import (
    HttpError,
    body_ended_early,
    malformed_request,
    request_timeout,
    too_many_connections,
    too_many_headers,
    unavailable,
)
from .framing import MAX_HEADERS, Unread, read_framing
from .headers import Headers, cross_origin
from .parting import Cycle, LentTransport, Outflow, PatientFlow, as_http

Phase = Literal["nothing", "headers", "body"]

PROBLEMS: Final[dict[int, Reason]] = {413: "large_body", 431: "large_headers"}
"""What a request is refused for by its headers alone; the rest is `malformed`."""

DRAIN_BYTES: Final = 2_000_000
"""What is thrown away between two looks of the door: an endless body would keep the event loop to itself (measured)."""


class GuardedConnection(asyncio.Protocol):
    """What goes in front of a protocol of uvicorn's: knows what is being waited for, and since when.

    The parser is given one request at a time; whoever sends the next before the answer waits, unread.

    A subclass names the door and says when a request's headers and body begin and end (`enter`).
    """

    door: Door
    app_state: dict[str, Any]
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    client: tuple[str, int] | None
    cycle: Any
    flow: PatientFlow
    timeout_keep_alive: int
    timeout_keep_alive_task: asyncio.TimerHandle | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app_state[DOOR_STATE] = self.door
        self.address = ""
        self.phase: Phase = "nothing"
        self.waits_since = 0.0
        self.problem: HttpError | None = None
        self.lent: LentTransport
        self.unread = Unread()
        self.piece = b""  # what the parser is being given
        # Requests that the parser found behind the one that is being answered; h11 finds none.
        self.waiting: Collection[object] = getattr(self, "pipeline", ())
        self.is_ending = False
        self._last_words: HttpError | None = None
        self._mirrored: Headers = []
        self._deadline = 0.0
        self._header_bytes = 0
        self._announced_bytes: int | None = 0
        self._drained_bytes = 0
        self._has_spoken = False
        self._has_ended = False
        self._is_new_phase = False
        self._outflow = Outflow()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the connection in, or say that there is no room."""
        super().connection_made(transport)
        self.flow = PatientFlow(self.transport, self.unread, self.waiting)
        self.lent = LentTransport(self.transport, self.leave)
        self.address = self.client[0] if self.client else ""
        self.enter("headers")
        self._begin_waiting()
        if not self.door.admit(self, self.loop):
            self.refuse(too_many_connections(), "crowded")

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place free."""
        self.is_ending = True
        self.unread.clear()
        self.door.left(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand what came to the parser, request by request; what comes after the end is thrown away."""
        if self._is_drained:
            self._drain(len(data))
        if not self.is_ending:
            self.unread.add(data)
            self._parse()

    def eof_received(self) -> bool:
        """Answer what came whole, and say of a body that it did not; who sends no more may still read."""
        self._has_ended = True
        if not self._owes_answer:
            self._refuse_half_body()
        return self._owes_answer

    @property
    def _owes_answer(self) -> bool:
        """True while a request that came whole is not answered."""
        cycle: Cycle | None = self.cycle
        return bool(self.waiting) or (cycle is not None and not cycle.more_body and not cycle.response_complete)

    def _refuse_half_body(self) -> None:
        if self.phase == "body" and not self._is_drained:
            announced, left = self._announced_bytes, self.unread.body_left
            self.refuse(body_ended_early((announced or 0) - (left or 0), announced), "half_body")

    def _parse(self) -> None:
        while self.unread and not self.is_ending and not self._owes_answer:
            if self.phase == "nothing":
                self.enter("headers")
            self._has_spoken = True
            self.piece = self.unread.take(is_body=self.phase == "body")
            self._header_bytes += len(self.piece)
            super().data_received(self.piece)
            self.piece = b""
            if self.is_ending:
                return
            if self.phase != "nothing":
                self._begin_waiting()
                self._check_header_bytes()
            elif self.cycle.response_complete:  # the end of a body that was answered before
                self._idle()
        if self.unread:
            self.flow.pause_reading()

    def _idle(self) -> None:
        """Have the connection closed when nothing follows; uvicorn only does so after an answer."""
        self.waits_since = self.loop.time()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _check_header_bytes(self) -> None:
        limit = self.door.settings.header_limit_bytes
        if self.phase == "headers" and self._header_bytes > limit:
            self.refuse(too_many_headers(limit, MAX_HEADERS), "large_headers")

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has said nothing since its last answer."""
        if not self.transport.is_closing():
            self.door.tally.cut("idle")
        super().timeout_keep_alive_handler()  # type: ignore[misc]

    def on_response_complete(self) -> None:
        """Go on with the next request; who still sends the body of one that was answered is not heard for long."""
        if self.is_ending and not (self._last_words and self.waiting):
            if self._last_words:
                self._linger(self._last_words)
            return
        super().on_response_complete()  # type: ignore[misc]
        if self.transport.is_closing():
            return
        if self.phase == "nothing":
            self.waits_since = self.loop.time()
        else:
            self._begin_waiting()
            if self.phase == "body" and self.cycle.response_complete:
                self._deadline = min(self._deadline, self.loop.time() + LINGER_S)
        if self.unread:
            self._parse()
        self.flow.resume_reading()
        if self._has_ended and not self._owes_answer:
            self._refuse_half_body()
            self.leave()

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

    def check_headers(self, target: bytes, headers: Headers, version: str) -> None:
        """Learn where the request ends. Raises HttpError where its headers alone are reason to refuse it."""
        settings = self.door.settings
        try:
            self._announced_bytes = self.unread.body_left = read_framing(
                target, headers, version, header_limit=settings.header_limit_bytes, body_limit=settings.body_limit_bytes
            )
        except HttpError as error:
            self.problem = error
            self._mirrored = cross_origin({"headers": headers})
            raise

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
        left = self.transport.get_write_buffer_size()
        if self._outflow.is_stuck(left, now, self.door.settings.answer_timeout_s):
            self.door.tally.cut("slow_reader")
            self.abort()
        elif self.is_ending:
            if left:  # the moment to listen begins when the answer is out
                self._deadline = max(self._deadline, now + LINGER_S)
            elif now > self._deadline:
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

    def shutdown(self) -> None:
        """Go, or after the answer that is owed: the collector stops.

        uvicorn's own would raise for a request that was refused without its parser's knowing, and end all with it.
        """
        if self.is_ending:  # within a moment by itself
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif self._is_drained:
            self._linger()
        else:
            self.transport.close()

    def abort(self) -> None:
        """Go at once, without a word."""
        self.transport.abort()

    def leave(self) -> None:
        """End the connection after its last answer, for whoever is still sending by and by."""
        if self.transport.is_closing() or (self.is_ending and self._last_words is None):
            return
        if self.phase == "nothing" and not self.unread:
            self.transport.close()
        else:
            self._linger()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser could not read, in our form instead of uvicorn's plain text."""
        error = self.problem or malformed_request()
        self.door.refusals.tell(self.client, error)
        self.refuse(error, PROBLEMS.get(error.status, "malformed"))

    def refuse(self, error: HttpError, reason: Reason) -> None:
        """Answer the request that is coming in with an error and end the connection."""
        self.door.tally.cut(reason)
        cycle: Cycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            self._linger(error)
        elif not cycle.more_body:  # this one came whole before: its answer is owed first
            self.is_ending = True
            self.unread.clear()
            self._last_words = error
            self._deadline = self.loop.time() + self.door.settings.answer_timeout_s
        elif self.waiting or cycle.response_started:
            self.abort()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._linger(error)

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

    def _linger(self, error: HttpError | None = None) -> None:
        """Say that nothing more comes, and wait a moment for the other end to have read it (RFC 9112, section 9.6)."""
        self.is_ending = True
        self._last_words = None
        self.unread.clear()
        self._deadline = self.loop.time() + LINGER_S
        self.door.show_out(self, self.loop)
        if self.transport.is_closing():
            return
        if error is not None:
            self.door.tally.answer(error.status)
            self.transport.write(as_http(error, self._mirrored))
        if self._has_ended:
            self.transport.close()
        else:
            self.transport.write_eof()
            self.flow.resume_reading()
