"""Cutting paths out of people's roads, against the definitions written as plain loops."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.domain.attribution import Conversions, PathRule, PathSet, Touches, build_paths
from touchtrail_collector.domain.channel import Channel

DAY = 86_400_000
CHANNELS = tuple(Channel(name=name, medium="owned") for name in "abc")
Row = tuple[int, int]


def touches_of(rows: list[Row]) -> Touches:
    """Rows of (person, day); each touch's id is its place, its channel its place modulo 3."""
    places = range(len(rows))
    return Touches(
        person_ids=np.array([person for person, _ in rows], np.int64),
        at_ms=np.array([day * DAY for _, day in rows], np.int64),
        channel_codes=np.array([place % 3 for place in places], np.int32),
        touch_ids=np.array([1000 + place for place in places], np.int64),
    )


def conversions_of(rows: list[Row], reported: list[bool] | None = None) -> Conversions:
    return Conversions(
        person_ids=np.array([person for person, _ in rows], np.int64),
        at_ms=np.array([day * DAY for _, day in rows], np.int64),
        value_minor=np.array([100 * place for place in range(len(rows))], np.int64),
        conversion_ids=np.arange(len(rows), dtype=np.int64),
        reported=None if reported is None else np.array(reported, np.bool_),
    )


def cut(touches: list[Row], conversions: list[Row], **rule: Any) -> dict[int, list[int]]:
    """Return the days of each conversion's touches by conversion id."""
    found = build_paths(touches_of(touches), conversions_of(conversions), CHANNELS, PathRule(**rule))
    return {
        conversion: [touches[touch - 1000][1] for touch in path]
        for conversion, path in zip(found.conversion_ids.tolist(), split(found), strict=True)
    }


def split(found: PathSet) -> list[list[int]]:
    offsets = found.paths.offsets
    return [found.touch_ids[begin:end].tolist() for begin, end in pairwise(offsets)]


def test_the_window_is_closed_at_both_ends() -> None:
    assert cut([(1, 9), (1, 10), (1, 40), (1, 41)], [(1, 40)], lookback_days=30) == {0: [10, 40]}


def test_a_window_of_no_days_keeps_touches_of_the_very_moment() -> None:
    assert cut([(1, 3), (1, 4)], [(1, 4)], lookback_days=0) == {0: [4]}


def test_full_lets_every_conversion_look_back_over_the_one_before() -> None:
    assert cut([(1, 1), (1, 5)], [(1, 3), (1, 6)], repeat="full") == {0: [1], 1: [1, 5]}


def test_since_last_starts_anew_after_a_conversion() -> None:
    assert cut([(1, 1), (1, 5)], [(1, 3), (1, 6)], repeat="since_last") == {0: [1], 1: [5]}


def test_a_touch_in_the_moment_of_a_conversion_belongs_to_that_conversion_only() -> None:
    assert cut([(1, 3)], [(1, 3), (1, 3), (1, 6)], repeat="since_last") == {0: [3], 1: [], 2: []}


def test_a_conversion_outside_the_report_has_no_path_but_still_ends_one() -> None:
    conversions = conversions_of([(1, 3), (1, 6)], reported=[False, True])
    found = build_paths(touches_of([(1, 1), (1, 5)]), conversions, CHANNELS, PathRule(repeat="since_last"))
    assert found.conversion_ids.tolist() == [1]
    assert split(found) == [[1001]]


def test_the_step_limit_keeps_the_last_touches() -> None:
    assert cut([(1, day) for day in range(6)], [(1, 9)], max_touches=2) == {0: [4, 5]}


def test_a_conversion_without_a_touch_keeps_an_empty_path_with_its_value() -> None:
    found = build_paths(touches_of([(2, 1)]), conversions_of([(1, 3), (3, 3)]), CHANNELS, PathRule())
    assert found.paths.offsets.tolist() == [0, 0, 0]
    assert found.paths.value_minor.tolist() == [0, 100]
    assert found.paths.converted.tolist() == [True, True]


def test_without_any_touch_or_conversion_there_are_no_paths() -> None:
    found = build_paths(touches_of([]), conversions_of([]), CHANNELS, PathRule(), observed_ms=(0, DAY))
    assert found.paths.offsets.tolist() == [0]


