"""Inserts many rows with few statements.

`executemany` hands the interpreter's lock over and back for every row. Alone that costs nothing; beside a busy event
loop each handing back waits, and a hundred rows took a hundred such waits (measured: a tenth of the throughput). One
statement with many rows waits once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Any

MAX_VALUES = 12_000
"""Values in one statement; SQLite takes 32,766 (sqlite.org/limits.html, 9), fewer keep statements quick to prepare."""


def insert_rows(connection: sqlite3.Connection, head: str, rows: Sequence[Sequence[Any]], tail: str = "") -> int:
    """Insert rows and return how many went in.

    Args:
        head: the statement up to VALUES, `INSERT INTO t (a, b)`.
        tail: what follows the values, such as `ON CONFLICT DO NOTHING`.
    """
    if not rows:
        return 0
    return insert_values(connection, head, chain.from_iterable(rows), shape=(len(rows), len(rows[0])), tail=tail)


def insert_values(
    connection: sqlite3.Connection, head: str, values: Iterator[Any], *, shape: tuple[int, int], tail: str = ""
) -> int:
    """Do the same for rows whose values come one after the other.

    Args:
        shape: how many rows there are, and values in each.
    """
    left, width = shape
    inserted = 0
    while left:
        size = slice_size(left, width)
        own = tuple(islice(values, size * width))
        inserted += connection.execute(statement(head, width, size, tail), own).rowcount
        left -= size
    return inserted


def slice_size(left: int, width: int) -> int:
    """Return how many of the rows left go into the next statement: of many, a multiple of `STEP_ROWS`.

    So a commit needs two statements at most, and few different ones exist, each of which is prepared once.
    """
    most = max(MAX_VALUES // width, 1)
    if left <= min(STEP_ROWS, most):
        return left
    return min(left, most) // STEP_ROWS * STEP_ROWS or most


STEP_ROWS = 64


@lru_cache(maxsize=256)
def statement(head: str, width: int, size: int, tail: str) -> str:
    """Return the statement for so many rows."""
    row = f"({','.join('?' * width)})"
    return f"{head} VALUES {','.join([row] * size)} {tail}".rstrip()
