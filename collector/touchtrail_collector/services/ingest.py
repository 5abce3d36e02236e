"""Ingest: from a request's bytes to rows for the log. It does almost nothing; everything else is derived later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ..domain.event import NEWEST_MS, OLDEST_MS, BodyUnreadable, EventChecker, EventRejected, read_batch, to_ms
from ..domain.privacy import Pseudonymiser
from ..domain.source import SourceEvents, SourceReject
from ..store.engine import EventRow, RejectRow

QUARANTINE_BODY_BYTES = 65_536


class Rejected(msgspec.Struct, frozen=True):
    """One event of a request that was not kept, as the answer tells it."""

    index: int
    id: str | None
    code: str
    field: str | None
    message: str


class Ack(msgspec.Struct, frozen=True):
    """The answer to a batch: everything in ``accepted`` and ``duplicates`` is on disk."""

    accepted: int
    duplicates: int
    rejected: list[Rejected]


class Prepared(msgspec.Struct):
    """A request, checked: what goes into the log, what into quarantine, and what the answer says of it."""

    events: list[EventRow]
    reject_rows: list[RejectRow]
    rejected: list[Rejected]


class Ingest:
    """Turns request bodies into rows.

    Args:
        checker: decides what may be kept.
        batch_limit: more events than this in one request are refused.
    """

    def __init__(self, checker: EventChecker, pseudonymiser: Pseudonymiser, *, batch_limit: int = 2_500) -> None:
        self._checker = checker
        self._pseudonymiser = pseudonymiser
        self._batch_limit = batch_limit

    def prepare(self, body: bytes, *, source_id: int, now_ms: int) -> Prepared:
        """Check a body of our own wire format.

        Raises: BodyUnreadable when it is no batch; then nothing of it is kept.
        """
        raws, sent_at = read_batch(body)
        if len(raws) > self._batch_limit:
            raise BodyUnreadable(
                "batch_too_large", f"the batch has {len(raws)} events; send at most {self._batch_limit} in one request"
            )
        return self._check_all(raws, sent_ms(sent_at), source_id, now_ms)

    def prepare_source(self, batch: SourceEvents, *, source_id: int, now_ms: int) -> Prepared:
        """Check what a source plugin made of a request or a file."""
        items = [item if isinstance(item, SourceReject) else encode_event(item) for item in batch.events]
        sent_at = None
        if batch.sent_at is not None:
            try:
                sent_at = sent_ms(msgspec.convert(batch.sent_at, datetime))
            except (msgspec.ValidationError, TypeError):  # a sender's broken clock costs the skew, not the events
                sent_at = None
        return self._check_all(items, sent_at, source_id, now_ms)

    def _check_all(
        self, raws: Sequence[bytes | msgspec.Raw | SourceReject], sent_at: int | None, source_id: int, now_ms: int
    ) -> Prepared:
        prepared = Prepared([], [], [])
        events = prepared.events
        check = self._checker.check
        fallback_ms = sent_at or now_ms
        for index, raw in enumerate(raws):
            if isinstance(raw, SourceReject):
                self._reject(
                    prepared, index, raw.raw, EventRejected(raw.code, raw.field, raw.message), source_id, now_ms
                )
                continue
            try:
                event_id, name, occurred_at, anonymous_id, customer_id, text = check(raw, now_ms=fallback_ms)
            except EventRejected as error:
                self._reject(prepared, index, bytes(raw), error, source_id, now_ms)
                continue
            events.append(
                EventRow(source_id, event_id, name, occurred_at, sent_at, now_ms, anonymous_id, customer_id, text)
            )
        return prepared

    def _reject(  # noqa: PLR0913, PLR0917 - one row, put together in one place
        self, prepared: Prepared, index: int, raw: bytes, error: EventRejected, source_id: int, now_ms: int
    ) -> None:
        prepared.rejected.append(Rejected(index, error.event_id, error.code, error.field, error.message))
        body = self._pseudonymiser.scrub_reject(raw[:QUARANTINE_BODY_BYTES])
        prepared.reject_rows.append(RejectRow(now_ms, source_id, error.code, error.field, error.message, body))


def encode_event(event: Mapping[str, Any]) -> bytes | SourceReject:
    """Return a source's event as JSON, members without a value left out; a reject where it is none."""
    try:
        return msgspec.json.encode({name: value for name, value in event.items() if value is not None})
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        # Half a surrogate, an integer beyond 64 bits: what a plugin passed on from a sender must not cost the others.
        return SourceReject(
            code="invalid_json", message=f"the event is not JSON: {error}"[:300], raw=ascii(event).encode()
        )


def sent_ms(sent_at: datetime | None) -> int | None:
    """Return the sender's clock in UTC milliseconds; None when it told no time, or one that no clock shows."""
    if sent_at is None or sent_at.tzinfo is None:
        return None
    at = to_ms(sent_at)
    return at if OLDEST_MS <= at <= NEWEST_MS else None
