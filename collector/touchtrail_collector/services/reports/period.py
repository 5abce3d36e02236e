"""Days and months of a time zone as UTC milliseconds; engines' own calendar functions are never asked."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from ...errors import ReportError

BEGINNING_MS = -(2**52)
"""Before every event."""

ETERNITY_MS = 2**52
"""After every event, however wrong the sender's clock."""

# The years a date can hold in every time zone.
_FIRST_MS = int(datetime(2, 1, 1, tzinfo=UTC).timestamp()) * 1000
_LAST_MS = int(datetime(9998, 12, 31, tzinfo=UTC).timestamp()) * 1000


def load_zone(name: str) -> ZoneInfo:
    """Return the time zone. Raises ReportError when there is none of this name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"there is no time zone {name!r}; use a name such as Europe/Berlin or UTC"
        raise ReportError(message, parameter="time_zone") from None


def day_start_ms(day: date, zone: ZoneInfo) -> int:
    """Return the moment the day begins; where clocks leap over midnight, the moment they leap."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


def period_ms(start: date | None, end: date | None, zone: ZoneInfo) -> tuple[int, int]:
    """Return (start_ms, end_ms), the end excluded, of the days from ``start`` to ``end`` included; None = open.

    Raises: ReportError when the period ends before it starts.
    """
    if start is not None and end is not None and end < start:
        raise ReportError(f"the period ends on {end}, before it starts on {start}", parameter="end")
    start_ms = BEGINNING_MS if start is None else day_start_ms(start, zone)
    return start_ms, end_of_day_ms(end, zone)


def end_of_day_ms(day: date | None, zone: ZoneInfo) -> int:
    """Return the moment the day is over; None = never."""
    if day is None or day == date.max:
        return ETERNITY_MS
    return day_start_ms(day + timedelta(days=1), zone)


def local_time(at_ms: int, zone: ZoneInfo) -> datetime:
    """Return the moment as local time; years no calendar holds are moved to its first or last."""
    return datetime.fromtimestamp(min(max(at_ms, _FIRST_MS), _LAST_MS) / 1000, zone)


class Months:
    """Maps moments to calendar months of a time zone.

    Args:
        times: moments of the report, UTC milliseconds; the months reach from the earliest to the latest.
    """

    def __init__(self, zone: ZoneInfo, *times: NDArray[np.int64]) -> None:
        filled = [column for column in times if len(column)]
        self.labels: list[str] = []
        starts: list[int] = []
        if filled:
            last = local_time(max(int(column.max()) for column in filled), zone).date()
            month = local_time(min(int(column.min()) for column in filled), zone).date().replace(day=1)
            while month <= last:
                self.labels.append(f"{month:%Y-%m}" if month.year >= 1000 else f"{month.year:04}-{month.month:02}")
                starts.append(day_start_ms(month, zone))
                month = (month + timedelta(days=32)).replace(day=1)
        self._starts = np.array(starts, np.int64)

    def index(self, at_ms: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the place of each moment's month in ``labels``; -1 before the first."""
        return np.searchsorted(self._starts, at_ms, side="right") - 1

    def count(self, at_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many of the moments lie in each month."""
        return np.bincount(self.index(at_ms), minlength=len(self.labels)).astype(np.int64)

    def total(self, at_ms: NDArray[np.int64], amounts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sum of the amounts of each month, in integers."""
        totals = np.zeros(len(self.labels), np.int64)
        np.add.at(totals, self.index(at_ms), amounts)
        return totals
