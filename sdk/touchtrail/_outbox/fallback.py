"""The outbox a client uses: the disk, and memory for as long as the disk takes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from .base import Batch, Mark
from .disk import DiskOutbox
from .memory import MemoryOutbox

_RETRY_DISK_S = 5.0


class Outbox:
    """Takes events on disk, else in memory; gives them back oldest first.

    Args:
        disk: None = memory only.
        on_problem: is told once per trouble with the disk.
    """

    def __init__(self, disk: DiskOutbox | None, memory: MemoryOutbox, on_problem: Callable[[OSError], None]) -> None:
        self._disk = disk
        self._memory = memory
        self._on_problem = on_problem
        self._disk_again_at = 0.0

    def append(self, payload: bytes, shed_class: int) -> None:
        """Take one event.

        Raises:
            EventRefusedError: full, on disk and in memory.
        """
        disk = self._disk
        if disk is not None and (not self._disk_again_at or time.monotonic() >= self._disk_again_at):
            try:
                disk.append(payload, shed_class)
            except OSError as problem:
                self._set_disk_aside(problem)
            else:
                self._disk_again_at = 0.0
                return
        self._memory.append(payload, shed_class)

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

    def tend(self) -> None:
        """Take over dead processes' files and keep the folder below its limit; cheap when there is nothing to do."""
        if self._disk is None:
            return
        try:
            self._disk.adopt()
            self._disk.shed()
        except OSError as problem:
            self._on_problem(problem)

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

    def is_durable(self) -> bool:
        """Say whether everything that waits would survive this process."""
        return self._disk is not None and not self._memory.has_pending()

    def waiting_bytes(self) -> int:
        """Return how many bytes of events wait, on disk and in memory."""
        return self._memory.waiting_bytes() + (self._disk.waiting_bytes() if self._disk else 0)

    def forget(self) -> None:
        """Start empty in a forked child."""
        self._disk_again_at = 0.0
        self._memory.forget()
        if self._disk is not None:
            self._disk.forget()

    def close(self) -> None:
        """Let go of files; what waits in memory is lost and counted."""
        if self._disk is not None:
            self._disk.close()
        self._memory.close()

    def _set_disk_aside(self, problem: OSError) -> None:
        self._disk_again_at = time.monotonic() + _RETRY_DISK_S
        self._on_problem(problem)
