"""The files of one outbox: appending to the last of them, and what is known of each."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from errno import EBADF, EDQUOT, EFBIG, ENOSPC
from typing import Final

from touchtrail._envelope import ORDER
from touchtrail.errors import EventRefusedError, is_thrown_in

from .base import REPORT, Clocks, Limits, Loss
from .record import pack
from .segment import HEADER_BYTES, Segment
from .spool import Spool

_tell = os.lseek
_pwrite = os.pwrite
_FROM_HERE: Final = os.SEEK_CUR
_REPORT_ROOM: Final = 16
"""A file may be longer by this part for reports of losses, which must fit in beside a full spool."""


class SpoolFiles:
    """Appends events to files and keeps count of them.

    ``append`` may be called by any thread, everything else by one.

    Args:
        path: the folder; made when the first event comes.
        on_loss: is told why and how many events were given up.
        on_problem: is told of files that do not work.
        clocks: what the age of events is measured by.
    """

    def __init__(
        self,
        path: str,
        limits: Limits,
        on_loss: Loss,
        *,
        on_problem: Callable[[OSError], None] = lambda _: None,
        clocks: Clocks | None = None,
    ) -> None:
        self._limits = limits
        self._on_loss = on_loss
        self._on_problem = on_problem
        self._clocks = clocks or Clocks()
        self._spool = Spool(path)
        self._segment_bytes = min(limits.segment_bytes, limits.max_bytes // 8)
        self._segments: deque[Segment] = deque()
        self._left: list[deque[Segment]] = []
        self.forget()

    def forget(self) -> None:
        """Drop what belongs to the parent process: descriptors are closed, its files and locks left alone."""
        self._left.append(self._segments)
        self._close_left()
        self._spool.forget()
        self._clocks.restart()
        self._lock = threading.RLock()
        self._segments = deque()
        self._active: Segment | None = None
        self._is_writing = self._is_stale = False
        self._number = 0
        self._others_bytes = 0
        self.appended = 0
        self.settled = 0
        self.reports = 0

    def append(self, payload: bytes, shed_class: int) -> None:
        """Take one event: when this returns, the operating system has it.

        Raises:
            EventRefusedError: the spool is full.
            OSError: the disk is full, read-only, or not ours.
        """
        clocks = self._clocks
        record = pack(payload, shed_class, clocks.began_s + clocks.steady())
        size = len(record)
        with self._lock:
            active = self._active
            # Writing already: this is a signal handler that tracks. It gets a file of its own.
            if active is None or active.size + size > self._segment_bytes or self._is_writing:
                active = self._file_for(shed_class)
            try:
                self._is_writing = True
                if _tell(active.writer, 0, _FROM_HERE) != active.mark:
                    raise OSError(EBADF, "somebody closed the spool's file and opened another")
                # Appended wherever the file ends, because of ``O_APPEND``; only the place of the mark stays untouched.
                if _pwrite(active.writer, record, active.size) != size:
                    raise OSError(ENOSPC, "the disk took only a part of an event")
            # Whatever it is: a signal handler of the shop's may raise here as well. After this nothing is called until
            # all counts are right, and so nothing can raise.
            except BaseException as problem:
                # Behind what may be half an event nothing is appended, should one more exception come now.
                self._active = None
                self._is_writing = False
                if not self._undo_write(active, problem):
                    raise
                return self.append(payload, shed_class)
            active.size += size
            active.appended += 1
            self.appended += 1
            self._is_writing = False
        return None

    def append_report(self, payload: bytes) -> None:
        """Take a report of losses; it fits in beside a full spool. Raises as ``append``."""
        with self._lock:
            self.append(payload, REPORT)
            self.reports += 1

    def tracked(self) -> int:
        """Return how many events were taken, reports of losses left out."""
        with self._lock:
            return self.appended - self.reports

    def has_pending(self) -> bool:
        """Say whether any event waits."""
        return any(not segment.is_done() for segment in list(self._segments))

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
            self._retire()
            self._close_left()
            for segment in self._segments:
                with suppress(OSError):
                    if segment.is_done():
                        segment.delete()
                    elif segment.is_gone():
                        self._on_loss("damaged", segment.appended - segment.settled)
                    else:
                        segment.note_waited(segment.waited_s(self._clocks.steady()))
                segment.close()
            self._segments.clear()
            self._spool.close()

    def _file_for(self, shed_class: int) -> Segment:
        """Return the file that the next event goes into; the one in use is full, or there is none."""
        if self._is_stale or not self._spool.is_whole():
            self._begin_anew()
        active = self._active
        room = self._segment_bytes // _REPORT_ROOM
        has_room = active is not None and active.size < self._segment_bytes + room
        if active is not None and has_room and shed_class == REPORT and not self._is_writing:
            return active
        # Orders may use one file more than all else, so that page views are refused first.
        files_over = 1 + (shed_class >= ORDER) + (shed_class == REPORT)
        if self._size() + self._others_bytes > self._limits.max_bytes + files_over * self._segment_bytes:
            raise EventRefusedError("spool_full", "the spool is full; is the collector reachable?")
        owner = self._spool.open()
        # At hand: a signal handler that tracks meanwhile takes the next one.
        self._number = number = self._number + 1
        segment = Segment.create(self._spool.folder, f"{owner}-{number:06d}.seg", self._clocks.steady())
        # The file that is being written to is closed when it is done: its descriptor is in somebody's hands.
        if not self._is_writing:
            self._retire()
        # First of all where it is read from: an exception of a signal handler may come between.
        self._segments.append(segment)
        self._active = segment
        return segment

    def _size(self) -> int:
        return sum(segment.size for segment in list(self._segments))

    def _undo_write(self, active: Segment, problem: BaseException) -> bool:
        """Cut off what was written of an event that is not taken; a file that does not work is used no more.

        Returns:
            Whether the event can be tried once more: it failed because the file's descriptor was no longer ours.
        """
        is_of_disk = isinstance(problem, OSError) and not is_thrown_in(problem)
        if is_of_disk and not active.has_writer():
            self._begin_anew()
            return True
        is_full = isinstance(problem, OSError) and problem.errno in (ENOSPC, EDQUOT, EFBIG)
        if active.cut_back() and (is_full or not is_of_disk):
            self._active = active
        else:
            self._end(active)
        return False

    def _begin_anew(self) -> None:
        """Leave every file to be adopted: whoever closed our descriptors let go of our locks with them.

        An exception of a signal handler's may end this at any place; the next call goes on. A handler that tracks may
        have begun anew meanwhile: then its file is left as well, because its lock may be among those let go of.
        """
        self._is_stale = True
        while self._is_stale:
            old, fresh = self._segments, deque[Segment]()
            left = [*self._left, old]
            if self._segments is old:
                self._left, self._segments, self._active = left, fresh, None
            for segments in self._left:
                self._leave(segments)
            self._spool.let_go()
            if not self._segments:
                self._is_stale = False

    def _leave(self, segments: Iterable[Segment]) -> None:
        for segment in segments:
            self.settled += segment.appended - segment.settled
            segment.is_own = False
            segment.appended = segment.settled = 0
            segment.leave()

    def _close_left(self) -> None:
        """Close what the files that were left are read through, in the thread that reads: it may be at it just now.

        Closed by another, the number could be given to a new file, and the old one's mark be written into that.
        """
        while self._left:
            segments = self._left.pop()
            self._leave(segments)
            for segment in segments:
                segment.close()

    def _retire(self) -> None:
        """Append no more to the file in use; the next event begins another."""
        segment, self._active = self._active, None
        if segment is not None:
            self._end(segment)

    def _end(self, segment: Segment) -> None:
        segment.since_s = self._clocks.steady()
        segment.close_writer()

    def _settle(self, segment: Segment, end: int, events: int) -> None:
        if problem := segment.deliver_to(end):
            self._on_problem(problem)
        if segment.is_own:
            segment.settled += events
            self.settled += events

    def _finish(self, segment: Segment) -> None:
        """Remove a file that is done, or empty it while it is still appended to."""
        problem: OSError | None = None
        with self._lock:
            if not segment.is_done() or segment not in self._segments:
                return
            missing = segment.appended - segment.settled
            self.settled += missing
            segment.appended = segment.settled = 0
            if segment is self._active:
                problem = self._empty(segment)
            if segment is not self._active:
                self._segments.remove(segment)
        if missing:
            self._on_loss("damaged", missing)
        if segment is not self._active:
            problem = self._delete(segment) or problem
        if problem:
            self._on_problem(problem)

    def _empty(self, segment: Segment) -> OSError | None:
        if segment.size == HEADER_BYTES:
            return None
        try:
            return segment.empty()
        except OSError as problem:
            self._retire()
            return problem

    def _delete(self, segment: Segment) -> OSError | None:
        try:
            segment.delete()
        except OSError as problem:
            # The lock is kept: whoever got it would send these events once more.
            return problem
        self._let_go_of(segment)
        return None

    def _let_go_of(self, segment: Segment) -> None:
        if not segment.is_own and not any(other.owner == segment.owner for other in self._segments):
            self._spool.release(segment.owner)
