"""An outbox in files: each process appends to its own, and takes over what dead processes left."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Final

from touchtrail._envelope import SHED_ORDER
from touchtrail.errors import EventRefusedError

from .base import Batch, Limits, Loss
from .record import pack
from .segment import HEADER_BYTES, Segment
from .spool import OWNER_PATTERN, Spool

_SEGMENT_NAME: Final = re.compile(rf"({OWNER_PATTERN})-\d{{6,}}\.seg")


class DiskOutbox:
    """Keeps events in the files of one spool folder; what it returned from survives the death of the process.

    ``append`` may be called by any thread, everything else by one.

    Args:
        path: the folder; made when the first event comes.
        on_loss: is told why and how many events were given up.
    """

    def __init__(self, path: str, limits: Limits, on_loss: Loss) -> None:
        self._limits = limits
        self._on_loss = on_loss
        self._spool = Spool(path)
        self._segment_bytes = min(limits.segment_bytes, limits.max_bytes // 8)
        self._segments: deque[Segment] = deque()
        self._writer = -1
        self.forget()

    def forget(self) -> None:
        """Drop what belongs to the parent process: descriptors are closed, its files and locks left alone."""
        for segment in self._segments:
            segment.close()
        if self._writer >= 0:
            os.close(self._writer)
        self._spool.forget()
        self._lock = threading.RLock()
        self._segments = deque()
        self._active: Segment | None = None
        self._writer = -1
        self._number = 0
        self._bytes = 0
        self.appended = 0
        self.settled = 0

    def append(self, payload: bytes, shed_class: int) -> None:
        """Take one event: when this returns, the operating system has it.

        Raises:
            EventRefusedError: the spool is full.
            OSError: the disk is full, read-only, or not ours.
        """
        record = pack(payload, shed_class, int(time.time()))
        size = len(record)
        with self._lock:
            active = self._active
            if active is None or active.size + size > self._segment_bytes:
                active = self._begin_segment(shed_class)
            if os.write(self._writer, record) != size:
                os.ftruncate(self._writer, active.size)
                raise OSError("the disk took only a part of an event")
            active.size += size
            active.appended += 1
            self._bytes += size
            self.appended += 1

    def take(self, max_events: int, max_bytes: int) -> Batch | None:
        """Return the oldest events, the same again until they are settled; None when nothing waits."""
        while self._segments:
            head = self._segments[0]
            if head.is_done():
                if not self._finish(head):
                    return None
                continue
            if batch := self._next_of(head, max_events, max_bytes):
                return batch
        return None

    def settle(self, batch: Batch) -> None:
        """Remember that a batch was delivered or given up; whole files that are done disappear."""
        head, end, gaps = batch.place
        self._settle(head, end, len(batch.payloads))
        self._report_gaps(head, gaps)
        if head.is_done():
            self._finish(head)

    def adopt(self) -> None:
        """Take over the files of processes that are dead; their events go out before newer ones."""
        if not self._spool.exists():
            return
        owners: dict[str, list[str]] = {}
        for name in sorted(self._spool.names()):
            if found := _SEGMENT_NAME.fullmatch(name):
                owners.setdefault(found[1], []).append(name)
        for owner in sorted(owners.keys() | self._spool.lock_owners(), reverse=True):
            if self._spool.claim(owner):
                self._take_over(owner, owners.get(owner, []))

    def shed(self) -> None:
        """Give up events when the folder is over its limit: page views, then carts, then orders, oldest first."""
        if not self._bytes:
            return
        excess = self._spool.total_bytes() - self._limits.max_bytes + self._segment_bytes
        for shed_class in SHED_ORDER:
            for segment in list(self._segments):
                if excess <= 0:
                    return
                if segment is not self._active and segment.thinned_to < shed_class:
                    excess -= self._thin_out(segment, shed_class)

    def has_pending(self) -> bool:
        """Say whether any event waits."""
        return any(not segment.is_done() for segment in list(self._segments))

    def is_settled_to(self, mark: int) -> bool:
        """Say whether the first ``mark`` events of this process and everything adopted are done."""
        return self.settled >= mark and all(segment.is_own or segment.is_done() for segment in list(self._segments))

    def waiting_bytes(self) -> int:
        """Return how many bytes in the files wait for delivery."""
        return sum(max(segment.size - segment.delivered_to, 0) for segment in list(self._segments))

    def keep_dead_letter(self, line: bytes) -> None:
        """Append a line to the folder's ``dead-letters.jsonl``, which is renamed when it is large."""
        self._spool.open()
        self._spool.keep_dead_letter(line)

    def close(self) -> None:
        """Let go of the files; those with waiting events stay for the next process."""
        with self._lock:
            for segment in self._segments:
                if segment.is_done():
                    with suppress(OSError):
                        segment.delete()
                else:
                    segment.close()
            self._segments.clear()
            self._active = None
            if self._writer >= 0:
                os.close(self._writer)
                self._writer = -1
            self._spool.close()

    def _begin_segment(self, shed_class: int) -> Segment:
        # Orders may use one file more than all else, so that page views are refused first.
        files_over = 2 if shed_class == SHED_ORDER[-1] else 1
        if self._bytes > self._limits.max_bytes + files_over * self._segment_bytes:
            raise EventRefusedError("spool_full", "the spool is full; is the collector reachable?")
        owner = self._spool.open()
        self._number += 1
        segment, writer = Segment.create(self._spool.folder, f"{owner}-{self._number:06d}.seg")
        if self._writer >= 0:
            os.close(self._writer)
        self._active, self._writer = segment, writer
        self._bytes += HEADER_BYTES
        self._segments.append(segment)
        return segment

    def _next_of(self, head: Segment, max_events: int, max_bytes: int) -> Batch | None:
        """Return the file's next batch; None after a step over what is too old or damaged."""
        start = head.delivered_to
        found = head.read(max_events, max_bytes)
        oldest_s = time.time() - self._limits.max_age_s
        aged = 0
        while aged < len(found.records) and found.records[aged].taken_s < oldest_s:
            aged += 1
        if aged:
            self._on_loss("too_old", aged)
            self._settle(head, start + found.records[aged - 1].end, aged)
        records = found.records[aged:]
        if records:
            return Batch([record.payload for record in records], (head, start + found.end, found.gaps))
        self._settle(head, start + found.end, 0)
        self._report_gaps(head, found.gaps)
        return None

    def _settle(self, segment: Segment, end: int, events: int) -> None:
        segment.deliver_to(end)
        if segment.is_own:
            segment.settled += events
            self.settled += events

    def _report_gaps(self, segment: Segment, gaps: int) -> None:
        # Of an own file it is known how many events it had: what is missing is counted when it is finished.
        if gaps and not segment.is_own:
            self._on_loss("damaged", gaps)

    def _finish(self, segment: Segment) -> bool:
        """Remove a file that is done, or empty it while it is still appended to; return whether it is gone."""
        with self._lock:
            if not segment.is_done():
                return True
            if missing := segment.appended - segment.settled:
                self._on_loss("damaged", missing)
                self.settled += missing
            segment.appended = segment.settled = 0
            if segment is self._active:
                self._bytes -= segment.size - HEADER_BYTES
                if segment.size > HEADER_BYTES:
                    segment.empty()
                return False
            self._segments.remove(segment)
            self._bytes -= segment.size
        segment.delete()
        self._let_go_of(segment)
        return True

    def _let_go_of(self, segment: Segment) -> None:
        owner = segment.name.rpartition("-")[0]
        if not segment.is_own and not any(other.name.startswith(owner) for other in self._segments):
            self._spool.release(owner)

    def _take_over(self, owner: str, names: list[str]) -> None:
        taken = []
        for name in names:
            # One file that cannot be read (a link, a folder) must not keep the others from being delivered.
            with suppress(OSError):
                taken.append(Segment.found(self._spool.folder, name))
        with self._lock:
            self._segments.extendleft(reversed(taken))
            self._bytes += sum(segment.size for segment in taken)
        if not taken:
            self._spool.release(owner)

    def _thin_out(self, segment: Segment, shed_class: int) -> int:
        before = segment.size
        lost = segment.thin_out(shed_class)
        with self._lock:
            self._bytes -= before - segment.size
        if not lost:
            return 0
        self._on_loss("spool_full", lost)
        if segment.is_own:
            segment.settled += lost
            self.settled += lost
        if segment.is_done():
            self._finish(segment)
        return before - segment.size
