"""What a sender may do: which pages may send in its name, and what of theirs may be kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Literal, get_args
from urllib.parse import SplitResult, urlsplit

Mode = Literal["full", "consent_required"]
"""`full`: every event is kept as it came. `consent_required`: only events of people who agreed to `analytics`."""

MODES: tuple[Mode, ...] = get_args(Mode)
MAX_ORIGINS = 100
DEFAULT_PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[a-z0-9_\-.]{1,253}|\[[0-9a-f:.]{2,45}\]")


def read_origin(text: str) -> str:
    """Return an origin as browsers write it in their `Origin` header: lower case, punycode, without a default port.

    Raises: ValueError for anything but scheme, host and port; it says what is too much.

    Source: RFC 6454, section 6.2; html.spec.whatwg.org, "ASCII serialization of an origin".
    """
    wanted = f"an origin is scheme and host, such as https://shop.example; not {text[:100]!r}"
    try:
        parts = urlsplit(text)
        port = parts.port
        host = ascii_host(parts.hostname or "")
    except ValueError as error:
        raise ValueError(wanted) from error
    if parts.scheme not in DEFAULT_PORTS or not HOST.fullmatch(host):
        raise ValueError(wanted)
    if extra := find_extra(parts):
        raise ValueError(f"{wanted}: leave out {extra}, it is no part of what browsers send")
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, DEFAULT_PORTS[parts.scheme]) else "")


def ascii_host(host: str) -> str:
    """Return a host as browsers send it. Raises: ValueError.

    Source: url.spec.whatwg.org, "host parser": names by UTS #46, non-transitional; IPv6 addresses by RFC 5952.
    """
    if ":" in host:
        return f"[{IPv6Address(host).compressed}]"
    if host.isascii():
        return host.lower()
    # The standard library's codec has the rules of 2003, by which straße.example would be another host.
    import idna

    return idna.encode(host, uts46=True).decode("ascii")


def find_extra(parts: SplitResult) -> str | None:
    """Return in words what an address has beyond an origin, None where it has nothing."""
    if "@" in parts.netloc:
        return "the user name"
    if parts.path not in ("", "/"):
        return f"the path {parts.path[:100]!r}"
    return "what follows the host" if parts.query or parts.fragment else None


def read_origins(texts: Iterable[str]) -> tuple[str, ...]:
    """Return distinct origins, sorted. Raises: ValueError, also for more than `MAX_ORIGINS`."""
    origins = tuple(sorted({read_origin(text) for text in texts}))
    if len(origins) > MAX_ORIGINS:
        raise ValueError(f"a sender has at most {MAX_ORIGINS} origins, not {len(origins)}")
    return origins
