"""What the demo hands to the SDK, one event at a time, and the recorder that collects it together with the truth."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from touchtrail.context import Campaign, Consent, Device, Page
from touchtrail.events import Event

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

LATE_S = 3_600
"""An event that arrives more than this after it happened counts as late."""

Repeat = Literal["event", "fact"]


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """One call of ``Client.track``: the event, who and what it is about, and how it travels.

    Sendings come in the order of arrival (``arrives_at``), which is not the order in which things happened.

    Args:
        source: the sender, which has a write key of its own: `web`, `app`, `ads`, `till`, `shop-server` …
        occurred_at: what the sender's clock said; wrong by ``clock_offset_s`` where that is not 0.
        arrives_at: the real time the collector would have got it.
        clock_offset_s: how far the sender's clock is ahead of the real time. Such events go through a client
            whose clock is wrong by as much, so that ``sent_at`` is wrong too, as it would be in life.
        repeat: `event` = the very same event once more (its acknowledgement was lost); `fact` = another sender's
            report, with an id of its own, of something already reported; None = first report.
        is_late: arrives more than an hour after it happened.
    """

    source: str
    event: Event
    event_id: str
    occurred_at: datetime
    arrives_at: datetime
    anonymous_id: str | None = None
    customer_id: str | None = None
    identifiers: Mapping[str, str] | None = None
    page: Page | None = None
    campaign: Campaign | None = None
    device: Device | None = None
    consent: Consent | None = None
    clock_offset_s: int = 0
    repeat: Repeat | None = None
    is_late: bool = False
    is_bot: bool = False

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for ``Client.track(sending.event, **sending.arguments())``."""
        return {
            "anonymous_id": self.anonymous_id,
            "customer_id": self.customer_id,
            "identifiers": self.identifiers,
            "page": self.page,
            "campaign": self.campaign,
            "device": self.device,
            "consent": self.consent,
            "occurred_at": self.occurred_at,
            "event_id": self.event_id,
        }


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """Who reports an event and what that sender knows of the person.

    Args:
        person: the true person's number; None = nobody (advertising costs, bots).
        delay_s: how long after the fact the report arrives.
    """

    source: str
    person: int | None = None
    anonymous_id: str | None = None
    customer_id: str | None = None
    identifiers: Mapping[str, str] | None = None
    device: Device | None = None
    consent: Consent | None = None
    clock_offset_s: int = 0
    delay_s: int = 0
    repeat: Repeat | None = None
    is_bot: bool = False


class Recorder:
    """Collects sendings, and beside them what only the simulation knows.

    Args:
        end_ms: nothing that happens at or after this moment is recorded.
    """

    def __init__(self, rng: random.Random, end_ms: int) -> None:
        self.rng = rng
        self.end_ms = end_ms
        self.sendings: list[Sending] = []
        self.person_of: dict[str, int] = {}
        self.touch_channel: dict[str, str] = {}
        self.real_time: dict[str, datetime] = {}

    def add(
        self, voice: Voice, event: Event, at_ms: int, page: Page | None = None, campaign: Campaign | None = None
    ) -> str | None:
        """Record that ``event`` happened at ``at_ms``; return its id, or None when that is after the end."""
        if at_ms >= self.end_ms:
            return None
        shown_ms = at_ms + voice.clock_offset_s * SECOND_MS
        event_id = make_event_id(shown_ms, self.rng)
        real = to_datetime(at_ms)
        if voice.clock_offset_s:
            self.real_time[event_id] = real
        if voice.person is not None:
            self.person_of[event_id] = voice.person
        self.sendings.append(
            Sending(
                source=voice.source,
                event=event,
                event_id=event_id,
                occurred_at=to_datetime(shown_ms) if voice.clock_offset_s else real,
                arrives_at=to_datetime(at_ms + voice.delay_s * SECOND_MS) if voice.delay_s else real,
                anonymous_id=voice.anonymous_id,
                customer_id=voice.customer_id,
                identifiers=voice.identifiers,
                page=page,
                campaign=campaign,
                device=voice.device,
                consent=voice.consent,
                clock_offset_s=voice.clock_offset_s,
                repeat=voice.repeat,
                is_late=voice.delay_s > LATE_S,
                is_bot=voice.is_bot,
            )
        )
        return event_id

    def touch(self, event_id: str | None, channel: str) -> None:
        """Note the true channel of a contact that was recorded."""
        if event_id is not None:
            self.touch_channel[event_id] = channel


def make_event_id(at_ms: int, rng: random.Random) -> str:
    """Return a UUIDv7 for the moment ``at_ms`` with random bits from ``rng``.

    Source: RFC 9562, section 5.7.
    """
    bits = rng.getrandbits(74)
    head = f"{at_ms:012x}"
    tail = f"{0x8000_0000_0000_0000 | (bits & 0x3FFF_FFFF_FFFF_FFFF):016x}"
    return f"{head[:8]}-{head[8:]}-7{bits >> 62:03x}-{tail[:4]}-{tail[4:]}"


def to_datetime(at_ms: int) -> datetime:
    """Return the UTC moment of ``at_ms`` milliseconds since 1970."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def to_ms(moment: datetime) -> int:
    """Return the milliseconds since 1970 of an aware moment."""
    return round(moment.timestamp() * 1000)


def to_decimal_text(minor: int) -> str:
    """Return an amount of euros as it goes on the wire: 12990 is `129.90`."""
    return f"{minor // 100}.{minor % 100:02d}"
