"""Token buckets: so many at once, so many a second, each name by itself, and a table that does not grow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.settings import LimitsSettings
from touchtrail_collector.web.errors import HttpError
from touchtrail_collector.web.limits import STRANGER_BURST, RateLimits, TokenBuckets, sender_of


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_so_many_come_at_once_and_then_so_many_a_second() -> None:
    clock = Clock()
    buckets = TokenBuckets(4, 10, clock=clock)
    assert [buckets.take("a") for _ in range(10)] == [0.0] * 10
    assert buckets.take("a") == pytest.approx(0.25)
    assert buckets.take("a") == pytest.approx(0.25)  # asking costs nothing
    clock.now += 0.25
    assert [buckets.take("a") == 0 for _ in range(2)] == [True, False]
    clock.now += 100
    assert sum(buckets.take("a") == 0 for _ in range(50)) == 10


def test_one_sender_takes_nothing_from_another() -> None:
    buckets = TokenBuckets(1, 1, clock=Clock())
    assert buckets.take("a") == 0
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0


def test_zero_is_no_limit() -> None:
    buckets = TokenBuckets(0, 0, clock=Clock())
    assert not any(buckets.take("a") for _ in range(10_000))
    assert len(buckets) == 0


def test_the_table_is_bounded_and_forgets_who_was_not_seen_for_longest() -> None:
    buckets = TokenBuckets(1, 1, clock=Clock(), most=100)
    buckets.take("regular")
    for number in range(10_000):
        buckets.take(f"guest-{number}")
        assert buckets.take("regular") > 0, number
    assert len(buckets) == 100
    assert buckets.take("guest-0") == 0


@given(st.lists(st.floats(0, 3), max_size=200), st.integers(1, 50), st.integers(1, 20))
def test_never_more_than_rate_and_burst_allow_in_any_stretch_of_time(gaps: list[float], per_s: int, burst: int) -> None:
    clock = Clock()
    buckets = TokenBuckets(per_s, burst, clock=clock)
    taken = []
    for gap in gaps:
        clock.now += gap / 10
        if buckets.take("a") == 0:
            taken.append(clock.now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - start) * per_s + 1e-3


@pytest.mark.parametrize(
    ("address", "name", "is_local"),
    [
        ("192.0.2.7", "192.0.2.7", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.9.9.9", "127.9.9.9", True),
        ("::1", "::1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("::ffff:192.0.2.7", "192.0.2.7", False),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", False),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64", False),
        ("unknown", "unknown", False),
        ("", "", False),
        ("x" * 10_000, "x" * 64, False),
    ],
)
def test_an_address_counts_for_itself_or_its_network(address: str, name: str, is_local: bool) -> None:
    assert sender_of(address) == (name, is_local)


def scope(address: str | None) -> dict[str, object]:
    return {"client": None if address is None else (address, 5)}


@pytest.mark.parametrize(("address", "loopback", "is_limited"), [
    ("192.0.2.1", False, True), ("127.0.0.1", False, False), ("127.0.0.1", True, True), (None, False, True),
])  # fmt: skip
def test_this_machine_is_limited_only_where_that_is_asked_for(
    address: str | None, loopback: bool, is_limited: bool
) -> None:
    settings = LimitsSettings(address_requests_per_s=1, key_requests_per_s=1, burst_s=3.0, loopback=loopback)
    limits = RateLimits(settings, Clock())
    for check in (lambda: limits.check_address(scope(address)), lambda: limits.check_key(scope(address), "key")):
        for _ in range(3):
            check()
        if is_limited:
            with pytest.raises(HttpError) as refused:
                check()
            assert (refused.value.status, refused.value.body.code, refused.value.retry_after_s) == (
                429,
                "rate_limited",
                1,
            )
        else:
            check()


def test_to_look_says_what_taking_would_and_takes_nothing() -> None:
    clock = Clock()
    buckets = TokenBuckets(2, 3, clock=clock)
    assert [buckets.look("a") for _ in range(10)] == [0.0] * 10
    assert len(buckets) == 0
    for _ in range(3):
        assert buckets.look("a") == buckets.take("a") == 0
    assert buckets.look("a") == buckets.take("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert buckets.look("a") == 0


@pytest.mark.parametrize("address", ["192.0.2.1", "127.0.0.1", "2001:db8::1"])
def test_an_address_whose_requests_held_no_key_waits_and_others_do_not(address: str) -> None:
    clock = Clock()
    limits = RateLimits(LimitsSettings(), clock)
    for _ in range(STRANGER_BURST):
        limits.check_stranger(scope(address))
        limits.note_stranger(scope(address))
    with pytest.raises(HttpError) as refused:
        limits.check_stranger(scope(address))
    assert (refused.value.status, refused.value.body.code, refused.value.retry_after_s) == (429, "rate_limited", 3)
    limits.check_stranger(scope("192.0.2.99"))
    clock.now += 3
    limits.check_stranger(scope(address))
    limits.check_address(scope(address))
    limits.check_key(scope(address), "key")
