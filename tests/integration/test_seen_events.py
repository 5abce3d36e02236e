"""Each event id is stored once: held against a plain set, over commits, rollbacks, runs, merges and restarts."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from touchtrail_collector.store.engine import EventRow, Receipt
from touchtrail_collector.store.sqlite import seen
from touchtrail_collector.store.sqlite.append import append_rows
from touchtrail_collector.store.sqlite.database import WritingConnection, open_writing_connection
from touchtrail_collector.store.sqlite.seen import SeenEvents
from touchtrail_collector.store.sqlite.store import SqliteStore

KEY = b"secret"


def row(event_id: str, source_id: int = 1) -> EventRow:
    return EventRow(source_id, event_id, "page_viewed", 1, None, 1, "a", None, "{}")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[WritingConnection]:
    with closing(open_writing_connection(tmp_path / "shop.db")) as opened:
        yield opened


def append(connection: WritingConnection, ids: list[str], *, commit: bool = True) -> int:
    """Append in one transaction as the writer does; return how many were new."""
    connection.execute("BEGIN IMMEDIATE")
    stored = append_rows(connection, [row(event_id) for event_id in ids], ()).stored
    connection.execute("COMMIT" if commit else "ROLLBACK")
    (connection.seen.keep if commit else connection.seen.forget)()
    if connection.seen.is_full():
        connection.seen.seal(connection)
    return stored


steps = st.lists(
    st.tuples(
        st.lists(st.integers(0, 120).map(str), max_size=12),
        st.sampled_from(["commit", "commit", "rollback", "restart"]),
    ),
    min_size=5,
    max_size=60,
)


@settings(deadline=None)
@given(steps)
def test_an_id_is_new_exactly_once_whatever_happens(tmp_path_factory: pytest.TempPathFactory, steps: object) -> None:
    assert isinstance(steps, list)
    with closing(open_writing_connection(tmp_path_factory.mktemp("seen") / "shop.db")) as connection:
        connection.seen = SeenEvents(connection, KEY, run_ids=3)
        stored: list[str] = []
        for ids, end in steps:
            fresh = [event_id for event_id in dict.fromkeys(ids) if event_id not in stored]
            assert append(connection, ids, commit=end != "rollback") == len(fresh)
            if end != "rollback":
                stored += fresh
            if end == "restart":
                connection.seen = SeenEvents(connection, KEY, run_ids=3)
        in_log = connection.execute("SELECT seq, event_id FROM events ORDER BY seq").fetchall()
        assert [event_id for _, event_id in in_log] == stored
        assert [seq for seq, _ in in_log] == list(range(1, len(stored) + 1))


def test_many_random_ids_are_known_again_after_runs_were_merged(connection: WritingConnection) -> None:
    """40,000 ids: large enough for parts, filters and both levels of runs to be used."""
    connection.seen = SeenEvents(connection, KEY, run_ids=2_000)
    ids = [str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for number in range(40_000)]
    for start in range(0, len(ids), 1_000):
        assert append(connection, ids[start : start + 1_000]) == 1_000
    levels = dict(connection.execute("SELECT level, count(*) FROM seen_runs GROUP BY level"))
    assert levels == {0: 4, 1: 2}
    assert connection.execute("SELECT max(part) FROM seen_parts").fetchone()[0] == 16_000 // seen.PART_IDS
    for start in range(0, len(ids), 1_000):
        assert append(connection, ids[start : start + 1_000]) == 0
    assert append(connection, [event_id[::-1] for event_id in ids]) == 40_000


def test_an_old_file_is_read_into_runs_when_it_is_opened(connection: WritingConnection) -> None:
    ids = [str(number) for number in range(1_000)]
    append(connection, ids)
    connection.seen = SeenEvents(connection, KEY, run_ids=64)
    assert connection.execute("SELECT sum(ids) FROM seen_runs").fetchone()[0] == 1_000 // 64 * 64
    assert append(connection, ids) == 0


def test_the_same_id_of_another_source_is_another_event(connection: WritingConnection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    receipt = append_rows(connection, [row("1", 1), row("1", 2), row("1", 12), row("2:1", 1)], ())
    connection.execute("COMMIT")
    assert receipt == Receipt(4, 0)


def test_an_erased_event_stays_known_and_its_place_stays_empty(connection: WritingConnection) -> None:
    connection.seen = SeenEvents(connection, KEY)
    append(connection, ["1", "2", "3"])
    connection.seen.seal(connection)
    connection.execute("DELETE FROM events WHERE event_id = '3'")
    connection.seen = SeenEvents(connection, KEY)
    assert append(connection, ["3", "4"]) == 1
    assert connection.execute("SELECT max(seq) FROM events").fetchone()[0] == 4


def test_nothing_of_an_id_can_be_read_from_what_is_kept(connection: WritingConnection) -> None:
    append(connection, ["anna@shop.example"])
    connection.seen.seal(connection)
    (kept,) = connection.execute("SELECT digests FROM seen_parts").fetchone()
    assert len(kept) == seen.DIGEST_BYTES
    (secret,) = connection.execute("SELECT value FROM meta WHERE name = 'hash_key'").fetchone()
    ours, other = seen.id_hasher(bytes.fromhex(secret)), seen.id_hasher(b"another secret")
    assert seen.id_digest(ours, 1, "anna@shop.example") == kept
    assert seen.id_digest(other, 1, "anna@shop.example") != kept


def test_a_filter_is_rarely_wrong_and_never_about_what_it_holds() -> None:
    digests = seen.to_columns(random_digests(20_000, 1))
    foreign = seen.to_columns(random_digests(20_000, 2))
    bits = seen.make_filter(digests)
    run = seen.Run(1, 0, len(digests), digests[:0, 0], bits)
    assert len(run.perhaps(digests)) == len(digests)
    assert len(run.perhaps(foreign)) < 200


def random_digests(ids: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(ids * seen.DIGEST_BYTES)


def test_the_writer_puts_ids_away_by_itself(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "shop.db") as store:
        store.ensure_source("web")
        store.writer._connection.seen._run_ids = 50
        assert store.append([row(str(number)) for number in range(120)]).result() == Receipt(120, 0)
        assert store.append([row("119"), row("120")]).result() == Receipt(1, 1)
        with store.reading() as reader:
            assert reader.execute("SELECT sum(ids), max(last_seq) FROM seen_runs").fetchone() == (120, 120)
