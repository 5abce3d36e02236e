"""`touchtrail drain`: what a stopped program left is delivered, and what is not is said with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdk_sink import Sink, running_sink
from still_client import abandon, keep_still
from touchtrail import Client
from touchtrail_collector.__main__ import run
from touchtrail_collector.cli import cli
from touchtrail_collector.cli.drain import client_for, empty

NOBODY = "http://127.0.0.1:9"


def leave_behind(base: Path, events: int, *, url: str, key: str = "k") -> Path:
    """Track events that are not delivered, and stop; return their spool folder."""
    before = set(base.glob("*"))
    client = Client(url, key=key, spool_dir=base)
    # No thread is started, and nothing tidied: as a process that was killed at once.
    keep_still(client)
    for number in range(events):
        assert client.track("clicked", anonymous_id="a", event_id=f"{key}-{number}")
    abandon(client)
    (folder,) = set(base.glob("*")) - before
    return folder


def drain(base: Path, url: str, *arguments: str, key: str = "k") -> int:
    return run(cli, ["drain", "--url", url, "--key", key, "--spool-dir", str(base), *arguments])


@pytest.fixture
def sink() -> Any:
    with running_sink() as running:
        yield running


def test_everything_that_was_left_is_delivered_and_counted(sink: Sink, tmp_path: Path, capsys: Any) -> None:
    leave_behind(tmp_path, 250, url=sink.url)
    assert drain(tmp_path, sink.url) == 0
    assert len(sink.events) == 250
    assert capsys.readouterr().out == "250 events delivered, 0 were there already, 0 rejected\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_empty_spool_is_no_failure(sink: Sink, tmp_path: Path, capsys: Any) -> None:
    assert drain(tmp_path / "none", sink.url) == 0
    assert "0 events delivered" in capsys.readouterr().out


def test_an_unknown_key_is_said_at_once_and_keeps_everything(sink: Sink, tmp_path: Path, capsys: Any) -> None:
    folder = leave_behind(tmp_path, 5, url=sink.url)
    sink.statuses = [401] * 100
    assert drain(tmp_path, sink.url, "--timeout", "60") == 1
    error = capsys.readouterr().err
    assert "401" in error
    assert "touchtrail keys list" in error
    assert str(folder) in error
    sink.statuses = []
    assert drain(tmp_path, sink.url) == 0
    assert len(sink.events) == 5


def test_a_collector_that_does_not_answer_is_said_with_what_to_do(tmp_path: Path, capsys: Any) -> None:
    leave_behind(tmp_path, 5, url=NOBODY)
    assert drain(tmp_path, NOBODY, "--timeout", "0.5") == 1
    error = capsys.readouterr().err
    assert "cannot be reached" in error
    assert "touchtrail serve" in error
    assert list(tmp_path.rglob("*.seg"))


def test_what_waits_for_another_key_is_told_and_sent_when_it_is_said_so(
    sink: Sink, tmp_path: Path, capsys: Any
) -> None:
    old = leave_behind(tmp_path, 40, url=sink.url, key="old")
    assert drain(tmp_path, sink.url, key="new") == 1
    said = capsys.readouterr()
    assert f"--spool {old}" in said.out
    assert "elsewhere" in said.err
    assert not sink.events
    assert drain(tmp_path, sink.url, "--spool", str(old), key="new") == 0
    assert len(sink.events) == 40
    assert {request["Authorization"] for request in sink.requests} == {"Bearer new"}


def test_several_folders_are_emptied_in_one_go(sink: Sink, tmp_path: Path, capsys: Any) -> None:
    folders = [leave_behind(tmp_path, 10, url=sink.url, key=key) for key in ("one", "two", "three")]
    arguments = [part for folder in folders for part in ("--spool", str(folder))]
    assert drain(tmp_path, sink.url, *arguments) == 0
    assert len(sink.events) == 30
    assert capsys.readouterr().out.count("10 events delivered") == 3


def test_dead_letters_are_counted_by_their_code(sink: Sink, tmp_path: Path, capsys: Any) -> None:
    folder = leave_behind(tmp_path, 1, url=sink.url)
    sink.statuses = [413]
    (folder / "dead-letters.jsonl").write_text('{"code":"invalid_value","event":{}}\nnot json\n')
    assert drain(tmp_path, sink.url) == 0
    out = capsys.readouterr().out
    assert "1 rejected\n3 rejected events stand in" in out
    assert "invalid_value 1, too_large 1, unreadable 1" in out


def test_a_delivery_that_takes_time_shows_how_far_it_is(sink: Sink, tmp_path: Path) -> None:
    folder = leave_behind(tmp_path, 300, url=sink.url)
    size = sum(file.stat().st_size for file in folder.glob("*.seg"))
    sink.statuses = [503] * 5
    seen: list[tuple[int, int]] = []
    client = client_for(folder, sink.url, "k", None)
    assert empty(client, 10.0, lambda done, total: seen.append((done, total))) is None
    client.close(0)
    assert len(sink.events) == 300
    assert len(seen) >= 2
    assert {total for _, total in seen} == {size}
    assert all(0 <= done <= size for done, _ in seen)


def test_the_whole_spool_dir_is_no_senders_folder_and_is_told_apart(sink: Sink, tmp_path: Path, capsys: Any) -> None:
    one, two = leave_behind(tmp_path, 2, url=sink.url), leave_behind(tmp_path, 2, url=sink.url, key="other")
    assert drain(tmp_path, sink.url, "--spool", str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert str(one) in error
    assert str(two) in error
    assert len(sink.events) == 0
