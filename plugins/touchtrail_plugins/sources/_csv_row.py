"""A row whose cells are asked for by what they should hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, tzinfo
from typing import Any, TypeVar

import msgspec

from touchtrail_collector.api import FileProblem

from . import _csv_cell as cell
from ._csv_table import Header, Record, to_raw
from ._field_kinds import Kind

T = TypeVar("T")
Event = dict[str, Any]

PERSON_COLUMNS = ("customer_id", "anonymous_id", "email", "phone", "loyalty_card")
CONTEXT_COLUMNS = ("session_id", "source", "medium", "campaign", "term", "content", "url", "referrer", "title")
CAMPAIGN_PARTS = {"source": "source", "medium": "medium", "campaign": "name", "term": "term", "content": "content"}


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """How the file writes what can be written in several ways."""

    decimal: cell.Decimal = "auto"
    zone: tzinfo = UTC
    currency: str | None = None


class RowError(Exception):
    """A row is no event; ``problem`` says why and where."""

    def __init__(self, problem: FileProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Row:
    """One row of a file."""

    def __init__(self, record: Record, header: Header, given: Format) -> None:
        self.line = record.line
        self.raw = record.raw
        self.cells = record.cells
        self.format = given
        self._record = record
        self._header = header

    def error(self, column: str | None, message: str) -> RowError:
        """Return the error to raise: this row, that column."""
        title = None if column is None else self._header.titles.get(column, column)
        return RowError(FileProblem(line=self.line, column=title, message=message, raw=to_raw(self.raw)))

    def has_column(self, column: str) -> bool:
        """True when the file has this column, whatever the cell holds."""
        return column in self._header.titles

    def with_cells(self, cells: Mapping[str, str]) -> Row:
        """Return the same row with other cells."""
        return Row(self._record._replace(cells=cells), self._header, self.format)

    def text(self, column: str) -> str | None:
        """Return a cell's text, None where it is blank or the file has no such column."""
        return self.cells.get(column)

    def required(self, column: str, expected: str) -> str:
        """Return a cell's text. Raises: RowError, when it is blank."""
        text = self.cells.get(column)
        if text is None:
            raise self.error(column, f"the cell is empty; expected {expected}")
        return text

    def read(self, column: str, convert: Callable[[str], T]) -> T | None:
        """Return what a cell holds, None where it is blank. Raises: RowError."""
        text = self.cells.get(column)
        if text is None:
            return None
        try:
            return convert(text)
        except cell.CellError as error:
            raise self.error(column, str(error)) from None

    def amount(self, column: str) -> str | None:
        """Return an amount of money of 0 or more. Raises: RowError."""
        amount = self.read(column, lambda text: cell.to_amount(text, self.format.decimal))
        if amount is not None and amount.startswith("-"):
            raise self.error(column, f"expected an amount of 0 or more, not {self.cells[column]!r}")
        return amount

    def size(self, column: str) -> str | None:
        """Return an amount of money without its sign. Raises: RowError."""
        return self.read(column, lambda text: cell.to_size(text, self.format.decimal))

    def count(self, column: str) -> int | None:
        """Return a whole number. Raises: RowError."""
        return self.read(column, cell.to_count)

    def moment(self, column: str) -> str | None:
        """Return a point in time, RFC 3339 in UTC. Raises: RowError."""
        return self.read(column, lambda text: cell.to_moment(text, self.format.zone))

    def currency(self) -> str | None:
        """Return the row's currency, or the file's. Raises: RowError."""
        return self.read("currency", cell.to_currency) or self.format.currency

    def value(self, column: str, kind: Kind) -> Any:
        """Return what a cell holds, by the kind of the event's field. Raises: RowError."""
        if kind == "amount":
            return self.amount(column)
        if kind == "number":
            return self.read(column, lambda text: cell.to_number(text, self.format.decimal))
        return self.read(column, READERS[kind])

    def person(self) -> Event:
        """Return who the row is about, as the envelope has it."""
        event: Event = {name: self.cells[name] for name in ("anonymous_id", "customer_id") if name in self.cells}
        identifiers = {name: self.cells[name] for name in ("email", "phone", "loyalty_card") if name in self.cells}
        if identifiers:
            event["identifiers"] = identifiers
        return event

    def context(self, fields: Mapping[str, Any]) -> Event:
        """Return session, campaign and page, as the envelope has them.

        Args:
            fields: the event's own fields: a column named like one belongs to it.
        """
        given = {name: self.cells[name] for name in CONTEXT_COLUMNS if name in self.cells and name not in fields}
        event: Event = {"session_id": given["session_id"]} if "session_id" in given else {}
        if campaign := {part: given[name] for name, part in CAMPAIGN_PARTS.items() if name in given}:
            event["campaign"] = campaign
        if page := {name: given[name] for name in ("url", "referrer", "title") if name in given}:
            event["page"] = page
        return event


def split_texts(text: str) -> list[str]:
    """Return the parts of a cell that holds several, `A|B`."""
    return [part for part in map(str.strip, text.split("|")) if part]


def read_json(text: str) -> Any:
    """Return what a cell written as JSON holds. Raises: CellError."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise cell.CellError(f"expected JSON, not {cell.shown(text)}") from None


READERS: Mapping[Kind, Callable[[str], Any]] = {
    "count": cell.to_count,
    "currency": cell.to_currency,
    "flag": cell.to_flag,
    "lines": read_json,
    "other": read_json,
    "text": str,
    "texts": split_texts,
}
"""What reads a cell, by the kind of the event's field; money and numbers need the file's decimal sign besides."""
