"""What senders say they lost, read off `events_lost` on the way into the log: later that means reading all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Final, Literal

import msgspec

from ...domain.loss import LOSS_EVENT, loss_counter
from ..engine import EventRow

MOST_LOST: Final = 10**12
"""One report counts for so many events at most: sums of made-up numbers must stay within 64 bits."""


class _Claim(msgspec.Struct):
    outcome: Literal["dropped", "refused"]
    reason: str
    events: Annotated[int, msgspec.Meta(ge=0)]


class _Report(msgspec.Struct):
    properties: _Claim


_DECODER: Final = msgspec.json.Decoder(_Report)


def find_losses(stored: Iterable[EventRow]) -> Iterator[tuple[EventRow, str, int]]:
    """Yield each report of losses among events: its row, the counter it adds to, and how many events it tells of.

    Counters are called `lost:dropped:spool_full`. What counts nothing is passed over.
    """
    for row in stored:
        if row.name != LOSS_EVENT:
            continue
        try:
            claim = _DECODER.decode(row.body).properties
        except msgspec.MsgspecError:  # the name was in use before it was in the vocabulary
            continue
        if claim.events:
            yield row, loss_counter(claim.outcome, claim.reason), min(claim.events, MOST_LOST)
