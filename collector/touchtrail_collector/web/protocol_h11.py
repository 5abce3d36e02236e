"""Guarded connections on h11, the parser in pure Python."""

from __future__ import annotations

from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .errors import HttpError, too_many_headers
from .framing import MAX_HEADERS
from .guard import GuardedConnection, Phase


class GuardedParser(h11.Connection):
    """h11's connection, which shows each request to the guard before anybody makes something of it.

    h11 limits headers only while they are not whole (`Connection.next_event`, max_incomplete_event_size).
    """

    def __init__(self, guard: GuardedConnection) -> None:
        limit = guard.door.settings.header_limit_bytes
        super().__init__(h11.SERVER, limit)
        self._guard = guard
        self._limit = limit

    def next_event(self) -> Any:
        """Return the next event. Raises: h11.RemoteProtocolError."""
        try:
            event = super().next_event()
            if isinstance(event, h11.Request):
                self._guard.check_headers(event.target, list(event.headers), event.http_version.decode())
        except HttpError as error:
            raise h11.RemoteProtocolError(str(error), error.status) from None
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:
                self._guard.problem = too_many_headers(self._limit, MAX_HEADERS)
            raise
        return event


class GuardedH11(GuardedConnection, H11Protocol):  # type: ignore[misc]
    """uvicorn's protocol; what it waits for is read off the parser's state."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = GuardedParser(self)
        self._seen_cycle: object = None

    def handle_events(self) -> None:
        """Handle what was parsed, then see what comes next."""
        super().handle_events()
        phase = self._phase_now()
        # A body after a body is another's, and has a deadline of its own.
        if (phase != self.phase or self.cycle is not self._seen_cycle) and not self.is_ending:
            if self.cycle is not self._seen_cycle:
                self.cycle.transport = self.lent
            self._seen_cycle = self.cycle
            self.enter(phase)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: whoever offers another protocol is served all the same, and would fill the log."""

    def _phase_now(self) -> Phase:
        if self.conn.their_state is h11.SEND_BODY:
            return "body"
        return "headers" if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0] else "nothing"
