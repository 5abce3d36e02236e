"""Standard events are read in one go, all others step by step: which way an event goes changes nothing about it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from shop_events import wire_event
from touchtrail.events import VOCABULARY, Event, EventSpec
from touchtrail_collector.domain.batch import BodyUnreadable
from touchtrail_collector.domain.event import EventChecker
from touchtrail_collector.domain.privacy import Pseudonymiser
from touchtrail_collector.domain.property_names import NameFit
from touchtrail_collector.services.ingest import Ingest, Prepared

NOW = 1_790_000_000_000
BATCHES, BATCH_EVENTS = 500, 8
KEY = b"secret"


class ThingFolded(Event, frozen=True):
    """A plugin's event whose properties have room for anything."""

    spec = EventSpec("thing_folded", "consideration", "visit")

    folds: Any = None
    into: dict[str, Any] | None = None


KINDS = VOCABULARY | {"thing_folded": ThingFolded}


class Watched(EventChecker):
    """Counts which way events go."""

    def __init__(self) -> None:
        super().__init__(KINDS, Pseudonymiser(KEY))
        self.ways: Counter[str] = Counter()

    def _read_plain(self, raw: bytes, has_no_address: bool) -> Any:
        wire = super()._read_plain(raw, has_no_address)
        self.ways["step by step" if wire is None else "in one go"] += 1
        return wire


class StepByStep(EventChecker):
    """Reads every event step by step."""

    def __init__(self) -> None:
        super().__init__(KINDS, Pseudonymiser(KEY))

    def _read_plain(self, raw: bytes, has_no_address: bool) -> Any:
        return None


def nested(levels: int) -> Any:
    value: Any = 1
    for number in range(levels):
        value = [value] if number % 2 else {"n": value}
    return value


Oddity = Callable[[dict[str, Any], random.Random], object]
ODDITIES: dict[str, Oddity] = {
    "nothing": lambda event, rng: None,
    "e-mail": lambda event, rng: event.update(identifiers={"email": "Ann@Shop.example", "ip": "10.0.0.1"}),
    "e-mail in the address": lambda event, rng: event.update(
        page={"url": rng.choice(["/?m=a%40b.example", "/?m=a%2540b.example", "/?m=a@b.example", "/?m=a%20b"])}
    ),
    "address of the device": lambda event, rng: event.update(device={"ip": "10.0.0.1", "user_agent": "x"}),
    "long user agent": lambda event, rng: event.update(device={"user_agent": "x" * rng.choice([512, 513, 2_000])}),
    "of its own": lambda event, rng: event["properties"].update(extra={rng.choice("abcdefg"): 1, "size": "L"}),
    "phone of its own": lambda event, rng: event["properties"].update(
        extra={rng.choice(["phone", "Telephone", "ip"]): "0170 1234567", "remote_addr": "10.0.0.1"}
    ),
    "phone in a line": lambda event, rng: event["properties"].update(
        lines=[{"sku": "s", "extra": {"phone": "0170 1234567"}}]
    ),
    "phone in traits": lambda event, rng: event.update(
        name="customer_identified", properties={"traits": {"phone": "0170 1234567", "vip": True}}
    ),
    "deep": lambda event, rng: event["properties"].update(extra=nested_extra(rng)),
    "deep by a plugin": lambda event, rng: event.update(
        name="thing_folded", properties={"folds": nested(rng.randrange(10, 20)), "into": {"phone": "0170 1234567"}}
    ),
    "much": lambda event, rng: event["properties"].update(extra={f"p{n}": n for n in range(rng.choice([64, 65]))}),
    "currency": lambda event, rng: event["properties"].update(currency=rng.choice(["EUR", "ZZZ", "eur", 5])),
    "amount": lambda event, rng: event["properties"].update(
        price=rng.choice(["NaN", "-1", "1e400", 12.5, "12.50", "Infinity", True])
    ),
    "lines": lambda event, rng: event["properties"].update(
        lines=[{"sku": "s", "quantity": rng.choice([1, 10**7, -1]), "unit_price": rng.choice(["1", "-1", "NaN"])}] * 3
    ),
    "unknown": lambda event, rng: event["properties"].update(colour="red"),
    "unknown member": lambda event, rng: event.update(colour="red"),
    "custom": lambda event, rng: event.update(name=rng.choice(["sofa_sat_on", "no name", "", "Page_viewed"])),
    "nobody": lambda event, rng: event.pop("anonymous_id"),
    "no name": lambda event, rng: event.pop("name"),
    "nulls": lambda event, rng: event.update({rng.choice(list(event)): None}),
    "time": lambda event, rng: event.update(
        occurred_at=rng.choice(["1999-12-31T23:59:59Z", "2026-01-01T00:00:00", "2026-06-01T02:00:00.123456+02:00", 5])
    ),
    "consent": lambda event, rng: event.update(consent={"analytics": rng.choice([True, False, None])}),
    "brackets": lambda event, rng: event.update(page={"title": "[{" * 20}),
    "large": lambda event, rng: event.update(page={"title": "t" * 70_000}),
}


