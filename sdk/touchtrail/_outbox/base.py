"""What every outbox gives and takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from touchtrail._envelope import SHED_ORDER

REPORT: Final = SHED_ORDER[-1] + 1
"""The class of reports of losses: never given up for room, because each stands for many events."""

Loss = Callable[[str, int], None]
"""Is told a reason and how many events were given up for it."""

Clock = Callable[[], float]
_LAST_S: Final = 4_000_000_000


class Clocks:
    """The time of day for stamps, with the steps taken out: it goes on as the steady clock does.

    Whoever sets the machine's clock while the process lives changes no event's age.

    Args:
        wall: epoch seconds; asked once.
        steady: seconds that only ever grow.
    """

    def __init__(self, wall: Clock = time.time, steady: Clock = time.monotonic) -> None:
        self._wall = wall
        self.steady = steady
        self.restart()

    def restart(self) -> None:
        """Ask for the time of day anew, as a forked child should."""
        wall_s = self._wall()
        # A time no record can hold would make every event look old, or young for ever.
        self.began_s = (wall_s if 0 <= wall_s < _LAST_S else 0.0) - self.steady()

    def now_s(self) -> float:
        """Return epoch seconds; the difference of two of them is the time that truly passed."""
        return self.began_s + self.steady()


class Batch(NamedTuple):
    """Events that go out together; they stay in their outbox until it is told ``settle``.

    Args:
        payloads: the encoded events, oldest first; at least one.
        place: where they stand; only the outbox that made the batch reads it.
        reports: indexes of reports of losses, which are no events ``track`` took.
    """

    payloads: list[bytes]
    place: Any
    reports: frozenset[int] = frozenset()


class Mark(NamedTuple):
    """How many events had been taken on disk and in memory at one moment."""

    disk: int
    memory: int


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much an outbox may hold.

    Args:
        max_bytes: over all files of the spool folder, or in memory.
        segment_bytes: size at which a file is finished.
        max_age_s: an event that waited longer is given up, but only while it cannot be delivered.
    """

    max_bytes: int
    segment_bytes: int
    max_age_s: float
