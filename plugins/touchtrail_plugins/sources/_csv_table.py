"""A CSV file as rows, read line by line: whatever is broken costs its own line and no other."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

from touchtrail_collector.api import FileProblem

DELIMITERS = (",", ";", "\t")
LINE_CHARACTERS = 131_072
CELL_CHARACTERS = 32_768
RECORD_LINES = 100
"""A quoted cell that goes on for more lines than this is a quote somebody forgot to close."""

SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # what Excel writes and reads above the header


class Line(NamedTuple):
    """A physical line with its line end; ``text`` is None where it was too long to be read."""

    number: int
    text: str | None


class Record(NamedTuple):
    """A row as it stands in the file.

    Args:
        line: of its beginning; a quoted cell may go on for several.
        cells: by column, `column_name`; what is blank is left out.
        raw: the text itself.
    """

    line: int
    cells: Mapping[str, str]
    raw: str


class Header(NamedTuple):
    """The names of a file's columns.

    Args:
        names: in order, in lower case with `_` for blanks; empty for a column without a name.
        titles: the name as the file has it, by name.
    """

    names: tuple[str, ...]
    titles: Mapping[str, str]


class Broken(Exception):
    """A row that cannot be read; ``column`` counts from 0."""

    def __init__(self, message: str, column: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.column = column


class TableError(Exception):
    """A file that cannot be read at all; ``problem`` says why."""

    def __init__(self, problem: FileProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Table:
    """Reads a file's header when made, its rows when iterated.

    Args:
        encoding: a codec's name; a byte-order mark is taken off.
        delimiter: None = the one of comma, semicolon and tabulator that the header holds most of.

    Raises: TableError, when there is no usable header.
    """

    def __init__(self, file: BinaryIO, *, encoding: str = "utf-8", delimiter: str | None = None) -> None:
        self._encoding = encoding
        codec = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
        # surrogateescape keeps an undecodable byte where it stands, so that only its own row is refused; UTF-16 and
        # UTF-32 cannot.
        errors = "replace" if codecs.lookup(codec).name.startswith(("utf-16", "utf-32")) else "surrogateescape"
        self._stream = io.TextIOWrapper(file, encoding=codec, errors=errors, newline=None)
        self._ahead: deque[Line] = deque()
        self._number = 0
        self._delimiter = delimiter or ","
        try:
            self.header = self._read_header(delimiter)
        except TableError:
            self.detach()
            raise

    def detach(self) -> None:
        """Leave the file open to whoever opened it."""
        self._stream.detach()

    def __iter__(self) -> Iterator[Record | FileProblem]:
        while (line := self._next_line()) is not None:
            if line.text is not None and not line.text.strip():
                continue
            try:
                record = self._read_record(line)
            except Broken as error:
                yield self._problem(line, error)
                continue
            if record.cells:
                yield record

    def _next_line(self) -> Line | None:
        if self._ahead:
            return self._ahead.popleft()
        text = self._stream.readline(LINE_CHARACTERS)
        if not text:
            return None
        self._number += 1
        if len(text) < LINE_CHARACTERS or text.endswith("\n"):
            return Line(self._number, text)
        while (rest := self._stream.readline(LINE_CHARACTERS)) and not rest.endswith("\n"):
            pass
        return Line(self._number, None)

    def _read_header(self, delimiter: str | None) -> Header:
        line = self._next_line()
        while line is not None and line.text is not None and not line.text.strip():
            line = self._next_line()
        if line is not None and (match := SEPARATOR_LINE.fullmatch(line.text or "")):
            delimiter = delimiter or match[1]
            line = self._next_line()
        if line is None or line.text is None:
            what = "the file is empty" if line is None else "the first line is too long for a header"
            raise TableError(FileProblem(line=1, message=f"{what}; the first line must name the columns"))
        self._delimiter = delimiter or sniff(line.text)
        try:
            cells, raw = self._split(line)
            check_text(cells, raw, self._encoding)
        except Broken as error:
            hint = "the first line must name the columns of a CSV file; a spreadsheet must be saved as CSV first"
            problem = FileProblem(line=line.number, message=f"{error.message}; {hint}", raw=to_raw(line.text))
            raise TableError(problem) from None
        return name_columns(cells, line.number)

    def _read_record(self, line: Line) -> Record:
        if line.text is None:
            raise Broken(f"the line has more than {LINE_CHARACTERS} characters")
        cells, raw = self._split(line)
        check_text(cells, raw, self._encoding)
        names = self.header.names
        while len(cells) > len(names) and not cells[-1].strip():
            cells.pop()
        if len(cells) != len(names):
            found = f"the row has {len(cells)} cells, the header has {len(names)}"
            raise Broken(f"{found}; a cell that holds the delimiter must stand in double quotes")
        return Record(
            line.number,
            {name: text for name, cell in zip(names, cells, strict=True) if name and (text := cell.strip())},
            raw,
        )

    def _split(self, line: Line) -> tuple[list[str], str]:
        """Return a record's cells and text; the lines it goes on for are taken from the file."""
        assert line.text is not None
        if '"' not in line.text:
            return line.text.rstrip("\n").split(self._delimiter), line.text
        taken: list[Line] = []

        def feed() -> Iterator[str]:
            size = len(line.text or "")
            yield line.text or ""
            while len(taken) < RECORD_LINES and size < LINE_CHARACTERS and (following := self._next_line()) is not None:
                taken.append(following)
                if following.text is None:
                    return
                size += len(following.text)
                yield following.text

        try:
            cells = next(csv.reader(feed(), delimiter=self._delimiter, strict=True))
        except csv.Error:
            # Only the first line is lost: those after it may be rows of their own.
            self._ahead.extendleft(reversed(taken))
            raise Broken(*find_fault(line.text, self._delimiter)) from None
        return cells, line.text + "".join(following.text or "" for following in taken)

    def _problem(self, line: Line, error: Broken) -> FileProblem:
        names = self.header.names
        column = None
        if error.column is not None:
            name = names[error.column] if error.column < len(names) else ""
            column = self.header.titles.get(name, f"column {error.column + 1}")
        return FileProblem(line=line.number, column=column, message=error.message, raw=to_raw(line.text or ""))


