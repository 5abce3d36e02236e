"""The narrow contracts a storage engine fulfils; everything above the store knows only these."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol


class EventRow(NamedTuple):
    """One event on its way into the log; times in UTC milliseconds, ``body`` the event as JSON text."""

    source_id: int
    event_id: str
    name: str
    occurred_at: int
    sent_at: int | None
    received_at: int
    anonymous_id: str | None
    customer_id: str | None
    body: str


class RejectRow(NamedTuple):
    """One reject on its way into quarantine; ``body`` is what came, byte for byte."""

    received_at: int
    source_id: int | None
    code: str
    field: str | None
    message: str
    body: bytes


class Receipt(NamedTuple):
    """What became of an append."""

    stored: int
    duplicates: int


class StoredEvent(NamedTuple):
    """One event of the log, with its place in the order of arrival and the shop it belongs to."""

    seq: int
    source_id: int
    shop_id: int
    event_id: str
    name: str
    occurred_at: int
    sent_at: int | None
    received_at: int
    body: str


class EventLog(Protocol):
    """The append-only log."""

    def append(self, events: Sequence[EventRow], rejects: Sequence[RejectRow] = ()) -> Future[Receipt]:
        """Commit a batch as a whole; the future is done only after the commit is on disk."""
        ...

    def scan(self, after_seq: int, limit: int) -> list[StoredEvent]:
        """Return events in log order, the first one after ``after_seq``."""
        ...
