"""Outboxes for the SDK's tests, what they lost, and a time that is set by hand."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from touchtrail._envelope import ORDER
from touchtrail._outbox import Clocks, DiskOutbox, Limits, MemoryOutbox, Outbox

Box = DiskOutbox | MemoryOutbox
LIMITS = Limits(max_bytes=64 * 2**20, segment_bytes=2**20, max_age_s=3600)
DAY_S = 86_400.0


class Losses(Counter[str]):
    """Counts what was given up, by reason."""

    def note(self, reason: str, events: int) -> None:
        self[reason] += events


class Time:
    """True time, and a wall clock somebody sets."""

    def __init__(self) -> None:
        self.true_s = 1_000.0
        self.off_s = 1_780_000_000.0

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.true_s + self.off_s, lambda: self.true_s)


def disk_at(path: Path, losses: Losses | None = None, **limits: Any) -> DiskOutbox:
    """Return an outbox in the folder ``box`` below the path."""
    chosen = Limits(**{"max_bytes": 64 * 2**20, "segment_bytes": 2**20, "max_age_s": 3600.0} | limits)
    return DiskOutbox(str(path / "box"), chosen, (losses if losses is not None else Losses()).note)


def aging_box(path: Path, time: Time, losses: Losses, max_age_s: float = 7 * DAY_S) -> DiskOutbox:
    """Return an outbox of small files whose clocks are set by hand."""
    limits = Limits(max_bytes=2**20, segment_bytes=2**12, max_age_s=max_age_s)
    return DiskOutbox(str(path / "box"), limits, losses.note, clocks=time.clocks())


def descriptors_into(folder: Path) -> list[int]:
    """Return this process's descriptors that lead into the folder."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith(os.path.realpath(folder)):
                found.append(int(name))
    return sorted(found)


def drain(box: Box | Outbox, most: int = 100) -> list[bytes]:
    """Take and settle everything that can be read now."""
    seen: list[bytes] = []
    while taken := box.take(most, 10**9):
        batch, owner = taken if isinstance(box, Outbox) else (taken, box)  # type: ignore[misc]
        seen += batch.payloads
        owner.settle(batch)
    return seen


def abandon(box: DiskOutbox) -> None:
    """Leave the files as a killed process does: locks gone, nothing tidied."""
    box.forget()


def redirect(descriptor: int, target: str, flags: int) -> None:
    """Let a descriptor lead to a file that fails: /proc/self/mem (EIO on reading), /dev/full (ENOSPC on writing)."""
    other = os.open(target, flags)
    os.dup2(other, descriptor)
    os.close(other)


def spread(box: DiskOutbox, files: int, kind: bytes = b"e") -> list[bytes]:
    """Append events over so many files of 4 KB, three in each."""
    payloads = [kind + b"%d-%d" % (file, number) + b"x" * 1200 for file in range(files) for number in range(3)]
    for payload in payloads:
        box.append(payload, ORDER)
    return payloads
