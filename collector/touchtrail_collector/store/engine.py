"""The narrow contracts a storage engine fulfils; everything above the store knows only these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .questions import Question, RowT, TouchColumns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
    """One reject on its way into quarantine; ``body`` is what came, byte for byte, None = nothing of it may be kept
    and it is only counted.

    Args:
        name: the event's, where it could be read.
        reader: the source plugin whose form the body has; None = the collector's own.
    """

    received_at: int
    source_id: int | None
    code: str
    field: str | None
    message: str
    body: bytes | None
    name: str | None = None
    reader: str | None = None


class QuarantineLimits(NamedTuple):
    """How much quarantine holds: entries, bytes of their bodies and messages, milliseconds since they came last."""

    entries: int = 100_000
    bytes: int = 200_000_000
    age_ms: int = 90 * 86_400_000


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

    def append_then(
        self,
        events: Sequence[EventRow],
        rejects: Sequence[RejectRow],
        done: Callable[[Receipt | None, BaseException | None], None],
    ) -> None:
        """The same without a future: ``done`` is called in the writer's thread with the receipt or the error."""
        ...

    def scan(self, after_seq: int, limit: int) -> list[StoredEvent]:
        """Return events in log order, the first one after ``after_seq``."""
        ...


class Query(Protocol):
    """Reads what was derived. Not for use by two threads at once."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Make every answer inside the block come from one state of the data; blocks may be nested."""
        ...

    def ask(self, question: Question[RowT]) -> list[RowT]:
        """Return the rows that answer the question, in the order it states."""
        ...

    def columns(self, question: Question[Any]) -> tuple[NDArray[np.int64], ...]:
        """Return the same as int64 columns; for questions whose rows are integers only."""
        ...

    def touches(self, *, start_ms: int, end_ms: int, creditable_only: bool = True) -> TouchColumns:
        """Return the touchpoints of all people of all shops in the span, as sorted columns."""
        ...
