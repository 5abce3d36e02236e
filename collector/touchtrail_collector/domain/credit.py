"""Credit arithmetic: float shares become integers that add up exactly, by largest remainder."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from .path import Int64s, Paths

MICRO = 1_000_000
"""Micro-credits a conversion is worth."""

# Remainders are compared in these units of 1: finer differences are float noise, and a tie must stay a tie.
_GRAIN = 1_000_000
_COARSE_GRAIN = 1_000
# amount x touches x 2^-53 bounds the noise of amount x share / sum: half a grain at the first bound, a tenth of a
# coarse one at the second. What lies above is worked out in whole numbers.
_FINE_BOUND = 4e9
_COARSE_BOUND = 1e12
# Below this a sum of shares is too close to the smallest float to divide by.
_TINY = 1e-200
# Touches worked on at once, so that the arrays of one round stay in the processor's cache.
_BLOCK = 1 << 15
_RANK_BITS = 20


class ChannelTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Credit added up per channel, each path counted ``weight`` times.

    Args:
        micro: int64, micro-credits per channel, in the order of ``Paths.channels``.
        value_minor: int64, money per channel in minor units.
        untouched_conversions: conversions without a touch in the window: the bucket `(none)`.
        untouched_value_minor: what those are worth. ``micro.sum() + MICRO * untouched_conversions`` is MICRO
            times the conversions and ``value_minor.sum() + untouched_value_minor`` their value, exactly, when
            the model conserves credit.
    """

    micro: Int64s
    value_minor: Int64s
    untouched_conversions: int
    untouched_value_minor: int


def credit_micro(
    shares: NDArray[np.float64],
    offsets: Int64s,
    *,
    converted: NDArray[np.bool_] | None = None,
    conserve: bool = True,
) -> Int64s:
    """Return micro-credits per touch; every converted path that has touches sums to exactly 1,000,000.

    Args:
        shares: one per touch, not negative, finite; a path's shares need not sum to 1, they are scaled. Where
            all are zero, the last touch has the whole.
        offsets: int64, n + 1 entries, as in `Paths`.
        converted: one per path; the others earn nothing. None = all converted.
        conserve: False for models that give more or less than one conversion: each share is rounded by itself.

    Returns:
        int64, by largest remainder, ties to the earliest touch; remainders are compared to six decimals.
    """
    amounts = np.full(len(offsets) - 1, MICRO, np.int64)
    if converted is not None:
        amounts *= converted
    return _allocate(shares, offsets, amounts) if conserve else _round_each(shares, offsets, amounts)


def credit_money(shares: NDArray[np.float64], offsets: Int64s, value_minor: Int64s, *, conserve: bool = True) -> Int64s:
    """Return money per touch in minor units; every path that has touches sums to exactly its ``value_minor``.

    Args:
        value_minor: int64, one per path; a negative value is shared as its amount and then negated.

    Returns:
        int64, otherwise as `credit_micro`.
    """
    sign = np.sign(value_minor)
    amounts = np.abs(value_minor)
    credit = _allocate(shares, offsets, amounts) if conserve else _round_each(shares, offsets, amounts)
    if (sign < 0).any():
        credit *= np.repeat(sign, np.diff(offsets))
    return credit


def channel_totals(paths: Paths, micro: Int64s, money: Int64s) -> ChannelTotals:
    """Return the credit of touches added up per channel, in integers throughout."""
    if (paths.weight != 1).any():
        weight = np.repeat(paths.weight, np.diff(paths.offsets))
        micro, money = micro * weight, money * weight
    totals = np.zeros((2, len(paths.channels)), np.int64)
    # bincount would add in floats; add.at adds in int64.
    np.add.at(totals[0], paths.channel_codes, micro)
    np.add.at(totals[1], paths.channel_codes, money)
    untouched = paths.converted & (np.diff(paths.offsets) == 0)
    return ChannelTotals(
        micro=totals[0],
        value_minor=totals[1],
        untouched_conversions=int(paths.weight[untouched].sum()),
        untouched_value_minor=int((paths.value_minor * paths.weight)[untouched].sum()),
    )


