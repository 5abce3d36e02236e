"""Kills a process that has the database open, at every statement of a piece of its work, and looks at what is left.

Run as `python killed_writer.py migration|sealing|checkpoint FOLDER`; prints a `Report` as JSON. The process to die is
forked from this one, which has everything imported and no threads: hundreds of deaths take a few seconds.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from sqlite_utils import Database

from touchtrail_collector.store.engine import EventRow, Receipt
from touchtrail_collector.store.sqlite import database
from touchtrail_collector.store.sqlite.database import WritingConnection
from touchtrail_collector.store.sqlite.migrations import KNOWN, MIGRATIONS
from touchtrail_collector.store.sqlite.seen import RUNS_MERGED, SeenEvents
from touchtrail_collector.store.sqlite.store import SqliteStore

OLD_EVENTS = 150
RUN_IDS = 32
BATCH = 8
CHECKPOINT_KILLS = 12
Work = Callable[[Path, Callable[[int], None]], None]


class Report(msgspec.Struct):
    """What happened.

    Args:
        kills: processes that died of it.
        finished: processes that came to their end before the statement they should have died at.
        left: how often each half-done state of the work was found.
        wrong: what must not be.
    """

    kills: int = 0
    finished: int = 0
    left: dict[str, int] = {}
    wrong: list[str] = []

    def count(self, state: str) -> None:
        """Note in which state a death left the database."""
        self.left[state] = self.left.get(state, 0) + 1


def row(number: int) -> EventRow:
    """Return an event, always the same for a number."""
    return EventRow(1, f"id-{number}", "page_viewed", number, None, 1, "a", None, "{}")


class DoomedConnection(WritingConnection):
    """Kills its process as its n-th statement begins."""

    dies_at = 0
    statements = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.set_trace_callback(self._count)

    def _count(self, _: str) -> None:
        type(self).statements += 1
        if self.statements == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


def run_doomed(path: Path, work: Work, prepare: Callable[[], None]) -> tuple[int, list[int]]:
    """Do the work in a process of its own; return how it ended and which events it had acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        prepare()
        work(path, lambda number: void(os.write(writing, b"%d\n" % number)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        acknowledged = [int(line) for line in told]
    return os.waitpid(child, 0)[1], acknowledged


def void(_: object) -> None:
    """Forget a value."""


def die_at(statement: int) -> None:
    """Have this process die at a statement, and make small runs."""
    DoomedConnection.dies_at = statement
    vars(database)["WritingConnection"] = DoomedConnection
    small_runs()


def small_runs() -> None:
    """Make runs of so few ids that a short test has many."""
    vars(database)["SeenEvents"] = partial(SeenEvents, run_ids=RUN_IDS)


def put_copy(base: Path, path: Path) -> None:
    """Put a copy of a closed database in place of what was there."""
    for suffix in ("", "-wal", "-shm", ".lock"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    shutil.copyfile(base, path)


def wrong_after(path: Path, promised: int) -> list[str]:
    """Open the database as the next start does; every promised event must be there once and be known."""
    with SqliteStore(path) as store:
        with store.reading() as reader:
            whole = reader.execute("PRAGMA integrity_check").fetchone()[0]
            ids = [event_id for (event_id,) in reader.execute("SELECT event_id FROM events ORDER BY seq")]
            applied = [name for (name,) in reader.execute("SELECT name FROM _sqlite_migrations ORDER BY id")]
        wanted = [f"id-{number}" for number in range(len(ids))]
        receipt = store.append([row(number) for number in range(max(promised, len(ids)))]).result()
    found = []
    if whole != "ok":
        found.append(f"integrity_check: {whole}")
    if ids != wanted or len(ids) < promised:
        found.append(f"{promised} promised, {len(ids)} stored, {len(set(ids))} different")
    if receipt != Receipt(max(promised - len(ids), 0), len(ids)):
        found.append(f"sent again: {receipt}, but {len(ids)} are stored")
    if tuple(applied) != KNOWN:
        found.append(f"migrations: {applied}")
    return found


def look(path: Path, statement: str) -> Any:
    """Return the first value of a statement's answer, without changing the file."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        return reader.execute(statement).fetchone()[0]


def kill_at_every_statement(base: Path, work: Work, state: Callable[[Path], str], promised: int) -> Report:
    """Let the work die at its first statement, at its second, and so on until it comes to its end."""
    report = Report()
    path = base.with_name("killed.db")
    statement = 0
    while not report.finished:
        statement += 1
        put_copy(base, path)
        end, acknowledged = run_doomed(path, work, partial(die_at, statement))
        if os.WIFSIGNALED(end):
            assert os.WTERMSIG(end) == signal.SIGKILL
            report.kills += 1
        else:
            assert os.waitstatus_to_exitcode(end) == 0
            report.finished += 1
        report.count(state(path))
        known = max(acknowledged, default=promised)
        report.wrong += [f"at statement {statement}: {problem}" for problem in wrong_after(path, known)]
    return report


def kill_in_migration(folder: Path) -> Report:
    """Kill while a file of the oldest version is brought up to date and its ids are read into runs."""
    base = folder / "old.db"
    with closing(sqlite3.connect(base, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        MIGRATIONS.apply(Database(connection), stop_before=KNOWN[1])
        connection.execute("INSERT INTO sources (source_id, shop_id, name, created_at) VALUES (1, 1, 'web', 1)")
        marks = ", ".join("?" * (len(EventRow._fields) + 1))
        rows = [(number + 1, *row(number)) for number in range(OLD_EVENTS)]
        connection.executemany(f"INSERT INTO events VALUES ({marks})", rows)

    def work(path: Path, _: Callable[[int], None]) -> None:
        SqliteStore(path).close()

    def state(path: Path) -> str:
        applied = look(path, "SELECT count(*) FROM _sqlite_migrations")
        has_runs = applied >= KNOWN.index("m003_seen") + 1
        return f"{applied} migrations, {look(path, 'SELECT count(*) FROM seen_runs') if has_runs else 0} runs"

    return kill_at_every_statement(base, work, state, OLD_EVENTS)


def kill_in_sealing(folder: Path) -> Report:
    """Kill while batches come in, ids are put away as a run, and eight runs become one."""
    base = folder / "runs.db"
    small_runs()
    before = RUN_IDS * (RUNS_MERGED - 2) + BATCH * 2
    with SqliteStore(base) as store:
        store.ensure_source("web")
        for start in range(0, before, BATCH):
            store.append([row(number) for number in range(start, start + BATCH)]).result()

    def work(path: Path, acknowledge: Callable[[int], None]) -> None:
        store = SqliteStore(path)
        for start in range(before, before + RUN_IDS * 2, BATCH):
            store.append([row(number) for number in range(start, start + BATCH)]).result()
            acknowledge(start + BATCH)
        store.close()

    def state(path: Path) -> str:
        runs = look(path, "SELECT count(*) FROM seen_runs")
        return f"{runs} runs, highest level {look(path, 'SELECT max(level) FROM seen_runs')}"

    return kill_at_every_statement(base, work, state, before)


def kill_in_checkpoint(folder: Path) -> Report:
    """Kill while the write-ahead log is copied into the file at the end, at one page after another.

    The system does it: a process may be told not to write beyond a size, and dies where it does.
    """
    base, path, report = folder / "short.db", folder / "killed.db", Report()
    with SqliteStore(base) as store:
        store.ensure_source("web")
    size = base.stat().st_size
    events = 1_000

    def work(path: Path, acknowledge: Callable[[int], None], limit: int | None) -> None:
        store = SqliteStore(path)
        store.writer._connection.execute("PRAGMA wal_autocheckpoint = 0")
        for start in range(0, events, 100):
            rows = [row(number)._replace(body="x" * 900) for number in range(start, start + 100)]
            store.append(rows).result()
            acknowledge(start + 100)
        store.write(lambda _: None)  # what the last batch brought about, a run, is written too
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        store.close()

    put_copy(base, path)
    run_doomed(path, partial(work, limit=None), small_runs)
    full = path.stat().st_size
    for kill in range(CHECKPOINT_KILLS):
        put_copy(base, path)
        limit = size + (full - size) * kill // CHECKPOINT_KILLS
        end, acknowledged = run_doomed(path, partial(work, limit=limit), small_runs)
        assert os.WIFSIGNALED(end)
        assert os.WTERMSIG(end) == signal.SIGXFSZ
        report.kills += 1
        half_done = Path(f"{path}-wal").stat().st_size > 0 and path.read_bytes() != base.read_bytes()
        report.count(f"log there, file {'begun' if half_done else 'as it was'}")
        report.wrong += [f"kill {kill}: {problem}" for problem in wrong_after(path, acknowledged[-1])]
    return report


SCENES = {"migration": kill_in_migration, "sealing": kill_in_sealing, "checkpoint": kill_in_checkpoint}

if __name__ == "__main__":
    print(msgspec.json.encode(SCENES[sys.argv[1]](Path(sys.argv[2]))).decode())
