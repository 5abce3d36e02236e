"""Testing aids: they see what a shop's code tracked and say clearly when it did not."""

from __future__ import annotations

import pytest

from touchtrail import EventRefusedError, TransportError, events
from touchtrail.testing import CapturingClient, Reply, ScriptedTransport, assert_tracked, touchtrail_client

assert touchtrail_client  # a fixture: its name in this module is its use


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
