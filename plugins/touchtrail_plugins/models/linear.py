"""Linear: every contact has the same share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from touchtrail_collector.api import AttributionModel, NoParameters, Paths, hookimpl


def credit(paths: Paths, parameters: NoParameters) -> NDArray[np.float64]:
    """Return 1/n for each of a path's n touches."""
    lengths = np.diff(paths.offsets)
    return np.repeat(1.0 / np.maximum(lengths, 1), lengths)


@hookimpl
def touchtrail_attribution_models() -> list[AttributionModel]:
    """Contribute the model `linear`."""
    return [AttributionModel(name="linear", version=1, credit=credit)]
