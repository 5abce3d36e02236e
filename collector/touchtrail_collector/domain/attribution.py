"""Attribution: what a model is, how it is run and checked, and the arithmetic around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from touchtrail_collector.errors import TouchtrailCollectorError

from .credit import MICRO, ChannelTotals, channel_totals, credit_micro, credit_money
from .path import Conversions, PathRule, Paths, PathSet, Touches, build_paths

__all__ = [
    "MICRO",
    "AttributionModel",
    "ChannelTotals",
    "Conversions",
    "ModelError",
    "NoParameters",
    "PathRule",
    "PathSet",
    "Paths",
    "Touches",
    "apply_model",
    "build_paths",
    "channel_totals",
    "credit_micro",
    "credit_money",
]

# How far the shares of a path may sum from 1: far above float noise, far below a cent of any real order.
_TOLERANCE = 1e-6


class NoParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of a model that has none."""


class AttributionModel(msgspec.Struct, frozen=True, kw_only=True):
    """One way to share a conversion among the touches before it.

    Args:
        name: as in settings and reports, `time_decay`.
        version: grows with every change that changes figures; stands in the result.
        credit: a pure function from paths and parameters to float64 shares, one per touch, not negative. Where
            ``conserves_credit`` holds they sum to 1 over each converted path that has touches, or are all zero:
            the last touch then has the whole. Shares of paths that did not convert are ignored.
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


class ModelError(TouchtrailCollectorError):
    """A model raised, or returned shares that are not what `AttributionModel` promises.

    Args:
        model: the model's name.
        problem: what is wrong, in one sentence.
    """

    def __init__(self, model: str, problem: str) -> None:
        super().__init__(f"attribution model {model!r}: {problem}")
        self.model = model
        self.problem = problem


def apply_model(model: AttributionModel, paths: Paths, parameters: msgspec.Struct | None = None) -> NDArray[np.float64]:
    """Return the model's shares, one per touch, checked; the shares of paths that did not convert are 0.

    Args:
        parameters: an instance of ``model.parameters``; None = its defaults.

    Raises:
        ModelError: the model raised, or its shares have the wrong type or length, are NaN, infinite or negative,
            or do not sum to 1 where the model says that it conserves credit.
    """
    if parameters is None:
        parameters = model.parameters()
    try:
        shares = model.credit(paths, parameters)
    except TouchtrailCollectorError:  # the host has named the plugin already
        raise
    except Exception as error:
        raise ModelError(model.name, f"it raised {type(error).__name__}: {error}") from error
    touches = len(paths.channel_codes)
    if not isinstance(shares, np.ndarray) or shares.dtype != np.float64:
        found = shares.dtype if isinstance(shares, np.ndarray) else type(shares).__name__
        raise ModelError(model.name, f"it returned {found}, not a float64 array")
    if shares.shape != (touches,):
        raise ModelError(model.name, f"it returned shares of shape {shares.shape} for {touches} touches")
    if not paths.converted.all():
        shares = np.where(np.repeat(paths.converted, np.diff(paths.offsets)), shares, 0.0)
    _check_shares(model, paths, shares)
    return shares


def _check_shares(model: AttributionModel, paths: Paths, shares: NDArray[np.float64]) -> None:
    # NaN fails this comparison too, so the usual case is one pass.
    if not (shares >= 0.0).all() or np.isinf(shares).any():
        touch = int(np.flatnonzero(~((shares >= 0.0) & np.isfinite(shares)))[0])
        path = int(np.searchsorted(paths.offsets, touch, side="right")) - 1
        problem = f"the share of touch {touch - int(paths.offsets[path])} of path {path} is {shares[touch]}"
        raise ModelError(model.name, f"{problem}; shares are finite and not negative")
    if model.conserves_credit and len(shares):
        held = np.flatnonzero(paths.converted & (np.diff(paths.offsets) > 0))
        filled = np.flatnonzero(np.diff(paths.offsets) > 0)
        sums = np.zeros(len(paths.converted))
        sums[filled] = np.add.reduceat(shares, paths.offsets[filled])
        wrong = held[(np.abs(sums[held] - 1.0) > _TOLERANCE) & (sums[held] != 0.0)]
        if len(wrong):
            raise ModelError(model.name, f"the shares of path {wrong[0]} sum to {sums[wrong[0]]}, not to 1")
