"""Envelope: ids, times, wire form, and what is refused."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail import EventRefusedError, events
from touchtrail._envelope import (
    BROWSE,
    CART,
    ORDER,
    Envelope,
    EventIds,
    assemble,
    encode,
    kind_of,
    new_event_id,
    now_text,
    occurred_text,
    rfc3339,
    text_id,
)


def wire(properties: Any, **facts: Any) -> dict[str, Any]:
    envelope = Envelope(event_id="e", name="n", occurred_at="t", properties=properties, **facts)
    decoded: dict[str, Any] = msgspec.json.decode(encode(envelope, 65_536))
    return decoded


def test_an_id_is_a_uuid_7_that_carries_the_time() -> None:
    ids = EventIds(lambda: 1_700_000_000_123_456_789)
    made = uuid.UUID(ids.next())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 1_700_000_000_123
    real = new_event_id()
    assert str(uuid.UUID(real)) == real


@given(st.lists(st.integers(0, 400_000), max_size=200))
def test_the_time_in_an_id_is_at_most_a_second_before_it_was_made(steps_us: list[int]) -> None:
    now_us = [1_700_000_000_000_000]
    ids = EventIds(lambda: now_us[0] * 1000)
    randoms = set()
    for step_us in steps_us:
        now_us[0] += step_us
        made = ids.next()
        assert 0 <= now_us[0] // 1000 - (uuid.UUID(made).int >> 80) <= 1000
        randoms.add(made[-17:])
    assert len(randoms) <= 1 + sum(steps_us) / 1_000_000


@given(st.lists(st.integers(-3_000, 3_000), min_size=2, max_size=300))
def test_ids_grow_strictly_whatever_the_clock_does(steps: list[int]) -> None:
    now_ms = [1_700_000_000_000]
    ids = EventIds(lambda: now_ms[0] * 1_000_000)
    made = []
    for step in steps:
        now_ms[0] += step
        made.append(ids.next())
    assert made == sorted(set(made))


def test_more_ids_than_a_millisecond_has_numbers_for_still_grow() -> None:
    ids = EventIds(lambda: 1_700_000_000_000_000_000)
    made = [ids.next() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert all(uuid.UUID(one).version == 7 for one in made[::1000])


def test_threads_never_get_the_same_id() -> None:
    made: list[list[str]] = [[] for _ in range(4)]

    def make(into: list[str]) -> None:
        into.extend(new_event_id() for _ in range(5_000))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for into in made for one in into}) == 20_000
    assert all(into == sorted(into) for into in made)


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)))
def test_times_are_utc_with_milliseconds_and_z(moment: datetime) -> None:
    epoch_ms = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    text = rfc3339(epoch_ms)
    assert text == occurred_text(moment.replace(tzinfo=UTC))
    assert text == occurred_text(moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert len(text) == len("2026-11-21T10:00:00.000Z")


@given(st.floats(946_684_800, 4e9))
def test_now_is_written_as_any_other_time(epoch_s: float) -> None:
    for _ in ("by its second anew", "with its second known"):
        written = datetime.fromisoformat(now_text(epoch_s) or "").timestamp()
        assert abs(written - epoch_s) < 0.0011


@pytest.mark.parametrize(
    "epoch_s", [-1e300, -0.5, 0.0, 0.5, 946_684_799.9, 4_102_444_800.0, 1e300, *map(float, ("inf", "nan"))]
)
def test_what_no_event_can_have_is_no_time_also_when_the_second_was_just_written(epoch_s: float) -> None:
    assert now_text(epoch_s) is None
    if 0 <= epoch_s < 1e10:
        assert rfc3339(int(epoch_s * 1000))
    assert now_text(epoch_s) is None


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        (datetime(2026, 1, 1), "naive_time"),
        ("2026-01-01", "bad_time"),
        (datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), "bad_time"),
        (datetime(2101, 1, 1, tzinfo=UTC), "bad_time"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))), "bad_time"),
    ],
    ids=str,
)
def test_a_time_without_a_zone_or_out_of_bounds_is_refused(moment: Any, reason: str) -> None:
    with pytest.raises(EventRefusedError) as caught:
        occurred_text(moment)
    assert caught.value.reason == reason


def test_what_is_none_is_not_on_the_wire() -> None:
    assert wire(events.ProductViewed(sku="S"), anonymous_id="a") == {
        "event_id": "e",
        "name": "n",
        "occurred_at": "t",
        "anonymous_id": "a",
        "properties": {"sku": "S"},
    }


@pytest.mark.parametrize(
    ("price", "on_the_wire"),
    [("129.90", "129.90"), (Decimal("129.90"), "129.90"), (129.9, 129.9), (129, 129), (".5", ".5"), ("-1e3", "-1e3")],
    ids=repr,
)
def test_amounts_travel_as_decimal_text_or_plain_number(price: Any, on_the_wire: object) -> None:
    assert wire(events.ProductViewed(sku="S", price=price))["properties"]["price"] == on_the_wire


NO_AMOUNTS = [
    float("nan"),
    float("inf"),
    Decimal("NaN"),
    Decimal("-Infinity"),
    "NaN",
    "inf",
    "abc",
    "",
    "1,5",
    True,
    "²",
]


@pytest.mark.parametrize("price", NO_AMOUNTS, ids=repr)
def test_an_amount_that_is_no_finite_number_is_refused(price: Any) -> None:
    for properties in (
        events.ProductViewed(sku="S", price=price),
        events.OrderPlaced(order_id="o", currency="EUR", lines=[events.Line(sku="S", unit_price=price)]),
    ):
        with pytest.raises(EventRefusedError) as caught:
            wire(properties)
        assert caught.value.reason == "bad_amount"


@pytest.mark.parametrize("number", [float("nan"), float("-inf"), Decimal("Infinity")], ids=repr)
def test_a_number_without_json_form_is_refused_wherever_it_hides(number: Any) -> None:
    for properties in (
        {"a": [{"b": number}]},
        events.ProductReviewed(rating=number),
        events.ProductViewed(sku="S", extra={"deep": {"er": (number,)}}),
        events.CustomerIdentified(traits={"score": number}),
    ):
        with pytest.raises(EventRefusedError) as caught:
            wire(properties)
        assert caught.value.reason == "not_finite"


class Colour(str):
    __slots__ = ()


class Size(IntEnum):
    SMALL = 1


class NumberLike:
    def __index__(self) -> int:
        return 42


def test_relatives_of_plain_types_become_plain() -> None:
    given_values = {
        "text": Colour("red"),
        "enum": Size.SMALL,
        "number": NumberLike(),
        "mapping": MappingProxyType({"a": 1}),
        "set": {1},
        "time": datetime(2026, 1, 1, tzinfo=UTC),
    }
    assert wire(given_values)["properties"] == {
        "text": "red",
        "enum": 1,
        "number": 42,
        "mapping": {"a": 1},
        "set": [1],
        "time": "2026-01-01T00:00:00Z",
    }


def looped() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


@pytest.mark.parametrize(
    "value",
    [object(), "\ud800", {(1, 2): 3}, looped(), lambda: 1],
    ids=["object", "lone surrogate", "odd key", "loop", "function"],
)
def test_a_value_without_json_form_is_refused(value: Any) -> None:
    for properties in ({"x": value}, events.ProductViewed(sku="S", extra={"x": value})):
        with pytest.raises(EventRefusedError) as caught:
            wire(properties)
        assert caught.value.reason == "not_serialisable"


def test_an_event_over_the_limit_is_refused() -> None:
    with pytest.raises(EventRefusedError) as caught:
        wire({"x": "y" * 70_000})
    assert caught.value.reason == "too_large"
    assert "yyy" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [("c-1", "c-1"), (42, "42"), (uuid.UUID(int=7), str(uuid.UUID(int=7))), ("", None), (None, None)],
)
def test_ids_become_text(value: object, text: str | None) -> None:
    assert text_id(value, "customer_id") == text


@pytest.mark.parametrize(
    "value", [True, 1.5, b"c-1", ["c-1"], "x" * 257, 10**5000, object()], ids=lambda v: type(v).__name__
)
def test_an_id_that_is_no_id_is_refused(value: object) -> None:
    with pytest.raises(EventRefusedError) as caught:
        text_id(value, "customer_id")
    assert caught.value.reason == "bad_id"


@pytest.mark.parametrize(
    "name", ["", "1st", "with space", "käse", "a" * 65, "semi;colon", 7, None, object, b"x"], ids=repr
)
def test_an_event_without_a_legal_name_is_refused(name: object) -> None:
    with pytest.raises(EventRefusedError) as caught:
        kind_of(name)
    assert caught.value.reason == "bad_name"


@pytest.mark.parametrize(
    ("event", "shed_class", "has_person"),
    [
        (events.PageViewed(), BROWSE, True),
        ("ad_impression", BROWSE, True),
        (events.AdClick(), CART, True),
        (events.CartItemAdded(sku="s"), CART, True),
        ("gift_wrapped", CART, True),
        (events.OrderPlaced(order_id="o", currency="EUR"), ORDER, True),
        ("order_refunded", ORDER, True),
        (events.ConsentWithdrawn(), ORDER, True),
        (events.MediaFlightRan(medium="print"), ORDER, False),
        (events.CustomerIdentified(), ORDER, True),
    ],
    ids=str,
)
def test_kinds_know_their_worth_and_whether_they_have_a_person(event: Any, shed_class: int, has_person: bool) -> None:
    kind = kind_of(event)
    assert (kind.shed_class, kind.has_person) == (shed_class, has_person)


def test_a_batch_is_put_together_without_decoding() -> None:
    body = msgspec.json.decode(assemble([b'{"a":1}', b'{"b":2}'], 1_700_000_000_000))
    assert body == {"sent_at": "2023-11-14T22:13:20.000Z", "events": [{"a": 1}, {"b": 2}]}
