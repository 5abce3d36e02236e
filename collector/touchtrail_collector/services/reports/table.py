"""Tables: what a report looks like as rows, for terminals, CSV files and pages, which only render them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import msgspec

Kind = Literal["text", "integer", "decimal", "share", "money", "micro", "time", "measure"]


class Measure(NamedTuple):
    """A cell that brings its own kind, for tables with one measure per row; ``currency`` None = the table's."""

    value: Any
    kind: Kind
    currency: str | None = None


class TableColumn(msgspec.Struct, frozen=True):
    """One column.

    Args:
        key: the column's name in CSV.
        title: as people read it.
        kind: how values read. `share` is a fraction of 1, `money` minor units of the table's currency, `micro`
            millionths, `time` UTC milliseconds, `measure` a `Measure`. None is "not known" in every kind.
    """

    key: str
    title: str
    kind: Kind = "text"


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows under columns.

    Args:
        name: unique within its report, `by_month`.
        total: a last row for people; files leave it out, because whoever adds them up would count everything twice.
        currency: of every `money` cell.
        time_zone: times are shown in.
        note: a sentence below the table that says how to read it.
    """

    name: str
    title: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[Any, ...], ...]
    total: tuple[Any, ...] | None = None
    currency: str | None = None
    time_zone: str = "UTC"
    note: str | None = None


def struct_rows(structs: Iterable[msgspec.Struct], columns: tuple[TableColumn, ...]) -> tuple[tuple[Any, ...], ...]:
    """Return one row per struct: the fields the columns' keys name."""
    return tuple(tuple(getattr(struct, column.key) for column in columns) for struct in structs)
