"""A full quarantine makes room where most of it is taken: a noisy sender costs itself its oldest, and nobody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from in_process_http import Application
from shop_events import wire_event
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.reports import REPORTS, ReportContext
from touchtrail_collector.store.engine import EventRow, QuarantineLimits, RejectRow
from touchtrail_collector.store.sqlite.append import append_rows
from touchtrail_collector.store.sqlite.database import WritingConnection, open_writing_connection
from touchtrail_collector.store.sqlite.migrations import MIGRATIONS
from touchtrail_collector.store.sqlite.queries import SqliteQuery
from touchtrail_collector.store.sqlite.reject_shares import OPEN_OF_SOURCE
from touchtrail_collector.store.sqlite.rejects import QuarantineKeeper, mark

WEB, TILL, NEWSLETTER = 1, 2, 3


@pytest.fixture
def connection(tmp_path: Path) -> WritingConnection:
    """A database of its own, without a writer's thread."""
    return open_writing_connection(tmp_path / "shop.db")


def limited(connection: WritingConnection, **limits: int) -> None:
    connection.quarantine = QuarantineKeeper(QuarantineLimits(**limits))


def reject(source: int | None, number: int, size: int = 10) -> RejectRow:
    return RejectRow(1, source, "bad", None, "bad", b"%0*d" % (size, number))


def fill(
    connection: WritingConnection, source: int | None, count: int, *, start: int = 0, size: int = 10
) -> Counter[int | None]:
    """Put so many rejects into quarantine and return how many had to go, by source."""
    connection.execute("BEGIN IMMEDIATE")
    rows = [reject(source, number, size) for number in range(start, start + count)]
    dropped = connection.quarantine.take(connection, rows, 1)
    connection.execute("COMMIT")
    return dropped


def held(connection: WritingConnection) -> dict[int | None, int]:
    """Return how many entries each sender has, after holding the shares that are kept against the table."""
    stated = dict(connection.execute("SELECT source_id, (entries || ' ' || bytes) FROM quarantine_shares").fetchall())
    counted = connection.execute(
        "SELECT source_id, count(*), sum(length(body) + length(message)) FROM quarantine GROUP BY source_id"
    ).fetchall()
    assert {key: text for key, text in stated.items() if text != "0 0"} == {
        source or 0: f"{entries} {size}" for source, entries, size in counted
    }
    return {source: entries for source, entries, _ in counted}


def test_a_noisy_sender_pushes_out_its_own_rejects_alone(connection: WritingConnection) -> None:
    limited(connection, entries=20)
    fill(connection, TILL, 3)
    fill(connection, None, 2)
    dropped = sum((fill(connection, WEB, 10, start=10 * n) for n in range(50)), Counter[int | None]())
    assert held(connection) == {TILL: 3, None: 2, WEB: 15}
    assert dropped == {WEB: 500 - 15}
    bodies = connection.execute("SELECT body FROM quarantine WHERE source_id = ? ORDER BY id", (WEB,)).fetchall()
    assert [int(body) for (body,) in bodies] == list(range(485, 500)), "its newest are kept"


def test_the_noisy_one_makes_room_for_the_quiet_one(connection: WritingConnection) -> None:
    limited(connection, entries=20)
    fill(connection, WEB, 20)
    assert fill(connection, TILL, 8) == {WEB: 8}
    assert fill(connection, TILL, 2, start=8) == {WEB: 2}
    assert held(connection) == {WEB: 10, TILL: 10}
    # From then on each has half, and whoever sends more loses its own.
    assert fill(connection, TILL, 5, start=100) == {TILL: 5}


def test_the_one_who_takes_most_bytes_makes_room_when_it_is_bytes_there_are_too_many_of(
    connection: WritingConnection,
) -> None:
    limited(connection, bytes=10_000)
    fill(connection, TILL, 100, size=20)
    assert fill(connection, WEB, 10, size=2_000) == {WEB: 7}
    assert held(connection) == {TILL: 100, WEB: 3}


def test_closed_entries_of_anybody_go_before_open_ones(connection: WritingConnection) -> None:
    limited(connection, entries=10)
    fill(connection, TILL, 4)
    mark(connection, [1, 2], "dismissed")
    assert fill(connection, WEB, 8) == {}
    assert held(connection) == {TILL: 2, WEB: 8}


