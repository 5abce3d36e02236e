"""The power goes at any moment of a writer's life: what was acknowledged is there, once, and the store goes on."""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

import power_loss_writer
from accounting import Book, find_wrong, read_door
from memory_folder import memory_folder
from power_loss import LOSSES, Disk, State, choose_states, replayed, table
from power_loss_writer import FAULTS, batch
from syscall_log import Call, record, require_strace
from touchtrail_collector.errors import StoreError
from touchtrail_collector.store.engine import EventRow, Receipt
from touchtrail_collector.store.sqlite.store import SqliteStore

# 2,000 by hand: POWER_LOSS_STATES=2000 scripts/test tests/e2e/test_power_loss.py
STATES = int(os.environ.get("POWER_LOSS_STATES", "300"))
FAULT_STATES = 240
SEED = 20_260_101
FAILING_SYNCS = "fsync,fdatasync:error=EIO:when=20+17"
MISSING, TWICE, TORN, UNKNOWN = "acknowledged, and missing", "stored twice", "stored in part", "taken for new"
UNREADABLE = "not to be read"


class Promises(msgspec.Struct, frozen=True):
    """What the writer had said: batches by number, and the sum of all answers."""

    stored: set[int]
    erasing: set[int]
    erased: set[int]
    book: Book


def promises_of(said: str) -> Promises:
    """Read what the writer wrote to its standard output; a line that is cut was not said."""
    words = [line.split() for line in said[: said.rfind("\n") + 1].splitlines()]
    stored, erasing, erased = (
        {int(word[1]) for word in words if word[0] == kind} for kind in ("stored", "erasing", "erased")
    )
    return Promises(stored, erasing, erased, book_of(words))


def book_of(words: Sequence[Sequence[str]]) -> Book:
    """Return what was sent and answered; what was refused may be on the disk all the same, and is in doubt."""
    book = Book()
    doubtful: Counter[int] = Counter()
    for kind, *numbers in words:
        if kind == "sending":
            doubtful.update(map(int, numbers))
        elif kind == "stored":
            number, stored, duplicates = map(int, numbers)
            doubtful[number] -= 1
            book.tell(stored, duplicates, [reject.code for reject in batch(number).rejects])
    for number, times in doubtful.items():
        wanted = batch(number)
        book.lose(times * len(wanted.events), times * len(wanted.rejects))
    return book


def write_recording(tmp_path: Path, fault: str | None = None, *, inject: Sequence[str] = ()) -> list[Call]:
    """Let the writer work through its story and return what it did to its folder."""
    folder = tmp_path / "written"
    folder.mkdir()
    command = [sys.executable, power_loss_writer.__file__, str(folder / "shop.db"), *([fault] if fault else [])]
    return record(command, folder, tmp_path / "syscalls.txt", inject=inject)


def put_back(state: State, folder: Path) -> Path:
    """Write the database as the power loss left it; SQLite's shared memory may hold what lay there before."""
    for name, content in state.files.items():
        (folder / name).write_bytes(content)
    if state.moment % 3 == 0:
        (folder / "shop.db-shm").write_bytes(random.Random(state.moment).randbytes(32_768))
    return folder / "shop.db"


def problems_of(state: State, folder: Path) -> list[str]:
    """Open what is left with the real store and say what is wrong."""
    path = put_back(state, folder)
    promises = promises_of(state.said)
    try:
        with SqliteStore(path) as store:
            found = [*wrong_in_log(store, promises), *wrong_in_memory(store, promises)]
        with closing(sqlite3.connect(path)) as closed:
            found += wrong_in_file(closed)
    except (StoreError, sqlite3.Error, TypeError, ValueError) as error:
        return [f"{UNREADABLE}: {error!r}"]
    return found


def wrong_in_file(connection: sqlite3.Connection) -> list[str]:
    answer = connection.execute("PRAGMA integrity_check").fetchone()[0]
    return [] if answer == "ok" else [f"{UNREADABLE}: {answer}"]


def wrong_in_log(store: SqliteStore, promises: Promises) -> Iterator[str]:
    """Compare the log, quarantine and the counters with what was promised."""
    with store.reading() as reader:
        yield from wrong_in_file(reader)
        columns = ", ".join(EventRow._fields)
        rows = [EventRow._make(row) for row in reader.execute(f"SELECT {columns} FROM events ORDER BY seq")]
        rejects = {body for (body,) in reader.execute("SELECT body FROM quarantine")}
        door = read_door(reader)
    times = Counter(row.event_id for row in rows)
    yield from (f"{TWICE}: {event_id}" for event_id, stored in times.items() if stored > 1)
    by_id = {row.event_id: row for row in rows}
    gone = 0
    for number in range(power_loss_writer.STEPS * 12):
        wanted = batch(number)
        ids = {row.event_id for row in wanted.events}
        there = ids & by_id.keys()
        may_be_gone = number in promises.erasing
        if number in promises.stored and not may_be_gone and there != ids:
            yield f"{MISSING}: {len(ids - there)} of batch {number}"
        if there not in (set(), ids):
            yield f"{TORN}: batch {number}"
        if number in promises.erased and there:
            yield f"erased, and there again: batch {number}"
        if any(by_id[row.event_id] != row for row in wanted.events if row.event_id in there):
            yield f"stored otherwise than sent: batch {number}"
        if number in promises.stored and not {reject.body for reject in wanted.rejects} <= rejects:
            yield f"{MISSING}: the reject of batch {number}"
        gone += len(ids) if may_be_gone and not there else 0
    yield from (f"does not add up: {wrong}" for wrong in find_wrong(promises.book, door, erased=gone))


