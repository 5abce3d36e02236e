"""What to do about a reject: each suggestion really mends the event it was made for."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop_events import wire_event
from touchtrail.events import VOCABULARY
from touchtrail_collector.cli.quarantine import read_value
from touchtrail_collector.domain.advice import Adviser, Suggestion
from touchtrail_collector.domain.event import EventChecker, EventRejected
from touchtrail_collector.domain.privacy import Pseudonymiser
from touchtrail_collector.domain.repair import Repair

CHECKER = EventChecker(VOCABULARY, Pseudonymiser(b"secret"))
ADVISER = Adviser(VOCABULARY, currency="CHF", zone=ZoneInfo("Europe/Berlin"))
NOW = 1_790_000_000_000


def rejection(body: bytes) -> EventRejected:
    with pytest.raises(EventRejected) as caught:
        CHECKER.check(body, now_ms=NOW)
    return caught.value


def advice(body: bytes) -> Suggestion:
    error = rejection(body)
    return ADVISER.advise(code=error.code, field=error.field, message=error.message, body=body)


def follow(body: bytes, suggestion: Suggestion) -> Any:
    """Repair as the options say and return the event that is kept."""
    rules: dict[str, Any] = {"rename": {}, "set": {}, "drop": []}
    for option, value in zip(suggestion.options[::2], suggestion.options[1::2], strict=True):
        name, _, text = value.partition("=")
        if option == "--drop":
            rules["drop"].append(value)
        else:
            rules[option[2:]][name] = read_value(text) if option == "--set" else text
    mended = Repair(**rules).apply(body, 7)
    return msgspec.json.decode(CHECKER.check(mended, now_ms=NOW).body)


def order(**properties: Any) -> dict[str, Any]:
    given = {"order_id": "1", "currency": "EUR", "total": "1"} | properties
    return wire_event("e", "order_placed", properties={k: v for k, v in given.items() if v is not None})


MENDED: dict[str, tuple[Any, str]] = {
    "a slip": (order(totl="5", total=None), "properties.total"),
    "another spelling": (order(orderId="5", order_id=None), "properties.order_id"),
    "another tracker's name": (order(revenue="5", total=None), "properties.total"),
    "a property beside the properties": (order(total=None) | {"total": "5"}, "properties.total"),
    "an id among the properties": (order(customer_id="c-1"), "customer_id"),
    "a field of the shop's own": (order(colour="red"), "properties.extra.colour"),
    "one of a custom event": (wire_event("e", "own_thing", colour="red"), "properties.colour"),
    "one beside a standard event": (wire_event("e", colour="red"), "properties.extra.colour"),
    "a member of the page": (wire_event("e", page={"URL": "https://a.example/"}), "page.url"),
    "a time under another name": (wire_event("e", occurred_at=None, timestamp="2026-01-01T00:00:00Z"), "occurred_at"),
    "no event id": ({"name": "page_viewed", "anonymous_id": "a"}, "event_id"),
    "an id under another name": ({"messageId": "m", "name": "page_viewed", "anonymous_id": "a"}, "event_id"),
    "no currency": (order(currency=None), "properties.currency"),
    "a currency in small letters": (order(currency="eur"), "properties.currency"),
    "a currency's sign": (order(currency="€"), "properties.currency"),
    "a comma": (order(total="12,50"), "properties.total"),
    "a sign and thousands": (order(total="1.299,00 €"), "properties.total"),
    "a time without zone": (wire_event("e", occurred_at="2026-07-01T12:00:00"), "occurred_at"),
    "a time in seconds": (wire_event("e", occurred_at=1767225600), "occurred_at"),
    "a time in milliseconds": (wire_event("e", occurred_at=1767225600000), "occurred_at"),
    "a name with blanks": (wire_event("e", "Product Viewd", properties={"sku": "1"}), "name"),
    "a number that should be text": (order(order_id=5), "properties.order_id"),
    "too large": (order(extra={"html": "x" * 70_000}), "properties"),
    "too deep": (wire_event("e", "own", properties={"a": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}), "properties"),
    "an id of nobody's among the properties": (
        wire_event("e", "own", anonymous_id=None, properties={"userId": "u"}), "customer_id"
    ),
    "a text too long": (wire_event("e", session_id="s" * 300), "session_id"),
}  # fmt: skip


@pytest.mark.parametrize(("event", "touched"), MENDED.values(), ids=MENDED)
def test_what_is_suggested_mends_the_event(event: Any, touched: str) -> None:
    body = msgspec.json.encode(event)
    suggestion = advice(body)
    assert touched in " ".join(suggestion.options), suggestion
    assert follow(body, suggestion)


@pytest.mark.parametrize(
    ("event", "path", "value"),
    [
        (order(total="1.299,00 €"), "total", "1299.00"),
        (order(total="1,299.50"), "total", "1299.50"),
        (order(currency="£"), "currency", "GBP"),
        (order(currency=None), "currency", "CHF"),
    ],
)
def test_a_mended_value_is_what_was_meant(event: Any, path: str, value: str) -> None:
    body = msgspec.json.encode(event)
    kept = follow(body, advice(body))["properties"][path]
    assert str(kept) == value or f"{kept:.2f}" == value


def test_a_time_without_zone_is_read_in_the_shops() -> None:
    body = msgspec.json.encode(wire_event("e", occurred_at="2026-07-01T12:00:00"))
    assert advice(body).options == ("--set", "occurred_at=2026-07-01T12:00:00+02:00")


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (order(currency="eur"), "properties.currency must be a three-letter currency code such as EUR"),
        (wire_event("e", "page viewed"), "name must be 1 to 64 letters, digits or _, and begin with no digit: product_viewed"),
        (wire_event(""), "event_id must not be empty"),
        (wire_event("e" * 129), "event_id must have at most 128 characters"),
        (order(order_id=5), "properties.order_id must be text, not a whole number"),
        (order(total=True), "properties.total must be an amount such as 129.90, not true or false"),
        (order(total="12,5"), "properties.total must be an amount such as 129.90: digits and one point"),
        (wire_event("e", occurred_at="2026-01-01T00:00:00"), "occurred_at needs a time zone: 2026-11-21T10:00:00Z, or +01:00 in the place of Z"),
        (order(lines=[{"sku": "s", "quantity": -1}]), "properties.lines[0].quantity must be at least 0"),
        (wire_event("e", identifiers={"k" * 65: "v"}), "each name in identifiers must have at most 64 characters"),
        (wire_event("e", page="/"), "page must be an object, not text"),
    ],
)  # fmt: skip
def test_a_reason_is_said_in_words_for_people(event: Any, words: str) -> None:
    assert rejection(msgspec.json.encode(event)).message == words


@given(
    st.sampled_from(["unknown_field", "missing_field", "invalid_type", "invalid_value", "too_large", "no_identity", "x"]),
    st.none() | st.text(max_size=12) | st.sampled_from(["properties.lines[0].sku", "properties.currency", "name", "a_at"]),
    st.sampled_from(["must be text", "an amount", "at most", ""]),
    st.binary(max_size=40) | st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(["name", "properties", "lines", "currency", "a_at", "sku"]) | st.text(max_size=3), inner, max_size=4
        ), max_leaves=10,
    ).map(msgspec.json.encode),
)  # fmt: skip
def test_there_is_advice_on_anything(code: str, field: str | None, message: str, body: bytes) -> None:
    assert ADVISER.advise(code=code, field=field, message=message, body=body).text
