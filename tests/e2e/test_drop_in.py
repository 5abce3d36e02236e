"""Other vendors' unmodified clients, pointed at the collector, end in the reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from collector_process import RunningCollector, running_collector
from segment.analytics.client import Client as SegmentClient


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RunningCollector]:
    """Give a collector with a fresh database."""
    with running_collector(tmp_path / "shop.db") as running:
        yield running


def test_segments_own_client_delivers_a_visit_a_login_and_an_order(collector: RunningCollector) -> None:
    client = SegmentClient(collector.key("segment"), host=collector.url, gzip=True, max_retries=0, on_error=print)
    visit = {
        "page": {"url": "https://shop.example/?utm_source=newsletter&utm_medium=email", "referrer": ""},
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0",
    }
    client.page(anonymous_id="browser-1", name="Home", context=visit)
    client.track(
        anonymous_id="browser-1", event="Product Viewed", properties={"sku": "S-1", "price": 49.9, "currency": "EUR"}
    )
    client.identify(user_id="c-7", anonymous_id="browser-1", traits={"email": "jogger@example.org", "plan": "gold"})
    order = {
        "order_id": "O-9", "total": 54.8, "revenue": 49.9, "shipping": 4.9, "currency": "EUR",
        "products": [{"product_id": "P-1", "sku": "S-1", "name": "Shoe", "price": 49.9, "quantity": 1}],
    }  # fmt: skip
    client.track(user_id="c-7", anonymous_id="browser-1", event="Order Completed", properties=order)
    client.flush()
    client.join()
    collector.wait_until_derived()

    orders = collector.report("orders")
    assert [(row["order_id"], row["gross_minor"], row["state"]) for row in orders["orders"]] == [
        ("O-9", 5480, "placed")
    ]
    credit = {row["channel"]: row["credits"][0]["revenue_minor"] for row in collector.report("attribution")["channels"]}
    assert credit == {"Email": 5480}
    person = collector.report("journeys", "--person", "c-7")["journey"]
    assert [step["name"] for step in person["steps"]] == ["page_viewed", "product_viewed", "order_placed"]
    assert "jogger@example.org" not in collector.run("export", "jsonl", "--to", "-", "--table", "events")
