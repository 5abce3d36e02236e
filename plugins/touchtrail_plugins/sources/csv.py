"""`source.csv`: touchpoints, orders and costs from files, for what no client and no webhook sends."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, tzinfo
from typing import Any, BinaryIO, cast
from zoneinfo import ZoneInfo

import msgspec

from touchtrail_collector.api import FileEvent, FileProblem, Source, hookimpl

from ._csv_cell import CellError, Decimal, to_currency
from ._csv_costs import COSTS
from ._csv_event_id import EventIds
from ._csv_kind import FileKind
from ._csv_orders import ORDERS
from ._csv_row import Format, Row
from ._csv_table import Header, Table, TableError
from ._csv_touchpoints import TOUCHPOINTS

KINDS = {kind.name: kind for kind in (TOUCHPOINTS, ORDERS, COSTS)}
DELIMITER_NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "\\t": "\t"}
ENCODINGS = ("ascii", "big5", "cp", "euc", "gb", "iso8859", "koi8", "mac", "shift", "utf-8", "utf-16", "utf-32")
"""What the names of Python's codecs for whole texts begin with; the others are no encodings of files."""
OPTIONS = ("kind", "encoding", "delimiter", "decimal", "time_zone", "currency")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The command line's options, checked."""

    kind: FileKind | None
    encoding: str
    delimiter: str | None
    format: Format


@hookimpl
def touchtrail_sources(settings: Any) -> Iterable[Source]:
    """Return the source; it has files only."""
    return [Source(name="csv", read_file=read_file)]


def read_file(file: BinaryIO, options: Mapping[str, str]) -> Iterator[FileEvent | FileProblem]:
    """Yield the events of a file and, line by line, what could not be read.

    Memory does not grow with the file.

    Args:
        options: `kind` (touchpoints, orders, costs; else told by the header), `encoding` (utf-8), `delimiter` (else
            told by the header), `decimal` (auto, point, comma), `time_zone` (UTC), `currency` (none).
    """
    try:
        checked = read_options(options)
        table = Table(file, encoding=checked.encoding, delimiter=checked.delimiter)
    except OptionError as error:
        yield FileProblem(line=1, message=str(error))
        return
    except TableError as error:
        yield error.problem
        return
    try:
        kind = checked.kind or guess_kind(table.header)
        if missing := kind.missing(table.header.names):
            yield FileProblem(line=1, message=explain_missing(kind, missing))
            return
        rows = (item if isinstance(item, FileProblem) else Row(item, table.header, checked.format) for item in table)
        yield from kind.read(rows, EventIds(kind.name))
    finally:
        table.detach()


def guess_kind(header: Header) -> FileKind:
    """Return the kind of file a header belongs to: the one that lacks nothing, else the one it looks most like."""
    names = header.names
    return min(KINDS.values(), key=lambda kind: (bool(kind.missing(names)), -len(set(names) & set(kind.known))))


def explain_missing(kind: FileKind, missing: list[str]) -> str:
    """Return the message for a header that lacks columns."""
    columns = ", ".join(missing)
    return (
        f"as a file of {kind.name} the header lacks {columns}; its columns are {', '.join(kind.known)}"
        "; --option kind=touchpoints|orders|costs says what the file holds"
    )


class OptionError(ValueError):
    """An option is unknown or has a wrong value."""


def read_options(given: Mapping[str, str]) -> Options:
    """Check the options. Raises: OptionError."""
    if unknown := sorted(set(given) - set(OPTIONS)):
        raise OptionError(f"there is no option {', '.join(unknown)}; the options are {', '.join(OPTIONS)}")
    kind = given.get("kind")
    if kind is not None and kind not in KINDS:
        raise OptionError(f"option kind: expected one of {', '.join(KINDS)}, not {kind!r}")
    return Options(
        kind=None if kind is None else KINDS[kind],
        encoding=read_encoding(given.get("encoding", "utf-8")),
        delimiter=read_delimiter(given.get("delimiter")),
        format=Format(
            decimal=read_decimal(given.get("decimal", "auto")),
            zone=read_zone(given.get("time_zone", "UTC")),
            currency=read_currency(given.get("currency")),
        ),
    )


def read_encoding(name: str) -> str:
    """Return a codec's name. Raises: OptionError."""
    try:
        codec = codecs.lookup(name).name
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        codec = ""
    if not codec.startswith(ENCODINGS):
        raise OptionError(f"option encoding: there is no encoding {name!r} for tables; try utf-8 or cp1252")
    return codec


def read_delimiter(name: str | None) -> str | None:
    """Return the character between cells. Raises: OptionError."""
    delimiter = None if name is None else DELIMITER_NAMES.get(name, name)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise OptionError(f"option delimiter: expected one character or {', '.join(DELIMITER_NAMES)}, not {name!r}")
    return delimiter


def read_decimal(name: str) -> Decimal:
    """Return which sign is the decimal one. Raises: OptionError."""
    if name not in ("auto", "point", "comma"):
        raise OptionError(f"option decimal: expected auto, point or comma, not {name!r}")
    return cast("Decimal", name)


def read_zone(name: str) -> tzinfo:
    """Return a time zone. Raises: OptionError."""
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise OptionError(f"option time_zone: there is no zone {name!r}; try Europe/Berlin or UTC") from None


def read_currency(code: str | None) -> str | None:
    """Return a currency's code. Raises: OptionError."""
    try:
        return None if code is None else to_currency(code)
    except CellError as error:
        raise OptionError(f"option currency: {error}") from None
