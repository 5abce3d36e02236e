"""Hostile values: whatever a shop hands in, no method raises or hangs, and each event is delivered or counted."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

import pytest

from touchtrail import Campaign, Client, Context, EventRefusedError, Options, Page, events
from touchtrail.testing import ScriptedTransport

VALUES = 5_000


class Wild(BaseException):
    """As the panics of extension modules written in Rust: no ``Exception``, and nobody's order to stop."""


class Hostile:
    """Raises at every touch; ``error`` says what."""

    def __init__(self, error: type[BaseException]) -> None:
        object.__setattr__(self, "error", error)

    def __getattribute__(self, name: str) -> Any:
        raise object.__getattribute__(self, "error")(name)

    def _raise(self, *args: object) -> Any:
        raise object.__getattribute__(self, "error")("touched")

    __bool__ = __str__ = __repr__ = __eq__ = __hash__ = __len__ = __iter__ = __index__ = __format__ = _raise


class FalseClass:
    """Says it is something else."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    @property
    def __class__(self) -> Any:
        return self.kind


class Rude(str):
    """Text whose methods do not behave."""

    __slots__ = ()

    def _raise(self, *args: object, **more: object) -> Any:
        raise Wild("asked")

    __eq__ = __len__ = __str__ = __repr__ = __format__ = encode = isascii = replace = isdecimal = _raise
    __hash__ = str.__hash__


class Number(int):
    def __index__(self) -> int:
        raise Wild("counted")

    __int__ = __float__ = __bool__ = __index__  # type: ignore[assignment]


class Endless(Mapping[str, object]):
    def __getitem__(self, key: str) -> object:
        return self

    def __iter__(self) -> Iterator[str]:
        while True:
            yield "again"

    def __len__(self) -> int:
        return 2**40


class Shrinking(Mapping[str, object]):
    def __getitem__(self, key: str) -> object:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


class Zone(tzinfo):
    """A time zone that empties a list while it is asked."""

    def __init__(self, victim: list[Any]) -> None:
        self.victim = victim

    def utcoffset(self, moment: datetime | None) -> timedelta:
        self.victim.clear()
        return timedelta(0)


class Size(Enum):
    SMALL = ("s", 1)


@dataclass
class Record:
    value: object


def looped() -> list[Any]:
    value: list[Any] = []
    value.append({"again": value})
    return value


def emptied() -> list[Any]:
    value: list[Any] = []
    value += [datetime(2026, 1, 1, tzinfo=Zone(value)), *([["x"], {"y": n}] for n in range(20))]
    return value


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


LEAVES: list[Callable[[random.Random], Any]] = [
    lambda r: Hostile(r.choice([RuntimeError, ValueError, RecursionError, MemoryError, StopIteration, Wild])),
    lambda r: FalseClass(r.choice([str, int, float, dict, list, datetime, events.PageViewed, Page, type(None)])),
    lambda r: Rude("rude"),
    lambda r: Number(5),
    lambda r: r.choice([Endless(), Shrinking(), Record(Endless()), Record(1), Size.SMALL]),
    lambda r: r.choice([float("nan"), float("inf"), Decimal("NaN"), Decimal("1E+999999"), Fraction(1, 3), 1j]),
    lambda r: r.choice([b"\xff", bytearray(3), memoryview(b"x"), object(), object, len, Client]),
    lambda r: r.choice(["\ud800", "\x00", "🛒\udfff", "x" * 70_000, "a" * 201, "", "käse", 'quote"\\']),
    lambda r: r.choice([10**5000, -(2**64), 2**63, 2**53 + 1, -0.0, 5e-324, True, None]),
    lambda r: r.choice([{1: 2}, {None: 1}, {(1, 2): 3}, {b"k": 1}, {Rude("k"): 1}, {1.5: 1}, {object(): 1}]),
    lambda r: r.choice([looped(), emptied(), deep(r.choice([10, 200, 3_000])), list(range(40_000)), {1, 2}, range(9)]),
    lambda r: r.choice([datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), datetime.max, (x for x in "ab")]),
    lambda r: r.choice([Page(url=Hostile(Wild)), Campaign(click_ids=looped()), Context(), Options(disabled=True)]),  # type: ignore[arg-type]
]


def value(r: random.Random, levels: int = 2) -> Any:
    """Return something a shop should not hand in, or a plain container with such a thing in it, or something plain."""
    if r.random() < 0.35:
        return r.choice(["plain", "9.90", 7, None, {"a": 1}])
    if levels and r.random() < 0.4:
        parts = [value(r, levels - 1) for _ in range(r.randrange(3))]
        return r.choice([list, tuple, lambda some: {f"k{n}": part for n, part in enumerate(some)}])(parts)
    return r.choice(LEAVES)(r)


FACTS = ["anonymous_id", "customer_id", "session_id", "page", "campaign", "device", "consent", "identifiers"]


def call(client: Client, r: random.Random) -> object:
    """Call one method with hostile values, most often otherwise rightly."""
    facts: dict[str, Any] = {"anonymous_id": "a-1"}
    facts |= {name: value(r) for name in r.sample([*FACTS, "occurred_at", "event_id"], r.choice([0, 0, 1]))}
    choice = r.randrange(8)
    if choice == 0:
        return client.track(value(r), **facts)
    if choice == 1:
        return client.track("own_event", properties=value(r), **facts)
    if choice == 2:
        return client.track("own_event", properties={"a": 1, "b": value(r), "c": 1.5}, **facts)
    if choice == 3:
        return client.track(events.ProductViewed(sku=value(r), price=value(r), extra=value(r)), **facts)
    if choice == 4:
        lines = r.choice([value(r), [events.Line(sku=value(r), quantity=value(r), unit_price=value(r))]])
        return client.track(
            events.OrderPlaced(order_id="o", currency=value(r), total=5, lines=lines, coupon_codes=value(r)), **facts
        )
    if choice == 5:
        return client.identify(email=value(r), traits=value(r), **facts)
    if choice == 6:
        return client.page(value(r), title=value(r), name=value(r), **{**facts, "page": None})
    with client.context(**{name: value(r) for name in r.sample(FACTS, 2)}):
        return client.alias(value(r), value(r), event_id=value(r))


def test_thousands_of_hostile_values_are_taken_and_delivered_or_refused_and_counted() -> None:
    r = random.Random(4711)
    transport = ScriptedTransport()
    longest_s = 0.0
    answers = []
    with Client("http://x", key="k", transport=transport, memory_only=True) as client:
        for _ in range(VALUES):
            began_s = time.perf_counter()
            answers.append(call(client, r))
            longest_s = max(longest_s, time.perf_counter() - began_s)
        assert client.flush(30)
        health = client.health()
    assert {type(answer) for answer in answers} == {bool}
    assert sum(health.refused.values()) == answers.count(False)
    assert (
        health.tracked == answers.count(True) == health.delivered + health.duplicates == VALUES - answers.count(False)
    )
    # The run has to have seen both ends and every kind of refusal that values can cause.
    assert min(answers.count(True), answers.count(False)) > VALUES // 10
    assert set(health.refused) >= {"unexpected", "not_serialisable", "not_finite", "too_large", "bad_amount", "bad_id"}
    # The client's own report of refused events comes on top.
    stored = [wire for wire in transport.stored.values() if wire["name"] != "events_lost"]
    assert len(stored) == health.delivered
    assert longest_s < 2


def test_no_time_to_wait_raises() -> None:
    for timeout_s in (None, "5", float("nan"), float("inf"), -1, 10**400, b"", Hostile(Wild)):
        client = Client("http://x", key="k", transport=ScriptedTransport(), memory_only=True)
        assert client.flush(timeout_s) in (True, False)  # type: ignore[arg-type]
        assert client.close(timeout_s) in (True, False)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_an_order_to_stop_passes_through(error: type[BaseException]) -> None:
    with Client("http://x", key="k", transport=ScriptedTransport(), memory_only=True) as client:
        with pytest.raises(error):
            client.track("clicked", anonymous_id="a", properties={"x": [Hostile(error)]})
        assert client.track("clicked", anonymous_id="a")


def test_strict_names_the_cause() -> None:
    with (
        Client("http://x", key="k", transport=ScriptedTransport(), memory_only=True, strict=True) as client,
        pytest.raises(EventRefusedError, match="unexpected") as caught,
    ):
        client.track("clicked", anonymous_id=Hostile(Wild))  # type: ignore[arg-type]
    assert isinstance(caught.value.__cause__, Wild)


def test_at_the_end_of_the_shops_own_stack_nothing_of_ours_is_raised() -> None:
    reached: list[bool] = []
    ours: list[str] = []

    def dive(client: Client) -> None:
        try:
            reached.append(client.track("clicked", anonymous_id="a", properties={"x": [1.5]}))
        except RecursionError as problem:
            trace = problem.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None and trace.tb_frame.f_code.co_name != "dive":
                ours.append(trace.tb_frame.f_code.co_name)
        dive(client)

    with Client("http://x", key="k", transport=ScriptedTransport(), memory_only=True) as client:
        client.track("clicked", anonymous_id="a")
        with suppress(RecursionError):
            dive(client)
    assert ours == []
    assert reached.count(True) > 100
    assert reached.count(False) >= 1


MUTATIONS = {
    "through a time zone": "value.append(datetime.datetime(2026, 1, 1, tzinfo=Zone()))",
    "through a number": "value.append(Number())",
    "through a number that stands for text": "event = events.OrderPlaced(order_id=Number(), currency='EUR', coupon_codes=value)",
    "of a campaign": "facts['campaign'] = touchtrail.Campaign(click_ids={'a': Number(), 'b': value})",
}
MUTATE = """
import datetime, touchtrail
from touchtrail import events
from touchtrail.testing import CapturingClient

value, facts, event = [], {{}}, 'clicked'

class Zone(datetime.tzinfo):
    def utcoffset(self, moment):
        value.clear()
        return datetime.timedelta(0)

class Number:
    def __index__(self):
        value.clear()
        return 1

{mutation}
value.extend(["x" * 50, {{"q": [n]}}] for n in range(300))
with CapturingClient(strict=False) as client:
    properties = {{"list": value}} if event == "clicked" else None
    print(client.track(event, properties=properties, anonymous_id="a", **facts))
"""


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_values_that_change_while_they_are_encoded_do_not_end_the_process(mutation: str) -> None:
    program = MUTATE.format(mutation=mutation)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
