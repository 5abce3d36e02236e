"""Telling the collector of events that never reached it: one `events_lost` per reason."""

from __future__ import annotations

from touchtrail._envelope import Envelope, encode, new_event_id, now_text, rfc3339
from touchtrail._limits import ID_LENGTH
from touchtrail.events import EventsLost

from .tally import Losses

_MAX_BYTES = 4_096


def loss_report(losses: Losses, sender: str) -> bytes:
    """Return the encoded event that tells of the losses.

    Args:
        sender: name and version of this client.
    """
    lost = EventsLost(
        outcome=losses.outcome,
        reason=losses.reason[:ID_LENGTH],
        events=losses.events,
        since=rfc3339(int(losses.since_s * 1000)),
        until=rfc3339(int(losses.until_s * 1000)),
        sender=sender,
    )
    # Without a time where the machine's clock shows none that an event can have: the collector gives it one.
    happened = now_text(losses.until_s)
    envelope = Envelope(event_id=new_event_id(), name=lost.spec.name, occurred_at=happened, properties=lost)
    return encode(envelope, _MAX_BYTES)
