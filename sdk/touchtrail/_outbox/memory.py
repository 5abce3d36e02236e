"""An outbox in memory: for tests, for machines without a disk, and for the time a disk is full."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from touchtrail._envelope import SHED_ORDER
from touchtrail.errors import EventRefusedError

from .base import REPORT, Batch, Clocks, Limits, Loss

# What one waiting event costs beside its bytes (tuple, deque slot, bytes object), measured on CPython 3.11.
_OVERHEAD_BYTES = 150
_REPORT_ROOM = 64
"""Reports of losses may take this part more than all else."""


class _Waiting(NamedTuple):
    number: int
    taken_s: float
    shed_class: int
    payload: bytes


class MemoryOutbox:
    """Holds events until they are settled; when full, gives up the least important and oldest first.

    Args:
        on_loss: is told why and how many events were given up.
        clocks: what the age of events is measured by.
    """

    def __init__(self, limits: Limits, on_loss: Loss, *, clocks: Clocks | None = None) -> None:
        self._limits = limits
        self._on_loss = on_loss
        self._clocks = clocks or Clocks()
        self.forget()

    def forget(self) -> None:
        """Start empty: in a forked child, what waits is the parent's to send."""
        self._lock = threading.RLock()
        self._waiting: tuple[deque[_Waiting], ...] = tuple(deque() for _ in (*SHED_ORDER, REPORT))
        self._in_flight: list[_Waiting] = []
        self._bytes = 0
        self.appended = 0
        self.settled = 0
        self.reports = 0

    def append(self, payload: bytes, shed_class: int) -> None:
        """Take one event.

        Raises:
            EventRefusedError: full of events that are more important.
        """
        cost = len(payload) + _OVERHEAD_BYTES
        lost = 0
        try:
            with self._lock:
                if self._bytes + cost > self._limits.max_bytes:
                    lost = self._make_room(cost, shed_class)
                    self._check_room(cost, shed_class)
                event = _Waiting(self.appended + 1, self._clocks.steady(), shed_class, payload)
                keep = self._waiting[shed_class].append
                # A signal handler of the shop's may raise where something is called: not between these.
                self.appended += 1
                self._bytes += cost
                keep(event)
        finally:
            # Not under the lock: a log handler of the shop's may track events, in other threads too.
            if lost:
                self._on_loss("memory_full", lost)

    def append_report(self, payload: bytes) -> None:
        """Take a report of losses. Raises as ``append``."""
        with self._lock:
            self.append(payload, REPORT)
            self.reports += 1

    def tracked(self) -> int:
        """Return how many events were taken, reports of losses left out."""
        with self._lock:
            return self.appended - self.reports

    def take(self, max_events: int, max_bytes: int) -> Batch | None:
        """Return the oldest events, the same again until they are settled; None when nothing waits."""
        with self._lock:
            if not self._in_flight:
                while len(self._in_flight) < max_events and (event := self._pop_oldest()):
                    self._in_flight.append(event)
            payloads: list[bytes] = []
            total = 0
            for event in self._in_flight[:max_events]:
                total += len(event.payload)
                if payloads and total > max_bytes:
                    break
                payloads.append(event.payload)
            sent = self._in_flight[: len(payloads)]
            reports = frozenset(place for place, event in enumerate(sent) if event.shed_class == REPORT)
            return Batch(payloads, self, reports) if payloads else None

    def settle(self, batch: Batch) -> None:
        """Forget a batch that was delivered or given up."""
        with self._lock:
            done = self._in_flight[: len(batch.payloads)]
            del self._in_flight[: len(done)]
            self._forget_costs(done)

    def expire(self) -> None:
        """Give up events that waited too long; to be called when they could not be delivered just now."""
        oldest_s = self._clocks.steady() - self._limits.max_age_s
        lost: list[_Waiting] = []
        with self._lock:
            for queue in (self._in_flight, *self._waiting):
                while queue and queue[0].taken_s < oldest_s:
                    lost.append(queue[0])
                    del queue[0]
            self._forget_costs(lost)
        if events := _events_in(lost):
            self._on_loss("too_old", events)

    def has_pending(self) -> bool:
        """Say whether any event waits."""
        return self.settled < self.appended

    def waiting_bytes(self) -> int:
        """Return how many bytes of events wait."""
        return self._bytes

    def hand_over(self) -> list[tuple[bytes, int]]:
        """Return all events that wait, oldest first, with their classes; they count as never taken here."""
        with self._lock:
            left = sorted([*self._in_flight, *(event for queue in self._waiting for event in queue)])
            for queue in (self._in_flight, *self._waiting):
                queue.clear()
            self.appended -= len(left)
            self.reports -= sum(event.shed_class == REPORT for event in left)
            self._bytes = 0
            return [(event.payload, event.shed_class) for event in left]

    def close(self) -> None:
        """Give up what still waits: memory ends with the process."""
        with self._lock:
            lost = [*self._in_flight, *(event for queue in self._waiting for event in queue)]
            for queue in (self._in_flight, *self._waiting):
                queue.clear()
            self.settled, self._bytes = self.appended, 0
        if events := _events_in(lost):
            self._on_loss("closed", events)

    def _make_room(self, cost: int, shed_class: int) -> int:
        """Give up what is worth less, or as much and is older; return how many events."""
        lost = 0
        # Telling of losses makes no room by losing more.
        for victims in self._waiting[: shed_class + 1] if shed_class < REPORT else ():
            while victims and self._bytes + cost > self._limits.max_bytes:
                self._forget_costs([victims.popleft()])
                lost += 1
        return lost

    def _check_room(self, cost: int, shed_class: int) -> None:
        most = self._limits.max_bytes
        if shed_class == REPORT:
            most += most // _REPORT_ROOM
        if self._bytes + cost > most:
            raise EventRefusedError("memory_full", "too many events wait in memory; is the collector reachable?")

    def _pop_oldest(self) -> _Waiting | None:
        filled = [queue for queue in self._waiting if queue]
        return min(filled, key=lambda queue: queue[0].number).popleft() if filled else None

    def _forget_costs(self, events: list[_Waiting]) -> None:
        self.settled += len(events)
        self._bytes -= sum(len(event.payload) + _OVERHEAD_BYTES for event in events)


def _events_in(lost: list[_Waiting]) -> int:
    # No report tells of lost reports: that would never end.
    return sum(event.shed_class != REPORT for event in lost)
