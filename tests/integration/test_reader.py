"""Files that are no database of ours are refused in one line, whatever they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from touchtrail_collector.errors import DatabaseMissing, StoreError
from touchtrail_collector.store.sqlite.reader import open_reader


def test_a_file_that_is_no_database_is_named_and_refused(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("# a page, not a database\n" * 100)
    with pytest.raises(StoreError, match=r"README\.md cannot be read as a database"):
        open_reader(page)


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(StoreError, match="is no touchtrail database"):
        open_reader(other)


def test_a_file_that_is_not_there_is_missing_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DatabaseMissing):
        open_reader(tmp_path / "shop.db")
    assert list(tmp_path.iterdir()) == []
