"""A shop's code as its author would write it. Type checkers read it, `test_typed_user.py` also runs it.

Every line with an ignore comment is a mistake that must be found before the program runs: strict mypy complains about
an ignore comment that nothing needs.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import assert_type

from touchtrail import AsyncClient, Campaign, Client, Consent, Context, Device, Options, Page, events, use_context
from touchtrail.testing import (
    CapturingAsyncClient,
    CapturingClient,
    Tracked,
    assert_not_tracked,
    assert_tracked,
    assert_tracked_in_order,
)


def build(folder: Path) -> Client:
    """Options are keyword arguments; a misspelt name and a wrong type are found."""
    Client("http://127.0.0.1:9", key="k", options=Options(disabled=True))
    Client.from_env(url="http://127.0.0.1:9", key="k", disabled=True)
    return Client("http://127.0.0.1:9", key="k", spool_dir=folder, linger_s=0.5, batch_events=50, memory_only=True)


def sell(client: Client | AsyncClient) -> list[bool]:
    """Everything a shop tracks, on either client."""
    line = events.Line(sku="SKU-1", quantity=2, unit_price="64.95")
    order = events.OrderPlaced(order_id="o-1", currency="EUR", total=Decimal("129.90"), lines=[line])
    with client.context(
        anonymous_id="a-1",
        page=Page(url="https://shop.example/"),
        campaign=Campaign(source="news", medium="email"),
        consent=Consent(analytics=True),
    ) as visit:
        assert_type(visit, Context)
        taken = [
            client.track(events.ProductViewed(sku="SKU-1", price=129.9, currency="EUR")),
            client.track("gift_wrapped", properties={"paper": "red", "pieces": 2}),
            client.track(order, customer_id="c-42", occurred_at=datetime.now(UTC), event_id="order-1"),
            client.identify(
                customer_id="c-42", email="a@b.example", traits={"vip": True}, device=Device(kind="mobile")
            ),
            client.alias("a-1", "c-42", event_id="alias-1"),
            client.page("https://shop.example/p/1", title="Shoe", consent=Consent(analytics=True)),
        ]
    with use_context(Context(customer_id="c-42")):
        taken.append(client.track(events.OrderRefunded(order_id="o-1")))
    assert_type(taken, list[bool])
    return taken


async def serve() -> list[bool]:
    """The asynchronous client awaits what waits."""
    async with CapturingAsyncClient() as client:
        taken = sell(client)
        assert_type(await client.flush(), bool)
    return taken


def test_the_shop(touchtrail_client: CapturingClient) -> None:
    """A shop's own test."""
    assert all(sell(touchtrail_client))
    found = assert_tracked(touchtrail_client, events.OrderPlaced, order_id="o-1", total="129.9", times=1)
    assert_type(found, Tracked)
    assert_tracked_in_order(touchtrail_client, events.ProductViewed, "gift_wrapped", events.OrderPlaced)
    assert_not_tracked(touchtrail_client, events.OrderCancelled)


def mistakes(client: Client, shop: AsyncClient) -> None:
    """What a type checker must find."""
    Client("http://127.0.0.1:9", key="k", linger=0.5)  # type: ignore[call-arg]
    Client("http://127.0.0.1:9", key="k", batch_events="50")  # type: ignore[arg-type]
    Client("http://127.0.0.1:9", "k")  # type: ignore[call-arg]
    Client.from_env(spool_folder="/tmp")  # type: ignore[call-arg]
    client.track(events.ProductViewed())  # type: ignore[call-arg]
    client.track(events.ProductViewed(sku=1))  # type: ignore[arg-type]
    client.track(events.ProductViewed(sku="s"), user_id="c-42")  # type: ignore[call-arg]
    client.track({"sku": "s"})  # type: ignore[arg-type]
    client.track(events.ProductViewed(sku="s"), occurred_at="2026-11-21")  # type: ignore[arg-type]
    client.track(events.ProductViewed(sku="s"), page="https://shop.example/")  # type: ignore[arg-type]
    client.identify(user_id="c-42")  # type: ignore[call-arg]
    client.identify(traits={"tags": ["vip"]})  # type: ignore[dict-item]
    client.alias("a-1")  # type: ignore[call-arg]
    client.context(custmer_id="c-42")  # type: ignore[call-arg]
    client.context(consent={"analytics": True})  # type: ignore[arg-type]
    CapturingClient(memory=True)  # type: ignore[call-arg]

    async def forgets() -> bool:
        return shop.flush()  # type: ignore[return-value]

    asyncio.run(forgets())
