"""Last touch: the contact right before the conversion has the whole credit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from touchtrail_collector.api import AttributionModel, NoParameters, Paths, hookimpl


def credit(paths: Paths, parameters: NoParameters) -> NDArray[np.float64]:
    """Return 1 for the youngest touch of each path and 0 for the others."""
    shares = np.zeros(len(paths.channel_codes))
    held = np.diff(paths.offsets) > 0
    shares[paths.offsets[1:][held] - 1] = 1.0
    return shares


@hookimpl
def touchtrail_attribution_models() -> list[AttributionModel]:
    """Contribute the model `last_touch`."""
    return [AttributionModel(name="last_touch", version=1, credit=credit)]
