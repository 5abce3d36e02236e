"""Rejected events: looked at, repaired, put through the same checks again, or dismissed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from ..domain.event import EventRejected
from ..domain.repair import Repair, RepairError
from ..domain.source import SourceReject
from ..errors import PluginError, UsageError
from ..store.engine import EventRow, RejectRow
from ..store.sqlite import rejects
from ..store.sqlite.database import WritingConnection
from ..store.sqlite.rejects import Chosen, Reject
from ..store.sqlite.replay import DryRun, Repaired, store_replayed, try_replayed
from ..store.sqlite.store import now_ms
from .collector import Collector
from .ingest import encode_event

TOGETHER = 500
"""So many rejects share a commit: each alone would wait for the disk."""
NAMED = 50


class StillRejected(msgspec.Struct, frozen=True):
    """A reject that did not pass this time either."""

    id: int
    code: str
    field: str | None
    message: str


class ReplayResult(msgspec.Struct):
    """What became of the rejects that were tried again.

    Args:
        rejected: how many did not pass this time either; ``named`` are the first of them.
    """

    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    named: list[StillRejected] = []


class ReplayRules(msgspec.Struct, frozen=True, kw_only=True):
    """How rejects are tried again.

    Args:
        repair: done to each before it is checked.
        body: a repaired event in the place of the one reject named.
        dry_run: True only says what would become of them.
    """

    repair: Repair = Repair()
    body: bytes | None = None
    dry_run: bool = False


def choose(collector: Collector, chosen: Chosen) -> list[int]:
    """Return the numbers of the rejects that are meant, oldest first.

    Raises: UsageError when one that is named is not there.
    """
    with collector.store.reading() as reader:
        found = rejects.find_ids(reader, chosen)
        known = rejects.find_ids(reader, Chosen(ids=chosen.ids, state=None)) if chosen.ids else []
    missing = sorted(set(chosen.ids) - set(known))
    if missing:
        raise UsageError(f"there is no reject {missing[0]}; `touchtrail quarantine list` shows them")
    return found


def replay(
    collector: Collector,
    chosen: Chosen,
    rules: ReplayRules | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ReplayResult:
    """Check rejects again and store those that pass, each together with its mark, so that none is stored twice.

    One that does not pass keeps its place and its bytes; without a repair its reason becomes today's.

    Args:
        chosen: which ones. A number may be that of a reject that was replayed or dismissed before.
        progress: told now and then: rejects done, rejects in all.

    Raises: UsageError.
    """
    rules = rules or ReplayRules()
    if rules.body is not None and len(chosen.ids) != 1:
        raise UsageError("a repaired body stands for one reject; name its number")
    ids = choose(collector, chosen)
    result = ReplayResult()
    for start in range(0, len(ids), TOGETHER):
        replay_together(collector, ids[start : start + TOGETHER], rules, result)
        if progress is not None:
            progress(min(start + TOGETHER, len(ids)), len(ids))
    if result.stored and not rules.dry_run:
        collector.projector.wake()
    return result


def replay_together(collector: Collector, ids: Sequence[int], rules: ReplayRules, result: ReplayResult) -> None:
    """Check a few rejects and store those that pass with one commit."""
    with collector.store.reading() as reader:
        found = rejects.find(reader, Chosen(ids=ids, state=None))
    passed: list[Repaired] = []
    restated: list[tuple[int, RejectRow]] = []
    for reject in reversed(found):
        try:
            passed.append((reject.id, check_again(collector, reject, rules)))
        except EventRejected as error:
            result.rejected += 1
            if len(result.named) < NAMED:
                result.named.append(StillRejected(reject.id, error.code, error.field, error.message))
            if error.code != "not_replayable" and not rules.repair and rules.body is None:
                restated.append((reject.id, restate(collector, reject, error)))
    is_new = try_all(collector, passed) if rules.dry_run else store_all(collector, passed, restated)
    result.stored += sum(is_new)
    result.duplicates += len(is_new) - sum(is_new)


def store_all(
    collector: Collector, passed: Sequence[Repaired], restated: Sequence[tuple[int, RejectRow]]
) -> list[bool]:
    """Store what passed and write down why the others did not, together; say of each whether it is new."""

    def work(connection: WritingConnection) -> list[bool]:
        for reject_id, row in restated:
            rejects.restate(connection, reject_id, row)
        return store_replayed(connection, passed)

    return collector.store.write(work) if passed or restated else []


def try_all(collector: Collector, passed: Sequence[Repaired]) -> list[bool]:
    """Say the same without storing anything."""
    try:
        collector.store.write(lambda connection: try_replayed(connection, passed))
    except DryRun as trial:
        return trial.stored
    raise AssertionError("a trial is always taken back")


def check_again(collector: Collector, reject: Reject, rules: ReplayRules) -> EventRow:
    """Return the event a reject has become.

    An event without a time of its own happened when it was received.

    Raises: EventRejected.
    """
    if reject.source_id is None:
        raise EventRejected("no_source", None, "its sender is not known; have it sent again")
    try:
        body = rules.body if rules.body is not None else reject.body
        body = rules.repair.apply(body, reject.id) if rules.repair else body
    except RepairError as error:
        raise EventRejected("not_repairable", None, str(error)) from None
    if reject.reader is not None:
        body = read_again(collector, reject.reader, body, is_edited=rules.body is not None)
    names = collector.names.fit(reject.source_id)
    checked = collector.checker.check(
        body, now_ms=reject.received_at, needs_consent=collector.needs_consent(reject.source_id), names=names
    )
    if not rules.dry_run:
        collector.names.learn(names)
    event_id, name, occurred_at, anonymous_id, customer_id, text = checked
    return EventRow(reject.source_id, event_id, name, occurred_at, None, now_ms(), anonymous_id, customer_id, text)


def read_again(collector: Collector, reader: str, body: bytes, *, is_edited: bool) -> bytes:
    """Return what a source plugin makes of an item in its own form; edited by hand it may be a standard event already.

    Raises: EventRejected.
    """
    source = collector.host.sources().get(reader)
    if source is None or source.read_reject is None:
        if is_edited:
            return body
        message = f"source.{reader} cannot read it again; repair it as a standard event with --with or --edit"
        if source is not None and source.read_file is not None:
            message = "correct the line in the file and import the file again, or repair it with --with or --edit"
        raise EventRejected("not_replayable", None, message)
    try:
        item = source.read_reject(body)
    except PluginError as error:
        raise EventRejected("plugin_failed", None, str(error)) from None
    encoded = item if isinstance(item, SourceReject) else encode_event(item)
    if isinstance(encoded, SourceReject):
        raise EventRejected(encoded.code, encoded.field, encoded.message)
    return encoded


def restate(collector: Collector, reject: Reject, error: EventRejected) -> RejectRow:
    """Return a reject with the reason that stops it now."""
    clean = collector.pseudonymiser.scrub_text
    return RejectRow(
        reject.received_at, reject.source_id, error.code, error.field and clean(error.field), clean(error.message),
        reject.body, reject.name, reject.reader,
    )  # fmt: skip


def mark(collector: Collector, chosen: Chosen, state: Literal["open", "dismissed"]) -> int:
    """Dismiss rejects that will never be replayed, or open dismissed ones again; return how many have changed.

    Raises: UsageError.
    """
    ids = choose(collector, chosen)
    return collector.store.write(lambda connection: rejects.mark(connection, ids, state)) if ids else 0
