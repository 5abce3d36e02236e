"""Markdown: a dataset as a table to paste into a wiki or an issue."""

from __future__ import annotations

from typing import Any, BinaryIO

from touchtrail_collector.api import Dataset, Exporter, hookimpl


def write(dataset: Dataset, file: BinaryIO, options: dict[str, str]) -> int:
    """Write the table, values as they are stored, and return how many rows it had."""
    if options:
        raise ValueError(f"the markdown exporter has no option {min(options)!r}")
    file.write(_line([column.name for column in dataset.columns]))
    file.write(_line(["---"] * len(dataset.columns)))
    rows = 0
    for row in dataset.rows:
        file.write(_line(row))
        rows += 1
    return rows


def _line(values: Any) -> bytes:
    cells = ("" if value is None else str(value) for value in values)
    # A bar or a line break in a text would end the cell or the row.
    safe = (" ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return f"| {' | '.join(safe)} |\n".encode("utf-8", "replace")


@hookimpl
def touchtrail_exporters() -> list[Exporter]:
    """Contribute the exporter."""
    return [Exporter(name="markdown", suffix=".md", write=write)]
