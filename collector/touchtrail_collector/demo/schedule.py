"""When things happen in the demo shop: seasons, weekdays, hours, and how long people wait between contacts."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate

from .sending import DAY_MS, HOUR_MS, MINUTE_MS, to_ms

_MONTHS = (0.85, 0.8, 1.0, 1.1, 1.2, 1.1, 0.95, 0.9, 1.0, 1.05, 1.35, 1.6)
_WEEKDAYS = (1.05, 0.98, 0.97, 0.98, 0.92, 0.95, 1.2)
# Hours in UTC: German evenings are the busiest.
_HOURS = (2, 1, 1, 1, 2, 4, 6, 8, 9, 9, 10, 11, 10, 9, 9, 10, 12, 15, 19, 21, 18, 11, 6, 3)
_SHOP_HOURS = range(8, 18)


class Calendar:
    """The days that are simulated, with how busy each one is.

    Args:
        end: the last day, included.
    """

    def __init__(self, end: date, days: int, rng: random.Random) -> None:
        self.rng = rng
        self.days = days
        self.first_day = end - timedelta(days=days - 1)
        self.start_ms = to_ms(datetime(self.first_day.year, self.first_day.month, self.first_day.day, tzinfo=UTC))
        self.end_ms = self.start_ms + days * DAY_MS
        dates = [self.first_day + timedelta(days=index) for index in range(days)]
        self._weights = [_weigh(day) for day in dates]
        self._busiest = max(self._weights)
        self._cumulative = list(accumulate(self._weights))

    def pick_start(self) -> int:
        """Return a moment of a first contact; busy days have more of them."""
        day = self.rng.choices(range(self.days), cum_weights=self._cumulative)[0]
        return self.start_ms + day * DAY_MS + self._pick_time()

    def pick_next(self, after_ms: int, mean_days: float) -> int:
        """Return a later moment: exponential gaps, stretched over quiet days."""
        at_ms = after_ms
        for _ in range(4):
            at_ms += int(self.rng.expovariate(1 / mean_days) * DAY_MS) + HOUR_MS
            index = (at_ms - self.start_ms) // DAY_MS
            if index >= self.days or self.rng.random() * self._busiest < self._weights[index]:
                break
        day_start = at_ms - (at_ms - self.start_ms) % DAY_MS
        return max(after_ms + 2 * HOUR_MS, day_start + self._pick_time())

    def pick_shop_hour(self, near_ms: int) -> int:
        """Return a moment on the same day or the next in which a store is open."""
        day_start = near_ms - (near_ms - self.start_ms) % DAY_MS
        at_ms = day_start + self.rng.choice(_SHOP_HOURS) * HOUR_MS + self.rng.randrange(60) * MINUTE_MS
        return at_ms if at_ms >= near_ms else at_ms + DAY_MS

    def _pick_time(self) -> int:
        hour = self.rng.choices(range(24), _HOURS)[0]
        return hour * HOUR_MS + self.rng.randrange(HOUR_MS)


def _weigh(day: date) -> float:
    weight = _MONTHS[day.month - 1] * _WEEKDAYS[day.weekday()]
    if (day.month, day.day) >= (12, 20):
        return weight * 0.45
    if day.month == 11 and 24 <= day.day <= 30:
        return weight * 1.4
    return weight
