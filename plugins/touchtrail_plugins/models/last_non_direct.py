"""Last non-direct: the last contact with a known origin has the whole credit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from touchtrail_collector.api import AttributionModel, NoParameters, Paths, hookimpl


def credit(paths: Paths, parameters: NoParameters) -> NDArray[np.float64]:
    """Return 1 for the last touch whose channel is not direct; for the very last one where all are direct.

    Source: Google Analytics 4, "paid and organic last click".
    """
    shares = np.zeros(len(paths.channel_codes))
    held = np.diff(paths.offsets) > 0
    starts, ends = paths.offsets[:-1][held], paths.offsets[1:][held] - 1
    if not len(starts):
        return shares
    is_direct = np.array([channel.is_direct for channel in paths.channels], np.bool_)
    known = np.where(is_direct[paths.channel_codes], -1, np.arange(len(shares)))
    last_known = np.maximum.reduceat(known, starts)
    shares[np.where(last_known < 0, ends, last_known)] = 1.0
    return shares


@hookimpl
def touchtrail_attribution_models() -> list[AttributionModel]:
    """Contribute the model `last_non_direct`."""
    return [AttributionModel(name="last_non_direct", version=1, credit=credit)]
