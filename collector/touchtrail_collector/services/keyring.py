"""Whom keys let in, and when they were last used."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..store.sqlite.keys import KeyOwner, hash_key

USE_INTERVAL_MS = 60_000


class KeyRing:
    """Whom the keys let in that were valid at one moment.

    Replaced as a whole, so that a look-up under way can never put a key that was just revoked back among the valid.
    A key is looked for by its hash: how long that takes says nothing about keys that are nearly right.
    """

    def __init__(self, owners: Mapping[str, KeyOwner]) -> None:
        self._owners = owners
        self._by_key: dict[str, KeyOwner] = {}

    def find(self, key: str, now_ms: int) -> KeyOwner | None:
        """Return whom a key lets in, or None. Only valid keys are remembered: guesses must not fill the memory."""
        owner = self._by_key.get(key)
        if owner is None:
            owner = self._owners.get(hash_key(key))
            if owner is None:
                return None
            self._by_key[key] = owner
        return None if owner.expires_at is not None and now_ms >= owner.expires_at else owner


class KeyUses:
    """Notes when keys were used, and has it written once a minute and key at most: a write per request is too dear.

    Args:
        write: is given the times by key hash.
    """

    def __init__(self, write: Callable[[Mapping[str, int]], None]) -> None:
        self._write = write
        self._written: dict[str, int] = {}
        self._latest: dict[str, int] = {}

    def note(self, key_hash: str, at_ms: int) -> None:
        """Note one use, in UTC milliseconds; a clock that was put back is written at once."""
        if 0 <= at_ms - self._written.get(key_hash, 0) < USE_INTERVAL_MS:
            self._latest[key_hash] = at_ms
            return
        self._written[key_hash] = at_ms
        self._latest.pop(key_hash, None)
        self._write({key_hash: at_ms})

    def flush(self) -> None:
        """Write what was noted since."""
        if self._latest:
            latest, self._latest = self._latest, {}
            self._write(latest)
