"""Position based: the first and the last contact have a fixed share each, those between them the rest."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from touchtrail_collector.api import AttributionModel, Paths, hookimpl


class PositionParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares of the ends of a path; the default is the U shape 40/20/40.

    Args:
        first: share of the first touch, 0 to 1.
        last: share of the last touch, 0 to 1; together with ``first`` at most 1. Adobe's J shape is 0.2 and 0.6,
            its inverse J 0.6 and 0.2.

    Raises:
        ValueError: a share is negative or not a number, or the two together exceed 1.
    """

    first: float = 0.4
    last: float = 0.4

    def __post_init__(self) -> None:
        for name in ("first", "last"):
            share = getattr(self, name)
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"{name} is {share}; give a share from 0 to 1")
        # 0.7 + 0.3 must pass although some such sums come out a hair above 1.
        if self.first + self.last > 1.0 + 1e-9:
            raise ValueError(f"first and last are {self.first} and {self.last}; together they may be at most 1")


def credit(paths: Paths, parameters: PositionParameters) -> NDArray[np.float64]:
    """Return a, (1 - a - b)/(n - 2) each, b for n >= 3 touches; a/(a + b), b/(a + b) for two; 1 for one.

    Where a and b are both 0, two touches have one half each.

    Source: Adobe Analytics, attribution models U, J and inverse J.
    """
    first, last = parameters.first, parameters.last
    lengths = np.diff(paths.offsets)
    between = max(0.0, 1.0 - first - last) / np.maximum(lengths - 2, 1)
    shares = np.repeat(between, lengths)
    starts, ends = paths.offsets[:-1], paths.offsets[1:] - 1
    first_of_two = first / (first + last) if first + last > 0.0 else 0.5
    longer = lengths > 2
    shares[starts[longer]], shares[ends[longer]] = first, last
    two = lengths == 2
    shares[starts[two]], shares[ends[two]] = first_of_two, 1.0 - first_of_two
    shares[starts[lengths == 1]] = 1.0
    return shares


@hookimpl
def touchtrail_attribution_models() -> list[AttributionModel]:
    """Contribute the model `position_based`."""
    return [AttributionModel(name="position_based", version=1, credit=credit, parameters=PositionParameters)]
