"""Client: whatever a shop hands to ``track``, it gets an answer and never an exception."""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from billiard.pool import soft_timeout_sighandler
from hypothesis import given
from hypothesis import strategies as st

import touchtrail
from touchtrail import AsyncClient, Client, Context, EventRefusedError, Money, TransportError, events, use_context
from touchtrail.testing import ScriptedTransport


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client("http://x", key="k", transport=ScriptedTransport(), memory_only=True) as running:
        yield running


@contextmanager
def handling(number: int, handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Let a handler take a signal inside the block."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


class Hostile:
    """An object that raises at every touch a caller can make."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("touched")

    def __bool__(self) -> bool:
        raise RuntimeError("asked")

    def __str__(self) -> str:
        raise RuntimeError("shown")

    __repr__ = __str__


class Liar(Mapping[str, object]):
    def __getitem__(self, key: str) -> object:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


anything = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.decimals(), st.datetimes(),
        st.complex_numbers(), st.uuids(), st.builds(object), st.builds(Liar), st.builds(Hostile), st.just(Client),
        st.just(Money(1, "EUR")), st.characters(categories=["Cs"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.one_of(st.text(), st.integers()), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(anything)
def test_a_broken_clock_does_not_reach_the_shop(value: Any) -> None:
    with Client("http://x", key="k", transport=ScriptedTransport(), memory_only=True, clock=lambda: value) as client:
        assert client.track("clicked", anonymous_id="a") in (True, False)


def test_an_event_about_a_person_needs_one(client: Client) -> None:
    assert not client.track(events.PageViewed())
    assert not client.track(events.PageViewed(), session_id="s")
    assert not client.track(events.PageViewed(), anonymous_id="", identifiers={})
    assert client.track(events.PageViewed(), identifiers={"email": "a@b.example"})
    assert client.track(events.MediaFlightRan(medium="radio"))
    assert client.track("ad_spend_reported", properties={"starts_on": "2026-01-01", "amount": 1, "currency": "EUR"})
    with use_context(Context(customer_id="c")):
        assert client.track(events.PageViewed())


def test_strict_raises_with_reason_and_checks_as_the_collector_does() -> None:
    with Client("http://x", key="k", transport=ScriptedTransport(), memory_only=True, strict=True) as client:
        with pytest.raises(EventRefusedError) as caught:
            client.track(events.PageViewed())
        assert caught.value.reason == "no_person"
        with pytest.raises(EventRefusedError, match=r"invalid: product_viewed: .*sku"):
            client.track(events.ProductViewed(sku=7), anonymous_id="a")  # type: ignore[arg-type]
        with pytest.raises(EventRefusedError, match="colour"):
            client.track("product_viewed", properties={"sku": "s", "colour": "red"}, anonymous_id="a")
        assert client.track(events.ProductViewed(sku="7", price=1.5), anonymous_id="a")


def test_a_disabled_client_takes_nothing_needs_nothing_and_never_raises() -> None:
    with Client(disabled=True, strict=True) as client:
        assert not client.track(events.PageViewed(), anonymous_id="a")
        assert client.flush()
        assert client.health().refused == {"disabled": 1}


def test_the_log_names_a_problem_once_and_holds_nothing_of_the_event(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="touchtrail")
    with Client("http://x", key="k-secret", transport=ScriptedTransport(), memory_only=True) as client:
        for _ in range(50):
            client.track("order_placed", properties={"x": object(), "y": "Erika"}, customer_id="c-4711")
            client.track(events.ProductViewed(sku="S-1", price="Erika"), customer_id="c-4711")
    assert len(caplog.records) == 2
    assert not any(word in caplog.text for word in ("Erika", "4711", "S-1", "secret"))


def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        names = [name for name in dir(kind) if not name.startswith("_")]
        return {name: [*inspect.signature(getattr(kind, name)).parameters] for name in names}

    assert public(Client) == public(AsyncClient)
    waiting = {name for name in public(AsyncClient) if inspect.iscoroutinefunction(getattr(AsyncClient, name))}
    assert waiting == {"flush", "close"}


def test_the_facade_exports_what_it_lists_and_lists_it_sorted() -> None:
    assert touchtrail.__all__ == sorted(touchtrail.__all__)
    assert all(hasattr(touchtrail, name) for name in touchtrail.__all__)
    assert msgspec.structs.asdict(Client(disabled=True).health())["state"] == "new"


def test_an_event_that_names_an_order_needs_no_person(tmp_path: Path) -> None:
    """A refund from the accounts: the order says whose it is."""
    with Client("http://127.0.0.1:9", key="k", spool_dir=tmp_path, strict=True) as client:
        assert client.track(events.OrderRefunded(order_id="1001", amount="5.00", currency="EUR"))
        assert client.track("gift_wrapped", properties={"order_id": "1001"})
        with pytest.raises(EventRefusedError, match="no_person"):
            client.track("gift_wrapped", properties={"order_id": ""})


def test_celerys_soft_time_limit_reaches_the_task_it_is_meant_for(tmp_path: Path) -> None:
    """It is thrown by a signal handler into whatever runs at that moment; here the clock stands for the moment."""
    moments = [1.8e9]

    def clock() -> float:
        if not moments:
            signal.raise_signal(signal.SIGUSR1)
        return 1.8e9

    with (
        Client("http://127.0.0.1:9", key="k", spool_dir=tmp_path, clock=clock) as client,
        handling(signal.SIGUSR1, soft_timeout_sighandler),
    ):
        assert client.track("clicked", anonymous_id="a")
        moments.clear()
        with pytest.raises(SoftTimeLimitExceeded):
            client.track("clicked", anonymous_id="a")
        moments.append(1.8e9)
        assert client.track("clicked", anonymous_id="a")


class TooLongError(Exception):
    pass


class Alarm:
    """Handlers of every shape, all of which throw the same."""

    def __init__(self, problem: type[BaseException]) -> None:
        self.problem = problem

    def method(self, number: int, frame: object) -> None:
        raise self.problem

    def gathering(self, *arguments: object) -> None:
        raise self.problem

    def calling(self, number: int, frame: object) -> None:
        self.gathering()

    def prepared(self, more: str, number: int, frame: object) -> None:
        raise self.problem

    def shapes(self) -> dict[str, Callable[[int, FrameType | None], Any]]:
        return {
            "method": self.method, "gathering": self.gathering, "calling": self.calling,
            "partial": partial(self.prepared, "x"), "lambda": lambda number, frame: self.gathering(number),
        }  # fmt: skip


class Interrupted(Mapping[str, Any]):
    """A mapping under whose reading a signal comes."""

    def __getitem__(self, name: str) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        return 1

    def __iter__(self) -> Iterator[str]:
        return iter(["x"])

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("shape", ["method", "gathering", "calling", "partial", "lambda"])
@pytest.mark.parametrize("problem", [TooLongError, TimeoutError, ValueError, TypeError, OSError])
def test_what_a_signal_handler_throws_reaches_the_shop_and_is_no_refusal(
    client: Client, shape: str, problem: type[Exception]
) -> None:
    before = client.health()
    with handling(signal.SIGUSR1, Alarm(problem).shapes()[shape]):
        with pytest.raises(problem):
            client.track("clicked", anonymous_id="a", properties=Interrupted())
        with pytest.raises(problem):
            client.identify(anonymous_id="a", email="a@b.example", identifiers=Interrupted())
    after = client.health()
    assert (after.tracked, after.refused) == (before.tracked, before.refused)


@pytest.mark.parametrize("problem", [TooLongError, TimeoutError, ValueError])
def test_what_a_value_raises_of_itself_does_not_though_a_handler_threw_the_same_before(
    client: Client, problem: type[Exception]
) -> None:
    class Raising(Mapping[str, Any]):
        def __getitem__(self, name: str) -> Any:
            raise problem

        def __iter__(self) -> Iterator[str]:
            raise problem

        def __len__(self) -> int:
            return 1

    refused = sum(client.health().refused.values())
    with handling(signal.SIGUSR1, Alarm(problem).method):
        try:
            signal.raise_signal(signal.SIGUSR1)
        except problem:
            # What the shop is handling here came from a signal; what the value raises below did not.
            assert not client.track("clicked", anonymous_id="a", properties=Raising())
    assert sum(client.health().refused.values()) == refused + 1


class Clock:
    """Shows what it is told to; an exception it raises."""

    def __init__(self, shown: Any) -> None:
        self.shown = shown

    def __call__(self) -> float:
        if isinstance(self.shown, BaseException):
            raise self.shown
        return self.shown  # type: ignore[no-any-return]


@pytest.mark.parametrize("shown", [0.0, 0, -5.0, 946_684_799.0, 4_102_444_800.0, 1e300, float("inf")], ids=str)
def test_an_event_of_an_impossible_clock_goes_without_a_time_and_the_rest_has_the_systems(shown: float) -> None:
    transport = ScriptedTransport()
    with Client("http://x", key="k", transport=transport, memory_only=True, clock=Clock(shown)) as client:
        assert client.track("clicked", anonymous_id="a")
        assert not client.track("bad name", anonymous_id="a")
        assert client.flush(5)
    stored = {event["name"]: event for event in transport.stored.values()}
    assert "occurred_at" not in stored["clicked"]
    told = datetime.fromisoformat(stored["events_lost"]["occurred_at"])
    assert abs(told.timestamp() - time.time()) < 60


@pytest.mark.parametrize(
    "shown", [float("nan"), "now", "1790000000", None, RuntimeError("broken"), 10**400, 1j, [1.0]], ids=ascii
)
def test_a_clock_that_is_none_is_replaced_by_the_systems(shown: Any) -> None:
    transport = ScriptedTransport()
    with Client("http://x", key="k", transport=transport, memory_only=True, clock=Clock(shown)) as client:
        assert client.track("clicked", anonymous_id="a")
        assert client.flush(5)
        assert client.health().refused == {}
    (event,) = transport.stored.values()
    assert abs(datetime.fromisoformat(event["occurred_at"]).timestamp() - time.time()) < 60


@pytest.mark.parametrize("shown", [1_790_000_000, 1_790_000_000.0, Fraction(1_790_000_000)], ids=repr)
def test_a_clock_may_give_any_kind_of_number(shown: Any) -> None:
    transport = ScriptedTransport()
    with Client("http://x", key="k", transport=transport, memory_only=True, clock=Clock(shown)) as client:
        assert client.track("clicked", anonymous_id="a")
        assert client.flush(5)
    assert [event["occurred_at"] for event in transport.stored.values()] == ["2026-09-21T14:13:20.000Z"]


def test_a_clock_that_is_told_to_stop_stops_the_call() -> None:
    with (
        Client(
            "http://x", key="k", transport=ScriptedTransport(), memory_only=True, clock=Clock(SystemExit())
        ) as client,
        pytest.raises(SystemExit),
    ):
        client.track("clicked", anonymous_id="a")


@pytest.mark.parametrize("call", ["flush", "close"])
def test_a_wait_that_is_cancelled_does_not_hold_up_the_end_of_the_loop(tmp_path: Path, call: str) -> None:
    async def wait_a_little() -> None:
        down = ScriptedTransport(TransportError("down") for _ in range(10_000))
        client = AsyncClient("http://x", key="k", transport=down, spool_dir=tmp_path)
        assert client.track("clicked", anonymous_id="a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(getattr(client, call)(5), 0.2)

    began = time.monotonic()
    asyncio.run(wait_a_little())
    assert time.monotonic() - began < 2
    for thread in threading.enumerate():
        if thread.name == "touchtrail-wait":
            thread.join(10)


def test_a_wait_that_is_not_cancelled_says_what_became_of_the_events() -> None:
    async def deliver() -> tuple[bool, bool, bool]:
        client = AsyncClient("http://x", key="k", transport=ScriptedTransport(), memory_only=True)
        assert client.track("clicked", anonymous_id="a")
        down = ScriptedTransport(TransportError("down") for _ in range(10_000))
        other = AsyncClient("http://x", key="k", transport=down, memory_only=True)
        assert other.track("clicked", anonymous_id="a")
        return await client.flush(5), await other.flush(0.1), await client.close(5)

    assert asyncio.run(deliver()) == (True, False, True)
