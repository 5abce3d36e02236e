"""Every table, view and column of the file stands in collector/README.md, and nothing else does."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reference_page import COLLECTOR, names_in, read_rows, read_sections
from touchtrail_collector.store.sqlite.database import open_writing_connection

OWN = "_sqlite_migrations"
"""Kept by sqlite-utils: which migrations were applied."""


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return the columns of each table and view of a new database."""
    path: Path = tmp_path_factory.mktemp("schema") / "shop.db"
    with closing(open_writing_connection(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
        return {name: column_names(connection, name) for name in names if name != OWN}


def column_names(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def test_every_table_and_view_is_documented_with_exactly_its_columns(columns: dict[str, list[str]]) -> None:
    rows = read_rows(read_sections(COLLECTOR)["Database"])
    documented = {names_in(row[0])[0]: names_in(row[1]) for row in rows}
    assert documented == columns
