"""Stores repaired events, each together with the mark on its reject, so that none is stored twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..engine import EventRow
from .append import count_up, insert_events, utc_day
from .database import WritingConnection
from .rejects import mark

Repaired = tuple[int, EventRow]
"""A reject's number, and the event it became."""


class DryRun(Exception):
    """Raised to take a trial back; ``stored`` says what it would have stored."""

    def __init__(self, stored: list[bool]) -> None:
        super().__init__("nothing was written: it was a trial")
        self.stored = stored


def store_replayed(connection: WritingConnection, repaired: Sequence[Repaired]) -> list[bool]:
    """Store repaired events in the caller's transaction; say for each whether it is new, else it was there already.

    They are counted as `replayed`, not as accepted: they were counted at the door when they were rejected.
    """
    is_new = [bool(receipt.stored) for receipt in insert_events(connection, [[row] for _, row in repaired])]
    mark(connection, [reject_id for reject_id, _ in repaired], "replayed")
    counts: Counter[tuple[int, str, str]] = Counter()
    for (_, row), new in zip(repaired, is_new, strict=True):
        counts[row.source_id, utc_day(row.received_at), "replayed"] += new
    count_up(connection, counts)
    return is_new


def try_replayed(connection: WritingConnection, repaired: Sequence[Repaired]) -> None:
    """Do the same and take it back. Raises: DryRun, always."""
    raise DryRun(store_replayed(connection, repaired))
