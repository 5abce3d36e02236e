"""What senders tell of delivery itself: events that never arrived."""

from __future__ import annotations

from typing import Literal

from .base import Count, Event, EventSpec


class EventsLost(Event, frozen=True):
    """A sender lost or refused events for one reason; it has no person.

    Args:
        outcome: `dropped` = taken and lost later, `refused` = never taken.
        reason: the sender's word for why, `spool_full`; the SDK's are those of ``health()``.
        events: how many; each lost event is told of once.
        since: when the first of them was lost, RFC 3339.
        until: when the last of them was lost, RFC 3339.
        sender: the program that lost them, `touchtrail-python/0.1.0`.
    """

    spec = EventSpec("events_lost", None, "none", is_personless=True)

    outcome: Literal["dropped", "refused"]
    reason: str
    events: Count
    since: str | None = None
    until: str | None = None
    sender: str | None = None
