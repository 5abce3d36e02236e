"""Files of touchpoints: one row, one event of any name."""

from __future__ import annotations

import re
from typing import Any

from ._csv_kind import FileKind, each_row
from ._csv_row import CONTEXT_COLUMNS, PERSON_COLUMNS, Row
from ._field_kinds import fields_of

NAME = re.compile(r"[a-z_][a-z0-9_]{0,63}")
ENVELOPE = frozenset({"occurred_at", "event", "event_id", *PERSON_COLUMNS})


def to_touchpoint(row: Row) -> dict[str, Any]:
    """Return a row's event. Raises: RowError."""
    row.required("occurred_at", "a time such as 2026-11-21 10:00")
    name = re.sub(r"[\s\-]+", "_", row.required("event", "an event's name such as store_visited").lower())
    if NAME.fullmatch(name) is None:
        raise row.error("event", f"expected a name of letters, digits and _ such as store_visited, not {name[:80]!r}")
    fields = fields_of(name) or {}
    event = {"name": name, "occurred_at": row.moment("occurred_at"), **row.person(), **row.context(fields)}
    if event_id := row.text("event_id"):
        event["event_id"] = event_id
    properties = to_properties(row, name)
    if properties:
        event["properties"] = properties
    return event


def to_properties(row: Row, name: str) -> dict[str, Any]:
    """Return the other columns: the event's fields, converted; what it has no field for goes into ``extra``."""
    fields = fields_of(name)
    properties: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for column, text in row.cells.items():
        if fields is not None and column in fields:
            properties[column] = row.value(column, fields[column].kind)
        elif column in ENVELOPE or column in CONTEXT_COLUMNS:
            continue
        elif fields is None:
            properties[column] = text
        else:
            extra[column] = text
    if fields is not None and "currency" in fields and row.format.currency and "currency" not in properties:
        has_money = any(fields[column].kind in ("amount", "lines") for column in properties)
        if has_money or fields["currency"].is_required:
            properties["currency"] = row.format.currency
    if extra:
        properties["extra"] = extra
    return properties


TOUCHPOINTS = FileKind(
    name="touchpoints",
    required=(("occurred_at",), ("event",)),
    known=("occurred_at", "event", "event_id", *PERSON_COLUMNS, *CONTEXT_COLUMNS),
    read=each_row(to_touchpoint),
)
