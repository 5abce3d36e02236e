"""An outbox in files: each process appends to its own, and takes over what dead processes left."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import suppress
from errno import EMFILE, ENFILE, ENOMEM
from itertools import takewhile
from typing import Final

from touchtrail._envelope import SHED_ORDER

from .base import REPORT, Batch
from .files import SpoolFiles
from .record import Record
from .segment import WAIT_UNIT_S, Segment

_MOST_OWNERS: Final = 16
"""How many dead processes' files are held at once: each takes a descriptor of the shop's."""

_MOST_READERS: Final = 16
"""So many of our own files that wait are kept open to be read: they are there even if somebody removes them."""

_NO_FAULTS: Final = frozenset({EMFILE, ENFILE, ENOMEM})
"""What the process or machine has too few of says nothing of a file."""

_TRIES: Final = 3
_TRY_AGAIN_S: Final = 1.0
_EXPIRE_EVENTS: Final = 1_000
_FILES_OVER: Final = 4
_EXPIRE_BYTES: Final = 1_048_576


class DiskOutbox(SpoolFiles):
    """Keeps events in the files of one spool folder; what it returned from survives the death of the process.

    ``append`` may be called by any thread, everything else by one.
    """

    def forget(self) -> None:
        """Drop what belongs to the parent process: descriptors are closed, its files and locks left alone."""
        super().forget()
        self._has_more = self._wants_room = False
        self._unreadable: Counter[str] = Counter()
        self.set_aside = 0

    def take(self, max_events: int, max_bytes: int) -> Batch | None:
        """Return the oldest events, the same again until they are settled; None when nothing can be read now."""
        while True:
            for segment in list(self._segments):
                if self._clocks.steady() < segment.again_at_s:
                    continue
                try:
                    if batch := self._take_from(segment, max_events, max_bytes):
                        return batch
                except OSError as problem:
                    self._stumble(segment, problem)
            if not (self._has_more and self.adopt()):
                return None

    def settle(self, batch: Batch) -> None:
        """Remember that a batch was delivered or given up; whole files that are done disappear."""
        segment, end, gaps = batch.place
        self._settle(segment, end, len(batch.payloads))
        self._report_gaps(segment, gaps)
        if segment.is_done():
            self._finish(segment)

    def has_ready(self) -> bool:
        """Say whether any event waits that can be read now; one in a file with I/O errors has to wait."""
        now_s = self._clocks.steady()
        return self._has_more or any(
            not segment.is_done() and now_s >= segment.again_at_s for segment in list(self._segments)
        )

    def is_settled_to(self, mark: int) -> bool:
        """Say whether the first ``mark`` events of this process and everything dead processes left are done."""
        others_done = all(segment.is_own or segment.is_done() for segment in list(self._segments))
        return self.settled >= mark and others_done and not self._has_more and not self._wants_room

    def has_pending(self) -> bool:
        """Say whether any event waits."""
        return self._wants_room or super().has_pending()

    def adopt(self) -> bool:
        """Take over files of processes that are dead, before newer ones; return whether there were any.

        Not all at once: when these are done, ``take`` goes on with the next.
        """
        self._check_descriptors()
        taken: list[Segment] = []
        self._has_more = self._wants_room = False
        try:
            if not self._spool.exists():
                return False
            for owner, names in self._spool.leftovers().items():
                if self._spool.is_claimed(owner) or (names and all(self._unreadable[name] >= _TRIES for name in names)):
                    continue
                if self._spool.held_for_others() >= _MOST_OWNERS:
                    self._has_more = True
                    break
                if self._claim(owner):
                    taken += self._open_all(owner, names)
        except OSError as problem:
            self._wait_for_room(problem)
            raise
        finally:
            with self._lock:
                own = [segment for segment in self._segments if segment.is_own]
                others = [segment for segment in self._segments if not segment.is_own]
                # Another thread may have found meanwhile that our locks are gone.
                held = [segment for segment in taken if self._spool.is_claimed(segment.owner)]
                self._segments = deque([*others, *held, *own])
        return bool(taken)

    def shed(self) -> None:
        """Give up events when the folder is over its limit: page views, then carts, then orders, oldest first."""
        self._check_descriptors()
        own = self._size()
        if not own:
            return
        total = self._spool.total_bytes()
        self._others_bytes = max(total - own, 0)
        if total <= self._limits.max_bytes - self._segment_bytes:
            return
        # One process at a time, each its share: all at once would give up as many times too much.
        with self._spool.turn() as is_ours:
            if is_ours:
                total = self._spool.total_bytes()
                excess = total - self._limits.max_bytes + self._segment_bytes
                excess -= self._spool.drop_set_aside(excess)
                self._shed(-(-excess * self._size() // total))

    def expire(self) -> None:
        """Give up events that waited too long; to be called when they could not be delivered just now."""
        now_s = self._clocks.steady()
        for segment in list(self._segments):
            if segment.is_own:
                oldest_s = self._clocks.now_s() - self._limits.max_age_s
            elif segment.waited_s(now_s) > self._limits.max_age_s:
                oldest_s = float("inf")
            else:
                continue
            try:
                if not self._expire(segment, oldest_s) and segment.is_own:
                    return
            except OSError as problem:
                self._stumble(segment, problem)

    def look_after(self) -> None:
        """Note how long files have waited, for those who take them over; begin a new file where one was tampered with.

        To be called every few minutes, or more often.
        """
        self._check_descriptors()
        with self._lock:
            if self._active is not None and not self._active.is_whole():
                self._retire()
        now_s = self._clocks.steady()
        for segment in list(self._segments):
            waited_s = segment.waited_s(now_s)
            if segment is not self._active and waited_s - segment.noted_s >= WAIT_UNIT_S:
                with suppress(OSError):
                    segment.note_waited(waited_s)
        self._close_readers()

    def _close_readers(self) -> None:
        """Keep few files open that wait: the shop needs its descriptors, and a spool has a file for each megabyte."""
        own = [segment for segment in list(self._segments) if segment.is_own and segment is not self._active]
        for segment in own[_MOST_READERS:]:
            segment.close_reader()

    def _check_descriptors(self) -> bool:
        """Begin anew when somebody closed what we hold open; return whether that was so."""
        with self._lock:
            is_lost = self._is_stale or not self._spool.is_whole()
            if is_lost:
                self._begin_anew()
            self._close_left()
            return is_lost

    def _take_from(self, segment: Segment, max_events: int, max_bytes: int) -> Batch | None:
        while not segment.is_done():
            start = segment.delivered_to
            found = segment.read(max_events, max_bytes)
            segment.faults = 0
            if found.records:
                reports = frozenset(n for n, record in enumerate(found.records) if record.shed_class == REPORT)
                place = (segment, start + found.end, found.gaps)
                return Batch([record.payload for record in found.records], place, reports)
            self._settle(segment, start + found.end, 0)
            self._report_gaps(segment, found.gaps)
        self._finish(segment)
        return None

    def _report_gaps(self, segment: Segment, gaps: int) -> None:
        # Of an own file it is known how many events it had: what is missing is counted when it is finished.
        if gaps and not segment.is_own:
            self._on_loss("damaged", gaps)

    def _stumble(self, segment: Segment, problem: OSError) -> None:
        """Let a file that cannot be read wait; the third time it is set aside, so that it holds up nothing."""
        if self._check_descriptors():
            return
        self._on_problem(problem)
        segment.again_at_s = self._clocks.steady() + _TRY_AGAIN_S
        if problem.errno in _NO_FAULTS:
            return
        segment.faults += 1
        with self._lock:
            if segment is self._active:
                self._retire()
            if segment.faults < _TRIES or segment not in self._segments:
                return
            self._segments.remove(segment)
            lost = segment.appended - segment.settled if segment.is_own else 1
            if segment.is_own:
                self.settled += lost
        self._put_aside(segment, lost)
        self._let_go_of(segment)

    def _put_aside(self, segment: Segment, lost: int) -> None:
        self._unreadable[segment.name] = _TRIES
        with suppress(OSError):
            segment.set_aside()
        self.set_aside += 1
        if lost:
            self._on_loss("damaged", lost)

    def _claim(self, owner: str) -> bool:
        """Try to get the owner's lock. One that cannot be opened (a link, a folder) keeps no other's from being got."""
        try:
            return self._spool.claim(owner)
        except OSError as problem:
            self._wait_for_room(problem)
            self._on_problem(problem)
            return False

    def _wait_for_room(self, problem: OSError) -> None:
        """Remember that files were left out for want of descriptors: they are looked at again soon."""
        self._wants_room = self._wants_room or problem.errno in _NO_FAULTS

    def _open_all(self, owner: str, names: list[str]) -> list[Segment]:
        found = []
        for name in names:
            if not name.endswith(".seg"):
                self._spool.remove(name)
            elif segment := self._open_one(name):
                found.append(segment)
        if self._wants_room:
            # All of them later: as long as their lock is held nobody looks for the others.
            found = []
        if not found:
            self._spool.release(owner)
        return found

    def _open_one(self, name: str) -> Segment | None:
        """Return the file, or None where it cannot be opened: that must not keep the others from being delivered."""
        now_s = self._clocks.steady()
        try:
            return Segment.found(self._spool.folder, name, now_s)
        except OSError as problem:
            self._wait_for_room(problem)
            self._on_problem(problem)
            self._unreadable[name] += problem.errno not in _NO_FAULTS
        if self._unreadable[name] == _TRIES and self._spool.is_file(name):
            self._put_aside(Segment(self._spool.folder, name, size=0, is_own=False, since_s=now_s), 1)
        return None

    def _shed(self, excess: int) -> None:
        for shed_class in SHED_ORDER:
            for is_last_try in (False, True):
                # Before anything of the next class goes, this class goes from the file in use as well.
                if is_last_try and not self._finish_early():
                    break
                for segment in list(self._segments):
                    if excess <= 0:
                        return
                    if segment is not self._active and segment.thinned_to < shed_class:
                        excess -= self._thin_out(segment, shed_class)

    def _finish_early(self) -> bool:
        """Append no more to the file in use, so that it can be thinned out; not for a few bytes, or too many files."""
        most_files = _FILES_OVER * self._limits.max_bytes // self._segment_bytes
        with self._lock:
            active = self._active
            if active is None or active.size <= self._segment_bytes // 8 or len(self._segments) >= most_files:
                return False
            self._retire()
            return True

    def _thin_out(self, segment: Segment, shed_class: int) -> int:
        before = segment.size
        try:
            lost = segment.thin_out(shed_class)
        except OSError as problem:
            self._stumble(segment, problem)
            return 0
        segment.close_reader()
        if not lost:
            return 0
        self._on_loss("spool_full", lost)
        if segment.is_own:
            segment.settled += lost
            self.settled += lost
        if segment.is_done():
            self._finish(segment)
        return before - segment.size

    def _expire(self, segment: Segment, oldest_s: float) -> bool:
        """Give up the file's events taken before that time; return whether all were."""
        while not segment.is_done():
            start = segment.delivered_to
            found = segment.read(_EXPIRE_EVENTS, _EXPIRE_BYTES)
            # Stamps are whole seconds, rounded down.
            aged = list(takewhile(lambda record: record.taken_s + 1 <= oldest_s, found.records))
            is_all = len(aged) == len(found.records)
            if aged or is_all:
                self._settle(segment, start + (found.end if is_all else aged[-1].end), len(aged))
            self._count_aged(aged)
            if not is_all:
                return False
            self._report_gaps(segment, found.gaps)
        self._finish(segment)
        return True

    def _count_aged(self, aged: list[Record]) -> None:
        # No report tells of lost reports: that would never end.
        if events := sum(record.shed_class != REPORT for record in aged):
            self._on_loss("too_old", events)
