"""One file, one collector: whatever name a second one comes by, the first is not harmed, and foreign files are left."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import msgspec
import pytest
from collector_process import RunningCollector, running_collector, touchtrail

from shop_events import wire_event
from touchtrail_collector.__main__ import main
from touchtrail_collector.errors import StoreError
from touchtrail_collector.store.sqlite.own_file import claim_file
from touchtrail_collector.store.sqlite.store import SqliteStore

BATCHES, BATCH_EVENTS = 20, 10


def by_symlink(db: Path, folder: Path) -> Path:
    (folder / "link.db").symlink_to(db)
    return folder / "link.db"


def by_linked_folder(db: Path, folder: Path) -> Path:
    (folder / "data").symlink_to(db.parent)
    return folder / "data" / db.name


def by_hard_link(db: Path, folder: Path) -> Path:
    os.link(db, folder / "hard.db")
    return folder / "hard.db"


NAMES: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "a symlink": (by_symlink, "in use by another collector (process "),
    "a folder that is a symlink": (by_linked_folder, "in use by another collector (process "),
    "a hard link": (by_hard_link, "is one of 2 names of the same file"),
}


class Sender:
    """Sends batches and remembers what was acknowledged."""

    def __init__(self, collector: RunningCollector) -> None:
        self._headers = {"Authorization": f"Bearer {collector.key()}"}
        self._url = f"{collector.url}/v1/events"
        self.acknowledged = 0

    def send(self) -> None:
        batch = [wire_event(f"e{self.acknowledged + number}") for number in range(BATCH_EVENTS)]
        answer = httpx.post(self._url, json={"events": batch}, headers=self._headers)
        assert (answer.status_code, answer.json()["accepted"]) == (200, BATCH_EVENTS), answer.text
        self.acknowledged += BATCH_EVENTS


def count_sound(db: Path) -> int:
    """Return how many events a sound database has."""
    with closing(sqlite3.connect(db)) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return int(reader.execute("SELECT count(DISTINCT event_id) FROM events").fetchone()[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_second_collector_by_another_name_is_refused_and_the_first_goes_on(tmp_path: Path, name: str) -> None:
    make, said = NAMES[name]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "own").mkdir()
    with running_collector(tmp_path / "own" / "shop.db") as collector:
        sender = Sender(collector)
        sender.send()
        other = make(collector.db, elsewhere)
        before = set(elsewhere.iterdir())
        refused = touchtrail("serve", "--port", "0", db=other)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
        assert said in refused.stderr
        # Nothing of SQLite's lies beside the other name, where the first one would not see it.
        beside = {path.name for path in set(elsewhere.iterdir()) - before}
        assert not {name for name in beside if name.endswith(("-wal", "-shm", "-journal"))}
        for _ in range(BATCHES):
            sender.send()
    assert count_sound(collector.db) == sender.acknowledged == (BATCHES + 1) * BATCH_EVENTS


def test_commands_by_a_symlink_reach_the_running_collector(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_collector(tmp_path / "shop.db") as collector:
        sender = Sender(collector)
        sender.send()
        link = tmp_path / "link.db"
        link.symlink_to(collector.db)
        (tmp_path / "one.json").write_bytes(msgspec.json.encode([wire_event("imported")]))
        for arguments in (
            ("keys", "create", "--source", "till"),
            ("rebuild",),
            ("quarantine", "list"),
            ("backup", str(tmp_path / "copy.db")),
            ("report", "overview"),
        ):
            assert main([*arguments, "--db", str(link)]) == 0, (arguments, capsys.readouterr())
        sender.send()
        assert main(["restore", str(tmp_path / "copy.db"), "--db", str(link)]) == 1
        assert "in use by another collector" in capsys.readouterr().err
        sender.send()
    assert not link.with_name("link.db.lock").exists()
    assert count_sound(collector.db) == sender.acknowledged == 3 * BATCH_EVENTS
    assert count_sound(tmp_path / "copy.db") == BATCH_EVENTS


def test_no_command_writes_or_copies_by_a_hard_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A backup by the other name would lack what stands in the log beside the first one."""
    with running_collector(tmp_path / "shop.db") as collector:
        sender = Sender(collector)
        sender.send()
        (tmp_path / "other").mkdir()
        assert main(["backup", str(tmp_path / "good.db"), "--db", str(collector.db)]) == 0
        other = by_hard_link(collector.db, tmp_path / "other")
        commands = (
            ("keys", "create", "--source", "till"),
            ("rebuild",),
            ("quarantine", "list"),
            ("backup", str(tmp_path / "copy.db")),
            ("report", "overview"),
            ("restore", str(tmp_path / "good.db")),
        )
        for arguments in commands:
            code = main([*arguments, "--db", str(other)])
            err = capsys.readouterr().err
            assert (code, err.count("\n"), "hard link" in err) == (1, 1, True), (arguments, err)
        assert {path.name for path in other.parent.iterdir()} <= {"hard.db", "hard.db.lock"}
        main(["doctor", "--db", str(collector.db)])
        assert "1 other name (hard link)" in capsys.readouterr().out
        sender.send()
        # By its own name all goes on, and so does the next start once the other name is gone.
        assert main(["report", "overview", "--db", str(collector.db)]) == 0
    assert not (tmp_path / "copy.db").exists()
    with pytest.raises(StoreError, match="remove the name"):
        SqliteStore(collector.db)
    other.unlink()
    SqliteStore(collector.db).close()
    assert count_sound(collector.db) == sender.acknowledged == 2 * BATCH_EVENTS


