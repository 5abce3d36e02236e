"""The projector: works out persons, roads and orders from the log, in log order, again and again with the same result.

Each step reads the next events, finds the clusters of identifiers they touch, derives those clusters whole and writes
the result in one transaction together with the place it reached. A kill between two steps loses nothing, a kill
inside one undoes it.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import msgspec

from ..domain.cost import costs_of
from ..domain.fact import read_fact
from ..domain.journey import JourneyRules, specs_of
from ..domain.person import DeriveRules
from ..errors import StoreError
from ..host import PluginHost
from ..settings import Settings
from ..store.engine import StoredEvent
from ..store.sqlite import derived, log
from ..store.sqlite.derived import Update
from ..store.sqlite.reader import Reader
from ..store.sqlite.store import SqliteStore
from .bulk import BulkDerivation
from .cluster import ClusterStep, FactCache, read_stored, weigh
from .derivation_rules import rules_of
from .tail import TailCache

logger = logging.getLogger("touchtrail_collector.projector")

STEP_EVENTS = 10_000
BACKGROUND_EVENTS = 2_000
"""Events of one step while requests come in: a short step keeps the writer's queue short."""

WINDOW_S = 0.05
BUSY_EVENTS_S, BUSY_PATIENCE_S = 1_000, 0.5
BURST_EVENTS_S, BURST_PATIENCE_S = 15_000, 5.0
"""While events come in faster than this the projector gives way, for so long with one backlog. At a steady
5,000 events/s it must never be more than a second behind (architecture.md); a burst far above that is somebody's old
spool or an import, whose sender waits while reports can."""

UNAVAILABLE_PAUSE_S = 1.0
"""Tried again so soon where the database could not be written: reports go on two seconds after there is room."""

BULK_EVENTS = 20_000
KNOWN_AGENTS = 5_000
"""User agents of which it is remembered whether they are robots'; each has up to 512 characters."""


@lru_cache(maxsize=1)
def bot_detector() -> Callable[[str], bool]:
    """Return a cached predicate that tells a robot's user agent."""
    from crawlerdetect import CrawlerDetect  # its patterns take as long to load as all of the plugins; events can wait

    detector = CrawlerDetect()
    return lru_cache(maxsize=KNOWN_AGENTS)(lambda agent: bool(detector.isCrawler(agent)))


BULK_SWITCH_INTERVAL_S = 0.0005
"""How long the derivation keeps the writer's thread waiting for the interpreter; with Python's own 5 ms the writer,
which needs it for a moment a hundred times a batch, would be the slower of the two."""


@contextmanager
def tuned_for_bulk() -> Iterator[None]:
    """Keep Python's cycle collector away, as a bulk derivation makes millions of objects and no cycle among them."""
    was_enabled, interval_s = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(min(BULK_SWITCH_INTERVAL_S, interval_s))
    try:
        yield
    finally:
        sys.setswitchinterval(interval_s)
        if was_enabled:
            gc.enable()


def patience_s(events_s: float) -> float:
    """Return how long the projector gives way with one backlog while so many events come in each second.

    How busy the process is does not count: what is put off must be done all the same, and costs as much then.
    """
    if events_s < BUSY_EVENTS_S:
        return 0.0
    return BURST_PATIENCE_S if events_s >= BURST_EVENTS_S else BUSY_PATIENCE_S