def _round_each(shares: NDArray[np.float64], offsets: Int64s, amounts: Int64s) -> Int64s:
    return np.rint(shares * np.repeat(amounts, np.diff(offsets))).astype(np.int64)


def _allocate(shares: NDArray[np.float64], offsets: Int64s, amounts: Int64s) -> Int64s:
    """Share each path's amount (>= 0) among its touches by largest remainder."""
    held = np.diff(offsets) > 0
    starts, amounts = offsets[:-1][held], amounts[held]
    stops = np.append(starts[1:], len(shares))
    credit = np.zeros(len(shares), np.int64)
    cuts = np.searchsorted(starts, np.arange(0, len(shares), _BLOCK))
    for begin, end in pairwise(np.unique(np.append(cuts, len(starts)))):
        span = slice(starts[begin], stops[end - 1])
        local = starts[begin:end] - starts[begin]
        credit[span] = _allocate_block(shares[span], local, amounts[begin:end])
    return credit


def _allocate_block(shares: NDArray[np.float64], starts: Int64s, amounts: Int64s) -> Int64s:
    """The same for paths that all have touches and lie side by side."""
    lengths = np.diff(starts, append=len(shares))
    sums = np.add.reduceat(shares, starts)
    if not sums.all():
        nothing = sums == 0.0
        shares = shares.copy()
        shares[(starts + lengths - 1)[nothing]] = 1.0
        sums[nothing] = 1.0
    bound = amounts.astype(np.float64) * lengths
    big = (bound > _COARSE_BOUND) | (sums < _TINY)
    quotas = shares * np.repeat(np.where(big, 0.0, amounts / np.maximum(sums, _TINY)), lengths)
    floors = np.floor(quotas)
    remainders = quotas - floors
    remainders *= np.repeat(np.where(bound > _FINE_BOUND, _COARSE_GRAIN, _GRAIN), lengths)
    credit: Int64s = floors.astype(np.int64)
    missing = amounts - np.add.reduceat(credit, starts)
    missing[big] = 0
    if missing.any():
        credit[_winners(np.rint(remainders).astype(np.int64), starts, lengths, missing)] += 1
    for path in np.flatnonzero(big):
        span = slice(starts[path], starts[path] + lengths[path])
        credit[span] = _allocate_exactly(shares[span], int(amounts[path]))
    return credit


def _winners(remainders: Int64s, starts: Int64s, lengths: Int64s, missing: Int64s) -> NDArray[np.intp]:
    """Return the touches that get one more: per path the ``missing`` largest remainders, the earliest of equals.

    Path, remainder and place are packed into one integer, so that a plain sort of integers ranks every path at
    once, with no index array beside the keys.
    """
    place_bits = int(lengths.max()).bit_length()
    owner = np.repeat(np.arange(len(starts)) << (_RANK_BITS + place_bits), lengths)
    place = np.arange(len(remainders)) - np.repeat(starts, lengths)
    keys = owner + ((_GRAIN - remainders) << place_bits) + place
    keys.sort()
    ranks = np.flatnonzero(place < np.repeat(missing, lengths))
    winners: NDArray[np.intp] = ranks - place[ranks] + (keys[ranks] & ((1 << place_bits) - 1))
    return winners


def _allocate_exactly(shares: NDArray[np.float64], amount: int) -> list[int]:
    """Share one amount that floats cannot hold precisely enough, in whole numbers of any size."""
    ratios = [share.as_integer_ratio() for share in shares.tolist()]
    common = max(denominator for _, denominator in ratios)
    weights = [numerator * (common // denominator) for numerator, denominator in ratios]
    whole = sum(weights)
    credit, rests = zip(*(divmod(amount * weight, whole) for weight in weights), strict=True)
    # Rounded half up to the grain, as the float way rounds.
    grains = [(2 * rest * _GRAIN + whole) // (2 * whole) for rest in rests]
    ranking = sorted(range(len(grains)), key=lambda place: (-grains[place], place))
    lucky = set(ranking[: amount - sum(credit)])
    return [units + (place in lucky) for place, units in enumerate(credit)]
