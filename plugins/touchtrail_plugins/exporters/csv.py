"""CSV, as spreadsheets and databases read it; `bom=yes`, `delimiter=;` and `decimal=comma` for German Excel."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, TypeVar

import msgspec

from touchtrail.money import Money
from touchtrail_collector.api import Column, Dataset, Exporter, hookimpl

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
# All but tabs and ends of lines, which are a part of CSV; of Unicode, what turns text round. Source: Unicode TR 36.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")


class CsvOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the file is written.

    Args:
        delimiter: one character between the cells, or `tab`.
        bom: begin with a byte order mark, by which Excel recognises UTF-8.
        decimal: `.` or `,` in amounts of money and real numbers.
    """

    delimiter: str = ","
    bom: bool = False
    decimal: str = "."


def read_options(options: dict[str, str]) -> CsvOptions:
    """Return the options of `--option name=value`.

    Raises:
        ValueError: an unknown name or a value that does not exist; the message lists what does.
    """
    unknown = sorted(options.keys() - {"delimiter", "bom", "decimal"})
    if unknown:
        raise ValueError(f"the csv exporter has no option {unknown[0]!r}; it has delimiter, bom and decimal")
    delimiter = options.get("delimiter", ",")
    delimiter = "\t" if delimiter == "tab" else delimiter
    # A digit, sign or point between the cells could not be told from the numbers in them.
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter.isalnum() or delimiter in '"\r\n=+-@.\0 ':
        raise ValueError(f"delimiter={delimiter!r}: give one character such as , ; or |, or the word tab")
    bom = _choice(options, "bom", {"no": False, "yes": True})
    return CsvOptions(delimiter=delimiter, bom=bom, decimal=_choice(options, "decimal", {"point": ".", "comma": ","}))


def write(dataset: Dataset, file: BinaryIO, options: dict[str, str]) -> int:
    """Write the dataset and return how many rows it had.

    Times are ISO 8601 in UTC, money has the decimals of the row's ``currency``, a missing value is an empty
    cell. Text that a spreadsheet would run as a formula (it begins with = + - @, TAB or CR) gets an apostrophe
    in front; numbers of numeric columns do not, so that they stay numbers. Control characters, which a terminal would
    obey, are written as JSON does (`\\u001b`): JSON in a cell stays the same JSON.

    Raises:
        ValueError: an option is wrong, or there is money and no ``currency`` column.

    Source: RFC 4180; OWASP, CSV injection.
    """
    settings = read_options(options)
    formats = _cell_formats(dataset, settings.decimal)
    # Lone surrogates cannot be written as UTF-8; they become question marks rather than ending the export.
    encoding = "utf-8-sig" if settings.bom else "utf-8"
    text = io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="")
    writer = csv.writer(text, delimiter=settings.delimiter, lineterminator="\r\n")
    writer.writerow([_text(column.name) for column in dataset.columns])
    rows = 0
    try:
        for row in dataset.rows:
            writer.writerow([cell(value, row) for cell, value in zip(formats, row, strict=True)])
            rows += 1
    finally:
        # The file belongs to the caller: detach, or collecting the wrapper would close it.
        text.flush()
        text.detach()
    return rows


Cell = Callable[[Any, Sequence[Any]], str]


def _cell_formats(dataset: Dataset, decimal: str) -> list[Cell]:
    """Return, per column, a function from a value and its row to the cell's text."""
    names = [column.name for column in dataset.columns]
    currency = names.index("currency") if "currency" in names else None
    formats: dict[str, Cell] = {
        "text": lambda value, _: _text(value),
        "integer": lambda value, _: _integer(value),
        "real": lambda value, _: _real(value, decimal),
        "boolean": lambda value, _: _boolean(value),
        "time": lambda value, _: _time(value),
    }

    def money(value: Any, row: Sequence[Any]) -> str:
        if not isinstance(value, int) or currency is None:
            return _text(value)
        return f"{Money(value, row[currency]).to_decimal():f}".replace(".", decimal)

    def format_of(column: Column) -> Cell:
        if column.kind != "money":
            return formats[column.kind]
        if currency is None:
            raise ValueError(f"{dataset.name}: column {column.name!r} is money, but no column is named 'currency'")
        return money

    return [format_of(column) for column in dataset.columns]


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else str(value)
    shown = text if text.isprintable() else _CONTROL.sub(_escape, text)
    return "'" + shown if text.startswith(_FORMULA_STARTS) else shown


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _integer(value: Any) -> str:
    return str(int(value)) if isinstance(value, int) else _text(value)


def _real(value: Any, decimal: str) -> str:
    if isinstance(value, float):
        return repr(value).replace(".", decimal) if math.isfinite(value) else ""
    return _integer(value)


def _boolean(value: Any) -> str:
    # SQLite has no booleans: they come as 0 and 1.
    return ("true" if value else "false") if isinstance(value, int) else _text(value)


def _time(value: Any) -> str:
    if not isinstance(value, int):
        return _text(value)
    return (_EPOCH + timedelta(milliseconds=value)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _choice(options: dict[str, str], name: str, values: dict[str, T]) -> T:
    """Return what the option's word stands for; the first of ``values`` when it is not given."""
    word = options.get(name, next(iter(values)))
    if word not in values:
        raise ValueError(f"{name}={word}: give {' or '.join(values)}")
    return values[word]


@hookimpl
def touchtrail_exporters() -> list[Exporter]:
    """Contribute the exporter `csv`."""
    return [Exporter(name="csv", suffix=".csv", write=write)]
