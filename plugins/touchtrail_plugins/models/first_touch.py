"""First touch: the contact that opened the road has the whole credit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from touchtrail_collector.api import AttributionModel, NoParameters, Paths, hookimpl


def credit(paths: Paths, parameters: NoParameters) -> NDArray[np.float64]:
    """Return 1 for the oldest touch of each path and 0 for the others."""
    shares = np.zeros(len(paths.channel_codes))
    held = np.diff(paths.offsets) > 0
    shares[paths.offsets[:-1][held]] = 1.0
    return shares


@hookimpl
def touchtrail_attribution_models() -> list[AttributionModel]:
    """Contribute the model `first_touch`."""
    return [AttributionModel(name="first_touch", version=1, credit=credit)]
