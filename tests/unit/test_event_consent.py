"""Senders whose mode is consent_required: what is let through of people who did not say that they agree."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from shop_events import START_MS, wire_event
from touchtrail._worker.losses import loss_report
from touchtrail._worker.tally import Losses
from touchtrail.events import VOCABULARY
from touchtrail_collector.domain.event import EventChecker, EventRejected
from touchtrail_collector.domain.privacy import Pseudonymiser
from touchtrail_collector.services.ingest import Ingest

SECRET = Pseudonymiser(b"secret")
CHECKER = EventChecker(VOCABULARY, SECRET)
FACTS: dict[str, dict[str, Any]] = {
    "events_lost": {"outcome": "dropped", "reason": "a", "events": 1},
    "ad_spend_reported": {"starts_on": "2026-01-01", "amount": "1.00", "currency": "EUR"},
    "media_flight_ran": {"medium": "radio"},
}
ANNAS: dict[str, Any] = {
    "anonymous_id": "anna", "customer_id": "anna", "session_id": "sess-of-anna", "identifiers": {"loyalty_card": "anna"},
    "page": {"url": "https://x/?u=anna"}, "device": {"user_agent": "Mozilla annas-phone"}, "campaign": {"content": "anna"},
}  # fmt: skip


def checked(event: dict[str, Any] | bytes) -> str:
    raw = event if isinstance(event, bytes) else msgspec.json.encode(event)
    return CHECKER.check(raw, now_ms=START_MS, needs_consent=True).body


def refusal(event: dict[str, Any]) -> str:
    with pytest.raises(EventRejected) as caught:
        checked(event)
    assert caught.value.field == "consent.analytics"
    return caught.value.code


def fact(name: str, *, extra: Any = None, **more: Any) -> dict[str, Any]:
    own = {} if extra is None else {"extra": extra}
    return {"event_id": "e", "name": name, "properties": FACTS[name] | own, **more}


def test_every_fact_about_nobody_is_tried_here() -> None:
    assert {name for name, kind in VOCABULARY.items() if kind.spec.is_personless} == FACTS.keys()


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_about_nobody_is_kept_without_consent(name: str) -> None:
    for more in ({}, {"occurred_at": "2026-01-01T00:00:00Z"}, {"consent": {"analytics": False}}):
        assert f'"{name}"' in checked(fact(name, **more))
    assert checked(fact(name, extra={}))


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("member", ANNAS)
def test_a_fact_that_holds_anything_of_a_person_is_not(name: str, member: str) -> None:
    assert refusal(fact(name, **{member: ANNAS[member]})) == "no_consent"
    assert checked(fact(name, **{member: ANNAS[member]}, consent={"analytics": True}))


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("extra", [{"first_name": "Anna"}, {"n": 0}, {"mail": "anna@x.example"}, {"": None}])
def test_a_fact_with_properties_of_its_senders_own_is_not(name: str, extra: dict[str, Any]) -> None:
    assert refusal(fact(name, extra=extra)) == "no_consent"
    escaped = msgspec.json.encode(fact(name, extra=extra)).replace(b'"extra"', b'"e\\u0078tra"')
    with pytest.raises(EventRejected, match="consent_required"):
        checked(escaped)


def test_what_the_sdk_tells_of_losses_passes() -> None:
    losses = Losses(outcome="dropped", reason="spool_full", events=7, since_s=1_790_000_000.0, until_s=1_790_000_060.0)
    body = msgspec.json.decode(checked(loss_report(losses, "touchtrail-python/0.1.0")))
    assert body["properties"]["events"] == 7


@pytest.mark.parametrize("name", ["consent_given", "consent_withdrawn"])
def test_a_decision_is_kept_with_who_took_it_and_without_anything_more(name: str) -> None:
    assert checked(wire_event("e", name, consent={"analytics": False}))
    assert checked(wire_event("e", name, page={"url": "https://x/"}, properties={"extra": {}}))
    more = {"extra": {"first_name": "Anna"}}
    assert refusal(wire_event("e", name, properties=more)) == "no_consent"
    assert refusal(wire_event("e", name, properties=more, consent={"analytics": False})) == "no_consent"
    assert checked(wire_event("e", name, properties=more, consent={"analytics": True}))


def test_of_what_is_refused_nothing_is_in_quarantine() -> None:
    ingest = Ingest(CHECKER, SECRET, needs_consent=lambda _: True)
    raw = msgspec.json.encode([fact("events_lost", extra={"first_name": "Anna"}, **ANNAS)])
    found = ingest.prepare(raw, source_id=1, now_ms=START_MS)
    assert (found.events, [row.body for row in found.reject_rows]) == ([], [None])
    assert "nna" not in repr(found.reject_rows)


@pytest.mark.parametrize("properties", [{"extra": 5}, {"extra": [1]}, 5, [], "x", None])
def test_properties_that_cannot_be_read_are_refused_for_one_reason_or_the_other(properties: Any) -> None:
    for name in ("events_lost", "consent_given"):
        with pytest.raises(EventRejected):
            checked({"event_id": "e", "name": name, "anonymous_id": "a", "properties": properties})


def test_a_fact_with_much_of_its_own_is_refused_in_no_time() -> None:
    raw = msgspec.json.encode(fact("events_lost", extra={f"p{n}": [n] * 20 for n in range(900)}))
    started = time.process_time()
    for _ in range(50):
        with pytest.raises(EventRejected):
            checked(raw)
    assert time.process_time() - started < 2
