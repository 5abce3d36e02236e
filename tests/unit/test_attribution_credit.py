"""Credit arithmetic against a reference in fractions: what comes out adds up to the last unit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from touchtrail_collector.domain.attribution import MICRO, Paths, channel_totals, credit_micro, credit_money
from touchtrail_collector.domain.channel import Channel

WEIGHTS = st.lists(st.lists(st.integers(0, 20), max_size=12), max_size=20)
# Small orders, large ones whose noise needs the coarse grain, and sums that only whole numbers can hold.
AMOUNTS = st.one_of(
    st.integers(-100_000, 100_000), st.integers(10**9, 10**11), st.integers(-(2**62), 2**62), st.just(0)
)


def ragged(rows: list[list[int]] | list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    lengths = [len(row) for row in rows]
    flat = np.array([entry for row in rows for entry in row], np.float64)
    return flat, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def reference(weights: list[int], amount: int) -> list[int]:
    """Largest remainder by the book: exact fractions, ties to the earliest, the sign kept apart."""
    if not any(weights):
        weights = [0] * (len(weights) - 1) + [1]
    quotas = [Fraction(abs(amount) * weight, sum(weights)) for weight in weights]
    units = [quota.numerator // quota.denominator for quota in quotas]
    order = sorted(range(len(quotas)), key=lambda place: (units[place] - quotas[place], place))
    for place in order[: abs(amount) - sum(units)]:
        units[place] += 1
    return [unit if amount >= 0 else -unit for unit in units]


@given(st.lists(st.tuples(st.lists(st.integers(0, 20), max_size=12), AMOUNTS), max_size=20))
@example([([1, 1, 1], 100), ([1, 1, 1], -100), ([], 5), ([0, 0], 7), ([2, 1, 1, 2], 10**10 + 1)])
def test_money_equals_the_largest_remainder_in_fractions(rows: list[tuple[list[int], int]]) -> None:
    shares, offsets = ragged([weights for weights, _ in rows])
    credit = credit_money(shares, offsets, np.array([amount for _, amount in rows], np.int64))
    assert credit.dtype == np.int64
    assert credit.tolist() == [unit for weights, amount in rows if weights for unit in reference(weights, amount)]


@given(WEIGHTS)
def test_micro_credits_equal_the_largest_remainder_in_fractions(rows: list[list[int]]) -> None:
    shares, offsets = ragged(rows)
    expected = [unit for weights in rows if weights for unit in reference(weights, MICRO)]
    assert credit_micro(shares, offsets).tolist() == expected


@given(
    st.lists(st.tuples(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(-(2**62), 2**62)), min_size=1)
)
def test_any_shares_whatever_add_up_exactly_and_stay_within_a_unit(rows: list[tuple[list[float], int]]) -> None:
    shares, offsets = ragged([row for row, _ in rows])
    amounts = np.array([amount for _, amount in rows], np.int64)
    money, micro = credit_money(shares, offsets, amounts), credit_micro(shares, offsets)
    assert np.add.reduceat(money, offsets[:-1]).tolist() == amounts.tolist()
    assert (np.add.reduceat(micro, offsets[:-1]) == MICRO).all()
    for (row, amount), start in zip(rows, offsets, strict=False):
        whole = sum(map(Fraction, row))
        for place, share in enumerate(row if whole else []):
            off_by = abs(int(money[start + place]) - Fraction(share) / whole * amount)
            assert off_by < 1 + Fraction(1, 1000)


def test_a_conversion_shared_by_three_gives_the_spare_micro_credit_to_the_first() -> None:
    assert credit_micro(np.full(3, 1 / 3), np.array([0, 3])).tolist() == [333_334, 333_333, 333_333]


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(1000, [400, 100, 100, 400]), (999, [400, 100, 100, 399]), (-999, [-400, -100, -100, -399]), (1, [1, 0, 0, 0])],
    ids=["even", "odd", "taken-back", "one-cent"],
)
def test_position_shares_of_an_order_end_in_these_cents(amount: int, expected: list[int]) -> None:
    shares = np.array([0.4, 0.1, 0.1, 0.4])
    assert credit_money(shares, np.array([0, 4]), np.array([amount])).tolist() == expected


def test_taking_an_order_back_takes_back_the_very_same_cents() -> None:
    shares = np.array([0.123, 0.456, 0.421])
    given_credit, taken = (credit_money(shares, np.array([0, 3]), np.array([cents])) for cents in (9_999, -9_999))
    assert (given_credit + taken).tolist() == [0, 0, 0]


def test_float_noise_does_not_decide_a_tie() -> None:
    # 0.1 + 0.2 is a hair above 0.3; the two touches are equal all the same, so the earlier one is favoured.
    shares = np.array([0.3, 0.1 + 0.2, 0.4])
    assert credit_money(shares, np.array([0, 3]), np.array([5])).tolist() == [2, 1, 2]


def test_paths_that_did_not_convert_earn_nothing() -> None:
    credit = credit_micro(np.ones(4), np.array([0, 2, 4]), converted=np.array([False, True]))
    assert credit.tolist() == [0, 0, 500_000, 500_000]


def test_without_conservation_each_share_is_rounded_by_itself() -> None:
    shares, offsets = np.array([1.0, 1.0, 0.25]), np.array([0, 2, 3])
    assert credit_micro(shares, offsets, conserve=False).tolist() == [MICRO, MICRO, 250_000]
    assert credit_money(shares, offsets, np.array([-129, 100]), conserve=False).tolist() == [-129, -129, 25]


@pytest.mark.parametrize("touches", [40_000, 70_000], ids=["within-a-block", "across-blocks"])
def test_a_path_of_very_many_touches_adds_up_too(touches: int) -> None:
    shares = np.random.default_rng(7).random(2 * touches + 5)
    offsets = np.array([0, 2, touches + 2, touches + 5, 2 * touches + 5])
    credit = credit_micro(shares, offsets)
    assert np.add.reduceat(credit, offsets[:-1]).tolist() == [MICRO] * 4


def test_blocks_do_not_show_in_the_result() -> None:
    random = np.random.default_rng(11)
    lengths = random.integers(0, 9, 30_000)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    shares, amounts = random.random(offsets[-1]), random.integers(-50_000, 50_000, len(lengths))
    whole = credit_money(shares, offsets, amounts)
    half = len(lengths) // 2
    middle = offsets[half]
    parts = [
        credit_money(shares[:middle], offsets[: half + 1], amounts[:half]),
        credit_money(shares[middle:], offsets[half:] - middle, amounts[half:]),
    ]
    assert whole.tobytes() == np.concatenate(parts).tobytes()
    filled = lengths > 0
    assert (np.add.reduceat(whole, offsets[:-1][filled]) == amounts[filled]).all()


def test_channel_totals_and_the_bucket_without_touches_make_up_the_whole() -> None:
    channels = tuple(Channel(name=name, medium="paid") for name in ("Search", "Social"))
    paths = Paths(
        channels=channels,
        offsets=np.array([0, 2, 2, 3]),
        channel_codes=np.array([0, 1, 1], np.int32),
        ages_ms=np.array([5, 0, 0]),
        converted=np.array([True, True, True]),
        value_minor=np.array([1001, 500, 2**60 + 1]),
        weight=np.array([2, 3, 1]),
    )
    shares = np.array([0.5, 0.5, 1.0])
    micro = credit_micro(shares, paths.offsets)
    totals = channel_totals(paths, micro, credit_money(shares, paths.offsets, paths.value_minor))
    assert totals.micro.tolist() == [MICRO, 2 * MICRO]
    assert totals.value_minor.tolist() == [2 * 501, 2 * 500 + 2**60 + 1]
    assert (totals.untouched_conversions, totals.untouched_value_minor) == (3, 1500)
