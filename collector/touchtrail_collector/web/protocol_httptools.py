"""Guarded connections on httptools, the fast parser."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import httptools
from uvicorn.protocols.http.httptools_impl import HEADER_VALUE_RE, STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from .guard import GuardedConnection
from .headers import ANSWER_AT_ONCE, Headers

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application


def answer_at_once(cycle: RequestResponseCycle, head: bytes, headers: Headers, body: bytes) -> bool:
    """Answer 200 with one system call, which is most of what an answer costs; uvicorn makes two.

    Returns False where the ordinary way has to be gone: the other end is gone or does not read, a header cannot be
    sent, or the answer is to be logged.

    Args:
        head: header lines that are always the same.
        headers: those that are not, without the body's length.
    """
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
        return False
    if cycle.access_log or cycle.default_headers or any(HEADER_VALUE_RE.search(value) for _, value in headers):
        return False
    lines = [b"%b: %b\r\n" % header for header in headers]
    lines.append(b"content-length: %d\r\n" % len(body))
    lines.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(b"".join((STATUS_LINE[200], head, *lines, body)))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def new_parser(protocol: HttpToolsProtocol) -> httptools.HttpRequestParser:
    """Return a parser that is lenient where uvicorn's own is."""
    parser = httptools.HttpRequestParser(protocol)
    with suppress(AttributeError):  # httptools before 0.6.3
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


class GuardedHttpTools(GuardedConnection, HttpToolsProtocol):  # type: ignore[misc]
    """uvicorn's protocol, with the parser's events told to the guard.

    Who offers another protocol with a request (Java's own client offers HTTP/2 with its first) is answered as if he had
    not, which RFC 9110, section 7.8, allows. The parser however takes the request's body for the other protocol: so
    a new one is told where the body ends, without the offer. The old one reads no further at all where the connection
    is to end with this request.
    """

    _answering: RequestResponseCycle | None = None
    _is_offered = False
    """True from the end of headers with such an offer until the parser knows of the body."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        cycle.transport = self.lent
        cycle.scope[ANSWER_AT_ONCE] = partial(answer_at_once, cycle)  # type: ignore[typeddict-unknown-key]
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered; uvicorn tells the latest, which of pipelined ones is another."""
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins; the first one of a connection, and one that came alone, have begun to be waited for."""
        if self.phase != "headers" and not self._is_offered:
            self.enter("headers")
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The headers are whole; too many of them end here, before anything is made of the request."""
        if self._is_offered:
            return
        self.check_headers(self.url, self.headers, self.parser.get_http_version())
        self.enter("body")
        super().on_headers_complete()
        self._is_offered = self.parser.should_upgrade() and self.unread.body_left != 0

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._is_offered:
            return
        self.enter("nothing")
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Called where the parser stopped behind headers with an offer, ready for a new request."""
        stopped = sys.exception()
        assert isinstance(stopped, httptools.HttpParserUpgrade)
        self.unread.put_back(self.piece[stopped.args[0] :])
        if self._is_offered:
            length = self.unread.body_left
            framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
            self.parser = new_parser(self)
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
            self._is_offered = False
