"""Days and months of a time zone, where clocks leap too."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.errors import ReportError
from touchtrail_collector.services.reports.period import Months, day_start_ms, load_zone, local_time, period_ms

BERLIN = ZoneInfo("Europe/Berlin")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("day", "zone", "expected"),
    [
        ("2026-01-01", "Europe/Berlin", "2025-12-31T23:00"),
        ("2026-07-01", "Europe/Berlin", "2026-06-30T22:00"),
        ("2026-03-30", "Europe/Berlin", "2026-03-29T22:00"),  # the day after the clocks leapt
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00"),  # midnight itself was leapt over
        ("2026-01-01", "Pacific/Kiritimati", "2025-12-31T10:00"),
    ],
)
def test_a_day_begins_at_local_midnight(day: str, zone: str, expected: str) -> None:
    assert day_start_ms(date.fromisoformat(day), ZoneInfo(zone)) == ms(expected)


def test_the_last_day_belongs_to_the_period() -> None:
    assert period_ms(date(2026, 3, 29), date(2026, 3, 29), BERLIN) == (ms("2026-03-28T23:00"), ms("2026-03-29T22:00"))


@pytest.mark.parametrize("name", ["Mars/Base", "", "../etc/passwd", "Europe"])
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ReportError, match="Europe/Berlin"):
        load_zone(name)


@given(
    st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)), min_size=1),
    st.sampled_from(["UTC", "Europe/Berlin"]),
)
def test_months_are_those_of_the_local_calendar(moments: list[datetime], name: str) -> None:
    zone = ZoneInfo(name)
    times = np.array([int(moment.replace(tzinfo=UTC).timestamp() * 1000) for moment in moments], np.int64)
    months = Months(zone, times)
    labels = [months.labels[place] for place in months.index(times)]
    assert labels == [f"{moment.replace(tzinfo=UTC).astimezone(zone):%Y-%m}" for moment in moments]
    assert months.count(times).sum() == len(times)


def test_months_before_the_first_have_no_place_and_years_no_calendar_holds_do_no_harm() -> None:
    months = Months(ZoneInfo("UTC"), np.array([ms("2026-01-15")], np.int64))
    assert months.index(np.array([ms("2025-12-31")], np.int64)).tolist() == [-1]
    assert local_time(10**16, BERLIN).year == 9998
    assert local_time(-(10**16), BERLIN) - datetime(2, 1, 1, tzinfo=UTC) < timedelta(days=1)


def test_sums_by_month_are_integers_that_floats_could_not_hold() -> None:
    at = np.array([ms("2026-01-15")] * 2, np.int64)
    months = Months(ZoneInfo("UTC"), at)
    assert months.total(at, np.array([2**53, 1], np.int64)).tolist() == [2**53 + 1]