def nested_extra(rng: random.Random) -> dict[str, Any]:
    return {"n": nested(rng.randrange(8, 18))}


def properties_for(kind: type[Event], rng: random.Random) -> dict[str, Any]:
    """Return properties that mostly fit: every field that has to be there, and some that need not."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        named = repr(field.type)
        if field.name == "extra" or not (field.required or rng.random() < 0.3):
            continue
        if field.name == "currency":
            found[field.name] = "EUR"
        elif field.name.endswith("_on"):
            found[field.name] = "2026-01-01"
        elif "Line" in named:
            found[field.name] = [{"sku": "s", "unit_price": "12.50"}]
        elif "Decimal" in named:
            found[field.name] = "12.50"
        elif "int" in named or "float" in named:
            found[field.name] = 5
        elif "bool" in named:
            found[field.name] = True
        else:
            found[field.name] = "text"
    return found


def odd_event(number: int, rng: random.Random) -> bytes:
    name = rng.choice(["page_viewed", "product_viewed", "order_placed", rng.choice(list(KINDS))])
    event = wire_event(f"e-{number}", name, properties=properties_for(KINDS[name], rng))
    if rng.random() < 0.5:
        event["consent"] = {"analytics": True}
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        try:
            rng.choice(list(ODDITIES.values()))(event, rng)
        except (KeyError, AttributeError):  # another oddity has taken that member away
            continue
    raw = msgspec.json.encode(event)
    chance = rng.random()
    if chance < 0.05:  # a member twice, of which the last one counts
        raw = raw[:-1] + b"," + rng.choice([b'"name":"page_viewed"', b'"name":"own"', b'"properties":{}']) + b"}"
    elif chance < 0.1:
        damaged = bytearray(raw)
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        raw = bytes(damaged)
    elif chance < 0.15:
        raw = raw.replace(b"@", b"\\u0040").replace(b"%40", b"\\u002540").replace(b"e", b"\\u0065", 1)
    return raw


def prepared(ingest: Ingest, body: bytes) -> tuple[Any, ...]:
    try:
        found: Prepared = ingest.prepare(body, source_id=1, now_ms=NOW)
    except BodyUnreadable as error:
        return error.code, error.field, error.message
    return found.events, found.reject_rows, found.rejected, list(found.names.fresh) if found.names else None


@pytest.mark.parametrize("needs_consent", [False, True], ids=["full", "consent required"])
def test_both_ways_give_the_same_rows_rejects_and_names(needs_consent: bool) -> None:
    watched = Watched()
    ingests = [
        Ingest(
            checker,
            Pseudonymiser(KEY),
            names=lambda source_id: NameFit(source_id, {"size", "a"}, limit=5),
            needs_consent=lambda _: needs_consent,
        )
        for checker in (watched, StepByStep())
    ]
    rng = random.Random(7)
    seen: Counter[str] = Counter()
    for number in range(BATCHES):
        events = [odd_event(number * 100 + place, rng) for place in range(BATCH_EVENTS)]
        body = b'{"events":[' + b",".join(events) + b"]}"
        quick, slow = (prepared(ingest, body) for ingest in ingests)
        assert quick == slow
        if len(quick) == 4:
            seen.update(kept=len(quick[0]), rejected=len(quick[2]))
        else:
            seen["unreadable"] += 1
    print(f"ways: {dict(watched.ways)}, became: {dict(seen)}")
    assert watched.ways["in one go"] > 1_000
    assert watched.ways["step by step"] > 1_000
    assert seen["kept"] > (500 if needs_consent else 1_500)
    assert seen["rejected"] > 1_000
    assert seen["unreadable"] > 10


def test_the_usual_events_go_the_short_way() -> None:
    checker = Watched()
    for name in ("page_viewed", "product_viewed", "cart_item_added", "order_placed"):
        properties = properties_for(VOCABULARY[name], random.Random(1))
        checker.check(msgspec.json.encode(wire_event("e", name, properties=properties)), now_ms=NOW)
    extra = wire_event("e", "page_viewed", properties={"extra": {"theme": "dark"}})
    checker.check(msgspec.json.encode(extra), now_ms=NOW)
    assert checker.ways == {"in one go": 5}


@pytest.mark.parametrize("kinds", [{}, {"thing_folded": ThingFolded}], ids=["no kind", "one kind"])
def test_a_vocabulary_too_small_for_the_short_way_reads_all_the_same(kinds: dict[str, type[Event]]) -> None:
    checker = EventChecker(kinds, Pseudonymiser(KEY))
    assert (
        checker.check(msgspec.json.encode(wire_event("e", "thing_folded", properties={})), now_ms=NOW).event_id == "e"
    )
