"""Podcast boost: linear, but a podcast counts more, because few of its listeners ever click."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from touchtrail_collector.api import AttributionModel, Paths, hookimpl


class BoostParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much more a podcast counts than any other touch; at least 1."""

    boost: float = 3.0

    def __post_init__(self) -> None:
        if not 1.0 <= self.boost <= 1000.0:
            raise ValueError(f"boost is {self.boost}; give 1 to 1000")


def credit(paths: Paths, parameters: BoostParameters) -> NDArray[np.float64]:
    """Return each touch's weight as a share of its path's weights."""
    per_channel = [parameters.boost if channel.name == "Podcast" else 1.0 for channel in paths.channels]
    weights = np.array(per_channel)[paths.channel_codes]
    owner = np.repeat(np.arange(len(paths.converted)), np.diff(paths.offsets))
    shares: NDArray[np.float64] = weights / np.bincount(owner, weights, minlength=len(paths.converted))[owner]
    return shares


@hookimpl
def touchtrail_attribution_models() -> list[AttributionModel]:
    """Contribute the model."""
    return [AttributionModel(name="podcast_boost", version=1, credit=credit, parameters=BoostParameters)]
