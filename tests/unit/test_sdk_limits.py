"""The SDK's figures are the collector's: what is just within a limit both take, what is just beyond both refuse."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from hostile_values import nested
from touchtrail import Client, EventRefusedError, _limits, events
from touchtrail.events import VOCABULARY
from touchtrail.testing import CapturingClient, ScriptedTransport
from touchtrail_collector.domain import event as collectors
from touchtrail_collector.domain.privacy import Pseudonymiser

CHECKER = collectors.EventChecker(VOCABULARY, Pseudonymiser(b"secret"))
Part = Callable[[Any], dict[str, Any]]
MS = timedelta(milliseconds=1)
OLDEST, NEWEST = map(datetime.fromisoformat, (_limits.OLDEST, _limits.NEWEST))


def order(**given: Any) -> dict[str, Any]:
    return {"name": "order_placed", "properties": {"order_id": "o", "currency": "EUR"} | given}


def own(number: int) -> dict[str, int]:
    return {f"p{place}": place for place in range(number)}


LIMITS: dict[str, tuple[Part, Any, Any, str]] = {
    # What an event has at the limit, the limit, the next thing beyond, and the reason with which it is refused.
    "event id": (lambda n: {"event_id": "e" * n}, _limits.EVENT_ID_LENGTH, _limits.EVENT_ID_LENGTH + 1, "bad_id"),
    "name": (lambda n: {"name": "n" * n}, _limits.NAME_LENGTH, _limits.NAME_LENGTH + 1, "bad_name"),
    "anonymous id": (lambda n: {"anonymous_id": "é" * n}, _limits.ID_LENGTH, _limits.ID_LENGTH + 1, "bad_id"),
    "customer id": (lambda n: {"customer_id": "é" * n}, _limits.ID_LENGTH, _limits.ID_LENGTH + 1, "bad_id"),
    "session id": (lambda n: {"session_id": "é" * n}, _limits.ID_LENGTH, _limits.ID_LENGTH + 1, "bad_id"),
    "identifier": (lambda n: {"identifiers": {"card": "😀" * n}}, _limits.ID_LENGTH, _limits.ID_LENGTH + 1, "bad_id"),
    "identifier's name": (lambda n: {"identifiers": {"i" * n: "x"}}, _limits.NAME_LENGTH, _limits.NAME_LENGTH + 1, "invalid"),
    "identifier's name at all": (lambda n: {"identifiers": {"i" * n: "x"}}, 1, 0, "invalid"),
    "properties": (lambda n: {"properties": own(n)}, _limits.MOST_PROPERTIES, _limits.MOST_PROPERTIES + 1, "too_large"),
    # The event and its properties are two levels.
    "depth": (lambda n: {"properties": {"deep": nested(n - 2)}}, _limits.DEEPEST, _limits.DEEPEST + 1, "not_serialisable"),
    "depth of extra": (
        lambda n: order(extra={"deep": nested(n - 3, lambda value: {"d": value})}),
        _limits.DEEPEST, _limits.DEEPEST + 1, "not_serialisable",
    ),
    "depth in lines": (
        lambda n: order(lines=[{"sku": "s", "extra": {"deep": nested(n - 5)}}]),
        _limits.DEEPEST, _limits.DEEPEST + 1, "not_serialisable",
    ),
    "oldest": (lambda at: {"occurred_at": at}, OLDEST, OLDEST - MS, "bad_time"),
    "newest": (lambda at: {"occurred_at": at}, NEWEST, NEWEST + MS, "bad_time"),
}  # fmt: skip
ONLY_WITH_STRICT: dict[str, tuple[Part, Any, Any, str]] = {
    "extra": (lambda n: order(extra=own(n)), _limits.MOST_PROPERTIES, _limits.MOST_PROPERTIES + 1, "too_large"),
    # In production these go to the collector, which keeps what it rejects for repair.
    "largest amount": (lambda n: order(total=str(n)), _limits.LARGEST_AMOUNT, _limits.LARGEST_AMOUNT + 1, "invalid"),
    "smallest amount": (lambda n: order(total=str(n)), 0, -1, "invalid"),
    "price of a line": (
        lambda n: order(lines=[{"sku": "s", "unit_price": str(n)}]),
        _limits.LARGEST_AMOUNT, _limits.LARGEST_AMOUNT + 1, "invalid",
    ),
    "pieces of a line": (
        lambda n: order(lines=[{"sku": "s", "quantity": n}]), _limits.MOST_PIECES, _limits.MOST_PIECES + 1, "invalid",
    ),
    "currency": (lambda code: order(currency=code), "EUR", "ABC", "invalid"),
}  # fmt: skip


def is_taken_by_the_collector(part: dict[str, Any]) -> bool:
    wire = {"event_id": "e-1", "name": "clicked", "anonymous_id": "a", "occurred_at": datetime(2026, 1, 1, tzinfo=UTC)}
    try:
        CHECKER.check(msgspec.json.encode(wire | part), now_ms=1_790_000_000_000)
    except collectors.EventRejected:
        return False
    return True


def call(part: dict[str, Any]) -> dict[str, Any]:
    """Return what ``track`` is given for such an event."""
    given = {"event": "clicked", "anonymous_id": "a"} | part
    return {
        ("event" if name == "name" else name): value
        for name, value in given.items()
        if name != "event" or "name" not in part
    }


@pytest.mark.parametrize(
    ("part", "limit", "beyond", "reason"), (LIMITS | ONLY_WITH_STRICT).values(), ids=LIMITS | ONLY_WITH_STRICT
)
def test_strict_and_the_collector_draw_the_line_at_the_same_place(
    part: Part, limit: Any, beyond: Any, reason: str
) -> None:
    assert is_taken_by_the_collector(part(limit))
    assert not is_taken_by_the_collector(part(beyond))
    with CapturingClient() as client:
        assert client.track(**call(part(limit)))
        with pytest.raises(EventRefusedError) as caught:
            client.track(**call(part(beyond)))
        assert caught.value.reason == reason
        assert len(client.events) == 1
        assert is_taken_by_the_collector(client.events[0].wire)


@pytest.mark.parametrize(("part", "limit", "beyond", "reason"), LIMITS.values(), ids=LIMITS)
def test_a_limit_is_a_limit_without_strict(part: Part, limit: Any, beyond: Any, reason: str) -> None:
    transport = ScriptedTransport()
    with Client("http://x", key="k", transport=transport, memory_only=True) as client:
        assert client.track(**call(part(limit)))
        assert not client.track(**call(part(beyond)))
        assert client.health().refused == {reason: 1}


def test_a_structs_extra_is_counted_without_strict() -> None:
    with Client("http://x", key="k", transport=ScriptedTransport(), memory_only=True) as client:
        assert client.track(events.CartViewed(extra=own(_limits.MOST_PROPERTIES)), anonymous_id="a")
        assert not client.track(events.CartViewed(extra=own(_limits.MOST_PROPERTIES + 1)), anonymous_id="a")


def test_every_figure_is_tried() -> None:
    tried = {repr(limit) for _, limit, _, _ in (LIMITS | ONLY_WITH_STRICT).values()}
    figures = {name: value for name, value in vars(_limits).items() if name.isupper()}
    assert len(figures) == 9
    times = {"OLDEST": OLDEST, "NEWEST": NEWEST}
    assert {repr(times.get(name, value)) for name, value in figures.items()} <= tried


@pytest.mark.parametrize(
    "wrong",
    [
        {"page": "https://shop.example/"}, {"page": {"url": 7}}, {"page": {"colour": "red"}}, {"device": ["phone"]},
        {"device": {"ip": b"1"[0]}}, {"consent": {"ads": "yes"}}, {"consent": True}, {"campaign": {"click_ids": ["g"]}},
        {"campaign": {"click_ids": {"gclid": 7}}}, {"identifiers": ["a@b.example"]}, {"identifiers": {7: "x"}},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("strict", [False, True])
def test_a_wrong_type_beside_the_properties_is_refused_by_all_clients(wrong: dict[str, Any], strict: bool) -> None:
    with CapturingClient(strict=strict) as client:
        with pytest.raises(EventRefusedError, match="invalid") if strict else nullcontext():
            client.track("clicked", anonymous_id="a", **wrong)
        assert client.events == []
        assert client.health().refused == {"invalid": 1}


def test_what_fits_is_taken_though_it_is_no_struct_and_numbers_become_text() -> None:
    with CapturingClient() as client:
        assert client.track(
            "clicked",
            page={"url": "https://shop.example/"},  # type: ignore[arg-type]
            campaign={"source": "google", "click_ids": {"gclid": "x"}},  # type: ignore[arg-type]
            consent={"analytics": True},  # type: ignore[arg-type]
            identifiers={"loyalty_card": 4711},  # type: ignore[dict-item]
        )
        wire = client.events[0].wire
    assert wire["page"] == {"url": "https://shop.example/"}
    assert wire["campaign"] == {"source": "google", "click_ids": {"gclid": "x"}}
    assert wire["consent"] == {"analytics": True}
    assert wire["identifiers"] == {"loyalty_card": "4711"}


def test_a_strict_client_looks_at_the_clock() -> None:
    with CapturingClient(clock=lambda: 42.0) as client, pytest.raises(EventRefusedError, match="bad_time"):
        client.track("clicked", anonymous_id="a")


@pytest.mark.parametrize("name", ["consent_given", "consent_withdrawn", "clicked"])
def test_who_agrees_must_be_somebody(name: str) -> None:
    with CapturingClient() as client, pytest.raises(EventRefusedError, match="no_person"):
        client.track(name)