senders = st.sampled_from([None, WEB, TILL, NEWSLETTER])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(senders, st.integers(1, 12), st.integers(1, 60)), min_size=3, max_size=12))
def test_whoever_loses_something_has_no_less_than_anybody_else(
    tmp_path_factory: pytest.TempPathFactory, fills: list[tuple[int | None, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("shares") / "shop.db"
    with closing(open_writing_connection(path)) as connection:
        # No fsync: what is looked at is who goes.
        connection.execute("PRAGMA synchronous = OFF")
        limited(connection, entries=15, bytes=100_000)
        sent: Counter[int | None] = Counter()
        lost: Counter[int | None] = Counter()
        for place, (source, count, size) in enumerate(fills):
            dropped = fill(connection, source, count, start=1000 * place, size=size)
            sent[source] += count
            lost.update(dropped)
            now = held(connection)
            assert sum(now.values()) <= 15
            assert all(now.get(one, 0) >= max(now.values()) - 1 for one in dropped)
            assert {one: sent[one] - lost[one] for one in sent if sent[one] - lost[one]} == now


def test_what_had_to_go_is_counted_for_its_sender_and_shown(open_collector: Callable[..., Collector]) -> None:
    collector = open_collector()
    web, till = (collector.store.ensure_source(name) for name in ("web", "till"))
    now = 1_795_255_200_000

    def work(connection: WritingConnection) -> None:
        limited(connection, entries=5)
        append_rows(connection, [], [RejectRow(now, till, "bad", None, "bad", b"{}")])
        append_rows(connection, [], [RejectRow(now, web, "bad", None, "bad", b"%d" % n) for n in range(9)])

    collector.store.write(work)
    with collector.store.reading() as reader:
        counters = reader.execute("SELECT source_id, n FROM counters WHERE name = 'quarantine_dropped'").fetchall()
        report = REPORTS["data-quality"]
        result = report.run(ReportContext(query=SqliteQuery(reader)), report.read_parameters({}))
    assert counters == [(web, 5)]
    assert result.quarantine_fill.dropped == 5
    pushed_out = next(check for check in result.checks if check.name == "pushed_out")
    assert (pushed_out.state, pushed_out.n) == ("look", 5)


def test_the_oldest_of_a_sender_are_found_by_an_index(connection: WritingConnection) -> None:
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {OPEN_OF_SOURCE}", (WEB,))]
    assert len(plan) == 1
    assert "USING INDEX quarantine_open" in plan[0]


def test_an_event_without_rejects_costs_the_writer_no_look_at_quarantine(connection: WritingConnection) -> None:
    append_rows(connection, [EventRow(WEB, "0", "page_viewed", 1, None, 1, "a", None, "{}")], [])  # the hourly sweep
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    append_rows(connection, [EventRow(WEB, "1", "page_viewed", 1, None, 1, "a", None, "{}")], [])
    connection.set_trace_callback(None)
    assert len(statements) > 0
    assert not [text for text in statements if "quarantine" in text]


def test_a_file_of_the_version_before_has_its_shares_counted(tmp_path: Path) -> None:
    db = Database(tmp_path / "old.db")
    MIGRATIONS.apply(db, stop_before="m006_quarantine_shares")
    insert = "INSERT INTO quarantine (received_at, source_id, code, message, body) VALUES (1, ?, 'bad', 'bad', ?)"
    for source, body in ((WEB, b"{}"), (WEB, b"[]"), (None, b"12345")):
        db.execute(insert, (source, body))
    db.conn.commit()
    db.close()
    with closing(open_writing_connection(tmp_path / "old.db")) as connection:
        assert held(connection) == {WEB: 2, None: 1}
        assert connection.execute("SELECT * FROM quarantine_size").fetchall() == [(3, 18)]
        limited(connection, entries=2)
        assert fill(connection, TILL, 1) == {WEB: 1, None: 1}
        assert held(connection) == {WEB: 1, TILL: 1}


def test_a_reject_over_http_is_booked_to_its_sender(open_collector: Callable[..., Collector]) -> None:
    collector = open_collector()
    key = collector.store.create_key(source="web")
    collector.reload_keys()
    Application(collector, key).post([wire_event("1", colour=1)])
    with collector.store.reading() as reader:
        (found,) = reader.execute("SELECT source_id, entries FROM quarantine_shares").fetchall()
        assert reader.execute("SELECT count(*) FROM quarantine WHERE source_id = ?", (found[0],)).fetchone() == (1,)
    assert found[1] == 1
