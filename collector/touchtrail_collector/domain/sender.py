"""What a sender may do: which pages may send in its name, and what of theirs may be kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, get_args
from urllib.parse import urlsplit

Mode = Literal["full", "consent_required"]
"""`full`: every event is kept as it came. `consent_required`: only events of people who agreed to `analytics`."""

MODES: tuple[Mode, ...] = get_args(Mode)
MAX_ORIGINS = 100
DEFAULT_PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[a-z0-9_\-.]{1,253}|\[[0-9a-f:.]{2,45}\]")


def read_origin(text: str) -> str:
    """Return an origin as browsers write it in their `Origin` header.

    Raises: ValueError for anything but scheme, host and port.

    Source: RFC 6454, section 6.2; html.spec.whatwg.org, "ASCII serialization of an origin".
    """
    wanted = f"an origin is scheme and host, such as https://shop.example; not {text[:100]!r}"
    try:
        parts = urlsplit(text)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii")
    except ValueError as error:
        raise ValueError(wanted) from error
    host = f"[{host}]" if ":" in host else host
    is_bare = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in DEFAULT_PORTS or not is_bare or not HOST.fullmatch(host):
        raise ValueError(wanted)
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, DEFAULT_PORTS[parts.scheme]) else "")


def read_origins(texts: Iterable[str]) -> tuple[str, ...]:
    """Return distinct origins, sorted. Raises: ValueError, also for more than `MAX_ORIGINS`."""
    origins = tuple(sorted({read_origin(text) for text in texts}))
    if len(origins) > MAX_ORIGINS:
        raise ValueError(f"a sender has at most {MAX_ORIGINS} origins, not {len(origins)}")
    return origins
