"""Headers of answers: what browsers are told not to do with them, and whether another origin may read them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.types import Scope

CONTENT_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
"""Of everything but pages: JSON that a browser takes for a page loads nothing, runs nothing and is in no frame."""

SECURITY_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": CONTENT_POLICY,
}
RAW_SECURITY_HEADERS: Final = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

PREFLIGHT_SECONDS: Final = 7200

Headers = list[tuple[bytes, bytes]]

ANSWER_AT_ONCE: Final = "touchtrail.answer_at_once"
"""Where an ASGI scope has the function that writes an answer 200 whole, on servers that can (`protocol_httptools`)."""


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """Return a header of a raw ASGI scope, b"" when it is not there."""
    for key, value in headers:
        if key == name:
            return value
    return b""


def header_list(headers: Headers, name: bytes) -> bytes:
    """Return a header that may come in several lines as the one line it means, b"" when it is not there.

    Source: RFC 9110, section 5.3.
    """
    return b", ".join([value for key, value in headers if key == name])


def cross_origin(scope: Scope) -> Headers:
    """Return the headers that let a page of another origin read the answer: its own origin, mirrored.

    `*` is not enough: some vendors' trackers send credentials (protocols.md, 0).
    """
    origin = header(scope["headers"], b"origin")
    if not origin:
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"retry-after"),
        (b"vary", b"Origin"),
    ]


def preflight_headers(scope: Scope) -> Headers:
    """Return the answer to a browser's question whether a page may send here with these headers."""
    wanted = header(scope["headers"], b"access-control-request-headers") or b"content-type, authorization"
    return [
        *cross_origin(scope),
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", wanted),
        (b"access-control-max-age", str(PREFLIGHT_SECONDS).encode()),
    ]
