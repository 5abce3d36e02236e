"""Reads request bodies with a bound on their size, before and after decompression."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from ..domain.batch import drain
from .errors import HttpError, bad_body, body_too_large, too_many_members
from .headers import Headers, header, header_list
from .slow_lane import SlowLane

GZIP_MAGIC: Final = b"\x1f\x8b"
GZIP_BITS: Final = 16 + zlib.MAX_WBITS
MAX_MEMBERS: Final = 100
"""More than a sender that appends to a compressed file makes."""

PIECE_BYTES: Final = 16_384
"""What is unpacked in one go: what is left after a gzip member is copied, and copying all the rest of a body of many
members took a third of a second (measured)."""

UNPACKED_BYTES: Final = 524_288
"""After so much others have their turn: a millisecond or two, where a whole body takes twenty (measured)."""

TooLarge = Callable[[int], HttpError]
"""Makes the error of a body that has more bytes than it is given."""

Unpacking = Generator[None, None, bytes]
"""A body that is being unpacked: gives way after each slice, returns it whole."""


async def read_body(
    receive: Receive,
    limit: int,
    headers: Iterable[tuple[bytes, bytes]] = (),
    too_large: TooLarge = body_too_large,
) -> bytes:
    """Return the request's body. Raises HttpError 413 as soon as it is known that it has more than ``limit`` bytes.

    Args:
        headers: of the request; what they say is too large is not waited for, and its sender not told to go on.
        too_large: says what to do in words that fit this path.
    """
    declared = header(headers, b"content-length")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body", False):
            if not chunks:
                return bytes(chunk)
            chunks.append(chunk)
            return b"".join(chunks)
        chunks.append(chunk)


async def read_content(receive: Receive, limit: int, headers: Headers, lane: SlowLane) -> bytes:
    """Return the request's body unpacked; others have their turn while a large one is.

    Raises: HttpError as `read_body` and `decompress` do.
    """
    body = await read_body(receive, limit, headers)
    encoding = header_list(headers, b"content-encoding")
    if not encoding and body[:2] != GZIP_MAGIC:
        return body
    return await lane.run(unpack(body, encoding, limit))


def decompress(body: bytes, encoding: bytes, limit: int, too_large: TooLarge = body_too_large) -> bytes:
    """Undo gzip, which is recognised by its first bytes too: some clients do not say so (protocols.md, 0).

    Args:
        encoding: what Content-Encoding says, several of its lines as one.

    Raises: HttpError 400 for a damaged body, 413 for one that unpacks to more than ``limit`` or has too many members,
        415 for another encoding, or for more than one.
    """
    return drain(unpack(body, encoding, limit, too_large))


def unpack(body: bytes, encoding: bytes, limit: int, too_large: TooLarge = body_too_large) -> Unpacking:
    """Do the same in slices."""
    codings = [coding for part in encoding.split(b",") if (coding := part.strip().lower()) not in (b"", b"identity")]
    if len(codings) > 1:
        raise unsupported(encoding)
    if body[:2] == GZIP_MAGIC:
        return (yield from inflate(body, GZIP_BITS, limit, too_large))
    if codings == [b"deflate"]:
        return (yield from inflate(body, zlib.MAX_WBITS, limit, too_large))
    if codings in ([], [b"gzip"], [b"x-gzip"]):
        return body
    raise unsupported(encoding)


def unsupported(encoding: bytes) -> HttpError:
    """415: an encoding that is not undone here."""
    name = encoding[:100].decode("latin-1")
    return HttpError(415, "unsupported_encoding", f"Content-Encoding {name!r} is not supported; use gzip, once")


def inflate(body: bytes, window_bits: int, limit: int, too_large: TooLarge) -> Unpacking:
    """Unpack at most ``limit`` bytes; what several gzip members hold is one text (RFC 1952, section 2.2)."""
    parts: list[bytes] = []
    size = members = place = 0
    while place < len(body):
        members += 1
        if members > MAX_MEMBERS:
            raise too_many_members(MAX_MEMBERS)
        inflater = zlib.decompressobj(window_bits)
        rest = b""
        while not inflater.eof and (rest or place < len(body)):
            piece = rest or body[place : place + PIECE_BYTES]
            place += 0 if rest else len(piece)
            try:
                data = inflater.decompress(piece, min(UNPACKED_BYTES, limit + 1 - size))
            except zlib.error as error:
                raise bad_body("invalid_encoding", f"the compressed body is damaged: {error}") from None
            parts.append(data)
            size += len(data)
            if size > limit:
                raise too_large(limit)
            rest = inflater.unconsumed_tail
            if len(data) == UNPACKED_BYTES:
                yield
        place -= len(inflater.unused_data)
        if not inflater.eof:
            raise bad_body("invalid_encoding", "the compressed body ends too early")
    return b"".join(parts)
