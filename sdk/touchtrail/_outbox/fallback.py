"""The outbox a client uses: the disk, and memory for as long as the disk takes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from touchtrail.errors import EventRefusedError, is_thrown_in
from touchtrail.options import Options

from .base import REPORT, Batch, Clock, Clocks, Limits, Loss, Mark
from .disk import DiskOutbox
from .memory import MemoryOutbox
from .siblings import Siblings

_RETRY_DISK_S: Final = 5.0
_ADOPT_EVERY_S: Final = 2.0
_SHED_EVERY_S: Final = 0.5
_LOOK_EVERY_S: Final = 900.0


def build_outbox(options: Options, folder: str, on_loss: Loss, on_problem: Callable[[OSError], None]) -> Outbox:
    """Return the outbox of a client.

    Args:
        folder: where events wait on disk, unless the options say that they do not.
        on_loss: is told why and how many events were given up.
        on_problem: is told of every trouble with the disk.
    """
    clocks = Clocks()
    limits = Limits(
        max_bytes=options.max_spool_bytes, segment_bytes=options.segment_bytes, max_age_s=options.max_spool_age_s
    )
    in_memory = msgspec.structs.replace(limits, max_bytes=options.max_memory_bytes)
    memory = MemoryOutbox(in_memory, on_loss, clocks=clocks)
    if options.memory_only:
        return Outbox(None, memory, on_problem)
    disk = DiskOutbox(folder, limits, on_loss, on_problem=on_problem, clocks=clocks)
    return Outbox(disk, memory, on_problem, siblings=Siblings(folder, limits.max_age_s, on_loss, clocks))


class Outbox:
    """Takes events on disk, else in memory; gives them back oldest first.

    Args:
        disk: None = memory only.
        on_problem: is told of every trouble with the disk.
        siblings: the folders of other addresses and keys; None = they are left alone.
        steady: seconds that only ever grow.
    """

    def __init__(
        self,
        disk: DiskOutbox | None,
        memory: MemoryOutbox,
        on_problem: Callable[[OSError], None],
        *,
        siblings: Siblings | None = None,
        steady: Clock = time.monotonic,
    ) -> None:
        self._disk = disk
        self._memory = memory
        self._on_problem = on_problem
        self._siblings = siblings
        self._steady = steady
        self._disk_again_at = 0.0
        self._start_over()

    def append(self, payload: bytes, shed_class: int) -> None:
        """Take one event.

        Raises:
            EventRefusedError: full, on disk and in memory.
        """
        disk = self._disk
        if disk is not None and (not self._disk_again_at or self._steady() >= self._disk_again_at):
            try:
                disk.append(payload, shed_class)
            except OSError as problem:
                if is_thrown_in(problem):
                    raise
                self._set_disk_aside(problem)
            else:
                self._disk_again_at = 0.0
                return
        self._memory.append(payload, shed_class)

    def append_report(self, payload: bytes) -> None:
        """Take a report of losses; it fits in beside a full spool and counts as no event. Raises as ``append``."""
        if self._disk is not None and (not self._disk_again_at or self._steady() >= self._disk_again_at):
            try:
                return self._disk.append_report(payload)
            except OSError as problem:
                if is_thrown_in(problem):
                    raise
                self._set_disk_aside(problem)
        return self._memory.append_report(payload)

    def tracked(self) -> int:
        """Return how many events were taken so far, reports of losses left out."""
        return self._memory.tracked() + (self._disk.tracked() if self._disk else 0)

    def take(self, max_events: int, max_bytes: int) -> tuple[Batch, DiskOutbox | MemoryOutbox] | None:
        """Return the oldest events and the outbox that is to be told when they are settled."""
        if self._disk is not None:
            try:
                batch = self._disk.take(max_events, max_bytes)
            except OSError as problem:
                self._on_problem(problem)
            else:
                if batch is not None:
                    return batch, self._disk
        batch = self._memory.take(max_events, max_bytes)
        return None if batch is None else (batch, self._memory)

    def tend(self, *, at_once: bool = True) -> None:
        """Take over dead processes' files, keep the folder below its limit, look at the folders beside it.

        Args:
            at_once: now, however short ago that was done; else each of it every few seconds at most. The folders
                beside are looked at every few minutes in any case.
        """
        if self._disk is None:
            return
        now_s = self._steady()
        chores = (
            (self._disk.adopt, 0.0 if at_once else _ADOPT_EVERY_S),
            (self._disk.shed, 0.0 if at_once else _SHED_EVERY_S),
            (self._disk.look_after, 0.0 if at_once else _SHED_EVERY_S),
            (self._look_beside, _LOOK_EVERY_S),
        )
        for place, (chore, every_s) in enumerate(chores):
            if now_s - self._done_at_s[place] >= every_s:
                self._done_at_s[place] = now_s
                try:
                    chore()
                except OSError as problem:
                    self._on_problem(problem)

    def expire(self) -> None:
        """Give up events that waited too long; to be called when they could not be delivered just now."""
        if self._disk is not None:
            self._disk.expire()
        self._memory.expire()

    def keep_dead_letter(self, line: bytes) -> None:
        """Keep a rejected event for a person to look at; without a disk it is only counted."""
        if self._disk is not None:
            try:
                self._disk.keep_dead_letter(line)
            except OSError as problem:
                self._on_problem(problem)

    def mark(self) -> Mark:
        """Return how many events were taken so far."""
        return Mark(self._disk.appended if self._disk else 0, self._memory.appended)

    def is_settled_to(self, mark: Mark) -> bool:
        """Say whether every event before the mark was delivered or given up."""
        on_disk = self._disk is None or self._disk.is_settled_to(mark.disk)
        return on_disk and self._memory.settled >= mark.memory

    def has_pending(self) -> bool:
        """Say whether any event waits."""
        return self._memory.has_pending() or (self._disk is not None and self._disk.has_pending())

    def has_ready(self) -> bool:
        """Say whether any event waits that can be read now."""
        return self._memory.has_pending() or (self._disk is not None and self._disk.has_ready())

    def is_durable(self) -> bool:
        """Say whether everything that waits would survive this process."""
        return self._disk is not None and not self._memory.has_pending()

    def waiting_bytes(self) -> int:
        """Return how many bytes of events wait, on disk and in memory."""
        return self._memory.waiting_bytes() + (self._disk.waiting_bytes() if self._disk else 0)

    def damaged_files(self) -> int:
        """Return how many spool files could not be read and were set aside."""
        return self._disk.set_aside if self._disk else 0

    def other_spools(self) -> dict[str, int]:
        """Return how many bytes waited in the folders of other addresses and keys at the last look, by path."""
        return dict(self._siblings.waiting) if self._siblings else {}

    def forget(self) -> None:
        """Start empty in a forked child."""
        self._start_over()
        self._memory.forget()
        if self._disk is not None:
            self._disk.forget()
        if self._siblings is not None:
            self._siblings.forget()

    def close(self) -> None:
        """Let go of files; what waits in memory goes to disk if that works again, else it is lost and counted."""
        if self._disk is not None:
            if self._memory.has_pending():
                self._move_to_disk(self._disk)
            self._disk.close()
        if self._siblings is not None:
            self._siblings.close()
        self._memory.close()

    def _start_over(self) -> None:
        self._disk_again_at = 0.0
        self._done_at_s = [float("-inf")] * 4

    def _move_to_disk(self, disk: DiskOutbox) -> None:
        events = self._memory.hand_over()
        moved = 0
        try:
            for payload, shed_class in events:
                disk.append_report(payload) if shed_class == REPORT else disk.append(payload, shed_class)
                moved += 1
        except (OSError, EventRefusedError):
            for payload, shed_class in events[moved:]:
                with suppress(EventRefusedError):
                    box = self._memory
                    box.append_report(payload) if shed_class == REPORT else box.append(payload, shed_class)

    def _look_beside(self) -> None:
        if self._siblings is not None:
            self._siblings.look()

    def _set_disk_aside(self, problem: OSError) -> None:
        self._disk_again_at = self._steady() + _RETRY_DISK_S
        self._on_problem(problem)