def wrong_in_memory(store: SqliteStore, promises: Promises) -> Iterator[str]:
    """Send everything that was acknowledged again, what was erased too, and then something new."""
    store.ensure_source("web")
    known = [row for number in sorted(promises.stored) for row in batch(number).events]
    receipt = store.append(known).result()
    if receipt != Receipt(0, len(known)):
        yield f"{UNKNOWN}: {receipt.stored} of {len(known)} acknowledged events"
    new = [row._replace(event_id=f"new-{row.event_id}") for row in batch(1).events]
    if store.append([*new, *new]).result() != Receipt(len(new), len(new)):
        yield "new events are not taken"


def red_states(calls: Sequence[Call], states: int, *, enough: int) -> tuple[list[State], Counter[str]]:
    """Check so many states, or until enough are wrong; return those looked at, and what is wrong by kind."""
    looked_at: list[State] = []
    wrong: Counter[str] = Counter()
    red = 0
    for state in choose_states(calls, states, SEED):
        with memory_folder() as folder:
            problems = problems_of(state, folder)
        looked_at.append(msgspec.structs.replace(state, files={}))
        wrong.update({problem.partition(":")[0] for problem in problems})
        if problems:
            red += 1
            print(f"call {state.moment}, {state.during}, {state.loss}: {problems[:3]}")
        if red >= enough:
            break
    return looked_at, wrong


def test_whatever_the_power_loss_leaves_every_acknowledged_event_is_there_once(tmp_path: Path) -> None:
    """The writer meets two full disks, failing syncs, a reader that holds the log, merges, erasures and a restart."""
    require_strace()
    started = time.monotonic()
    calls = write_recording(tmp_path, inject=[FAILING_SYNCS])
    recorded_s = time.monotonic() - started
    said = b"".join(call.data for call in calls if call.kind == "said").decode()
    looked_at, wrong = red_states(calls, STATES, enough=5)
    print(
        f"{len(calls)} calls, {len(promises_of(said).stored)} batches; {len(looked_at)} states, {wrong or 'all good'};"
    )
    print(f"recorded in {recorded_s:.1f} s, replayed in {time.monotonic() - started - recorded_s:.1f} s")
    print(table(looked_at))
    assert wrong == Counter()
    assert_enough_was_exercised(calls, said, looked_at)


def assert_enough_was_exercised(calls: Sequence[Call], said: str, looked_at: Sequence[State]) -> None:
    assert said.endswith("done\n")
    assert said.count("refused") >= 6
    assert said.count("erased") == 2
    assert sum(call.failed for call in calls) >= 2
    assert sum(call.kind == "truncate" for call in calls) >= 5
    assert len(looked_at) >= min(STATES, 200)
    during, losses = Counter(s.during for s in looked_at), Counter(s.loss for s in looked_at)
    assert all(during[kind] >= 20 for kind in ("commit", "checkpoint", "sizes", "rest")), during
    assert during["names"] >= 3
    assert all(losses[loss] >= 10 for loss in LOSSES), losses
    assert sum(len(promises_of(s.said).stored) > 20 for s in looked_at) > len(looked_at) // 2
    assert sum(bool(promises_of(s.said).erased) for s in looked_at) >= 20


def test_the_replay_of_everything_gives_the_files_that_are_there(tmp_path: Path) -> None:
    """The recording misses nothing: no write goes past it."""
    require_strace()
    calls = write_recording(tmp_path)
    disk = Disk()
    for _, disk in replayed(calls):  # noqa: B007 - the last one counts
        pass
    left = disk.lose(LOSSES[0], random.Random(0))
    assert {name: len(content) for name, content in left.items() if len(content) > 100_000}.keys() == {
        "shop.db",
        "shop.db-wal",
    }
    for name, content in left.items():
        assert content == (tmp_path / "written" / name).read_bytes(), name


RED = {
    "acknowledges early": MISSING,
    "swallows commit errors": MISSING,
    "no deduplication": TWICE,
    "ids known before the commit": MISSING,
    "runs without a transaction": UNREADABLE,
    "synchronous=NORMAL": MISSING,
}


def test_every_fault_the_writer_knows_is_planted() -> None:
    assert RED.keys() == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str, tmp_path: Path) -> None:
    require_strace()
    calls = write_recording(tmp_path, fault)
    looked_at, wrong = red_states(calls, FAULT_STATES, enough=3)
    print(f"{fault}: {wrong} in {len(looked_at)} states")
    assert wrong[RED[fault]] > 0, wrong
