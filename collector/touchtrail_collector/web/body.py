"""Reads request bodies with a bound on their size, before and after decompression."""

from __future__ import annotations

import zlib

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from .errors import HttpError, bad_body, body_too_large

GZIP_MAGIC = b"\x1f\x8b"
MAX_MEMBERS = 100
"""More than a sender that appends to a compressed file makes."""

PIECE_BYTES = 16_384
"""What is unpacked in one go: what is left after a gzip member is copied, and copying all the rest of a body of many
members took a third of a second (measured)."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return the request's body. Raises HttpError 413 as soon as more than ``limit`` bytes have come."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise body_too_large(limit)
        if not message.get("more_body", False):
            if not chunks:
                return bytes(chunk)
            chunks.append(chunk)
            return b"".join(chunks)
        chunks.append(chunk)


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Undo gzip, which is recognised by its first bytes too: some clients do not say so (protocols.md, 0).

    Raises: HttpError 400 for a damaged body, 413 for one that unpacks to more than ``limit``, 415 for another encoding.
    """
    if body[:2] == GZIP_MAGIC:
        return inflate(body, 16 + zlib.MAX_WBITS, limit)
    if encoding in (b"", b"identity", b"gzip", b"x-gzip"):
        return body
    if encoding == b"deflate":
        return inflate(body, zlib.MAX_WBITS, limit)
    raise HttpError(
        415, "unsupported_encoding", f"Content-Encoding {encoding.decode('latin-1')!r} is not supported; use gzip"
    )


def inflate(body: bytes, window_bits: int, limit: int) -> bytes:
    """Unpack at most ``limit`` bytes; what several gzip members hold is one text (RFC 1952, section 2.2)."""
    parts: list[bytes] = []
    size = members = place = 0
    while place < len(body):
        members += 1
        inflater = zlib.decompressobj(window_bits)
        while place < len(body) and not inflater.eof:
            piece = body[place : place + PIECE_BYTES]
            try:
                data = inflater.decompress(piece, limit + 1 - size)
            except zlib.error as error:
                raise bad_body("invalid_encoding", f"the compressed body is damaged: {error}") from None
            parts.append(data)
            size += len(data)
            if size > limit or members > MAX_MEMBERS:
                raise body_too_large(limit)
            place += len(piece) - len(inflater.unused_data)
        if not inflater.eof:
            raise bad_body("invalid_encoding", "the compressed body ends too early")
    return b"".join(parts)
