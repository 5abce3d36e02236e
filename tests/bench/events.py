"""Events for the benchmarks: a believable mix, the same for the same number."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

START_MS = 1_750_000_000_000


def iso(at_ms: int) -> str:
    """Return a time as it stands on the wire."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def journeys(count: int, seed: int = 1, *, start_ms: int = START_MS, people: int = 0) -> Iterator[dict[str, Any]]:
    """Yield events in order of time: people come about eight times, with three to eight events each time.

    Args:
        people: how many there are; 0 = as many as the events are enough for.
    """
    rng = random.Random(seed)
    people = people or max(count // 44, 1)
    at_ms = start_ms
    number = 0
    open_visits: list[tuple[int, int, str]] = []
    while number < count:
        if len(open_visits) < 20:
            origin = rng.choice(ORIGINS)
            open_visits.append((rng.randrange(people), rng.randint(3, 8), origin))
        place = rng.randrange(len(open_visits))
        person, left, origin = open_visits[place]
        at_ms += rng.randint(100, 2_000)
        yield event(number, person, at_ms, origin, rng)
        number += 1
        open_visits[place] = (person, left - 1, "")
        if left == 1:
            del open_visits[place]


ORIGINS = (
    "?utm_source=google&utm_medium=cpc&utm_campaign=brand&gclid=Cj0KCQ",
    "?utm_source=newsletter&utm_medium=email&utm_campaign=autumn",
    "google",
    "google",
    "bing",
    "direct",
    "direct",
    "facebook",
)
REFERRERS = {"google": "https://www.google.de/", "bing": "https://www.bing.com/", "facebook": "https://m.facebook.com/"}
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"


def event(number: int, person: int, at_ms: int, origin: str, rng: random.Random) -> dict[str, Any]:
    """Return one event as it stands on the wire."""
    sku = f"SKU-{rng.randrange(200)}"
    referrer = REFERRERS.get(origin, "" if origin == "direct" else "https://shop.example/")
    query = origin if origin.startswith("?") else ""
    made: dict[str, Any] = {
        "event_id": f"{at_ms:012x}-{number:08x}-7000",
        "name": "product_viewed",
        "occurred_at": iso(at_ms),
        "anonymous_id": f"a-{person:06d}",
        "page": {"url": f"https://shop.example/p/{sku}{query}", "referrer": referrer or None, "title": "Produkt"},
        "device": {"user_agent": AGENT, "locale": "de-DE", "screen": "1280x800"},
        "properties": {"sku": sku, "name": "Shoe", "price": "129.90", "currency": "EUR"},
    }
    chance = rng.random()
    if chance < 0.35:
        made |= {"name": "page_viewed", "properties": {}}
    elif chance < 0.45:
        made |= {"name": "cart_item_added", "properties": {"sku": sku, "quantity": 1}}
    elif chance < 0.475:
        order = {"order_id": f"o-{number}", "currency": "EUR", "total": "134.80", "goods": "129.90", "shipping": "4.90"}
        made |= {"name": "order_placed", "properties": order, "customer_id": f"c-{person:06d}"}
    return made
