"""Running a model: what it returns is checked, and the error names the model and the mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from touchtrail_collector.api import AttributionModel, Channel, Paths
from touchtrail_collector.domain.attribution import ModelError, apply_model
from touchtrail_collector.errors import PluginError, TouchtrailCollectorError

PATHS = Paths(
    channels=(Channel(name="A", medium="paid"),),
    offsets=np.array([0, 2, 2, 5]),
    channel_codes=np.zeros(5, np.int32),
    ages_ms=np.array([1, 0, 2, 1, 0]),
    converted=np.array([True, True, False]),
    value_minor=np.array([100, 100, 0]),
    weight=np.ones(3, np.int64),
)


def model_returning(answer: Any, **properties: Any) -> AttributionModel:
    return AttributionModel(name="odd", version=1, credit=lambda paths, parameters: answer, **properties)


def test_shares_of_paths_that_did_not_convert_are_ignored_whatever_they_are() -> None:
    model = model_returning(np.array([0.25, 0.75, np.nan, -1.0, 7.0]))
    assert apply_model(model, PATHS).tolist() == [0.25, 0.75, 0, 0, 0]


def test_all_zero_shares_pass_because_the_last_touch_takes_over() -> None:
    assert apply_model(model_returning(np.zeros(5)), PATHS).tolist() == [0] * 5


def test_a_model_that_does_not_conserve_may_give_more() -> None:
    model = model_returning(np.ones(5), conserves_credit=False)
    assert apply_model(model, PATHS).tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ([0.5] * 5, "it returned list, not a float64 array"),
        (np.full(5, 0.5, np.float32), "it returned float32, not a float64 array"),
        (np.full(4, 0.5), r"shares of shape \(4,\) for 5 touches"),
        (np.full((5, 1), 0.5), r"shares of shape \(5, 1\) for 5 touches"),
        (np.array([0.5, np.nan, 0, 0, 0]), "share of touch 1 of path 0 is nan; shares are finite and not negative"),
        (np.array([np.inf, 0.5, 0, 0, 0]), "share of touch 0 of path 0 is inf"),
        (np.array([1.5, -0.5, 0, 0, 0]), "share of touch 1 of path 0 is -0.5"),
        (np.array([0.5, 0.25, 0, 0, 0]), "the shares of path 0 sum to 0.75, not to 1"),
    ],
    ids=["list", "float32", "short", "matrix", "nan", "infinite", "negative", "sum"],
)
def test_wrong_shares_are_refused_by_name(answer: Any, problem: str) -> None:
    with pytest.raises(ModelError, match=f"attribution model 'odd': .*{problem}") as caught:
        apply_model(model_returning(answer), PATHS)
    assert caught.value.model == "odd"
    assert isinstance(caught.value, TouchtrailCollectorError)


def test_a_model_that_raises_is_named_with_what_it_raised() -> None:
    def credit(paths: Paths, parameters: Any) -> Any:
        return paths.offsets[10**6]

    with pytest.raises(ModelError, match="'broken': it raised IndexError: index 1000000 is out of bounds"):
        apply_model(AttributionModel(name="broken", version=1, credit=credit), PATHS)


def test_the_default_parameters_are_used_when_none_are_given() -> None:
    seen: list[Any] = []

    def credit(paths: Paths, parameters: Any) -> Any:
        seen.append(parameters)
        return np.full(5, 0.5)

    model = AttributionModel(name="curious", version=1, credit=credit)
    apply_model(model, PATHS)
    assert seen == [model.parameters()]


def test_no_paths_are_no_error() -> None:
    empty = Paths(
        channels=(),
        offsets=np.zeros(1, np.int64),
        channel_codes=np.zeros(0, np.int32),
        ages_ms=np.zeros(0, np.int64),
        converted=np.zeros(0, np.bool_),
        value_minor=np.zeros(0, np.int64),
        weight=np.zeros(0, np.int64),
    )
    answer: Callable[..., Any] = lambda paths, parameters: np.zeros(0)  # noqa: E731
    assert apply_model(AttributionModel(name="empty", version=1, credit=answer), empty).shape == (0,)


def test_an_error_the_host_has_named_already_passes_as_it_is() -> None:
    error = PluginError("model.odd", "it is out of order")

    def credit(paths: Paths, parameters: Any) -> Any:
        raise error

    with pytest.raises(PluginError) as caught:
        apply_model(AttributionModel(name="odd", version=1, credit=credit), PATHS)
    assert caught.value is error
