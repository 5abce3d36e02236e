"""Sources: how other vendors' requests and files become standard events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import msgspec


class SourceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request to a source plugin's endpoint.

    Args:
        path_params: what the path's `{placeholders}` held.
        query: query parameters, the last one of a repeated name.
        headers: header names in lower case.
        body: decompressed: gzip is undone whether the header says so or only the bytes do.
        received_at: UTC milliseconds.
    """

    method: str
    path: str
    path_params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    received_at: int


class SourceReject(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a request or file that could not be turned into an event; it goes to quarantine."""

    code: str
    message: str
    field: str | None = None
    raw: bytes = b""


class SourceEvents(msgspec.Struct, frozen=True, kw_only=True):
    """What a request brought.

    Args:
        key: the write key the request carries; the collector checks it.
        events: standard events in wire form (`contracts`: event_id, name, occurred_at, …), or rejects.
        sent_at: RFC 3339, the sender's clock when it sent; None = not told.
    """

    key: str | None
    events: tuple[Mapping[str, Any] | SourceReject, ...]
    sent_at: str | None = None


class SourceAck(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request's events, for the vendor's manner of answering."""

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0


class SourceResponse(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer in the vendor's manner."""

    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}


class SourceRefusal(Exception):
    """Raised by ``Endpoint.read`` when the request as a whole cannot be read; ``response`` is what the client gets."""

    def __init__(self, response: SourceResponse, *, code: str, message: str) -> None:
        super().__init__(message)
        self.response = response
        self.code = code
        self.message = message


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One of a vendor's paths.

    Args:
        path: Starlette's notation, `/v1/track` or `/v1/projects/{key}/settings`; both it and the same with a
            slash at the end are answered.
        read: request to events; raises `SourceRefusal` for a body that cannot be read.
        answer: what the client gets once the events are committed; told what became of them and of which request.
        unauthorized: what the client gets when the write key is missing, unknown or revoked.
        find_key: the write key as far as headers, path and query tell, of a request whose body is not read yet and is
            empty here; who shows an unknown one there is answered without its body being read. None, also as an
            answer = only the body tells.
    """

    path: str
    read: Callable[[SourceRequest], SourceEvents]
    answer: Callable[[SourceAck, SourceRequest], SourceResponse]
    unauthorized: SourceResponse
    methods: tuple[str, ...] = ("POST",)
    find_key: Callable[[SourceRequest], str | None] | None = None


class FileEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One standard event (wire form) read from a file, with the line it came from."""

    event: Mapping[str, Any]
    line: int


class FileProblem(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a file that could not be read.

    Args:
        line: counted from 1, the header is line 1.
        column: the column's name as the header gives it, where one is at fault.
    """

    line: int
    message: str
    column: str | None = None
    raw: bytes = b""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A way in: HTTP endpoints of a vendor's client, or files, or both.

    Args:
        name: as on the command line, `touchtrail import csv FILE`.
        read_file: yields events and problems line by line, without holding the file in memory. ``options``
            are the command line's `--option name=value`.
        read_reject: reads one item that was rejected (`SourceReject.raw`) again, perhaps repaired meanwhile; None =
            its rejects are not replayed but corrected where they came from. The event's id must follow from the item.
    """

    name: str
    endpoints: tuple[Endpoint, ...] = ()
    read_file: Callable[[BinaryIO, Mapping[str, str]], Iterator[FileEvent | FileProblem]] | None = None
    read_reject: Callable[[bytes], Mapping[str, Any] | SourceReject] | None = None
