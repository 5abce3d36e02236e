"""Datasets and exporters: tables of the collector on their way to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO, Literal

import msgspec


class Column(msgspec.Struct, frozen=True):
    """One column; ``kind`` tells how a value reads: `time` is UTC milliseconds, `money` minor units of ``currency``."""

    name: str
    kind: Literal["text", "integer", "real", "boolean", "time", "money"] = "text"


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A named table: its columns, and its rows as an iterator that is read once."""

    name: str
    columns: tuple[Column, ...]
    rows: Iterable[Sequence[Any]]


class Exporter(msgspec.Struct, frozen=True, kw_only=True):
    """One file format.

    Args:
        name: as on the command line, `touchtrail export csv --to FILE`.
        suffix: the usual file ending, with the dot.
        write: writes the dataset, returns how many rows it wrote. It gets an open binary file and never opens
            one itself. ``options`` are the command line's `--option name=value`; an unknown one raises ValueError.
    """

    name: str
    suffix: str
    write: Callable[[Dataset, BinaryIO, dict[str, str]], int]
