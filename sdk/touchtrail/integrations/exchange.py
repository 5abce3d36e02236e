"""What a framework hands over: the facts of a request, and those of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class HttpRequest(NamedTuple):
    """A request as the framework has it, nothing checked or trusted yet.

    Args:
        method: `GET`, upper case.
        scheme: `http` or `https`, of the connection itself.
        host: the `Host` header, with a port where there is one.
        path: with the percent escapes undone, as every framework gives it, and with the part an app is mounted at.
        query: as it was sent, without the `?`.
        headers: by lower-case name; repeated ones joined by `, `, those of `cookie` by `; `.
        peer: the address that connected to the server; None for a Unix socket.
    """

    method: str
    scheme: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]
    peer: str | None


class HttpAnswer(NamedTuple):
    """The head of an answer; a header that is not there is an empty text."""

    status: int
    content_type: str = ""
    cache_control: str = ""
    location: str = ""


NO_REQUEST = HttpRequest("", "", "", "", "", {}, None)
