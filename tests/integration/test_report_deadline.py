"""A report that takes too long is stopped and says so: a reader that never ends would let the log grow."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from touchtrail_collector.errors import StoreUnavailable
from touchtrail_collector.store.questions import LogState
from touchtrail_collector.store.sqlite.database import open_writing_connection
from touchtrail_collector.store.sqlite.queries import SqliteQuery
from touchtrail_collector.store.sqlite.reader import open_reader

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def test_a_query_past_its_deadline_is_stopped_and_the_message_names_the_setting(tmp_path: Path) -> None:
    open_writing_connection(tmp_path / "shop.db").close()
    with closing(open_reader(tmp_path / "shop.db", deadline_s=0.05)) as reader:
        query = SqliteQuery(reader)
        with pytest.raises(StoreUnavailable, match="report_deadline_s"), query.snapshot():
            reader.execute(ENDLESS).fetchall()
        assert not reader.in_transaction


def test_a_query_within_its_deadline_answers(tmp_path: Path) -> None:
    open_writing_connection(tmp_path / "shop.db").close()
    with closing(open_reader(tmp_path / "shop.db", deadline_s=60)) as reader:
        query = SqliteQuery(reader)
        with query.snapshot():
            assert query.ask(LogState())[0].events == 0
