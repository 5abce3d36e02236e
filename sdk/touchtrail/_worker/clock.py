"""The time of day: a clock that never fails, and how far it is from the collector's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from touchtrail._transport import read_date

_EVERY_S: Final = 10.0
_LONGEST_S: Final = 10.0
# ``Date`` has whole seconds, and servers may renew it only once a second (uvicorn does).
_BLUR_S: Final = 1.5
NOTABLE_S: Final = 5.0
"""Up to here nobody need be told: the collector corrects times only beyond it."""


_YEAR_10000_S: Final = 253_402_300_800


def sound(clock: Callable[[], float]) -> Callable[[], float]:
    """Return a clock that gives epoch seconds in all cases: the system's where the given one raises or is no clock."""

    def now_s() -> float:
        try:
            given = clock()
            return given if 0 <= given < _YEAR_10000_S else time.time()
        # The clock is the shop's.
        except Exception:  # noqa: BLE001
            return time.time()

    return now_s


class ClockOffset:
    """Measures the offset every few seconds.

    ``seconds`` is how far the collector's clock is ahead; None = not known, 0.0 = within what can be measured.
    """

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._next_s = float("-inf")

    def observe(self, date: str | None, sent_s: float, answered_s: float) -> bool:
        """Learn from one answer; return whether the offset has just become notable.

        Args:
            date: the ``Date`` header.
            sent_s: when the request was sent, by this machine's clock.
            answered_s: when the answer was there, by the same clock.
        """
        took_s = answered_s - sent_s
        # A clock that was set meanwhile, or an answer that came late, says nothing exact.
        if time.monotonic() < self._next_s or not 0 <= took_s <= _LONGEST_S:
            return False
        date_s = read_date(date)
        if date_s is None:
            return False
        self._next_s = time.monotonic() + _EVERY_S
        offset_s = date_s + 0.5 - (sent_s + answered_s) / 2
        was_notable = self.seconds is not None and abs(self.seconds) > NOTABLE_S
        self.seconds = 0.0 if abs(offset_s) <= _BLUR_S + took_s / 2 else round(offset_s, 1)
        return abs(self.seconds) > NOTABLE_S and not was_notable