def sniff(header: str) -> str:
    """Return the delimiter the header holds most of."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=bare.count)


def name_columns(cells: list[str], line: int) -> Header:
    """Return the columns' names.

    Raises: TableError, when two are the same.
    """
    titles: dict[str, str] = {}
    names = []
    for cell in cells:
        title = cell.strip()
        name = re.sub(r"[\s\-]+", "_", title.lower())
        if name in titles:
            raise TableError(FileProblem(line=line, column=title, message=f"there are two columns named {title}"))
        if name:
            titles[name] = title
        names.append(name)
    while names and not names[-1]:
        names.pop()
    return Header(tuple(names), titles)


def check_text(cells: list[str], raw: str, encoding: str) -> None:
    """Refuse a row with NUL or undecodable bytes, or with a cell that is too long.

    Raises: Broken.
    """
    if "\0" in raw:
        raise Broken("the cell holds a NUL byte", next((n for n, cell in enumerate(cells) if "\0" in cell), None))
    if not raw.isascii() and (match := re.search("[\udc80-\udcff]", raw)):
        column = next((number for number, cell in enumerate(cells) if match[0] in cell), None)
        byte = ord(match[0]) - 0xDC00
        hint = "" if encoding.lower() == "cp1252" else "; a file from Excel may need --option encoding=cp1252"
        raise Broken(f"the byte {byte:#04x} is not {encoding}{hint}", column)
    if len(raw) > CELL_CHARACTERS:
        for number, cell in enumerate(cells):
            if len(cell) > CELL_CHARACTERS:
                raise Broken(f"the cell has {len(cell)} characters; the limit is {CELL_CHARACTERS}", number)


def find_fault(text: str, delimiter: str) -> tuple[str, int | None]:
    """Return what is wrong with a line's quotes, and in which cell."""
    at = number = 0
    text = text.rstrip("\n")
    while at <= len(text):
        if text.startswith('"', at):
            at += 1
            while (end := text.find('"', at)) >= 0 and text.startswith('""', end):
                at = end + 2
            if end < 0:
                return f"the quote that opens here is not closed in the next {RECORD_LINES} lines", number
            if end + 1 < len(text) and text[end + 1] != delimiter:
                return "there is text after the closing quote; a quote inside a cell is written twice", number
        end = text.find(delimiter, at)
        if end < 0:
            break
        at, number = end + 1, number + 1
    return "the quotes of the row do not match", None


def to_raw(text: str) -> bytes:
    """Return a row's text as bytes for the quarantine, undecodable bytes as they were."""
    return text.encode("utf-8", "surrogateescape")
