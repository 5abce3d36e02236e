"""Files through source plugins into the log: same checks, same dedupe and same quarantine as over HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..domain.source import FileEvent, FileProblem, SourceEvents, SourceReject
from ..errors import ImportProblem, UsageError
from ..store.sqlite.store import now_ms
from .collector import Collector

T = TypeVar("T")

BATCH_EVENTS = 500
SHOWN_PROBLEMS = 20


class LineProblem(msgspec.Struct, frozen=True):
    """A line that was not taken, or not wholly."""

    line: int
    column: str | None
    message: str


class ImportResult(msgspec.Struct):
    """What became of a file: every line is an event that was stored, a duplicate, or a reject in quarantine.

    Args:
        problems: the first ones; all of them stand in quarantine.
    """

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    problems: list[LineProblem] = []


def import_file(  # noqa: PLR0913 - the command's options
    collector: Collector,
    reader: str,
    path: Path,
    *,
    sender: str | None,
    options: Mapping[str, str],
    progress: Callable[[int, int], None] | None = None,
) -> ImportResult:
    """Read a file and store its events.

    Args:
        reader: name of a source plugin that reads files.
        sender: the source the events are booked under; None = `import-<reader>`. Importing a file again under the
            same name stores nothing twice.
        options: passed to the plugin.
        progress: told after each batch: bytes read, bytes in all.

    Raises: UsageError for an unknown reader, ImportProblem for a file that cannot be opened.
    """
    sources = collector.host.sources()
    readers = sorted(name for name, source in sources.items() if source.read_file is not None)
    source = sources.get(reader)
    if source is None or source.read_file is None:
        raise UsageError(f"no plugin reads {reader!r} files; there are: {', '.join(readers) or 'none'}")
    shop = collector.settings.shop
    source_id = collector.store.ensure_source(sender or f"import-{reader}", shop=shop.name, currency=shop.currency)
    result = ImportResult()
    try:
        file = path.open("rb")
    except OSError as error:
        raise ImportProblem(error.strerror or "it cannot be read", path=path) from None
    with file:
        size = os.fstat(file.fileno()).st_size
        try:
            for batch in read_batches(source.read_file(file, options), path):
                store_batch(collector, batch, source_id, result, reader=reader)
                if progress is not None:
                    progress(min(file.tell(), size), size)
        finally:
            collector.projector.wake()
    return result


def read_batches(items: Iterable[T], path: Path) -> Iterator[list[T]]:
    """Yield lists of at most `BATCH_EVENTS` items; when the reader cannot go on, the last one and then the problem.

    Raises: ImportProblem.
    """
    batch: list[T] = []
    problem = None
    try:
        for item in items:
            batch.append(item)
            if len(batch) == BATCH_EVENTS:
                yield batch
                batch = []
    except (ValueError, OSError) as error:
        problem = f"{error}; what stands before that is stored, and importing again stores nothing twice"
    if batch:
        yield batch
    if problem is not None:
        raise ImportProblem(problem, path=path)


def store_batch(
    collector: Collector, batch: list[FileEvent | FileProblem], source_id: int, result: ImportResult, *, reader: str
) -> None:
    """Store one batch of the named reader and add what became of it to the result."""
    events: list[Mapping[str, Any] | SourceReject] = [
        item.event
        if isinstance(item, FileEvent)
        else SourceReject(code="invalid_line", message=in_words(item), field=item.column, raw=item.raw)
        for item in batch
    ]
    prepared = collector.ingest.prepare_source(
        SourceEvents(key=None, events=tuple(events)), source_id=source_id, now_ms=now_ms(), reader=reader
    )
    if prepared.names is not None:
        collector.names.learn(prepared.names)
    receipt = collector.store.append(prepared.events, prepared.reject_rows).result()
    result.accepted += receipt.stored
    result.duplicates += receipt.duplicates
    result.rejected += len(prepared.rejected)
    for rejected in prepared.rejected:
        if len(result.problems) < SHOWN_PROBLEMS:
            item = batch[rejected.index]
            message = item.message if isinstance(item, FileProblem) else rejected.message
            result.problems.append(LineProblem(item.line, rejected.field, message))


def in_words(problem: FileProblem) -> str:
    """Return a problem with its line, as quarantine keeps it."""
    return f"line {problem.line}: {problem.message}"
