"""Conformance of exporters."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from touchtrail_collector.api import Column, Dataset, Exporter

from ._verdict import Verdict

AWKWARD_TEXT = (
    "",
    " ",
    " both sides ",
    "a,b;c|d",
    'she said "no"',
    "it's",
    "line\nbreak",
    "line\r\nbreak",
    "tab\there",
    "back\\slash",
    "=1+1",
    "+49 30 1234",
    "-5",
    "@name",
    "\ttab first",
    "<script>alert(1)</script>",
    "ünïcødé 漢字 🎉",
    "line\u2028separator",
    "null",
    "0123",
    "x" * 10_000,
)
"""Text that exporters get wrong: separators, quotes, line breaks, formulas, markup, more than ASCII."""

_COLUMNS = (
    Column("label"),
    Column("pieces", "integer"),
    Column("share", "real"),
    Column("paid", "boolean"),
    Column("placed_at", "time"),
    Column("net", "money"),
    Column("currency"),
)
_NUMBERS = (
    (0, 0.0, 0, 0, 0, "EUR"),
    (-1, -0.5, True, 1_795_255_200_123, -12_990, "EUR"),
    (2**63 - 1, 1e300, False, 4_102_444_800_000, 10**15, "JPY"),
    (7, float("nan"), 1, 1, 1, "KWD"),
    (None, None, None, None, None, None),
)


def check_exporter(
    exporter: Exporter,
    *,
    read: Callable[[bytes], Iterable[Mapping[str, Any]]] | None = None,
    options: Mapping[str, str] | None = None,
) -> None:
    """Check that an exporter writes any dataset, always the same bytes, and tells the truth about it.

    Args:
        read: reads the format back, one mapping of column to value per row; text must come back as it was, or
            with one apostrophe before what a spreadsheet would run as a formula.
        options: options the exporter cannot do without.

    Raises:
        AssertionError: it failed on a dataset, gave a wrong row count, closed the file, read the rows twice, is
            not deterministic, took an unknown option, or changed text.
    """
    verdict = Verdict(f"exporter {exporter.name!r}")
    verdict.require_name(exporter.name)
    verdict.require(exporter.suffix.startswith("."), f"its suffix is {exporter.suffix!r}; it must begin with a dot")
    given = dict(options or {})
    rows = [(text, *_NUMBERS[place % len(_NUMBERS)]) for place, text in enumerate(AWKWARD_TEXT)]
    first = _write(verdict, exporter, rows, given)
    verdict.require(
        first == _write(verdict, exporter, rows, given), "the same dataset gave other bytes when written again"
    )
    _write(verdict, exporter, [], given)
    _check_unknown_option(verdict, exporter, given)
    if read is not None:
        _check_text(verdict, list(read(first)), rows)


class _WatchedFile(io.BytesIO):
    """A file that remembers whether somebody closed it."""

    was_closed = False

    def close(self) -> None:
        self.was_closed = True


class _RowsOnce:
    """Rows like those of a database cursor: gone once they were read."""

    def __init__(self, verdict: Verdict, rows: Sequence[Sequence[Any]]) -> None:
        self._verdict = verdict
        self._rows: Iterator[Sequence[Any]] | None = iter(rows)

    def __iter__(self) -> Iterator[Sequence[Any]]:
        self._verdict.require(self._rows is not None, "it read the rows twice; they come from a cursor, once")
        rows, self._rows = self._rows, None
        return rows or iter(())


def _write(verdict: Verdict, exporter: Exporter, rows: Sequence[Sequence[Any]], options: dict[str, str]) -> bytes:
    file = _WatchedFile()
    dataset = Dataset(name="orders", columns=_COLUMNS, rows=_RowsOnce(verdict, rows))
    what = f"a dataset of {len(rows)} awkward rows" if rows else "a dataset without rows"
    try:
        count = exporter.write(dataset, file, dict(options))
    except AssertionError:
        raise
    except Exception as error:
        problem = f"exporter {exporter.name!r}: it raised {type(error).__name__} ({error}) on {what}"
        raise AssertionError(problem) from error
    verdict.require(not file.was_closed, "it closed the file; the caller opened it and the caller closes it")
    verdict.require(count == len(rows), f"it returned {count!r} as the number of rows of {what}")
    return file.getvalue()


def _check_unknown_option(verdict: Verdict, exporter: Exporter, options: dict[str, str]) -> None:
    dataset = Dataset(name="orders", columns=_COLUMNS, rows=iter(()))
    try:
        exporter.write(dataset, io.BytesIO(), {**options, "no_such_option": "1"})
    except ValueError as error:
        named = "no_such_option" in str(error)
        verdict.require(named, f"the error for an unknown option does not name it: {str(error)!r}")
    else:
        verdict.require(False, "it took the option no_such_option=1; an unknown option must raise ValueError")


def _check_text(verdict: Verdict, back: list[Mapping[str, Any]], rows: Sequence[Sequence[Any]]) -> None:
    verdict.require(len(back) == len(rows), f"it wrote {len(rows)} rows, and {len(back)} came back")
    names = [column.name for column in _COLUMNS]
    for found, row in zip(back, rows, strict=True):
        missing = [name for name in names if name not in found]
        verdict.require(not missing, f"column {missing[0] if missing else ''} did not come back")
        text = found["label"]
        verdict.require(text in {row[0], "'" + row[0]}, f"the text {row[0]!r} came back as {text!r}")
