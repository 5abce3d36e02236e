"""Paths: the touches before a conversion, as columns, and how they are cut out of people's roads."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from .channel import Channel

_DAY_MS = 86_400_000
MAX_LOOKBACK_DAYS = 36_500

Int64s = NDArray[np.int64]


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


class Touches(msgspec.Struct, frozen=True, kw_only=True):
    """Creditable touches as columns, one entry per touch, sorted by person and time.

    Args:
        person_ids: int64, never falling.
        at_ms: int64, UTC milliseconds, never falling within a person. Touches of the same moment stand in the
            order of their arrival.
        channel_codes: int32 index of the channel list.
        touch_ids: int64, what a credit is traced back to: the event's ``seq``.
    """

    person_ids: Int64s
    at_ms: Int64s
    channel_codes: NDArray[np.int32]
    touch_ids: Int64s


class Conversions(msgspec.Struct, frozen=True, kw_only=True):
    """Conversions as columns, in any order.

    Args:
        value_minor: int64, net value in minor units; may be negative.
        conversion_ids: int64, not negative, unique; also the order of conversions of one moment.
        reported: False where the conversion lies outside the report: it gets no path, but the paths after it
            still start anew under ``since_last``. None = all are reported.
    """

    person_ids: Int64s
    at_ms: Int64s
    value_minor: Int64s
    conversion_ids: Int64s
    reported: NDArray[np.bool_] | None = None


class PathSet(msgspec.Struct, frozen=True, kw_only=True):
    """Paths and what their entries stand for.

    Args:
        touch_ids: int64, aligned with ``paths.channel_codes``.
        conversion_ids: int64, one per path; -1 where the path did not convert.
        person_ids: int64, one per path.
    """

    paths: Paths
    touch_ids: Int64s
    conversion_ids: Int64s
    person_ids: Int64s


class PathRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What cuts a path out of a person's road; stands in every attribution result.

    Args:
        lookback_days: W; a touch at t belongs to a conversion at T when T - W <= t <= T, in days of 24 hours.
        repeat: `full`: every conversion looks back the whole window, and touches are shared. `since_last`: the
            path starts after the person's previous conversion at T', with touches t > T'; a touch in the very
            moment of a conversion belongs to that conversion, and the second of two conversions of one moment
            has no touches.
        max_touches: keep the last m touches of a path; None = all.

    Raises:
        ValueError: a parameter is out of range.

    Source: window and repeat rules as in Snowplow's dbt-snowplow-attribution (`full`) and in mam's
        ``create_journey_id_based_on_conversion`` (`since_last`).
    """

    lookback_days: int = 30
    repeat: Literal["full", "since_last"] = "full"
    max_touches: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.lookback_days <= MAX_LOOKBACK_DAYS:
            raise ValueError(f"lookback_days is {self.lookback_days}; give 0 to {MAX_LOOKBACK_DAYS} days")
        if self.repeat not in ("full", "since_last"):
            raise ValueError(f"repeat is {self.repeat!r}; give 'full' or 'since_last'")
        if self.max_touches is not None and self.max_touches < 1:
            raise ValueError(f"max_touches is {self.max_touches}; keep at least one touch, or None for all")


def build_paths(
    touches: Touches,
    conversions: Conversions,
    channels: tuple[Channel, ...],
    rule: PathRule,
    *,
    observed_ms: tuple[int, int] | None = None,
) -> PathSet:
    """Return the path of every reported conversion, and of people without one where ``observed_ms`` asks for them.

    Args:
        observed_ms: (first, last) moment of the report, both included. Adds paths that did not convert: the
            touches within it of each person without any conversion, and with `since_last` also those after a
            person's last conversion. None = converted paths only.

    Returns:
        Converted paths by person, time and conversion id; then the others by person. A conversion without
        touches keeps its empty path.

    Raises:
        ValueError: columns differ in length, or touches are not sorted.
    """
    _check(touches, conversions)
    by_person = _by_person(conversions)
    start, stop = _converted_spans(touches, by_person, rule)
    if by_person.reported is not None:
        kept = by_person.reported
        start, stop = start[kept], stop[kept]
        by_person = _take(by_person, kept)
    people, ends = by_person.person_ids, by_person.at_ms
    if observed_ms is not None:
        open_people, open_start, open_stop = _open_spans(touches, _by_person(conversions), rule, observed_ms)
        start, stop = np.concatenate([start, open_start]), np.concatenate([stop, open_stop])
        people = np.concatenate([people, open_people])
        ends = np.concatenate([ends, np.full(len(open_people), observed_ms[1], np.int64)])
    if rule.max_touches is not None:
        start = np.maximum(start, stop - rule.max_touches)
    value_minor = np.zeros(len(people), np.int64)
    value_minor[: len(by_person.at_ms)] = by_person.value_minor
    conversion_ids = np.full(len(people), -1, np.int64)
    conversion_ids[: len(by_person.at_ms)] = by_person.conversion_ids
    offsets, source = _flatten(start, stop)
    paths = Paths(
        channels=channels,
        offsets=offsets,
        channel_codes=touches.channel_codes[source].astype(np.int32, copy=False),
        ages_ms=np.repeat(ends, np.diff(offsets)) - touches.at_ms[source],
        converted=conversion_ids >= 0,
        value_minor=value_minor,
        weight=np.ones(len(people), np.int64),
    )
    touch_ids = touches.touch_ids[source]
    return PathSet(paths=paths, touch_ids=touch_ids, conversion_ids=conversion_ids, person_ids=people)


