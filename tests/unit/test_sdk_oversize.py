"""What is far too large is refused by a look at its length: no caller waits until it is copied or written."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from touchtrail import Campaign, Client, Page, events
from touchtrail.testing import ScriptedTransport

LONGEST_S = 0.05
MB = 1_000_000
Given = dict[str, Any]


class Text(str):
    """A subclass that says nothing true of itself."""

    def __len__(self) -> int:
        return 1


class Number(int):
    """An ``int`` of somebody else's."""


class Chosen(Enum):
    """A member that holds a long text."""

    LONG = "x" * 100 * MB


@contextmanager
def any_number_of_digits() -> Iterator[None]:
    """Lift Python's own limit of whole numbers inside the block."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(before)


def own(value: Any) -> Given:
    return {"event": "clicked", "properties": {"p": value}}


LARGE: dict[str, Callable[[], Given]] = {
    "text": lambda: own("x" * 100 * MB),
    "quotes": lambda: own('"' * 20 * MB),
    "bytes": lambda: own(b"x" * 100 * MB),
    "bytearray": lambda: own(bytearray(100 * MB)),
    "memoryview": lambda: own(memoryview(bytes(100 * MB))),
    "subclass of text": lambda: own(Text("x" * 100 * MB)),
    "member of an enumeration": lambda: own(Chosen.LONG),
    "name of a property": lambda: {"event": "clicked", "properties": {"x" * 100 * MB: 1}},
    "decimal": lambda: own(Decimal("0." + "1" * 10 * MB)),
    "amount that is a decimal": lambda: {"event": events.ProductViewed(sku="s", price=Decimal("0." + "1" * 10 * MB))},
    "mapping of 1M": lambda: {"event": "clicked", "properties": dict.fromkeys(map(str, range(MB)), 1)},
    "mapping of 1M inside": lambda: own(dict.fromkeys(map(str, range(MB)), 1)),
    "list of 5M": lambda: own([1] * 5 * MB),
    "tuple of 5M": lambda: own((1,) * 5 * MB),
    "the same text again and again": lambda: own(["x" * 60_000] * 30_000),
    "the same mapping again and again": lambda: own([dict.fromkeys(map(str, range(20_000)), 1)] * 20_000),
    "text deep inside": lambda: own([{"a": [("x" * 100 * MB,)]}]),
    "a field": lambda: {"event": events.ProductViewed(sku="x" * 100 * MB)},
    "an amount": lambda: {"event": events.ProductViewed(sku="s", price="1" * 100 * MB)},
    "a line": lambda: {"event": events.CartViewed(lines=[events.Line(sku="x" * 100 * MB)])},
    "lines without number": lambda: {"event": events.CartViewed(lines=[events.Line(sku="x" * 60_000)] * 30_000)},
    "extra": lambda: {"event": events.CartViewed(extra={"p": "x" * 100 * MB})},
    "page": lambda: {"event": "clicked", "page": Page(url="https://shop.example/" + "x" * 100 * MB)},
    "referrer": lambda: {"event": "clicked", "page": Page(referrer="x" * 100 * MB)},
    "campaign": lambda: {"event": "clicked", "campaign": Campaign(source="x" * 100 * MB)},
    "identifiers of 1M": lambda: {"event": "clicked", "identifiers": dict.fromkeys(map(str, range(MB)), "x")},
}
ENDLESS: dict[str, Callable[[], Given]] = {
    "property": lambda: own(10**300_000),
    "with others": lambda: {"event": "clicked", "properties": {"a": "x", "p": 10**300_000}},
    "inside": lambda: own([{"p": -(10**300_000)}]),
    "subclass": lambda: own(Number(10**300_000)),
    "key": lambda: {"event": "clicked", "properties": {10**300_000: 1}},
    "field": lambda: {"event": events.ProductClicked(sku="s", position=10**300_000)},
    "amount": lambda: {"event": events.ProductViewed(sku="s", price=10**300_000)},  # type: ignore[arg-type]
}


def track(given: Given) -> tuple[bool, dict[str, int], float]:
    """Return the answer, the counts and the seconds of the faster of two calls: a machine may be busy."""
    with Client("http://x", key="k", transport=ScriptedTransport(), memory_only=True) as client:
        client.track("clicked", anonymous_id="a")
        took = []
        for _ in range(2):
            began = time.perf_counter()
            answer = client.track(**{"anonymous_id": "a"} | given)
            took.append(time.perf_counter() - began)
        return answer, client.health().refused, min(took)


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
def test_what_is_far_too_large_is_refused_at_once(make: Callable[[], Given]) -> None:
    answer, refused, took_s = track(make())
    assert (answer, refused) == (False, {"too_large": 2})
    assert took_s < LONGEST_S


@pytest.mark.parametrize("make", ENDLESS.values(), ids=ENDLESS)
def test_so_is_a_whole_number_where_python_would_write_it(make: Callable[[], Given]) -> None:
    with any_number_of_digits():
        answer, refused, took_s = track(make())
    assert (answer, refused) == (False, {"too_large": 2})
    assert took_s < LONGEST_S


def test_a_name_that_is_no_name_is_not_read_to_its_end() -> None:
    answer, refused, took_s = track({"event": "x" * 100 * MB})
    assert (answer, refused) == (False, {"bad_name": 2})
    assert took_s < LONGEST_S


@pytest.mark.parametrize(
    "value",
    ["é" * 30_000, "x" * 65_000, ["x" * 1_000] * 60, {"k" * 30_000: "v" * 30_000}, b"x" * 40_000, 10**4_000, 1.5],
    ids=["two bytes a letter", "one", "list", "mapping", "bytes", "number", "float"],
)
def test_what_has_room_is_taken(value: Any) -> None:
    assert track(own(value))[:2] == (True, {})
    assert track({"event": events.CartViewed(extra={"p": value})})[:2] == (True, {})


def test_a_line_may_fill_the_event() -> None:
    assert track({"event": events.CartViewed(lines=[events.Line(sku="s", name="x" * 60_000)])})[0]
    with any_number_of_digits():
        assert track(own(10**10_000))[0]
