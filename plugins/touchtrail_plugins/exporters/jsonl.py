"""JSON Lines: one JSON object per row and line, for programs and for `jq`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import msgspec

from touchtrail.money import Money
from touchtrail_collector.api import Dataset, Exporter, hookimpl

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What JSON need not escape and a terminal obeys: DEL, C1, and what turns text round. Source: Unicode TR 36.
_CONTROL = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def write(dataset: Dataset, file: BinaryIO, options: dict[str, str]) -> int:
    """Write the dataset and return how many rows it had.

    Members stand in the order of the columns. Times are ISO 8601 in UTC; money is a string with the decimals of
    the row's ``currency``, because JSON readers take numbers for floats; a missing value is null. Control characters
    are escaped, which changes nothing for readers of JSON.

    Raises:
        ValueError: an option was given, or there is money and no ``currency`` column.

    Source: jsonlines.org.
    """
    if options:
        raise ValueError(f"the jsonl exporter has no options, and none named {min(options)!r}")
    names = [column.name for column in dataset.columns]
    currency = names.index("currency") if "currency" in names else None
    written_otherwise = [(place, c.kind) for place, c in enumerate(dataset.columns) if c.kind in _JSON_FORMATS]
    money = [names[place] for place, kind in written_otherwise if kind == "money"]
    if money and currency is None:
        raise ValueError(f"{dataset.name}: column {money[0]!r} is money, but no column is named 'currency'")
    encoder = msgspec.json.Encoder()
    rows = 0
    for row in dataset.rows:
        values = list(row)
        for place, kind in written_otherwise:
            values[place] = _JSON_FORMATS[kind](row[place], None if currency is None else row[currency])
        file.write(_harmless(encoder.encode(dict(zip(names, values, strict=True)))) + b"\n")
        rows += 1
    return rows


def _harmless(line: bytes) -> bytes:
    if line.isascii() and b"\x7f" not in line:
        return line
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", line.decode()).encode()


def _text(value: Any, currency: Any) -> Any:
    # Lone surrogates are no Unicode text; they become question marks rather than ending the export.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and not value.isascii() else value


def _boolean(value: Any, currency: Any) -> Any:
    # SQLite has no booleans: they come as 0 and 1.
    return bool(value) if isinstance(value, int) else value


def _time(value: Any, currency: Any) -> Any:
    if not isinstance(value, int):
        return value
    return (_EPOCH + timedelta(milliseconds=value)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _money(value: Any, currency: Any) -> Any:
    return f"{Money(value, currency).to_decimal():f}" if isinstance(value, int) else value


_JSON_FORMATS = {"text": _text, "boolean": _boolean, "time": _time, "money": _money}


@hookimpl
def touchtrail_exporters() -> list[Exporter]:
    """Contribute the exporter `jsonl`."""
    return [Exporter(name="jsonl", suffix=".jsonl", write=write)]
