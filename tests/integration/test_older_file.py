"""Commands that read a file which an older version wrote say what to do, and work once that is done."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from touchtrail_collector.__main__ import main
from touchtrail_collector.store.sqlite.migrations import KNOWN, MIGRATIONS

OLDER = KNOWN[1:]
"""Each migration that a file may still lack, and with it all later ones."""

READING = [["keys", "list"], ["keys", "list", "--format", "json"], ["quarantine", "list"], ["quarantine", "show", "1"],
           ["quarantine", "replay", "1", "--edit"], ["report", "overview"], ["report", "data-quality", "--format", "json"],
           ["export", "csv", "--to", "-"]]  # fmt: skip


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


def make_older(path: Path, lacking: str) -> None:
    """Write a file as a version did that did not have this migration yet: a sender, a key and a reject."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        MIGRATIONS.apply(Database(connection), stop_before=lacking)
        connection.execute("INSERT INTO sources (source_id, shop_id, name, created_at) VALUES (1, 1, 'web', 0)")
        connection.execute(
            "INSERT INTO keys (key_hash, hint, kind, source_id, created_at) VALUES ('x', 'ttw_abcd', 'write', 1, 0)"
        )
        connection.execute(
            "INSERT INTO quarantine (received_at, source_id, code, message, body) VALUES (5, 1, 'bad', 'm', x'7b7d')"
        )


@pytest.mark.parametrize("lacking", OLDER)
def test_an_older_file_is_named_with_what_to_do_and_read_after_that(
    db: Path, lacking: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_older(db, lacking)
    before = db.read_bytes()
    for command in READING:
        assert main([*command, "--db", str(db)]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(f"touchtrail: {db} was written by an older touchtrail")
        assert said.err.count("\n") == 1
    assert db.read_bytes() == before, "reading changes nothing"
    assert main(["rebuild", "--db", str(db)]) == 0
    capsys.readouterr()
    assert main(["keys", "list", "--db", str(db)]) == 0
    assert "ttw_abcd…  write  default/web" in capsys.readouterr().out
    assert main(["quarantine", "show", "1", "--db", str(db)]) == 0
    assert "reject 1, open" in capsys.readouterr().out


def test_what_writes_brings_an_older_file_up_to_date_by_itself(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_older(db, KNOWN[3])
    assert main(["keys", "revoke", "ttw_abcd", "--db", str(db)]) == 0
    assert main(["keys", "list", "--db", str(db)]) == 0
    assert "revoked" in capsys.readouterr().out


def test_a_newer_file_is_refused_by_what_reads(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_older(db, KNOWN[2])
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        connection.execute("UPDATE _sqlite_migrations SET name = 'm999_later' WHERE name = ?", (KNOWN[1],))
    for command in READING:
        assert main([*command, "--db", str(db)]) == 1
        assert "m999_later" in capsys.readouterr().err


def test_a_file_that_is_no_database_of_ours_or_not_there_says_so(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content, said in ((b"no database" * 100, "cannot be read"), (None, "no database")):
        if content is None:
            db.unlink()
        else:
            db.write_bytes(content)
        for command in READING:
            assert main([*command, "--db", str(db)]) == 1
            assert said in capsys.readouterr().err
