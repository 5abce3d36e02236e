"""What a command says where something is wrong: the fault by its name, and the way out of this very fault."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from touchtrail_collector.__main__ import run
from touchtrail_collector.cli import cli
from touchtrail_collector.errors import StoreError
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.settings import Settings, StoreSettings
from touchtrail_collector.store.sqlite.store import SqliteStore


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, default_host: PluginHost) -> Path:
    """The current folder: a database and a copy of it, one that is damaged, a text, an event."""
    monkeypatch.chdir(tmp_path)
    for name in ("TOUCHTRAIL_DB", "TOUCHTRAIL_URL", "TOUCHTRAIL_KEY"):
        monkeypatch.delenv(name, raising=False)
    Collector(Settings(store=StoreSettings(db=Path("shop.db"))), default_host, starts_projector=False).close()
    content = Path("shop.db").read_bytes()
    Path("copy.db").write_bytes(content)
    Path("damaged.db").write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    Path("text.db").write_text("these are my notes\n" * 500)
    Path("event.json").write_text("{}")
    Path("folder.db").mkdir()
    return tmp_path


def ended(command: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command; return its exit code and what it wrote on stderr. `serve` changes its process, and gets its own."""
    if command[0] != "serve":
        return run(cli, command), capsys.readouterr().err
    process = [sys.executable, "-m", "touchtrail_collector", *command]
    done = subprocess.run(process, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


SAID: dict[str, tuple[str, int, str, tuple[str, ...]]] = {
    "a backup that is not there": (
        "restore nope.db --db shop.db", 1, "there is no backup nope.db; name a file that `touchtrail backup` made",
        ("--db", "serve"),
    ),
    "a backup that is a text": (
        "restore text.db --db shop.db", 1, "text.db cannot be read as a database: file is not a database; name another backup",
        ("--db",),
    ),
    "a damaged backup": (
        "restore damaged.db --db shop.db", 1, "the backup cannot be restored: damaged.db", ("--db",),
    ),
    "a damaged database in the way": (
        "restore copy.db --db damaged.db", 1, "Restore with --force, then erase and revoke again what you know of",
        ("another file", "--db"),
    ),
    "a report of a damaged database": (
        "report overview --db damaged.db", 1, "`touchtrail doctor` says what is wrong, `touchtrail restore FILE`", (),
    ),
    "a text to serve": (
        "serve --db text.db --port 0", 1, "text.db cannot be used: file is not a database; name another file with --db", (),
    ),
    "a folder in which no file can be made": (
        "serve --db /proc/x.db --port 0", 1, "no file can be made in the folder /proc; name one in another folder with --db",
        ("make it", "there is no folder"),
    ),
    "a file where a folder should be": (
        "serve --db text.db/x.db --port 0", 1, "text.db is no folder; name another file with --db", (),
    ),
    "a host without an address": (
        "serve --host nope.invalid --db new.db", 1, "cannot listen on nope.invalid: the name leads to no address", ("--port",),
    ),
    "another machine's address": (
        "serve --host 192.0.2.7 --db new.db", 1, "it is no address of this machine; name one of this machine with --host",
        ("--port",),
    ),
    "no address to send to": (
        "send event.json --key k --url foo", 2, "'foo' is no address of a collector; write it as `touchtrail serve` prints it",
        ("start it",),
    ),
    "half an address": ("send event.json --key k --url http://[::1", 2, "is no address of a collector", ()),
    "no address to drain to": ("drain --key k --url foo", 2, "'foo' is no address of a collector", ()),
    "a key that is none": ("send event.json --key ü", 2, "--key holds signs that no write key has", ()),
    "nobody at the address": (
        "send event.json --key k --url http://127.0.0.1:9", 1, "correct --url, or start the collector there", (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", SAID)
def test_a_fault_is_named_with_the_way_out_of_it(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, code, said, unsaid = SAID[fault]
    ended_with, err = ended(command.split(), capsys)
    assert (ended_with, said in err) == (code, True), err
    assert [words for words in unsaid if words in err] == []
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["text.db", "damaged.db", "folder.db"])
def test_a_file_that_is_refused_gets_no_lock_beside_it(folder: Path, name: str) -> None:
    before = names(folder)
    with pytest.raises(StoreError):
        SqliteStore(Path(name))
    assert names(folder) == before


def test_a_lock_that_was_there_stays_beside_a_file_that_is_refused(folder: Path) -> None:
    (folder / "text.db.lock").touch()
    with pytest.raises(StoreError):
        SqliteStore(Path("text.db"))
    assert (folder / "text.db.lock").exists()


@pytest.fixture
def other_server() -> Iterator[str]:
    """The address of a server that is no collector."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_another_programs_server_is_not_taken_for_a_collector(
    other_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, ["send", "event.json", "--key", "k", "--url", other_server]) == 1
    assert f"what answers at {other_server} (501) is no touchtrail collector; correct --url" in capsys.readouterr().err


def test_a_plugin_that_is_not_installed_is_told_and_an_error_only_when_strict(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "touchtrail.toml").write_text('[plugins]\ndisabled = ["nope"]\n[plugins."source.nope"]\nx = 1\n')
    lines = (
        '[plugins."source.nope"] names no installed plugin',
        "[plugins] disabled names nope, which is not installed",
    )
    assert run(cli, ["plugins", "--db", "shop.db"]) == 0
    listed = capsys.readouterr().out
    run(cli, ["doctor", "--db", "shop.db"])
    told = capsys.readouterr().out
    assert all(line in listed and f"warning  plugins      {line}" in told for line in lines)
    assert "install that plugin again, or take its name out of [plugins]" in told
    for strict in (["plugins", "--strict", "--db", "shop.db"], ["serve", "--strict", "--db", "shop.db", "--port", "0"]):
        code, err = ended(strict, capsys)
        assert (code, all(line in err for line in lines)) == (1, True), err


def test_one_of_a_thing_is_told_in_the_singular(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, ["keys", "create", "--source", "web", "--db", "shop.db"]) == 0
    run(cli, ["doctor", "--db", "shop.db"])
    told = capsys.readouterr().out
    assert "the only write key was never used" in told
    assert "looked up" not in told, "nothing was looked up in an empty log"
