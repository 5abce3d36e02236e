"""Addresses of pages: which are the shop's own, and how they are written so that nothing secret leaves in them."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import quote, unquote_plus

from .address import host_name, is_host
from .landing import is_campaign_parameter

URL_CHARS: Final = 2_048
"""Longer addresses are cut: an event with one would not fit into what the collector takes."""

HIDDEN: Final = "***"

_KEPT_IN_PATH: Final = "/:@!$&'()*+,;=~"
_KEPT_IN_QUERY: Final = "%/?:@!$&'()*+,;=~[]|{}"
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_STRANGE: Final = re.compile(r"[^!#-;=?-~]|\\")
"""What may not stand in a query: everything but printable ASCII, and of that no blank, quotation mark, <, > or \\."""

_SEPARATOR: Final = re.compile(r"([&;])")
_NAME: Final = re.compile(r"([^?&;#=]+)=")
_ADDRESS_SIGN: Final = re.compile(r"@|%(?:25)*40")
_ADDRESS_IN_PATH: Final = re.compile(r"[^/@]+(?:@|%(?:25)*40)[^/]*\.[^/]*")
"""A piece of a path that looks like an e-mail address; `/@name` and `/@52.5,13.4` are none."""

_REFERRER: Final = re.compile(r"(https?|android-app|ios-app)://([^/?#\\]*)([^?#]*)(?:\?([^#]*))?", re.IGNORECASE)


class PageAddresses:
    """Writes the addresses of pages, so that nothing secret leaves the shop in them, and knows which are the shop's.

    Args:
        own_hosts: further hosts of the shop.
        hidden: words of parameters' names.
    """

    def __init__(self, own_hosts: Collection[str], hidden: Collection[str]) -> None:
        self._own = tuple(host.lower().removeprefix("www.").rstrip(".") for host in own_hosts)
        self._hidden = frozenset(word.lower() for word in hidden)

    def url(self, scheme: str, host: str, path: str, query: str) -> str | None:
        """Return a page's address; None without a host."""
        if not host:
            return None
        return _cut(f"{scheme}://{host.lower()}{_place(path, _KEPT_IN_PATH) or '/'}{self._query(query)}")

    def referrer(self, header: str) -> str | None:
        """Return a referrer without user, fragment and secrets; None for anything that is no address."""
        found = _REFERRER.match(header[: 4 * URL_CHARS])
        if found is None:
            return None
        scheme, authority, path, query = found.groups()
        host = authority.rpartition("@")[2]
        if not is_host(host):
            return None
        place = _place(path, "%" + _KEPT_IN_PATH)
        return _cut(f"{scheme.lower()}://{host.lower()}{place}{self._query(query or '')}")

    def is_own(self, url: str, host: str) -> bool:
        """True when an address belongs to the shop: to the host asked, with or without www, or to ``own_hosts``."""
        other = _bare_host(_authority(url))
        if other == _bare_host(host):
            return True
        return any(other == own or other.endswith("." + own) for own in self._own)

    def _query(self, query: str) -> str:
        if not query:
            return ""
        if _STRANGE.search(query):
            query = _escaped(query, _KEPT_IN_QUERY)
        # Some old programs separate parameters by semicolons.
        parts = _SEPARATOR.split(query[: 4 * URL_CHARS])
        return "?" + "".join(part if part in ("&", ";") else self._shown(part) for part in parts)

    def _shown(self, pair: str) -> str:
        key, sign, value = pair.partition("=")
        if not value:
            # `?a@b.example` is a parameter without a name.
            return HIDDEN if _ADDRESS_SIGN.search(key) else pair
        if self._is_hidden(key) or _ADDRESS_SIGN.search(value) or self._holds_hidden(value):
            return f"{HIDDEN if _ADDRESS_SIGN.search(key) else key}={HIDDEN}"
        return key + sign + value

    def _is_hidden(self, key: str) -> bool:
        name = unquote_plus(key) if "%" in key else key
        low = name.lower()
        if low in self._hidden:
            return True
        if is_campaign_parameter(low):
            return False
        return not self._hidden.isdisjoint(word.lower() for word in _WORDS.findall(name))

    def _holds_hidden(self, value: str) -> bool:
        """True for a value that is itself an address with a secret, as in ``next=%2Freset%3Ftoken%3D1``."""
        inner = unquote_plus(value) if "%" in value else value
        return "=" in inner and any(self._is_hidden(name) for name in _NAME.findall(inner))


def _authority(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].partition("?")[0]


def _bare_host(authority: str) -> str:
    return host_name(authority).removeprefix("www.")


def _place(path: str, kept: str) -> str:
    escaped = _escaped(path, kept)
    return _ADDRESS_IN_PATH.sub(HIDDEN, escaped) if _ADDRESS_SIGN.search(escaped) else escaped


def _escaped(text: str, kept: str) -> str:
    try:
        # The bytes a framework could not read as UTF-8 come back as they were sent.
        return quote(text, safe=kept, errors="surrogateescape")
    except UnicodeEncodeError:
        return quote(text, safe=kept, errors="replace")


def _cut(url: str) -> str:
    if len(url) <= URL_CHARS:
        return url
    # Not in the middle of a percent escape.
    start, sign, rest = url[:URL_CHARS].rpartition("%")
    return start if sign and len(rest) < 2 else url[:URL_CHARS]
