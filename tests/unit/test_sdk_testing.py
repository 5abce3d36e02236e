"""Testing aids: they see what a shop's code tracked and say clearly when it did not."""

from __future__ import annotations

import asyncio

import pytest

from touchtrail import EventRefusedError, TransportError, events
from touchtrail.testing import (
    CapturingAsyncClient,
    CapturingClient,
    Reply,
    ScriptedTransport,
    assert_not_tracked,
    assert_tracked,
    assert_tracked_in_order,
    touchtrail_async_client,
    touchtrail_client,
)

assert touchtrail_client  # fixtures: their names in this module are their use
assert touchtrail_async_client


def test_what_was_tracked_is_found_by_kind_and_fields(touchtrail_client: CapturingClient) -> None:
    touchtrail_client.track(events.ProductViewed(sku="S-1", price="9.90"), customer_id="c-1")
    touchtrail_client.track(events.ProductViewed(sku="S-2", price=5), customer_id="c-2")
    touchtrail_client.track("gift_wrapped", properties={"paper": "red"}, customer_id="c-1")
    assert assert_tracked(touchtrail_client, events.ProductViewed, sku="S-2").wire["customer_id"] == "c-2"
    assert_tracked(touchtrail_client, events.ProductViewed, price="9.9", customer_id="c-1")
    assert assert_tracked(touchtrail_client, "gift_wrapped", paper="red").event is None
    assert touchtrail_client.flush()
    assert touchtrail_client.health().tracked == 3


def test_what_was_not_tracked_is_said_with_what_was(touchtrail_client: CapturingClient) -> None:
    touchtrail_client.track(events.ProductViewed(sku="S-1"), customer_id="c-1")
    with pytest.raises(AssertionError, match=r"no order_placed was tracked, but \['product_viewed'\]"):
        assert_tracked(touchtrail_client, events.OrderPlaced)
    with pytest.raises(AssertionError, match=r"never with {'sku': 'S-9'}, but with .*S-1"):
        assert_tracked(touchtrail_client, events.ProductViewed, sku="S-9")


def test_how_often_something_was_tracked_is_checked(touchtrail_client: CapturingClient) -> None:
    for sku in ("S-1", "S-1", "S-2"):
        touchtrail_client.track(events.ProductViewed(sku=sku), customer_id="c-1")
    assert assert_tracked(touchtrail_client, events.ProductViewed, times=3) is touchtrail_client.events[0]
    assert_tracked(touchtrail_client, events.ProductViewed, times=2, sku="S-1")
    with pytest.raises(AssertionError, match=r"product_viewed with {'sku': 'S-1'} was tracked 2 times, not 1"):
        assert_tracked(touchtrail_client, events.ProductViewed, times=1, sku="S-1")
    with pytest.raises(ValueError, match="assert_not_tracked"):
        assert_tracked(touchtrail_client, events.ProductViewed, times=0)


def test_what_should_not_be_tracked_is_found(touchtrail_client: CapturingClient) -> None:
    assert_not_tracked(touchtrail_client)
    touchtrail_client.track(events.ProductViewed(sku="S-1"), customer_id="c-1")
    assert_not_tracked(touchtrail_client, events.ProductViewed, sku="S-2")
    assert_not_tracked(touchtrail_client, "order_placed")
    for kind in (None, events.ProductViewed, "product_viewed"):
        with pytest.raises(AssertionError, match=r"should not have been: \['product_viewed'\], first .*S-1"):
            assert_not_tracked(touchtrail_client, kind, sku="S-1")
    touchtrail_client.events.clear()
    assert_not_tracked(touchtrail_client)


def test_the_order_of_events_is_checked(touchtrail_client: CapturingClient) -> None:
    for name in ("clicked", "noticed", "clicked", "bought"):
        touchtrail_client.track(name, customer_id="c-1")
    found = assert_tracked_in_order(touchtrail_client, "clicked", "clicked", "bought")
    assert found == [touchtrail_client.events[place] for place in (0, 2, 3)]
    with pytest.raises(AssertionError, match="no noticed after clicked, clicked in"):
        assert_tracked_in_order(touchtrail_client, "clicked", "clicked", "noticed")


def test_the_asynchronous_twin_collects_as_well(touchtrail_async_client: CapturingAsyncClient) -> None:
    async def shop() -> bool:
        async with touchtrail_async_client as client:
            with client.context(anonymous_id="a-1"):
                client.track(events.ProductViewed(sku="S-1"))
            return await client.flush()

    assert asyncio.run(shop())
    assert_tracked(touchtrail_async_client, events.ProductViewed, anonymous_id="a-1", times=1)
    assert touchtrail_async_client.health().tracked == 1
    with pytest.raises(EventRefusedError, match="closed"):
        touchtrail_async_client.track("clicked", anonymous_id="a-1")


def test_a_capturing_client_is_strict_unless_told_otherwise(touchtrail_client: CapturingClient) -> None:
    wrong = events.ProductViewed(sku=7)  # type: ignore[arg-type]
    with pytest.raises(EventRefusedError, match="sku"):
        touchtrail_client.track(wrong, anonymous_id="a")
    with CapturingClient(strict=False) as lenient:
        assert lenient.track(wrong, anonymous_id="a")
        assert not lenient.track(wrong)
        assert [tracked.event for tracked in lenient.events] == [None]


def test_a_scripted_transport_answers_in_order_and_then_stores() -> None:
    transport = ScriptedTransport([Reply(status=503), TransportError("down")])
    body = b'{"events":[{"event_id":"e"}]}'
    assert transport.send(body, {}).status == 503
    with pytest.raises(TransportError):
        transport.send(body, {})
    assert transport.send(body, {}).body == b'{"accepted":1,"duplicates":0,"rejected":[]}'
    assert transport.send(body, {}).body == b'{"accepted":0,"duplicates":1,"rejected":[]}'
    assert list(transport.stored) == ["e"]


def test_a_capturing_client_reports_no_losses(touchtrail_client: CapturingClient) -> None:
    with pytest.raises(EventRefusedError):
        touchtrail_client.track("clicked")
    with CapturingClient(strict=False) as lax:
        assert not lax.track("clicked")
        assert lax.flush()
        assert lax.health().refused == {"no_person": 1}
        assert lax.events == []
        assert lax.health().spooled_bytes == 0
