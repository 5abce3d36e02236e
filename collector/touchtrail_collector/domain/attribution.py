"""Attribution: ragged arrays of paths, what a model is, and how its shares become integers that add up exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .channel import Channel

MICRO = 1_000_000
"""Micro-credits a conversion is worth."""


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Paths as columns: path i owns the touches ``offsets[i]:offsets[i + 1]``, oldest first.

    Args:
        channels: the channel list that ``channel_codes`` index.
        offsets: int64, n + 1 entries, starting with 0.
        channel_codes: int32, one per touch.
        ages_ms: int64, milliseconds from the touch to the conversion (to the end of observation where the
            path did not convert); never negative, never growing within a path.
        converted: bool, n entries.
        value_minor: int64, n entries: what the conversion is worth, in minor units; 0 where not converted.
        weight: int64, n entries: how many equal paths this one stands for.
    """

    channels: tuple[Channel, ...]
    offsets: NDArray[np.int64]
    channel_codes: NDArray[np.int32]
    ages_ms: NDArray[np.int64]
    converted: NDArray[np.bool_]
    value_minor: NDArray[np.int64]
    weight: NDArray[np.int64]


class NoParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of a model that has none."""


class AttributionModel(msgspec.Struct, frozen=True, kw_only=True):
    """One way to share a conversion among the touches before it.

    Args:
        name: as in settings and reports, `time_decay`.
        version: grows with every change that changes figures; stands in the result.
        credit: a pure function from paths and parameters to float64 shares, one per touch, not negative. Where
            ``conserves_credit`` holds they sum to 1 over each converted path that has touches. Shares of paths
            that did not convert are ignored.
        parameters: frozen struct of the model's parameters, all with defaults.
        conserves_credit: False for models such as participation, whose credits exceed the conversions.
        needs_non_converting: the model reads paths that did not convert.
        needs_times: the model reads ``ages_ms``.
        linear_in_journeys: the credit of two disjoint sets of paths together is the sum of their credits.
    """

    name: str
    version: int
    credit: Callable[[Paths, Any], NDArray[np.float64]]
    parameters: type[msgspec.Struct] = NoParameters
    conserves_credit: bool = True
    needs_non_converting: bool = False
    needs_times: bool = False
    linear_in_journeys: bool = True