def _flatten(start: Int64s, stop: Int64s) -> tuple[Int64s, Int64s]:
    """Return the offsets of the spans laid end to end, and the index of each entry in the columns they came from."""
    lengths = stop - start
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    source = np.repeat(start - offsets[:-1], lengths)
    source += np.arange(offsets[-1])
    return offsets, source


def _converted_spans(touches: Touches, by_person: Conversions, rule: PathRule) -> tuple[Int64s, Int64s]:
    """Return where the touches of each conversion start and stop."""
    first = np.searchsorted(touches.person_ids, by_person.person_ids, side="left")
    last = np.searchsorted(touches.person_ids, by_person.person_ids, side="right")
    stop = _bisect(touches.at_ms, first, last, by_person.at_ms + 1)
    start = _bisect(touches.at_ms, first, stop, by_person.at_ms - rule.lookback_days * _DAY_MS)
    if rule.repeat == "since_last":
        same_person = by_person.person_ids[1:] == by_person.person_ids[:-1]
        start[1:] = np.where(same_person, np.maximum(start[1:], stop[:-1]), start[1:])
    return start, stop


def _open_spans(
    touches: Touches, by_person: Conversions, rule: PathRule, observed_ms: tuple[int, int]
) -> tuple[Int64s, Int64s, Int64s]:
    """Return the people with a path that did not convert, and where its touches start and stop."""
    people, first = np.unique(touches.person_ids, return_index=True)
    last = np.append(first[1:], len(touches.person_ids))
    start = _bisect(touches.at_ms, first, last, np.full(len(people), observed_ms[0]))
    stop = _bisect(touches.at_ms, first, last, np.full(len(people), observed_ms[1] + 1))
    latest = np.searchsorted(by_person.person_ids, people, side="right") - 1
    has_converted = np.isin(people, by_person.person_ids)
    if rule.repeat == "full":
        start[has_converted] = stop[has_converted]
    else:
        closed_at = by_person.at_ms[latest[has_converted]]
        after = _bisect(touches.at_ms, first[has_converted], last[has_converted], closed_at + 1)
        start[has_converted] = np.maximum(start[has_converted], after)
    kept = start < stop
    return people[kept], start[kept], stop[kept]


def _bisect(at_ms: Int64s, first: Int64s, last: Int64s, limits: Int64s) -> Int64s:
    """Return, per slice ``first:last`` of rising times, the index of the first time that is not below its limit.

    All slices are bisected together, in as many rounds as the longest has binary digits. One search over person
    and time packed into one number would overflow where clocks are decades apart.
    """
    low, high = first.copy(), last.copy()
    longest = int((last - first).max(initial=0))
    for _ in range(longest.bit_length()):
        middle = (low + high) >> 1
        # The index of a finished slice may lie past the end; what is read there is not used.
        below = at_ms[np.minimum(middle, len(at_ms) - 1)] < limits
        below &= middle < high
        low = np.where(below, middle + 1, low)
        high = np.where(below, high, middle)
    return low


def _by_person(conversions: Conversions) -> Conversions:
    """Return the conversions ordered by person, time and id."""
    columns = (conversions.conversion_ids, conversions.at_ms, conversions.person_ids)
    person_step, time_step = np.diff(conversions.person_ids), np.diff(conversions.at_ms)
    # Queries mostly deliver them ordered; looking is a tenth of the cost of sorting.
    if ((person_step > 0) | ((person_step == 0) & (time_step > 0))).all():
        return conversions
    return _take(conversions, np.lexsort(columns))


def _take(conversions: Conversions, which: NDArray[Any]) -> Conversions:
    return msgspec.structs.replace(conversions, **{name: column[which] for name, column in _columns(conversions)})


def _columns(table: Touches | Conversions) -> list[tuple[str, NDArray[Any]]]:
    return [(name, column) for name, column in msgspec.structs.asdict(table).items() if column is not None]


def _check(touches: Touches, conversions: Conversions) -> None:
    for table in (touches, conversions):
        lengths = {name: len(column) for name, column in _columns(table)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns of {type(table).__name__} differ in length: {lengths}")
    person_step, time_step = np.diff(touches.person_ids), np.diff(touches.at_ms)
    if ((person_step < 0) | ((person_step == 0) & (time_step < 0))).any():
        raise ValueError("touches are not sorted by person and time")
    if (conversions.conversion_ids < 0).any():
        raise ValueError("conversion_ids are not negative: -1 marks a path that did not convert")
