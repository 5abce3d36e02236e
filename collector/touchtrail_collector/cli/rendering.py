"""Renders tables of reports for terminals and CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from touchtrail.errors import CurrencyError
from touchtrail.money import exponent

from ..services.reports import Measure, Table, TableColumn
from ..services.reports.period import local_time
from .terminal import csv_text, in_one_line, printable

_UNKNOWN = "–"
_MICRO = 1_000_000
_PIPE_WIDTH = 10_000
# A spreadsheet would run a cell that begins with one of these.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def open_console() -> Console:
    """Return the console of standard output; what is piped has no edge to fold at and no colour."""
    console = Console(markup=False, highlight=False, emoji=False)
    if console.is_terminal:
        return console
    return Console(markup=False, highlight=False, emoji=False, width=_PIPE_WIDTH)


def print_tables(tables: Iterable[Table], console: Console) -> None:
    """Print each table under its title; one too wide for the terminal in parts that repeat its first column."""
    for table in tables:
        money = any(column.kind == "money" for column in table.columns)
        title = f"{table.title} ({table.currency})" if money and table.currency else table.title
        console.print()
        console.print(Text(in_one_line(title), style="bold"))
        if not table.rows:
            console.print(Text("nothing in this period", style="dim"))
        else:
            for part in _split_to_fit(table, console):
                console.print(part)
        if table.note:
            console.print(Text(printable(table.note), style="dim"))


def format_csv(table: Table) -> str:
    """Return the table as CSV with a header: plain numbers, ISO times, amounts in whole units with their currency.

    Control characters in texts are written as JSON does, `\\u001b`.
    """
    has_money = table.currency is not None and any(column.kind in ("money", "measure") for column in table.columns)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.key.removesuffix("_minor") for column in table.columns] + ["currency"] * has_money)
    for row in table.rows:
        cells = [_plain(value, column, table) for value, column in zip(row, table.columns, strict=True)]
        writer.writerow(cells + [_row_currency(row, table)] * has_money)
    return out.getvalue()


def format_cell(value: Any, kind: str, *, currency: str | None, time_zone: str) -> str:
    """Return a value as people read it: thousands apart, percent, local time; an unknown one as a dash."""
    if value is None:
        return _UNKNOWN
    if kind == "integer":
        return f"{value:,}"
    if kind == "decimal":
        return f"{value:,.2f}"
    if kind == "share":
        return f"{100 * value:.1f} %"
    if kind == "micro":
        return f"{Decimal(value) / _MICRO:,.2f}"
    if kind == "money":
        digits = _digits(currency)
        return f"{_amount(value, digits):,.{digits}f}"
    if kind == "time":
        return f"{local_time(value, ZoneInfo(time_zone)):%Y-%m-%d %H:%M}"
    return str(value)


def _split_to_fit(table: Table, console: Console) -> Iterator[RichTable]:
    """Yield the table, or parts of it whose numbers all fit: a number cut short would be a wrong number."""
    places = list(range(1, len(table.columns)))
    while True:
        part = _rich_table(table, [0, *places])
        taken = len(places)
        while taken > 1 and _narrowest(part, console) > console.width:
            taken -= 1
            part = _rich_table(table, [0, *places[:taken]])
        yield part
        places = places[taken:]
        if not places:
            return


def _narrowest(part: RichTable, console: Console) -> int:
    return Measurement.get(console, console.options.update(max_width=_PIPE_WIDTH), part).minimum


def _rich_table(table: Table, places: Sequence[int]) -> RichTable:
    shown = RichTable(box=None, pad_edge=False, header_style="bold")
    for place in places:
        column = table.columns[place]
        numeric = column.kind not in ("text", "time")
        title = in_one_line(column.title)
        shown.add_column(
            Text(title.replace(" ", "\n") if numeric else title, style="bold"),
            justify="right" if numeric else "left",
            no_wrap=numeric or column.kind == "time",
            overflow="fold",
        )
    for row in (*table.rows, *([table.total] if table.total else [])):
        cells = (_shown_cell(row[place], table.columns[place], table) for place in places)
        shown.add_row(*(Text(in_one_line(cell)) for cell in cells), style="bold" if row is table.total else "")
    return shown


def _shown_cell(value: Any, column: TableColumn, table: Table) -> str:
    if isinstance(value, Measure):
        currency = value.currency or table.currency
        text = format_cell(value.value, value.kind, currency=currency, time_zone=table.time_zone)
        return f"{text} {currency}" if value.kind == "money" and value.value is not None and currency else text
    if value is None and column.kind == "text":
        return ""
    return format_cell(value, column.kind, currency=table.currency, time_zone=table.time_zone)


def _plain(value: Any, column: TableColumn, table: Table) -> str:
    kind, currency = column.kind, table.currency
    if isinstance(value, Measure):
        value, kind, currency = value.value, value.kind, value.currency or currency
    if value is None:
        return ""
    if kind == "money":
        digits = _digits(currency)
        return f"{_amount(value, digits):.{digits}f}"
    if kind == "micro":
        return f"{Decimal(value) / _MICRO:.6f}"
    if kind == "time":
        return local_time(value, ZoneInfo(table.time_zone)).isoformat(timespec="milliseconds")
    if kind == "text":
        text = str(value)
        return f"'{csv_text(text)}" if text.startswith(_FORMULA_STARTS) else csv_text(text)
    return str(value)


def _row_currency(row: Sequence[Any], table: Table) -> str | None:
    own = [cell.currency for cell in row if isinstance(cell, Measure) and cell.currency]
    return own[0] if own else table.currency


def _amount(minor: int, digits: int) -> Decimal:
    return Decimal(minor).scaleb(-digits)


def _digits(currency: str | None) -> int:
    """Return a currency's decimals; one that no list knows has two, as most have."""
    try:
        return 2 if currency is None else exponent(currency)
    except CurrencyError:
        return 2
