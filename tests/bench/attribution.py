"""Attribution over 100,000 and 1,000,000 journeys: every step as a multiple of one raw numpy pass over the touches."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from touchtrail_collector.api import Channel
from touchtrail_collector.domain.attribution import (
    MICRO,
    Conversions,
    PathRule,
    Paths,
    Touches,
    apply_model,
    build_paths,
    channel_totals,
    credit_micro,
    credit_money,
)

T = TypeVar("T")

MODELS = ("first_touch", "last_touch", "last_non_direct", "linear", "position_based", "time_decay")
SIZES = (100_000, 1_000_000)
REPETITIONS = 3
DAY_MS = 86_400_000
CHANNELS = tuple(Channel(name=f"channel {code}", medium="paid", is_direct=code == 0) for code in range(10))


class Row(NamedTuple):
    """One measured step; ``ratio`` is its time over that of ``against`` in the same run."""

    what: str
    seconds: float
    ratio: float
    against: str


def run() -> list[Row]:
    """Measure, print and return: the paths, then each model and the integer credits worked out from its shares."""
    rows = [row for journeys in SIZES for row in _measure(journeys)]
    for row in rows:
        print(f"{row.what:52} {row.seconds * 1000:8.1f} ms {row.ratio:7.1f} x {row.against}")
    return rows


def _measure(journeys: int) -> list[Row]:
    touches, conversions = _journeys(journeys)
    raw, _ = _best(lambda: np.cumsum(touches.at_ms))

    def row(step: str, seconds: float) -> Row:
        return Row(f"{journeys:,} journeys, {step}", seconds, seconds / raw, f"np.cumsum of {len(touches.at_ms):,}")

    seconds, built = _best(lambda: build_paths(touches, conversions, CHANNELS, PathRule(lookback_days=90)))
    rows = [row("build_paths", seconds)]
    for name in MODELS:
        model = import_module(f"touchtrail_plugins.models.{name}").touchtrail_attribution_models()[0]
        shares_s, shares = _best(partial(apply_model, model, built.paths))
        credit_s, _ = _best(partial(_credit, built.paths, shares))
        rows += [row(f"{name}: shares", shares_s), row(f"{name}: credits and totals", credit_s)]
    return rows


def _credit(paths: Paths, shares: NDArray[np.float64]) -> None:
    micro = credit_micro(shares, paths.offsets, converted=paths.converted)
    money = credit_money(shares, paths.offsets, paths.value_minor)
    totals = channel_totals(paths, micro, money)
    assert totals.micro.sum() == MICRO * (len(paths.converted) - totals.untouched_conversions)
    assert totals.value_minor.sum() + totals.untouched_value_minor == paths.value_minor.sum()


def _journeys(count: int) -> tuple[Touches, Conversions]:
    """Return seeded journeys of four touches in the mean, one per person, spread over sixty days."""
    random = np.random.default_rng(20_261_122)
    lengths = random.geometric(0.25, count)
    owners = np.repeat(np.arange(count), lengths)
    at_ms = random.integers(0, 60 * DAY_MS, len(owners))
    order = np.lexsort((at_ms, owners))
    touches = Touches(
        person_ids=owners,
        at_ms=at_ms[order],
        channel_codes=random.integers(0, len(CHANNELS), len(owners), np.int32),
        touch_ids=np.arange(len(owners)),
    )
    conversions = Conversions(
        person_ids=np.arange(count),
        at_ms=np.full(count, 60 * DAY_MS),
        value_minor=random.integers(500, 50_000, count),
        conversion_ids=np.arange(count),
    )
    return touches, conversions


def _best(step: Callable[[], T]) -> tuple[float, T]:
    best, result = float("inf"), step()
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        result = step()
        best = min(best, time.perf_counter() - began)
    return best, result


if __name__ == "__main__":
    run()