@pytest.mark.skipif(sys.platform != "linux", reason="open file description locks are Linux's")
def test_a_file_moved_while_it_is_open_is_not_opened_by_a_second_collector(tmp_path: Path) -> None:
    """The second one would not find the log, which stands where the file was."""
    with running_collector(tmp_path / "shop.db") as collector:
        sender = Sender(collector)
        sender.send()
        moved = tmp_path / "moved.db"
        collector.db.rename(moved)
        with pytest.raises(StoreError, match="in use by another collector"):
            SqliteStore(moved)
        moved.rename(collector.db)
        sender.send()
    assert count_sound(collector.db) == sender.acknowledged == 2 * BATCH_EVENTS


@pytest.mark.skipif(sys.platform != "linux", reason="open file description locks are Linux's")
def test_the_claim_on_a_file_outlives_other_descriptors_of_it(tmp_path: Path) -> None:
    db = tmp_path / "shop.db"
    with running_collector(db) as collector:
        collector.key()
        db.read_bytes()
        (tmp_path / "shop.db.lock").rename(tmp_path / "lost.lock")
        with pytest.raises(StoreError, match="in use by another collector"):
            SqliteStore(db)
    claim = claim_file(db, creates=False)
    assert claim is not None
    os.close(claim)


def plain(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript("CREATE TABLE x (a); INSERT INTO x VALUES (1)")


def with_log(path: Path) -> None:
    """Leave a write-ahead log, as a killed program does."""
    with closing(sqlite3.connect(path.with_name("live.db"))) as other:
        other.executescript("PRAGMA journal_mode = WAL; CREATE TABLE x (a); INSERT INTO x VALUES (1)")
        for ending in ("", "-wal"):
            shutil.copy(f"{path.with_name('live.db')}{ending}", f"{path}{ending}")


def same_names(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript("CREATE TABLE events (seq); CREATE TABLE meta (name, value)")


def migrated(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript(
            "CREATE TABLE _sqlite_migrations (migration_set, name, applied_at);"
            "INSERT INTO _sqlite_migrations VALUES ('blog', 'm001', 'x'); CREATE TABLE posts (a)"
        )


def marked(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript("PRAGMA application_id = 77")
        other.execute("VACUUM")


FOREIGN = {
    "a table": plain,
    "a write-ahead log": with_log,
    "tables of our names": same_names,
    "another program's migrations": migrated,
    "another program's mark": marked,
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".db-shm"}


@pytest.mark.parametrize("kind", FOREIGN)
def test_another_programs_database_is_refused_and_not_touched(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "theirs.db"
    FOREIGN[kind](path)
    path.chmod(0o644)
    before = contents(tmp_path)
    assert before["theirs.db"]
    with pytest.raises(StoreError, match="is the database of another program"):
        SqliteStore(path)
    for arguments in (["keys", "create", "--source", "web"], ["rebuild"], ["report", "overview"]):
        assert main([*arguments, "--db", str(path)]) == 1
        refused = capsys.readouterr().err
        assert (refused.count("\n"), "another program" in refused or "no touchtrail database" in refused) == (1, True)
    after = contents(tmp_path)
    assert {name: after.get(name) for name in before} == before
    assert set(after) - set(before) <= {"theirs.db-shm", "theirs.db-wal"}
    assert path.stat().st_mode & 0o777 == 0o644


def test_an_empty_file_is_taken(tmp_path: Path) -> None:
    for name, fill in {"none.db": b"", "no_tables.db": None}.items():
        path = tmp_path / name
        if fill is None:
            with closing(sqlite3.connect(path)) as made:
                made.execute("VACUUM")
        else:
            path.write_bytes(fill)
        assert main(["keys", "create", "--source", "web", "--db", str(path)]) == 0
