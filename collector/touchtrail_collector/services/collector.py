"""The collector as one object: settings, plugins, database, ingest, projector. Web layer and commands hold on to it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from ..domain.event import EventChecker
from ..domain.privacy import Pseudonymiser
from ..errors import StoreError, StoreUnavailable
from ..host import PluginHost
from ..settings import QuarantineSettings, Settings
from ..store.engine import QuarantineLimits, Receipt
from ..store.sqlite.keys import KeyOwner
from ..store.sqlite.store import SqliteStore, now_ms
from .commits import CommitTally
from .derive import Projector
from .ingest import Ingest, Prepared
from .keyring import KeyRing, KeyUses
from .password import Password
from .property_names import PropertyNames
from .sessions import Sessions

Done = Callable[[Receipt | None, BaseException | None], None]


class Readiness(msgspec.Struct, frozen=True):
    """Whether events are taken, and what is worth knowing beside it."""

    is_ready: bool
    projector_lag_events: int
    projector_failure: str | None
    plugin_problems: list[str]


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
        self.commits = CommitTally()
        self.store = SqliteStore(
            Path(settings.store.db),
            group_requests=settings.store.group_commit_max_requests,
            on_commit=self.commits.add,
            on_failure=self.commits.fail,
            quarantine=limits_of(settings.quarantine),
        )
        self.store.set_currency(settings.shop.name, settings.shop.currency)
        self.pseudonymiser = Pseudonymiser(bytes.fromhex(self.store.meta("hash_key")))
        self.checker = EventChecker(
            host.event_types(), self.pseudonymiser, event_limit_bytes=settings.server.event_limit_bytes
        )
        self._withholding: frozenset[int] = frozenset()
        self.names = PropertyNames(self.store)
        self.ingest = Ingest(
            self.checker,
            self.pseudonymiser,
            batch_limit=settings.server.batch_limit,
            needs_consent=self.needs_consent,
            names=self.names.fit,
        )
        self.projector = Projector(self.store, host, settings)
        self.sessions = Sessions()
        self.password = Password(self.store)
        self._keys = KeyRing({})
        self._uses = KeyUses(self._write_uses)
        self.reload_keys()
        self._closing = threading.Event()
        if starts_projector:
            self.projector.start()

    def announce(self, url: str) -> None:
        """Write into the lock file where this collector listens and the token of its admin path."""
        self.store.lock.write_holder({"url": url, "admin_token": self.admin_token})

    def reload_keys(self) -> None:
        """Read the keys and what senders may do anew after something of it was changed."""
        modes = self.store.source_modes()
        self._withholding = frozenset(source_id for source_id, mode in modes.items() if mode != "full")
        self._keys = KeyRing(self.store.key_owners())

    def find_owner(self, key: str) -> KeyOwner | None:
        """Return whom a key lets in, or None."""
        at_ms = now_ms()
        owner = self._keys.find(key, at_ms)
        if owner is not None:
            self._uses.note(owner.key_hash, at_ms)
        return owner

    def needs_consent(self, source_id: int | None) -> bool:
        """True where only events of people who agreed may be kept; for None, an unknown sender, if any is like that."""
        return bool(self._withholding) if source_id is None else source_id in self._withholding

    def _write_uses(self, used: Mapping[str, int]) -> None:
        with suppress(StoreUnavailable):  # the collector is stopping: the last minute's uses are no great loss
            self.store.begin_note_use(used)

    def append(self, requests: Iterable[tuple[Prepared, Done]]) -> None:
        """Hand checked requests, none of them empty, to the writer; wake the projector once they are committed.

        Raises: StoreUnavailable when the collector is stopping; then none was handed over.
        """
        self.store.append_all(
            (prepared.events, prepared.reject_rows, self._waking(done)) for prepared, done in requests
        )

    def learn_names(self, prepared: Prepared) -> None:
        """Remember the property names that a checked request brought."""
        if prepared.names is not None and prepared.names.fresh:
            self.names.learn(prepared.names)

    def _waking(self, done: Done) -> Done:
        def committed(receipt: Receipt | None, error: BaseException | None) -> None:
            done(receipt, error)
            if receipt is not None and receipt.stored:
                self.projector.wake(receipt.stored)

        return committed

    @property
    def is_ready(self) -> bool:
        """True while events are taken."""
        return self.refusal() is None

    def refusal(self) -> str | None:
        """Return why no events are taken at the moment; None while they are."""
        if self._closing.is_set():
            return "the collector is stopping"
        return self.store.writer.find_trouble() if self.store.writer.is_alive else "the writer has ended; see the log"

    def readiness(self) -> Readiness:
        """Return whether events are taken now."""
        is_ready = self.is_ready
        return Readiness(
            is_ready=is_ready,
            projector_lag_events=self.projector.lag() if is_ready else self._lag_if_known(),
            projector_failure=self.projector.failure,
            plugin_problems=list(self.host.problems()),
        )

    def _lag_if_known(self) -> int:
        with suppress(StoreError):
            return self.projector.lag()
        return 0

    def stop_taking(self) -> None:
        """From now on `readyz` answers 503 and no more is derived; requests that are under way are still served."""
        self._closing.set()
        self.projector.begin_stop()

    def close(self, timeout_s: float | None = None) -> None:
        """Stop the projector, write what was queued, give the file back.

        Args:
            timeout_s: how long that may take, about half of it for each; None = as the settings have it for the
                writing, and as long as it takes for the step of the projector.

        Raises: StoreError when it takes longer; what was not written by then is acknowledged to nobody.
        """
        self.stop_taking()
        self.store.end_reports()
        began = time.monotonic()
        self.projector.stop(None if timeout_s is None else timeout_s / 2)
        self._uses.flush()
        spent_s = time.monotonic() - began
        left_s = self.settings.server.shutdown_timeout_s if timeout_s is None else timeout_s - spent_s
        self.store.close(max(left_s, 0.0))


def limits_of(settings: QuarantineSettings) -> QuarantineLimits:
    """Return the settings as the store takes them."""
    return QuarantineLimits(settings.max_entries, settings.max_bytes, settings.max_age_days * 86_400_000)
