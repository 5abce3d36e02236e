"""Who really asks, and for which host: what proxies say counts only when the proxy is trusted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple

from .exchange import HttpRequest
from .web_options import UNIX, ClientAddress

Address = IPv4Address | IPv6Address

_HOPS: Final = 32
"""More proxies in a row than anybody has."""

_HOST: Final = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_\-.]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_WITH_PORT: Final = re.compile(r"\[([^\]]*)\](?::\d*)?|([0-9.]+):\d*")
_KEPT_BITS: Final = {4: 24, 6: 48}


class Origin(NamedTuple):
    """Where a request came from and what it was sent to, as far as that can be trusted.

    Args:
        scheme: `http` or `https`.
        host: with a port where there is one; empty when the one given cannot be a host.
        address: the visitor's; None when it is not known.
    """

    scheme: str
    host: str
    address: Address | None


class Proxies:
    """Finds the visitor behind the proxies of a shop.

    Args:
        trusted: networks, and `unix` for Unix sockets, as in ``WebOptions.trusted_proxies``.
        wants_address: whether anybody will look at the visitor's address.
    """

    def __init__(self, trusted: Iterable[str], *, wants_address: bool = True) -> None:
        words = set(trusted)
        self._wants_address = wants_address
        self._trusts_sockets = UNIX in words
        self._networks = [ip_network(word) for word in words - {UNIX}]
        self._is_direct = not words

    def origin(self, request: HttpRequest) -> Origin:
        """Return where a request came from. Never raises for anything a request can hold."""
        scheme, host = request.scheme, request.host
        peer = read_address(request.peer) if self._wants_address or not self._is_direct else None
        if not self._is_direct and self._is_trusted(peer, request.peer):
            hops, peer = self._walk(peer, request.headers.get("x-forwarded-for", ""))
            scheme = _said_at(request.headers.get("x-forwarded-proto", ""), hops) or scheme
            host = _said_at(request.headers.get("x-forwarded-host", ""), hops) or host
        return Origin("https" if scheme.lower() == "https" else "http", host if is_host(host) else "", peer)

    def _walk(self, peer: Address | None, forwarded: str) -> tuple[int, Address | None]:
        """Return the number of trusted proxies passed and the first address behind them.

        From the right, where our own proxies wrote: what stands further left, anybody may have sent.
        """
        hops, address = 1, peer
        for text in reversed(forwarded.rsplit(",", _HOPS)[-_HOPS:] if forwarded else []):
            address = read_address(text.strip())
            if address is None or not self._is_trusted(address, text):
                return hops, address
            hops += 1
        return hops, address

    def _is_trusted(self, address: Address | None, text: str | None) -> bool:
        if address is None:
            return self._trusts_sockets and not text
        return any(address in network for network in self._networks)


@lru_cache(maxsize=1024)
def read_address(text: str | None) -> Address | None:
    """Return an IP address as proxies and servers write it, with or without a port; None for anything else."""
    if not text or len(text) > 64:
        return None
    found = _WITH_PORT.fullmatch(text)
    if found is not None:
        text = found[1] or found[2] or ""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A server that listens on IPv6 sees a visitor with IPv4 as ::ffff:192.0.2.1.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def address_text(address: Address | None, mode: ClientAddress) -> str | None:
    """Return as much of an address as the privacy mode allows."""
    if address is None or mode == "none":
        return None
    if mode == "full":
        return str(address)
    bits = address.max_prefixlen - _KEPT_BITS[address.version]
    return str(type(address)(int(address) >> bits << bits))


def is_host(text: str) -> bool:
    """True for what can stand in an address as host and port."""
    return _HOST.fullmatch(text) is not None


def host_name(authority: str) -> str:
    """Return the lower-case host without user, port and last dot."""
    host = authority.rpartition("@")[2].lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def _said_at(header: str, hops: int) -> str:
    """Return what the outermost trusted proxy said; a proxy that replaces the header leaves one value only."""
    said = [part.strip() for part in header.rsplit(",", _HOPS)[-_HOPS:]]
    return said[-min(hops, len(said))]
