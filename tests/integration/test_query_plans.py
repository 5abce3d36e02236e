"""Each query of a report has its header, answers its question's columns, and uses the index its header names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import touchtrail_collector.store.sqlite
from seeded_shop import SeededShop
from touchtrail_collector.store import journey_questions, quality_questions, questions
from touchtrail_collector.store.questions import Question
from touchtrail_collector.store.sqlite.queries import SqliteQuery, load_sql

SQL = Path(touchtrail_collector.store.sqlite.__file__).parent / "sql"
FILES = sorted(SQL.glob("report_*.sql"))
QUESTIONS = {
    kind.name: kind
    for module in (questions, journey_questions, quality_questions)
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, Question) and kind is not Question
}
# The tables that grow with the shop; scanning one of the others costs nothing.
# Where the header says `one pass over TABLE`, that table may be scanned all the same.
BIG = {
    "events", "touchpoints", "persons", "sessions", "signals", "orders", "order_changes", "identity_links",
    "cluster_events",
}  # fmt: skip
SAMPLE = {"int": 1, "str": "x"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SeededShop]:
    with SeededShop(tmp_path / "shop.db") as shop:
        yield shop


def header(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith("--"))


def sample(kind: type[Question[Any]]) -> Question[Any]:
    return kind(**{field.name: SAMPLE[field.type.__name__] for field in msgspec.structs.fields(kind)})


def parameters(name: str) -> dict[str, Any]:
    if name == "touches":
        return {"start_ms": 1, "end_ms": 1, "creditable": 1}
    given = msgspec.structs.asdict(sample(QUESTIONS[name]))
    return given | ({"personless": "[]"} if "personless" in given else {})


def test_files_and_questions_are_the_same_set() -> None:
    assert {file.stem.removeprefix("report_") for file in FILES} == QUESTIONS.keys() | {"touches"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_header_says_purpose_parameters_and_index(file: Path) -> None:
    text = file.read_text("utf-8")
    assert re.match(r"-- purpose: \S.*\n(?:-- .*\n)*-- parameters: \S.*\n(?:-- .*\n)*-- index: \S", text)
    named = set(re.findall(r"(?<!:):([a-z_]+)", "\n".join(re.sub("--.*", "", line) for line in text.splitlines())))
    stated = text.partition("-- parameters:")[2].splitlines()[0]
    assert {name for name in named if name not in stated} == set()
    assert named <= parameters(file.stem.removeprefix("report_")).keys()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_big_table_is_scanned_only_where_the_header_says_so(shop: SeededShop, file: Path) -> None:
    text = file.read_text("utf-8")
    plan = shop.db.execute(f"EXPLAIN QUERY PLAN {text}", parameters(file.stem.removeprefix("report_"))).fetchall()
    aliases = dict(re.findall(r"(?:FROM|JOIN|,)\s+\(?(\w+) (\w+)\b", text))
    aliases = {alias: table for table, alias in aliases.items()}
    scanned = {aliases.get(name, name) for *_, line in plan for name in re.findall(r"^SCAN (\w+)", line)}
    allowed = {table for table in BIG if re.search(rf"one pass over [^.;]*\b{table}\b", header(text))}
    assert scanned & BIG <= allowed, [line for *_, line in plan]


@pytest.mark.parametrize("kind", QUESTIONS.values(), ids=QUESTIONS)
def test_the_columns_of_an_answer_are_those_its_row_names(shop: SeededShop, kind: type[Question[Any]]) -> None:
    cursor = shop.db.execute(load_sql(kind.name), parameters(kind.name))
    assert tuple(column[0] for column in cursor.description) == kind.row._fields


def test_answers_inside_a_snapshot_come_from_one_state_of_the_data(shop: SeededShop) -> None:
    query = shop.context().query
    question = questions.Persons(shop_id=1)
    with query.snapshot():
        assert query.ask(question) == []
        shop.person(1)
        with query.snapshot():
            assert query.ask(question) == []
    assert len(query.ask(question)) == 1


def test_touches_come_back_sorted_by_person_time_and_position_whatever_the_order_of_arrival(shop: SeededShop) -> None:
    shop.touch(7, "2026-01-05", "Email", "click", position=1)
    shop.touch(3, "2026-01-09", "Store", "encounter", position=2)
    shop.touch(3, "2026-01-05", "Display", "impression", position=1, creditable=0)
    shop.touch(3, "2026-01-09", None, "notice", position=1, creditable=0)
    query = shop.context().query
    assert isinstance(query, SqliteQuery)
    touches = query.touches(start_ms=-(2**52), end_ms=2**52, creditable_only=False)
    columns = zip(
        touches.person_ids,
        touches.positions,
        touches.seqs,
        touches.channel_ids,
        touches.contacts,
        touches.creditable,
        strict=True,
    )
    assert [tuple(map(int, row)) for row in columns] == [
        (3, 1, 3, 4, 2, 0), (3, 1, 4, 0, 4, 0), (3, 2, 2, 5, 3, 1), (7, 1, 1, 2, 1, 1),
    ]  # fmt: skip
    creditable = query.touches(start_ms=-(2**52), end_ms=2**52)
    assert creditable.seqs.tolist() == [2, 1]


def test_touches_follow_time_where_positions_do_not(shop: SeededShop) -> None:
    late = shop.touch(1, "2026-01-09", "Email", position=1)
    early = shop.touch(1, "2026-01-05", "Email", position=2)
    touches = shop.context().query.touches(start_ms=0, end_ms=2**52)
    assert touches.seqs.tolist() == [early, late]
    assert touches.at_ms.dtype == np.int64
