"""How many requests an address and a key may send: token buckets that need one number each."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import ceil
from typing import Final, NamedTuple

from starlette.types import Scope

from ..settings import LimitsSettings
from .errors import HttpError, rate_limited

MOST_BUCKETS: Final = 20_000
IPV6_HOST_BITS: Final = 64
"""What one customer of a provider has: counted by single addresses they would have as many buckets as they like."""

STRANGER_BURST: Final = 20
STRANGER_PER_S: Final = 20 / 60
"""Requests of one address whose body had to be read and held no valid key. Read they are at all because some vendors'
clients write their key into the body alone."""


class TokenBuckets:
    """Allows each name so many takes a second on average, and more for a moment.

    Kept per name is when its bucket would be full again, which says how many tokens are in it (the generic cell
    rate algorithm, ITU-T I.371, annex A). The table is bounded: the name that was not seen for longest is forgotten,
    and begins anew with a full bucket.

    Args:
        per_s: takes a second; 0 = as many as come.
        burst: how many may come at once.
        clock: seconds that never go back.
        most: how many names are remembered.
    """

    def __init__(
        self, per_s: float, burst: float, *, clock: Callable[[], float] = time.monotonic, most: int = MOST_BUCKETS
    ) -> None:
        self._interval_s = 1 / per_s if per_s else 0.0
        self._slack_s = self._interval_s * (max(burst, 1.0) - 1)
        self._clock = clock
        self._most = most
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many names are remembered."""
        return len(self._full_at)

    def take(self, name: str) -> float:
        """Take a token and return 0, or, where there is none, return in how many seconds there will be."""
        if not self._interval_s:
            return 0.0
        now = self._clock()
        full_at = max(self._full_at.pop(name, now), now)  # popped, so that it comes last again
        wait_s = full_at - now - self._slack_s
        self._full_at[name] = full_at if wait_s > 0 else full_at + self._interval_s
        if len(self._full_at) > self._most:
            del self._full_at[next(iter(self._full_at))]
        return max(wait_s, 0.0)

    def look(self, name: str) -> float:
        """Return what `take` would, and take nothing."""
        now = self._clock()
        return max(self._full_at.get(name, now) - now - self._slack_s, 0.0)


class Sender(NamedTuple):
    """Whom an address counts for."""

    name: str
    is_local: bool


@lru_cache(maxsize=4096)
def sender_of(address: str) -> Sender:
    """Return whom an address counts for: itself, or its network where a customer has a network of their own."""
    try:
        ip: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:  # a proxy's word for somebody it does not know
        return Sender(address[:64], is_local=False)
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip
    if isinstance(ip, IPv6Address) and not ip.is_loopback:
        return Sender(f"{IPv6Address(int(ip) >> IPV6_HOST_BITS << IPV6_HOST_BITS)}/64", is_local=False)
    return Sender(str(ip), ip.is_loopback)


class RateLimits:
    """The limits of one application.

    Args:
        settings: `[limits]`.
    """

    def __init__(self, settings: LimitsSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits_local = settings.loopback
        self._addresses = buckets(settings.address_requests_per_s, settings.burst_s, clock)
        self._keys = buckets(settings.key_requests_per_s, settings.burst_s, clock)
        self._strangers = TokenBuckets(STRANGER_PER_S, STRANGER_BURST, clock=clock)

    def check_address(self, scope: Scope) -> None:
        """Count a request for its sender's address. Raises: HttpError 429."""
        sender = self._find_sender(scope)
        if sender is not None and (wait_s := self._addresses.take(sender.name)):
            raise rate_limited("this address", wait_s)

    def check_key(self, scope: Scope, key_hash: str) -> None:
        """Count a request for its key. Raises: HttpError 429."""
        if self._find_sender(scope) is not None and (wait_s := self._keys.take(key_hash)):
            raise rate_limited("this key", wait_s)

    def check_stranger(self, scope: Scope) -> None:
        """Refuse a request that shows no valid key before its body, where too many of its address held none at all.

        Whoever is on this machine is held to it too, whatever ``loopback`` says: reading a body is dearer than
        refusing one, and a proxy that nobody named is on this machine as well.

        Raises: HttpError 429.
        """
        if wait_s := self._strangers.look(name_of(scope)):
            raise too_many_strangers(wait_s)

    def note_stranger(self, scope: Scope) -> None:
        """Count a request that held no valid key, not in its body either."""
        self._strangers.take(name_of(scope))

    def _find_sender(self, scope: Scope) -> Sender | None:
        client = scope.get("client")
        sender = sender_of(client[0] if client else "")
        return sender if self._limits_local or not sender.is_local else None


def name_of(scope: Scope) -> str:
    """Return whom a request's address counts for."""
    client = scope.get("client")
    return sender_of(client[0] if client else "").name


def too_many_strangers(wait_s: float) -> HttpError:
    """429: too many requests without a valid key."""
    message = "too many requests from this address held no valid write key; show it in a header or in the query"
    return HttpError(429, "rate_limited", message, retry_after_s=max(ceil(wait_s), 1))


def buckets(per_s: int, burst_s: float, clock: Callable[[], float]) -> TokenBuckets:
    """Return buckets that hold what comes in ``burst_s`` seconds."""
    return TokenBuckets(per_s, per_s * burst_s, clock=clock)
