"""A small shop at random, seeded: every kind of link between events that the derivation has rules for."""

from __future__ import annotations

import random
from typing import Any

from shop_events import HOUR_MS, MINUTE_MS, START_MS, rfc3339, wire_event

TAGS = ["", "?utm_source=news&utm_medium=email&utm_campaign=may", "?utm_source=google&utm_medium=cpc&gclid=x", "?p=2"]
REFERRERS = [
    None,
    None,
    "https://www.google.com/",
    "https://shop.example/",
    "https://pay.example/ok",
    "https://blog.example/",
]


class RandomShop:
    """Makes wire events of few people who share much: devices, vouchers, orders, a public code, a kiosk."""

    def __init__(self, seed: int, people: int = 12) -> None:
        self._random = random.Random(seed)
        self._people = people
        self._number = 0

    def events(self, count: int) -> list[dict[str, Any]]:
        """Return events in the order in which they happened, some twice (the same id), some by two senders."""
        found = []
        while len(found) < count:
            found.extend(self._visit())
        found = found[:count]
        found.extend(self._random.sample(found, count // 20))
        return found

    def kiosk(self, customers: int) -> list[dict[str, Any]]:
        """Return what happens on a device that so many customers use, and what they do with a public code there."""
        events = []
        for number in range(customers):
            at = START_MS + number * HOUR_MS
            events.append(self._event("page_viewed", at, anonymous_id="kiosk", customer_id=f"k-{number}"))
            events.append(self._event("page_viewed", at + MINUTE_MS, anonymous_id="kiosk"))
            events.append(
                self._event(
                    "coupon_applied", at + 2 * MINUTE_MS, anonymous_id="kiosk", properties={"coupon_code": "PUBLIC"}
                )
            )
            events.append(
                self._event("coupon_applied", at, anonymous_id=f"d-{number}", properties={"coupon_code": "PUBLIC"})
            )
        return events

    def arrival(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the events as they might arrive: mostly in order, some late, a few very late."""
        delays = [0, 0, 0, 0, 5, 200]
        places = [
            (number + self._random.choice(delays) * self._random.random(), number) for number in range(len(events))
        ]
        return [events[number] for _, number in sorted(places)]

    def _event(self, name: str, at: int, **members: Any) -> dict[str, Any]:
        self._number += 1
        return wire_event(f"e{self._number:05}", name, **({"occurred_at": rfc3339(at), "anonymous_id": None} | members))

    def _visit(self) -> list[dict[str, Any]]:
        rng = self._random
        person = rng.randrange(self._people)
        device = rng.choice([f"a-{person}", f"b-{person}", f"shared-{person // 3}"])
        customer = f"c-{person}" if rng.random() < 0.4 else None
        at = START_MS + rng.randrange(60 * 24) * HOUR_MS + rng.randrange(3_600_000)
        events = []
        for number in range(rng.randrange(1, 5)):
            at += rng.randrange(1, 40 * 60) * 1000
            page = {"url": f"https://shop.example/{rng.choice(TAGS)}", "referrer": rng.choice(REFERRERS)}
            device_kind = {"user_agent": rng.choice(["Mozilla/5.0", "Googlebot/2.1"]), "kind": "mobile"}
            events.append(
                self._event(
                    rng.choice(["page_viewed", "rage_clicked", "page_viewed"]), at, anonymous_id=device, page=page,
                    device=device_kind, customer_id=customer if number else None,
                )
            )  # fmt: skip
        return [*events, *self._extras(person, device, customer, at)]

    def _extras(self, person: int, device: str, customer: str | None, at: int) -> list[dict[str, Any]]:
        rng = self._random
        order_id = f"o-{rng.randrange(self._people * 2)}"
        amount = {"order_id": order_id, "amount": rng.choice(["5.00", "9.99"])}
        identifiers = {
            rng.choice(
                ["email", "loyalty_card", "receipt_code", "click_id"]
            ): f"i-{rng.randrange(self._people)}@x.example"
        }
        code = rng.choice(["PUBLIC", f"V-{rng.randrange(self._people)}"])
        ways: list[list[tuple[str, dict[str, Any]]]] = [
            [],
            [("order_placed", {"anonymous_id": device, "properties": {"order_id": order_id, "currency": "EUR", "total": "30.00"}})],
            [("order_refunded", {"customer_id": f"c-{person}", "properties": amount})],
            [("order_cancelled", {"customer_id": f"c-{person}", "properties": {"order_id": order_id}})],
            [("order_updated", {"customer_id": f"c-{person}", "properties": {"order_id": order_id, "total": "25.00"}})],
            [("order_paid", {"properties": {"order_id": order_id}}), ("order_shipped", {"properties": {"order_id": order_id}})],
            [("customer_identified", {"anonymous_id": device, "customer_id": customer, "identifiers": identifiers})],
            [("voucher_received", {"customer_id": f"c-{person}", "properties": {"coupon_code": code}})],
            [("coupon_applied", {"anonymous_id": device, "properties": {"coupon_code": code}})],
            [("email_clicked", {"identifiers": identifiers, "campaign": {"medium": "email"}})],
            [("order_placed", {"anonymous_id": device, "properties": {"order_id": "test", "currency": "EUR", "total": "1"}})],
            [("page_viewed", {"anonymous_id": "undefined", "customer_id": "null"})],
            [("ad_spend_reported", {"properties": {"starts_on": "2026-01-01", "ends_on": "2026-01-03", "amount": "9.99", "currency": "EUR", "medium": "cpc"}})],
            [("survey_answered", {"customer_id": f"c-{person}", "properties": {"kind": "nps", "score": rng.randrange(11)}})],
        ]  # fmt: skip
        events = []
        for name, members in rng.choice(ways):
            at += rng.randrange(1, 10 * 60) * MINUTE_MS
            events.append(self._event(name, at, **members))
        return events