def test_columns_of_a_path_are_aligned() -> None:
    found = build_paths(touches_of([(1, 1), (1, 5), (2, 4)]), conversions_of([(2, 6), (1, 6)]), CHANNELS, PathRule())
    paths = found.paths
    assert found.person_ids.tolist() == [1, 2]
    assert found.conversion_ids.tolist() == [1, 0]
    assert paths.value_minor.tolist() == [100, 0]
    assert (paths.ages_ms // DAY).tolist() == [5, 1, 2]
    assert paths.channel_codes.tolist() == [0, 1, 2]
    assert (paths.channel_codes.dtype, paths.ages_ms.dtype) == (np.int32, np.int64)


@pytest.mark.parametrize(
    ("repeat", "expected"),
    [("full", {2: [1003, 1004]}), ("since_last", {1: [1002], 2: [1003, 1004]})],
)
def test_paths_that_did_not_convert_follow_the_repeat_rule(repeat: Any, expected: dict[int, list[int]]) -> None:
    touches = touches_of([(1, 1), (1, 3), (1, 5), (2, 2), (2, 10), (2, 11), (3, 0), (3, 12)])
    observed = (1 * DAY, 10 * DAY)
    found = build_paths(touches, conversions_of([(1, 3)]), CHANNELS, PathRule(repeat=repeat), observed_ms=observed)
    is_open = ~found.paths.converted
    assert (found.conversion_ids[is_open] == -1).all()
    assert found.paths.value_minor[is_open].tolist() == [0] * len(expected)
    opened = zip(found.person_ids.tolist(), split(found), is_open.tolist(), strict=True)
    assert {person: path for person, path, wanted in opened if wanted} == expected
    last = found.paths.offsets[1:] - 1
    assert found.paths.ages_ms[last[is_open]][-1] == 0


ROADS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 12)), max_size=25)


@given(
    ROADS.map(sorted),
    ROADS,
    st.integers(0, 13),
    st.sampled_from(["full", "since_last"]),
    st.none() | st.integers(1, 4),
)
def test_paths_equal_the_definitions_written_as_loops(
    touches: list[Row], conversions: list[Row], window: int, repeat: str, limit: int | None
) -> None:
    expected: dict[int, list[int]] = {}
    ordered = sorted(enumerate(conversions), key=lambda entry: (*entry[1], entry[0]))
    for index, (conversion, (person, at)) in enumerate(ordered):
        path = [day for owner, day in touches if owner == person and at - window <= day <= at]
        earlier = [day for _, (owner, day) in ordered[:index] if owner == person]
        if repeat == "since_last" and earlier:
            path = [day for day in path if day > earlier[-1]]
        expected[conversion] = path[-limit:] if limit else path
    found = cut(touches, conversions, lookback_days=window, repeat=repeat, max_touches=limit)
    assert found == expected
    assert list(found) == [conversion for conversion, _ in ordered]


def test_clocks_decades_apart_do_not_overflow() -> None:
    far = np.array([-(2**60), 2**60], np.int64)
    touches = Touches(
        person_ids=np.array([2**61, 2**61]), at_ms=far, channel_codes=np.zeros(2, np.int32), touch_ids=np.arange(2)
    )
    conversions = Conversions(
        person_ids=np.array([2**61]), at_ms=far[1:], value_minor=np.ones(1, np.int64), conversion_ids=np.arange(1)
    )
    found = build_paths(touches, conversions, CHANNELS, PathRule(lookback_days=36_500))
    assert found.touch_ids.tolist() == [1]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"lookback_days": -1}, "lookback_days is -1"),
        ({"lookback_days": 40_000}, "0 to 36500"),
        ({"max_touches": 0}, "at least one"),
        ({"repeat": "never"}, "'full' or 'since_last'"),
    ],
    ids=["negative-window", "endless-window", "no-touches", "unknown-repeat"],
)
def test_a_rule_out_of_range_is_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PathRule(**rule)


@pytest.mark.parametrize("rows", [[(2, 1), (1, 1)], [(1, 2), (1, 1)]], ids=["persons", "times"])
def test_unsorted_touches_are_refused(rows: list[Row]) -> None:
    with pytest.raises(ValueError, match="not sorted"):
        build_paths(touches_of(rows), conversions_of([]), CHANNELS, PathRule())


def test_columns_of_different_length_are_refused() -> None:
    touches = touches_of([(1, 1)])
    broken = Touches(
        person_ids=touches.person_ids,
        at_ms=touches.at_ms,
        channel_codes=np.zeros(2, np.int32),
        touch_ids=touches.touch_ids,
    )
    with pytest.raises(ValueError, match="Touches differ in length"):
        build_paths(broken, conversions_of([]), CHANNELS, PathRule())


def test_negative_conversion_ids_are_refused() -> None:
    conversions = Conversions(
        person_ids=np.array([1]), at_ms=np.array([1]), value_minor=np.array([1]), conversion_ids=np.array([-1])
    )
    with pytest.raises(ValueError, match="-1 marks a path that did not convert"):
        build_paths(touches_of([]), conversions, CHANNELS, PathRule())
