"""The collector as one object: settings, plugins, database, ingest, projector. Web layer and commands hold on to it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from ..domain.event import EventChecker
from ..domain.privacy import Pseudonymiser
from ..host import PluginHost
from ..settings import Settings
from ..store.engine import Receipt
from ..store.sqlite.keys import KeyOwner, hash_key
from ..store.sqlite.store import SqliteStore
from .derive import Projector
from .ingest import Ingest, Prepared


class Readiness(msgspec.Struct, frozen=True):
    """Whether events are taken, and what is worth knowing beside it."""

    is_ready: bool
    projector_lag_events: int
    projector_failure: str | None
    plugin_problems: list[str]


class KeyRing:
    """Whom the keys let in that were valid at one moment.

    Replaced as a whole, so that a look-up under way can never put a key that was just revoked back among the valid.
    """

    def __init__(self, owners: Mapping[str, KeyOwner]) -> None:
        self._owners = owners
        self._by_key: dict[str, KeyOwner] = {}

    def find(self, key: str) -> KeyOwner | None:
        """Return whom a key lets in, or None. Only valid keys are remembered: guesses must not fill the memory."""
        owner = self._by_key.get(key)
        if owner is None:
            owner = self._owners.get(hash_key(key))
            if owner is not None:
                self._by_key[key] = owner
        return owner


class Collector:
    """Opens the database and runs the projector until `close`.

    Args:
        settings: every knob.
        host: the loaded plugins.
        starts_projector: False where the caller derives by itself (`touchtrail rebuild`, tests).

    Raises: DatabaseLocked, DatabaseTooNew, StoreError.
    """

    def __init__(self, settings: Settings, host: PluginHost, *, starts_projector: bool = True) -> None:
        self.settings = settings
        self.host = host
        self.admin_token = secrets.token_urlsafe(24)
        self.store = SqliteStore(Path(settings.store.db), group_requests=settings.store.group_commit_max_requests)
        self.store.set_currency(settings.shop.name, settings.shop.currency)
        self.pseudonymiser = Pseudonymiser(bytes.fromhex(self.store.meta("hash_key")))
        self.checker = EventChecker(
            host.event_types(), self.pseudonymiser, event_limit_bytes=settings.server.event_limit_bytes
        )
        self.ingest = Ingest(self.checker, self.pseudonymiser, batch_limit=settings.server.batch_limit)
        self.projector = Projector(self.store, host, settings)
        self._keys = KeyRing({})
        self.reload_keys()
        self._closing = threading.Event()
        if starts_projector:
            self.projector.start()

    def announce(self, url: str) -> None:
        """Write into the lock file where this collector listens and the token of its admin path."""
        self.store.lock.write_holder({"url": url, "admin_token": self.admin_token})

    def reload_keys(self) -> None:
        """Read the keys anew after one was made or revoked."""
        self._keys = KeyRing(self.store.key_owners())

    def find_owner(self, key: str) -> KeyOwner | None:
        """Return whom a key lets in, or None."""
        return self._keys.find(key)

    def append(self, prepared: Prepared, done: Callable[[Receipt | None, BaseException | None], None]) -> None:
        """Hand a checked request to the writer and wake the projector once it is committed."""

        def committed(receipt: Receipt | None, error: BaseException | None) -> None:
            done(receipt, error)
            if receipt is not None and receipt.stored:
                self.projector.wake(receipt.stored)

        self.store.append_then(prepared.events, prepared.reject_rows, committed)

    def readiness(self) -> Readiness:
        """Return whether events are taken now."""
        return Readiness(
            is_ready=self.store.writer.is_alive and not self._closing.is_set(),
            projector_lag_events=self.projector.lag(),
            projector_failure=self.projector.failure,
            plugin_problems=list(self.host.problems()),
        )

    def stop_taking(self) -> None:
        """From now on `readyz` answers 503; requests that are under way are still served."""
        self._closing.set()

    def close(self) -> None:
        """Stop the projector, write what was queued, give the file back."""
        self.stop_taking()
        self.projector.stop()
        self.store.close(self.settings.server.shutdown_timeout_s)
