"""The cookie of a dashboard session, and what a request tells of where it comes from."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from .headers import header
from .hosts import bare_name, is_loopback

NAME: Final = "touchtrail_session"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def is_confidential(scope: Scope) -> bool:
    """True where nobody on the way can read along: over TLS, or inside this machine.

    A browser's Host header is the address it was told to open; a proxy's word about TLS counts where it is trusted.
    """
    host = header(scope["headers"], b"host").decode("latin-1")
    return scope["scheme"] == "https" or is_loopback(bare_name(host))


def cookie_name(scope: Scope) -> str:
    """Return the cookie's name: `__Host-touchtrail_session` over TLS, and with the port where the address has one.

    Cookies know no ports: without it a second collector on the same machine would sign out of the first one.

    Source: RFC 6265bis, section 4.1.3.2: what begins with `__Host-` comes over TLS from this very host, or not at all.
    """
    prefix = "__Host-" if scope["scheme"] == "https" else ""
    _, colon, port = header(scope["headers"], b"host").decode("latin-1").rpartition(":")
    return f"{prefix}{NAME}{f'_{port}' if colon and port.isascii() and port.isdigit() else ''}"


def read_cookie(scope: Scope) -> str | None:
    """Return the session's token a request carries, None where it carries none or anybody could have read it."""
    if not is_confidential(scope):
        return None
    wanted = cookie_name(scope)
    for pair in header(scope["headers"], b"cookie").decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == wanted:
            return value or None
    return None


def write_cookie(scope: Scope, token: str | None) -> str:
    """Return the Set-Cookie header that keeps a token until the browser is closed; None = forget it."""
    secure = "; Secure" if scope["scheme"] == "https" else ""
    end = "; Max-Age=0" if token is None else ""
    return f"{cookie_name(scope)}={token or ''}; Path=/; HttpOnly; SameSite=Strict{secure}{end}"


def is_same_origin(scope: Scope) -> bool | None:
    """Return whether a page of this very origin sent the request; None where the sender says nothing of it.

    Scripts can set neither header. Sec-Fetch-Site comes first: our pages send no referrer, with that `Origin: null`.

    Source: W3C Fetch Metadata, section 2.3; the Fetch standard, section 3.2.
    """
    site = header(scope["headers"], b"sec-fetch-site")
    if site:
        return site == b"same-origin"
    origin = header(scope["headers"], b"origin")
    own: bytes = scope["scheme"].encode() + b"://" + header(scope["headers"], b"host")
    return origin == own if origin else None


def is_foreign_fetch(scope: Scope) -> bool:
    """True where a page of another origin fetches or embeds something, unlike somebody who follows a link there.

    SameSite lets the cookie pass between ports of one machine and between a shop's own host names.
    """
    site = header(scope["headers"], b"sec-fetch-site")
    return site in (b"cross-site", b"same-site") and header(scope["headers"], b"sec-fetch-mode") != b"navigate"
