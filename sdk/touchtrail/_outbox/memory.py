"""An outbox in memory: for tests, for machines without a disk, and for the time a disk is full."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple

from touchtrail._envelope import SHED_ORDER
from touchtrail.errors import EventRefusedError

from .base import Batch, Limits, Loss

# What one waiting event costs beside its bytes (tuple, deque slot, bytes object), measured on CPython 3.11.
_OVERHEAD_BYTES = 150


class _Waiting(NamedTuple):
    number: int
    taken_s: int
    payload: bytes


class MemoryOutbox:
    """Holds events until they are settled; when full, gives up the least important and oldest first.

    Args:
        on_loss: is told why and how many events were given up.
    """

    def __init__(self, limits: Limits, on_loss: Loss) -> None:
        self._limits = limits
        self._on_loss = on_loss
        self.forget()

    def forget(self) -> None:
        """Start empty: in a forked child, what waits is the parent's to send."""
        self._lock = threading.RLock()
        self._waiting: tuple[deque[_Waiting], ...] = tuple(deque() for _ in SHED_ORDER)
        self._in_flight: list[_Waiting] = []
        self._bytes = 0
        self.appended = 0
        self.settled = 0

    def append(self, payload: bytes, shed_class: int) -> None:
        """Take one event.

        Raises:
            EventRefusedError: full of events that are more important.
        """
        cost = len(payload) + _OVERHEAD_BYTES
        with self._lock:
            if self._bytes + cost > self._limits.max_bytes:
                self._make_room(cost, shed_class)
            self.appended += 1
            self._bytes += cost
            self._waiting[shed_class].append(_Waiting(self.appended, int(time.time()), payload))

    def take(self, max_events: int, max_bytes: int) -> Batch | None:
        """Return the oldest events, the same again until they are settled; None when nothing waits."""
        with self._lock:
            self._drop_aged()
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
            return Batch(payloads, self) if payloads else None

    def settle(self, batch: Batch) -> None:
        """Forget a batch that was delivered or given up."""
        with self._lock:
            done = self._in_flight[: len(batch.payloads)]
            del self._in_flight[: len(done)]
            self._forget_costs(done)

    def has_pending(self) -> bool:
        """Say whether any event waits."""
        return self.settled < self.appended

    def waiting_bytes(self) -> int:
        """Return how many bytes of events wait."""
        return self._bytes

    def close(self) -> None:
        """Give up what still waits: memory ends with the process."""
        with self._lock:
            lost = self.appended - self.settled
            for queue in (self._in_flight, *self._waiting):
                queue.clear()
            self.settled, self._bytes = self.appended, 0
        if lost:
            self._on_loss("closed", lost)

    def _make_room(self, cost: int, shed_class: int) -> None:
        for victims in self._waiting[: shed_class + 1]:
            while victims and self._bytes + cost > self._limits.max_bytes:
                self._forget_costs([victims.popleft()])
                self._on_loss("memory_full", 1)
        if self._bytes + cost > self._limits.max_bytes:
            raise EventRefusedError("memory_full", "too many events wait in memory; is the collector reachable?")

    def _pop_oldest(self) -> _Waiting | None:
        filled = [queue for queue in self._waiting if queue]
        return min(filled, key=lambda queue: queue[0].number).popleft() if filled else None

    def _drop_aged(self) -> None:
        oldest_s = time.time() - self._limits.max_age_s
        for queue in (self._in_flight, *self._waiting):
            aged = 0
            while aged < len(queue) and queue[aged].taken_s < oldest_s:
                aged += 1
            if aged:
                self._forget_costs([queue[place] for place in range(aged)])
                for _ in range(aged):
                    del queue[0]
                self._on_loss("too_old", aged)

    def _forget_costs(self, events: list[_Waiting]) -> None:
        self.settled += len(events)
        self._bytes -= sum(len(event.payload) + _OVERHEAD_BYTES for event in events)
