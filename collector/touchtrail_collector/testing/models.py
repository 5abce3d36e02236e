"""Conformance of attribution models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from touchtrail_collector.api import AttributionModel, Channel, Paths
from touchtrail_collector.domain.attribution import ModelError, apply_model

from ._verdict import Verdict

_DAY_MS = 86_400_000
_CHANNELS = (
    Channel(name="Direct", medium="owned", is_direct=True),
    Channel(name="Paid Search", medium="paid"),
    Channel(name="Email", medium="owned"),
    Channel(name="Store", medium="owned", online=False),
)
# Two ways to the same sum differ by float noise only.
_NOISE = 1e-9


def check_model(model: AttributionModel, parameters: msgspec.Struct | None = None) -> None:
    """Check that a model keeps the promises of `AttributionModel`, on paths of every odd shape.

    Checked: name, version and parameters; float64 shares, one per touch, finite, not negative; they sum to 1 where
    the model conserves credit; the same input gives the same bytes; the input is left as it was; and what it
    declares of times, non-converting paths and linearity is so.

    Args:
        parameters: check with these instead of the defaults.

    Raises:
        AssertionError: a promise is broken; the message says which, and on which paths.
    """
    verdict = Verdict(f"attribution model {model.name!r}")
    _check_declaration(verdict, model)
    parameters = model.parameters() if parameters is None else parameters
    for case, paths in sample_paths():
        _check_case(verdict, model, parameters, case, paths)
    mixture = _random_paths(seed=1, count=200)
    before = _shares(verdict, model, parameters, "a mixture of paths", mixture)
    if not model.needs_times:
        later = msgspec.structs.replace(mixture, ages_ms=mixture.ages_ms * 3 + 5)
        same = np.array_equal(before, _shares(verdict, model, parameters, "the same paths, slower", later))
        verdict.require(same, "the shares changed with the ages of the touches: declare needs_times=True")
    if not model.needs_non_converting:
        converted = _select(mixture, mixture.converted)
        alone = _shares(verdict, model, parameters, "the converted paths alone", converted)
        kept = before[np.repeat(mixture.converted, np.diff(mixture.offsets))]
        problem = "the shares changed when the paths that did not convert were left out"
        verdict.require(np.allclose(kept, alone, atol=_NOISE), f"{problem}: declare needs_non_converting=True")
    if model.linear_in_journeys:
        _check_linearity(verdict, model, parameters, mixture, before)


def sample_paths() -> Iterator[tuple[str, Paths]]:
    """Yield paths of every shape a report can hand to a model, each with what is odd about it."""
    yield "no paths", _paths([])
    yield "only conversions without touches", _paths([[], []])
    yield "one touch", _paths([[(1, 0)]])
    yield "one touch ten years back", _paths([[(1, 3650 * _DAY_MS)]])
    yield "only direct touches", _paths([[(0, 2 * _DAY_MS), (0, _DAY_MS)]])
    yield "touches of one moment", _paths([[(1, 5), (2, 5), (0, 5)]])
    yield "touches and an empty path in turn", _paths([[], [(1, 9), (2, 1)], [], [(3, 4)], []])
    yield "only paths that did not convert", _paths([[(1, 9), (2, 1)], [(3, 4)]], converted=False)
    yield "a path of 2,000 touches", _paths([[(place % 4, (2000 - place) * _DAY_MS) for place in range(2000)]])
    yield "a mixture of paths", _random_paths(seed=2, count=300)


def _check_declaration(verdict: Verdict, model: AttributionModel) -> None:
    verdict.require_name(model.name)
    verdict.require(isinstance(model.version, int) and model.version >= 1, "its version must be an int from 1 on")
    parameters = model.parameters
    is_struct = isinstance(parameters, type) and issubclass(parameters, msgspec.Struct)
    verdict.require(is_struct and parameters.__struct_config__.frozen, "its parameters must be a frozen msgspec.Struct")
    required = [field.name for field in msgspec.structs.fields(parameters) if field.required]
    verdict.require(not required, f"every parameter needs a default; {', '.join(required)} have none")


def _check_case(verdict: Verdict, model: AttributionModel, parameters: msgspec.Struct, case: str, paths: Paths) -> None:
    given = {name: column.copy() for name, column in _columns(paths)}
    first = _shares(verdict, model, parameters, case, paths).tobytes()
    for name, column in _columns(paths):
        untouched = np.array_equal(column, given[name])
        verdict.require(untouched, f"it changed its input ({name}) on {case}; copy an array before writing to it")
    again = _shares(verdict, model, parameters, case, msgspec.structs.replace(paths, **given)).tobytes()
    verdict.require(first == again, f"called twice on {case} it gave different bytes; a model must be deterministic")


def _check_linearity(
    verdict: Verdict, model: AttributionModel, parameters: msgspec.Struct, paths: Paths, whole: NDArray[np.float64]
) -> None:
    is_first = np.arange(len(paths.converted)) < len(paths.converted) // 2
    halves = (_select(paths, is_first), _select(paths, ~is_first))
    parts = [_shares(verdict, model, parameters, "half of a mixture", half) for half in halves]
    problem = "the shares of a path depend on the other paths: declare linear_in_journeys=False"
    verdict.require(np.allclose(np.concatenate(parts), whole, atol=_NOISE), problem)


def _shares(
    verdict: Verdict, model: AttributionModel, parameters: msgspec.Struct, case: str, paths: Paths
) -> NDArray[np.float64]:
    try:
        return apply_model(model, paths, parameters)
    except ModelError as error:
        verdict.require(False, f"on {case}: {error.problem}")
        raise


def _columns(paths: Paths) -> list[tuple[str, NDArray[Any]]]:
    return [(name, value) for name, value in msgspec.structs.asdict(paths).items() if name != "channels"]


def _paths(touches: list[list[tuple[int, int]]], *, converted: bool = True) -> Paths:
    """Build paths of (channel code, age in ms); the n-th is worth n + 1 minor units."""
    flat = [touch for path in touches for touch in path]
    count = len(touches)
    return Paths(
        channels=_CHANNELS,
        offsets=np.cumsum([0, *map(len, touches)]).astype(np.int64),
        channel_codes=np.array([code for code, _ in flat], np.int32),
        ages_ms=np.array([age for _, age in flat], np.int64),
        converted=np.full(count, converted),
        value_minor=np.arange(1, count + 1, dtype=np.int64) * converted,
        weight=np.ones(count, np.int64),
    )


def _random_paths(*, seed: int, count: int) -> Paths:
    """Build paths of 0 to 9 touches, a third of which did not convert; some are refunded, some stand for several."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 10, count)
    touches = [
        [(int(code), int(age)) for code, age in zip(codes, sorted(ages, reverse=True), strict=True)]
        for codes, ages in (
            (random.integers(0, 4, length), random.integers(0, 60 * _DAY_MS, length)) for length in lengths
        )
    ]
    converted = random.random(count) > 1 / 3
    value_minor = random.integers(-500, 50_000, count) * converted
    weight = random.integers(1, 4, count)
    return msgspec.structs.replace(_paths(touches), converted=converted, value_minor=value_minor, weight=weight)


def _select(paths: Paths, which: NDArray[np.bool_]) -> Paths:
    lengths = np.diff(paths.offsets)
    touches = np.repeat(which, lengths)
    return Paths(
        channels=paths.channels,
        offsets=np.concatenate([[0], np.cumsum(lengths[which])]).astype(np.int64),
        channel_codes=paths.channel_codes[touches],
        ages_ms=paths.ages_ms[touches],
        converted=paths.converted[which],
        value_minor=paths.value_minor[which],
        weight=paths.weight[which],
    )
