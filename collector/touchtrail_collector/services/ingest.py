"""Ingest: from a request's bytes to rows for the log. It does almost nothing; everything else is derived later."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import msgspec

from ..domain.address import may_hold_address
from ..domain.batch import drain, take_apart
from ..domain.event import EventChecker, EventRejected, find_name, has_consent
from ..domain.privacy import Pseudonymiser
from ..domain.property_names import NameFit
from ..domain.source import SourceEvents, SourceReject
from ..domain.wire_time import read_clock
from ..store.engine import EventRow, RejectRow

QUARANTINE_BODY_BYTES = 65_536
NAME_CHARS = 64

# In C: to make a named tuple by its name is a Python function.
event_row = partial(tuple.__new__, EventRow)

SLICE_S = 0.004
"""After so long the check of a batch gives others a turn."""

Checking = Generator[None, None, "Prepared"]
"""A batch that is being checked: gives way after each slice, returns what came of it."""


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
    names: NameFit | None = None


class Rejects:
    """Takes down what of one request is not kept: for the answer as it is, for quarantine without what identifies.

    Args:
        needs_consent: True where nothing of an event may be kept that does not say that its person agreed.
        reader: the plugin that read the request, if any.
    """

    def __init__(
        self, pseudonymiser: Pseudonymiser, needs_consent: bool, source_id: int, now_ms: int, reader: str | None = None
    ) -> None:
        self.needs_consent = needs_consent
        self.source_id = source_id
        self.now_ms = now_ms
        self.reader = reader
        self.prepared = Prepared([], [], [])
        self._pseudonymiser = pseudonymiser

    def add(self, index: int, raw: bytes, error: EventRejected, reader: str | None = None) -> None:
        """Take down one event; ``reader`` is whose form it has, None = our own."""
        self.prepared.rejected.append(Rejected(index, error.event_id, error.code, error.field, error.message))
        clean = self._pseudonymiser.scrub_text
        is_kept = not self.needs_consent or has_consent(raw)
        # A message names the field, and a field can be called like an address.
        row = RejectRow(
            received_at=self.now_ms,
            source_id=self.source_id,
            code=error.code,
            field=clean(error.field) if error.field else None,
            message=clean(error.message),
            body=self._pseudonymiser.scrub_cut(raw, QUARANTINE_BODY_BYTES) if is_kept else None,
            name=clean(name)[:NAME_CHARS] if (name := find_name(raw)) else None,
            reader=reader,
        )
        self.prepared.reject_rows.append(row)


class Ingest:
    """Turns request bodies into rows.

    Args:
        checker: decides what may be kept.
        batch_limit: more events than this in one request are refused.
        names: bounds the property names of a source's own.
        needs_consent: True for a source of which nothing is kept, not even in quarantine, where an event does not say
            that its person agreed.
    """

    def __init__(
        self,
        checker: EventChecker,
        pseudonymiser: Pseudonymiser,
        *,
        batch_limit: int = 2_500,
        needs_consent: Callable[[int], bool] = lambda _: False,
        names: Callable[[int], NameFit | None] = lambda _: None,
    ) -> None:
        self._checker = checker
        self._pseudonymiser = pseudonymiser
        self._batch_limit = batch_limit
        self._needs_consent = needs_consent
        self._names = names

    def prepare(self, body: bytes, *, source_id: int, now_ms: int) -> Prepared:
        """Check a body of our own wire format.

        Raises: BodyUnreadable when it is no batch; then nothing of it is kept.
        """
        return drain(self.check(body, source_id=source_id, now_ms=now_ms))

    def check(self, body: bytes, *, source_id: int, now_ms: int) -> Checking:
        """Do the same in slices; raises BodyUnreadable before anything is kept."""
        raws, sent_ms = yield from take_apart(body, self._batch_limit, self._pseudonymiser.event_id)
        rejects = Rejects(self._pseudonymiser, self._needs_consent(source_id), source_id, now_ms)
        # Holds for events that were mended too: an escaped sign, which mending turns into the sign, counts as one.
        has_no_address = not may_hold_address(body)
        return (yield from self._check_all(raws, sent_ms, rejects, has_no_address=has_no_address))

    def prepare_source(
        self, batch: SourceEvents, *, source_id: int, now_ms: int, reader: str | None = None
    ) -> Prepared:
        """Check what a source plugin made of a request or a file; `check_source` says what is given."""
        return drain(self.check_source(batch, source_id=source_id, now_ms=now_ms, reader=reader))

    def check_source(self, batch: SourceEvents, *, source_id: int, now_ms: int, reader: str | None = None) -> Checking:
        """Do the same in slices.

        Args:
            reader: the plugin's name; what it rejected is kept in its form, and read by it when it is replayed.
        """
        items = [item if isinstance(item, SourceReject) else encode_event(item) for item in batch.events]
        try:
            sent_at = read_clock(msgspec.json.encode(batch.sent_at))
        except (TypeError, ValueError):  # a plugin passed on what is no text, or half a character
            sent_at = None
        rejects = Rejects(self._pseudonymiser, self._needs_consent(source_id), source_id, now_ms, reader)
        return (yield from self._check_all(items, sent_at, rejects))

    def _check_all(
        self,
        raws: Sequence[bytes | msgspec.Raw | SourceReject],
        sent_at: int | None,
        rejects: Rejects,
        *,
        has_no_address: bool = False,
    ) -> Checking:
        prepared, source_id, now_ms = rejects.prepared, rejects.source_id, rejects.now_ms
        events = prepared.events
        prepared.names = self._names(source_id)
        check = partial(
            self._checker.check,
            now_ms=sent_at or now_ms,
            needs_consent=rejects.needs_consent,
            names=prepared.names,
            has_no_address=has_no_address,
        )
        ends_at = perf_counter() + SLICE_S
        for index, raw in enumerate(raws):
            if perf_counter() > ends_at:
                yield
                ends_at = perf_counter() + SLICE_S
            if isinstance(raw, SourceReject):
                rejects.add(index, raw.raw, EventRejected(raw.code, raw.field, raw.message), rejects.reader)
                continue
            try:
                event_id, name, occurred_at, anonymous_id, customer_id, text = check(raw)
            except EventRejected as error:
                rejects.add(index, bytes(raw), error)
                continue
            row = (source_id, event_id, name, occurred_at, sent_at, now_ms, anonymous_id, customer_id, text)
            events.append(event_row(row))
        return prepared


def encode_event(event: Mapping[str, Any]) -> bytes | SourceReject:
    """Return a source's event as JSON, members without a value left out; a reject where it is none."""
    try:
        return msgspec.json.encode({name: value for name, value in event.items() if value is not None})
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        # Half a surrogate, an integer beyond 64 bits: what a plugin passed on from a sender must not cost the others.
        return SourceReject(
            code="invalid_json", message=f"the event is not JSON: {error}"[:300], raw=ascii(event).encode()
        )
