"""Time decay: a contact counts half as much for every half-life that it lies further back."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from touchtrail_collector.api import AttributionModel, Paths, hookimpl

_DAY_MS = 86_400_000


class DecayParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast credit fades.

    Args:
        half_life_days: days of 24 hours after which a touch counts half; more than 0.

    Raises:
        ValueError: the half-life is not a positive number.
    """

    half_life_days: float = 7.0

    def __post_init__(self) -> None:
        # A thousandth of a millisecond: anything shorter is last touch, and would overflow.
        if not (math.isfinite(self.half_life_days) and self.half_life_days >= 1e-9):
            raise ValueError(f"half_life_days is {self.half_life_days}; give a number of days above 0")


def credit(paths: Paths, parameters: DecayParameters) -> NDArray[np.float64]:
    """Return 2^-(age/H), scaled to sum to 1 over each path.

    Only differences of age matter, so ages are counted from the last touch: its factor is 1, and a path whose
    touches all lie many half-lives back does not underflow to nothing.

    Source: Google Ads and Analytics, "time decay" with a half-life of one week.
    """
    lengths = np.diff(paths.offsets)
    held = lengths > 0
    if not held.any():
        return np.zeros(0)
    starts, ends, lengths = paths.offsets[:-1][held], paths.offsets[1:][held] - 1, lengths[held]
    before_last_ms = paths.ages_ms - np.repeat(paths.ages_ms[ends], lengths)
    shares: NDArray[np.float64] = np.exp2(before_last_ms * (-1.0 / (parameters.half_life_days * _DAY_MS)))
    shares /= np.repeat(np.add.reduceat(shares, starts), lengths)
    return shares


@hookimpl
def touchtrail_attribution_models() -> list[AttributionModel]:
    """Contribute the model `time_decay`."""
    return [AttributionModel(name="time_decay", version=1, credit=credit, parameters=DecayParameters, needs_times=True)]
