"""Tables to files through exporter plugins; a file is whole or not there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from ..domain.dataset import Dataset, Exporter
from ..errors import UsageError
from ..host import PluginHost
from ..settings import Settings
from ..store.sqlite.current_reader import open_current_reader
from ..store.sqlite.reader import Reader
from ..store.sqlite.tables import TABLES, count_rows, read_table
from ..store.sqlite.whole_file import partial_file, put_in_place

PROGRESS_ROWS = 1_000


def export_table(  # noqa: PLR0913 - the command's options
    settings: Settings,
    host: PluginHost,
    name: str,
    target: Path,
    *,
    table: str,
    options: Mapping[str, str],
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a table with an exporter and return how many rows that were.

    Args:
        target: `-` writes to stdout. A file appears under its name only once it is complete.

    Raises: UsageError for an unknown exporter, table or option; DatabaseMissing.
    """
    exporters = host.exporters()
    if name not in exporters:
        raise UsageError(f"there is no exporter {name!r}; there are: {', '.join(sorted(exporters)) or 'none'}")
    if table not in TABLES:
        raise UsageError(f"there is no table {table!r}; there are: {', '.join(TABLES)}")
    with closing(open_current_reader(Path(settings.store.db))) as reader:
        dataset = with_progress(read_table(reader, table), reader, progress)
        try:
            return write_dataset(exporters[name], dataset, target, dict(options))
        except ValueError as error:
            raise UsageError(f"exporter {name}: {error}") from None


def write_dataset(exporter: Exporter, dataset: Dataset, target: Path, options: dict[str, str]) -> int:
    """Write a file that only its owner can read, as a backup is: there are people in it."""
    if str(target) == "-":
        return exporter.write(dataset, sys.stdout.buffer, options)
    with partial_file(target) as partial:
        with partial.open("wb") as file:
            rows = exporter.write(dataset, file, options)
        put_in_place(partial, target)
    return rows


def with_progress(dataset: Dataset, reader: Reader, progress: Callable[[int, int], None] | None) -> Dataset:
    """Return the dataset with rows that tell how many of them went by."""
    if progress is None:
        return dataset
    total = count_rows(reader, dataset.name)

    def rows() -> Iterator[Sequence[Any]]:
        for number, row in enumerate(dataset.rows, 1):
            if number % PROGRESS_ROWS == 0:
                progress(number, total)
            yield row

    return msgspec.structs.replace(dataset, rows=rows())
