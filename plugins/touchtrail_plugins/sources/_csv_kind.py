"""What a kind of file consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from touchtrail_collector.api import FileEvent, FileProblem

from ._csv_event_id import EventIds
from ._csv_row import Row, RowError

Items = Iterator[FileEvent | FileProblem]
Rows = Iterable[Row | FileProblem]


class FileKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of file.

    Args:
        name: `touchpoints`, `orders` or `costs`.
        required: the columns it must have; one of each group.
        known: every column with a meaning of its own.
        read: rows to events; problems are passed on.
    """

    name: str
    required: tuple[tuple[str, ...], ...]
    known: tuple[str, ...]
    read: Callable[[Rows, EventIds], Items]

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the required columns a header lacks, `a or b` where one of several would do."""
        given = set(names)
        return [" or ".join(group) for group in self.required if given.isdisjoint(group)]


def each_row(to_event: Callable[[Row], dict[str, object]]) -> Callable[[Rows, EventIds], Items]:
    """Return a reader of files in which every row is one event."""

    def read(rows: Rows, ids: EventIds) -> Items:
        for row in rows:
            if isinstance(row, FileProblem):
                yield row
                continue
            try:
                event = to_event(row)
            except RowError as error:
                yield error.problem
                continue
            if "event_id" not in event:
                event["event_id"] = ids.next_of(event)
            yield FileEvent(event=event, line=row.line)

    return read
