"""The six first-party models: golden tables by hand, and what holds for any paths."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.api import AttributionModel, Channel, Paths
from touchtrail_collector.domain.attribution import MICRO, apply_model, credit_micro
from touchtrail_collector.testing import check_model
from touchtrail_plugins.models import (
    first_touch,
    last_non_direct,
    last_touch,
    linear,
    position_based,
    time_decay,
)

DAY = 86_400_000
CHANNELS = (Channel(name="Direct", medium="owned", is_direct=True), *(Channel(name=n, medium="paid") for n in "ABC"))
MODULES = (first_touch, last_touch, last_non_direct, linear, position_based, time_decay)
MODELS = {module.__name__.rpartition(".")[2]: module.touchtrail_attribution_models()[0] for module in MODULES}
Touch = tuple[int, int]


def paths_of(*paths: list[Touch]) -> Paths:
    """One path per list of (channel code, days before the conversion)."""
    touches = [touch for path in paths for touch in path]
    return Paths(
        channels=CHANNELS,
        offsets=np.cumsum([0, *(len(path) for path in paths)]).astype(np.int64),
        channel_codes=np.array([code for code, _ in touches], np.int32),
        ages_ms=np.array([age * DAY for _, age in touches], np.int64),
        converted=np.ones(len(paths), np.bool_),
        value_minor=np.full(len(paths), 10_000, np.int64),
        weight=np.ones(len(paths), np.int64),
    )


def shares(name: str, *paths: list[Touch], **parameters: float) -> list[float]:
    model = MODELS[name]
    return apply_model(model, paths_of(*paths), model.parameters(**parameters)).tolist()


@pytest.mark.parametrize("name", MODELS)
def test_the_model_passes_the_conformance_kit_and_is_named_as_its_module(name: str) -> None:
    check_model(MODELS[name])
    assert MODELS[name].name == name


@pytest.mark.parametrize(
    ("name", "one", "two", "four"),
    [
        ("first_touch", [1], [1, 0], [1, 0, 0, 0]),
        ("last_touch", [1], [0, 1], [0, 0, 0, 1]),
        ("last_non_direct", [1], [1, 0], [0, 0, 1, 0]),
        ("linear", [1], [0.5, 0.5], [0.25, 0.25, 0.25, 0.25]),
        ("position_based", [1], [0.5, 0.5], [0.4, 0.1, 0.1, 0.4]),
        ("time_decay", [1], [1 / 3, 2 / 3], [1 / 15, 2 / 15, 4 / 15, 8 / 15]),
    ],
)
def test_golden_tables(name: str, one: list[float], two: list[float], four: list[float]) -> None:
    journeys = [[(1, 3)], [(2, 7), (0, 0)], [], [(1, 24), (0, 17), (2, 10), (0, 3)]]
    assert shares(name, *journeys) == pytest.approx([*one, *two, *four])


def test_last_non_direct_takes_direct_only_when_all_are() -> None:
    assert shares("last_non_direct", [(0, 2), (0, 1)], [(1, 9), (0, 2), (0, 1)]) == [0, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("first", "last", "one", "two", "three"),
    [
        (0.4, 0.4, [1], [1 / 2, 1 / 2], [0.4, 0.2, 0.4]),
        (0.2, 0.6, [1], [1 / 4, 3 / 4], [0.2, 0.2, 0.6]),
        (0.6, 0.2, [1], [3 / 4, 1 / 4], [0.6, 0.2, 0.2]),
        (1.0, 0.0, [1], [1, 0], [1, 0, 0]),
        (0.7, 0.3, [1], [0.7, 0.3], [0.7, 0, 0.3]),
        (0.0, 0.0, [1], [1 / 2, 1 / 2], [0, 1, 0]),
    ],
    ids=["U", "J", "inverse-J", "first-touch", "ends-only", "middle-only"],
)
def test_position_based_takes_other_shapes(
    first: float, last: float, one: list[float], two: list[float], three: list[float]
) -> None:
    journeys = [[(1, 5)] * length for length in (1, 2, 3)]
    found = shares("position_based", *journeys, first=first, last=last)
    assert found == pytest.approx([*one, *two, *three])
    assert found[1] + found[2] == pytest.approx(1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"first": -0.1}, "first is -0.1"),
        ({"last": math.nan}, "last is nan"),
        ({"last": 1.1}, "last is 1.1"),
        ({"first": 0.6, "last": 0.5}, "first and last are 0.6 and 0.5; together"),
    ],
)
def test_position_based_refuses_shares_out_of_range(parameters: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        position_based.PositionParameters(**parameters)
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(parameters, position_based.PositionParameters)


@pytest.mark.parametrize("half_life", [0.0, -7.0, math.nan, math.inf])
def test_time_decay_refuses_a_half_life_that_is_none(half_life: float) -> None:
    with pytest.raises(ValueError, match="half_life_days is"):
        time_decay.DecayParameters(half_life_days=half_life)


def test_time_decay_halves_per_half_life() -> None:
    assert shares("time_decay", [(1, 2), (1, 1), (1, 0)], half_life_days=1.0) == pytest.approx([1 / 7, 2 / 7, 4 / 7])


def test_time_decay_does_not_underflow_for_touches_far_back() -> None:
    assert shares("time_decay", [(1, 36_500), (1, 36_493)]) == pytest.approx([1 / 3, 2 / 3])
    assert shares("time_decay", [(1, 36_500), (1, 0)], half_life_days=1e-9) == [0, 1]


JOURNEYS = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400)), max_size=8).map(
        lambda path: sorted(path, key=lambda touch: -touch[1])
    ),
    min_size=1,
    max_size=8,
)
ANY_MODEL = st.sampled_from(list(MODELS.values()))


def by_path(model: AttributionModel, journeys: list[list[Touch]]) -> list[list[float]]:
    paths = paths_of(*journeys)
    return [part.tolist() for part in np.split(apply_model(model, paths), paths.offsets[1:-1])]


@given(ANY_MODEL, JOURNEYS)
def test_shares_of_a_path_sum_to_one_and_micro_credits_to_a_million(model: Any, journeys: list[list[Touch]]) -> None:
    paths = paths_of(*journeys)
    micro = credit_micro(apply_model(model, paths), paths.offsets)
    for path, credit in zip(by_path(model, journeys), np.split(micro, paths.offsets[1:-1]), strict=True):
        assert not path or math.isclose(math.fsum(path), 1, abs_tol=1e-12)
        assert credit.sum() == (MICRO if path else 0)


@given(ANY_MODEL, JOURNEYS, st.randoms(use_true_random=False))
def test_the_order_of_the_journeys_does_not_matter(model: Any, journeys: list[list[Touch]], random: Any) -> None:
    order = list(range(len(journeys)))
    random.shuffle(order)
    found = by_path(model, journeys)
    assert by_path(model, [journeys[place] for place in order]) == [found[place] for place in order]


@given(JOURNEYS, st.integers(1, 400))
def test_time_decay_sees_differences_of_age_only(journeys: list[list[Touch]], shift: int) -> None:
    shifted = [[(code, age + shift) for code, age in path] for path in journeys]
    assert by_path(MODELS["time_decay"], shifted) == by_path(MODELS["time_decay"], journeys)


@given(JOURNEYS)
def test_time_decay_equals_its_formula(journeys: list[list[Touch]]) -> None:
    for path, found in zip(journeys, by_path(MODELS["time_decay"], journeys), strict=True):
        weights = [2.0 ** (-age / 7.0) for _, age in path]
        assert found == pytest.approx([weight / sum(weights) for weight in weights])


@given(JOURNEYS)
def test_time_decay_never_favours_an_older_touch(journeys: list[list[Touch]]) -> None:
    assert all(path == sorted(path) for path in by_path(MODELS["time_decay"], journeys))