class Projector:
    """Derives the log, in a thread of its own (`start`) or as far as it goes (`catch_up`).

    Args:
        store: the database, open for writing.
        host: plugins: channel rules, event types, observers.
        bulk_events: from so many events on, a derivation from the start looks at the whole log before it derives
            anybody.
    """

    def __init__(
        self, store: SqliteStore, host: PluginHost, settings: Settings, *, bulk_events: int = BULK_EVENTS
    ) -> None:
        self._store = store
        self._bulk_events = bulk_events
        self._host = host
        event_types = host.event_types()
        classifier = host.channel_classifier()
        self._personless = frozenset(name for name, kind in event_types.items() if kind.spec.is_personless)
        self._classifier = classifier
        self._journey = JourneyRules(
            specs=specs_of(event_types),
            classifier=classifier,
            session_gap_ms=settings.journey.session_gap_min * 60_000,
            click_landing_ms=settings.journey.click_landing_min * 60_000,
        )
        self._read = partial(read_fact, tolerance_ms=settings.journey.skew_tolerance_s * 1000)
        self._derived_by = rules_of(host, settings)
        self._has_observers = any("touchtrail_on_events_stored" in plugin.hooks for plugin in host.plugins())
        self._channel_ids: Mapping[str, int] = {}
        self._cache = FactCache()
        self._tails = TailCache()
        self._hubs: set[str] = set()
        self._derived_seq = 0
        self._is_prepared = False
        self._running = threading.Lock()
        self._stored = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: str | None = None

    def start(self) -> None:
        """Derive in the background from now on."""
        self._thread = threading.Thread(target=self._loop, name="touchtrail-projector", daemon=True)
        self._thread.start()

    def wake(self, stored: int = 0) -> None:
        """Tell the projector that events were stored."""
        self._stored += stored
        if not self._wake.is_set():  # setting it again would take its lock, for every request
            self._wake.set()

    def begin_stop(self) -> None:
        """Have it end after the step that runs now, and do not wait for that."""
        self._stopping.set()
        self._wake.set()

    def stop(self, timeout_s: float | None = None) -> None:
        """End after the step that runs now, waited for so long; the next start goes on from there."""
        self.begin_stop()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def lag(self) -> int:
        """Return how many places of the log are not derived yet."""
        with self._store.reading() as reader:
            return log.last_seq(reader) - int(derived.get_meta(reader, "derived_seq") or 0)

    def prepare(self) -> None:
        """Read where the derivation stands; begin anew when the rules have changed since.

        A new plugin or rule therefore holds for the whole history without anybody's doing.
        """
        with self._store.reading() as reader:
            signature = derived.get_meta(reader, "derived_by")
            is_unnamed = derived.get_meta(reader, "derived_rules") is None
            derived_seq = derived.get_meta(reader, "derived_seq") or "0"
            is_partial = derived_seq == "0" and derived.has_persons(reader)
            is_untold = self._has_observers and derived.get_meta(reader, "told_seq") is None
        if is_untold:  # observers hear of what comes from now on
            self._store.write(lambda connection: derived.set_meta(connection, "told_seq", derived_seq))
        wanted = self._derived_by.signature
        if signature != wanted or is_partial:
            if signature is not None and not is_partial:
                logger.info("the rules changed from %s to %s: everything is derived anew", signature, wanted)
            self._store.write(self._reset)
        elif is_unnamed:  # derived before the rules were kept in full
            self._store.write(self._name_rules)
        self._cache.clear()
        self._tails.clear()
        self._channel_ids = self._store.write(
            lambda connection: derived.ensure_channels(connection, self._classifier.channels)
        )
        with self._store.reading() as reader:
            self._derived_seq = int(derived.get_meta(reader, "derived_seq") or 0)
            self._hubs = derived.load_hubs(reader)
        self._is_prepared = True

    def _reset(self, connection: Any) -> None:
        derived.reset(connection, self._derived_by.signature)
        self._name_rules(connection)

    def _name_rules(self, connection: Any) -> None:
        derived.set_meta(connection, "derived_rules", msgspec.json.encode(self._derived_by).decode())

    def rebuild(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Drop everything derived and derive the whole log anew; return how many events that were."""
        with self._running:
            self._store.write(self._reset)
            return self._catch_up(progress)

    def catch_up(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Derive until the end of the log.

        Args:
            progress: told after each step: place reached, last place of the log.

        Returns: how many events were derived.
        """
        with self._running:
            return self._catch_up(progress)

    def _catch_up(self, progress: Callable[[int, int], None] | None) -> int:
        self.prepare()
        try:
            with self._store.reading() as reader:
                return self._derive_all(reader, progress)
        except BaseException:
            # What is remembered of the clusters may be ahead of what was written.
            self._is_prepared = False
            self._wake.set()
            raise

    def _derive_all(self, reader: Reader, progress: Callable[[int, int], None] | None = None) -> int:
        total = 0
        if self._is_bulk_worth(reader):
            total = self._bulk(reader, progress)
            self._tell_observers(reader)
        while not self._stopping.is_set() and (count := self.step(reader)) > 0:
            total += count
            if progress is not None:
                progress(self._derived_seq, log.last_seq(reader))
        return total

    def _is_bulk_worth(self, reader: Reader) -> bool:
        return self._derived_seq == 0 and log.last_seq(reader) >= self._bulk_events

    def step(self, reader: Reader, limit: int = STEP_EVENTS) -> int:
        """Derive the next events; return how many there were."""
        events = log.scan(reader, self._derived_seq, limit)
        if not events:
            return 0
        update = self._derive(reader, events)
        self._store.write(self._writing(update))
        self._derived_seq = update.derived_seq
        self._tell_observers(reader)
        return len(events)

    def _writing(self, update: Update) -> Callable[[Any], None]:
        return lambda connection: derived.write_update(connection, update, self._channel_ids)

    def _bulk(self, reader: Reader, progress: Callable[[int, int], None] | None) -> int:
        """Derive a long log from its start; a kill on the way makes the next start begin again."""
        derivation = BulkDerivation(
            reader,
            rules=self._rules(reader),
            classifier=self._classifier,
            read=self._read,
            personless=self._personless,
            is_stopping=self._stopping.is_set,
            progress=progress,
        )
        writing: Future[None] | None = None
        derived_seq = 0
        with tuned_for_bulk():
            for update in derivation.updates():
                if writing is not None:
                    writing.result()
                # Written while the next ones are worked out.
                writing = self._store.begin_write(self._writing(update))
                derived_seq = update.derived_seq
            if writing is not None:
                writing.result()
        if not derived_seq:  # told to stop on the way
            return 0
        self._derived_seq = derived_seq
        self._hubs = derivation.hubs
        return derivation.count

    def _rules(self, reader: Reader) -> DeriveRules:
        return DeriveRules(journey=self._journey, currencies=derived.load_currencies(reader), is_bot=bot_detector())

    def _loop(self) -> None:
        pause_s = 1.0
        while not self._stopping.is_set():
            try:
                self._catch_up_in_background()
                self.failure = None
                pause_s = 1.0
                self._wake.wait()
                self._wake.clear()
            except Exception as error:  # this thread's one boundary: what failed is tried again, and shown
                self._is_prepared = False
                if isinstance(error, StoreError) and self._stopping.is_set():
                    return
                is_new = self.failure is None
                self.failure = f"{type(error).__name__}: {error}"
                if isinstance(error, StoreError):  # a full disk, a file moved away: soon tried again, and said once
                    if is_new:
                        logger.warning("nothing can be derived at the moment: %s", error)
                    self._stopping.wait(UNAVAILABLE_PAUSE_S)
                    continue
                logger.exception("the projector failed; it tries again in %.0f s", pause_s)
                self._stopping.wait(pause_s)
                pause_s = min(pause_s * 2, 60.0)

    def _catch_up_in_background(self) -> None:
        with self._running:
            if not self._is_prepared:
                self.prepare()
            with self._store.reading() as reader:
                if self._is_bulk_worth(reader):
                    self._derive_all(reader)
                since = time.monotonic()
                self._give_way(since)
                while not self._stopping.is_set() and self.step(reader, BACKGROUND_EVENTS) > 0:
                    self._give_way(since)

    def _give_way(self, since: float) -> None:
        """Let requests go first while there are many, as long as the patience with this backlog lasts."""
        while True:
            before, began = self._stored, time.monotonic()
            if self._stopping.wait(WINDOW_S):
                return
            now = time.monotonic()
            if now - since > patience_s((self._stored - before) / (now - began)):
                return

    def _tell_observers(self, reader: Reader) -> None:
        """Tell observing plugins of what was derived since they were told last; what is derived anew is not new."""
        if not self._has_observers:
            return
        told_seq = int(derived.get_meta(reader, "told_seq") or 0)
        while told_seq < self._derived_seq:
            events = [event for event in log.scan(reader, told_seq, STEP_EVENTS) if event.seq <= self._derived_seq]
            self._host.notify_events_stored([{**msgspec.json.decode(event.body), "seq": event.seq} for event in events])
            told_seq = events[-1].seq if events else self._derived_seq
            # After the telling: a kill between the two tells twice rather than never.
            self._store.write(partial(derived.set_meta, name="told_seq", value=str(told_seq)))

    def _derive(self, reader: Reader, events: Sequence[StoredEvent]) -> Update:
        update = Update(events[-1].seq)
        facts = [read_stored(self._read, event) for event in events]
        for fact in facts:
            if fact.name in self._personless:
                update.costs.extend(costs_of(fact, self._classifier))
        step = ClusterStep(
            reader,
            update,
            weights={event.seq: weigh(event.body) for event in events},
            cache=self._cache,
            tails=self._tails,
            hubs=self._hubs,
            rules=self._rules(reader),
            read=self._read,
        )
        step.run([fact for fact in facts if fact.name not in self._personless])
        return update
