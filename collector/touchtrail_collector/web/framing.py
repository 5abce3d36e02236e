"""Where each request on a connection ends: what came is handed to the parser one request at a time.

A parser that is given all that came makes something of every request in it at once, of thousands that were sent without
waiting for answers (pipelining, RFC 9112, section 9.3.2).
"""

from __future__ import annotations

from typing import Final

from .errors import HttpError, announced_too_large, too_many_headers
from .headers import Headers

MAX_HEADERS: Final = 100
HEADERS_END: Final = b"\r\n\r\n"

CHUNKED_PIECE_BYTES: Final = 1024
"""A chunked body's end is found by the parser alone, which finds in the same piece the requests behind it: a few."""


class Unread:
    """What came on a connection and was not given to its parser yet.

    Attributes:
        body_left: how many bytes of the present request's body were not given out; None = it is chunked.
    """

    def __init__(self) -> None:
        self.body_left: int | None = 0
        self._data = b""
        self._place = 0
        self._tail = b""

    def __len__(self) -> int:
        """Return how many bytes there are."""
        return len(self._data) - self._place

    def add(self, data: bytes) -> None:
        """Put what came behind what is there."""
        self._data = self._data[self._place :] + data if self else data
        self._place = 0

    def put_back(self, data: bytes) -> None:
        """Put what the parser did not read before what is there."""
        self._data = data + self._data[self._place :]
        self._place = 0

    def clear(self) -> None:
        """Throw everything away."""
        self._data, self._place = b"", 0

    def take(self, *, is_body: bool) -> bytes:
        """Return what goes to the parser next: no further than to the end of these headers, or of this body.

        Args:
            is_body: what the parser waits for.
        """
        start = self._place
        end = start + (self.body_left or CHUNKED_PIECE_BYTES) if is_body else self._find_headers_end()
        piece = self._data[start:end]
        if end >= len(self._data):
            self.clear()
        else:
            self._place = end
        if is_body and self.body_left:
            self.body_left -= len(piece)
        return piece

    def _find_headers_end(self) -> int:
        if not self._tail:
            found = self._data.find(HEADERS_END, self._place)
            if found >= 0:
                return found + len(HEADERS_END)
        else:  # the end's four bytes may come in two pieces
            found = (self._tail + self._data[self._place :]).find(HEADERS_END)
            if found >= 0:
                end = self._place + found + len(HEADERS_END) - len(self._tail)
                self._tail = b""
                return end
        self._tail = (self._tail + self._data[max(self._place, len(self._data) - 3) :])[-3:]
        return len(self._data)


def read_framing(target: bytes, headers: Headers, version: str, *, header_limit: int, body_limit: int) -> int | None:
    """Return the length of a request's body; None where it comes in chunks.

    Where two lengths are told, somebody between the sender and us may have believed the other one, and taken for a
    request what is a body to us, or the other way round.

    Args:
        headers: names in lower case.
        version: `1.1`.

    Raises:
        HttpError: 431 for too many or too large headers, 413 for a body that says that it is too large, 400 for one
            whose length is told in more than one way, or in one that is not understood.

    Source: RFC 9112, sections 6.1 and 6.3.
    """
    size = len(target)
    length: int | None = None
    is_chunked = False
    for name, value in headers:
        size += len(name) + len(value) + 4
        if name == b"content-length":
            length = int(value)  # both parsers refuse whatever is no number
        elif name == b"transfer-encoding":
            if is_chunked or value.strip().lower() != b"chunked" or version == "1.0":
                raise bad_framing("Transfer-Encoding can only be 'chunked', and only in HTTP/1.1")
            is_chunked = True
    if size > header_limit or len(headers) > MAX_HEADERS:
        raise too_many_headers(header_limit, MAX_HEADERS)
    if is_chunked:
        if length is not None:
            raise bad_framing("send either Content-Length or Transfer-Encoding")
        return None
    if length is not None and length > body_limit:
        raise announced_too_large(body_limit)
    return length or 0


def bad_framing(message: str) -> HttpError:
    """400: where the request ends is not clear."""
    return HttpError(400, "malformed_request", f"{message}; the connection is closed")
