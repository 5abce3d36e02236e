"""Events for tests, short to write: as wire objects for ingest, and as facts for the derivation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import msgspec

from touchtrail.events import VOCABULARY
from touchtrail_collector.domain.channel import Channel, ChannelClassifier, ChannelRule, ChannelRuleSet, Traffic
from touchtrail_collector.domain.fact import Fact, read_fact
from touchtrail_collector.domain.journey import JourneyRules, specs_of

START_MS = 1_767_225_600_000  # 2026-01-01
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def wire_event(event_id: str, name: str = "page_viewed", /, **members: Any) -> dict[str, Any]:
    """Return an event as it is sent; members that are None are left out."""
    event = {"event_id": event_id, "name": name, "occurred_at": rfc3339(START_MS), "anonymous_id": "a-1"} | members
    return {member: value for member, value in event.items() if value is not None}


def rfc3339(at_ms: int) -> str:
    """Return UTC milliseconds as they stand on the wire."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Facts:
    """Makes facts in order of arrival; ``at`` is in minutes after `START_MS`."""

    def __init__(self) -> None:
        self._seqs = count(1)

    def __call__(
        self, name: str, at: float = 0, /, source: int = 1, event_id: str | None = None, **members: Any
    ) -> Fact:
        """Return the next fact; what is no member of the envelope is a property."""
        seq = next(self._seqs)
        envelope = {key: members.pop(key) for key in ENVELOPE & members.keys()}
        body = msgspec.json.encode(envelope | {"properties": members}).decode()
        at_ms = START_MS + round(at * MINUTE_MS)
        return read_fact(seq, source, 1, event_id or f"e{seq:05}", name, at_ms, None, at_ms + DAY_MS * 365, body)


ENVELOPE = {"anonymous_id", "customer_id", "page", "campaign", "device", "identifiers"}


def in_order(facts: Sequence[Fact]) -> list[Fact]:
    """Return facts as `derive_road` and `resolve` want them."""
    return sorted(facts, key=Fact.order)


DIRECT = Channel(name="Direct", medium="owned", is_direct=True)
EMAIL = Channel(name="Email", medium="owned")
SEARCH = Channel(name="Search", medium="earned")
PAID = Channel(name="Paid", medium="paid")
REFERRAL = Channel(name="Referral", medium="earned")


def small_classifier(version: str = "1") -> ChannelClassifier:
    """Return a classifier with five channels, so that tests of roads do not depend on the default rules."""

    def has_medium(*mediums: str) -> Any:
        return lambda traffic: traffic.medium in mediums

    def is_internal(traffic: Traffic) -> bool:
        return traffic.referrer_host in ("shop.example", "pay.example")

    rules = (
        ChannelRule(name="email", channel=EMAIL, matches=has_medium("email"), priority=10),
        ChannelRule(name="paid", channel=PAID, matches=has_medium("cpc", "banner"), priority=20),
        ChannelRule(
            name="search", channel=SEARCH, matches=lambda traffic: traffic.referrer_domain == "google.com", priority=30
        ),
        ChannelRule(
            name="referral",
            channel=REFERRAL,
            matches=lambda traffic: traffic.referrer_host is not None and not is_internal(traffic),
            priority=40,
        ),
        ChannelRule(name="direct", channel=DIRECT, matches=lambda _: True, priority=50),
    )
    return ChannelClassifier([ChannelRuleSet(name="small", version=version, rules=rules, is_internal=is_internal)])


def small_rules() -> JourneyRules:
    """Return what roads are worked out with: the vocabulary and `small_classifier`."""
    return JourneyRules(specs=specs_of(VOCABULARY), classifier=small_classifier())
