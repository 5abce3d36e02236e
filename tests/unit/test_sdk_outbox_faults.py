"""Outbox on disks and in folders that fail: nothing is held up, lost uncounted, or sent again and again."""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from spool_boxes import DAY_S, LIMITS, Losses, Time, abandon, aging_box, disk_at, drain, redirect, spread
from touchtrail._envelope import ORDER
from touchtrail._outbox import DiskOutbox, Limits, MemoryOutbox, Outbox
from touchtrail._outbox.segment import Segment


def divert(segment: Segment, descriptor: int, target: str, flags: int) -> None:
    """Let a descriptor lead to a file that fails, and that file pass for ours: devices always stand at 0."""
    redirect(descriptor, target, flags)
    segment.mark = os.lseek(descriptor, 0, os.SEEK_CUR)


def break_one_file(box: DiskOutbox, folder: Path, how: str) -> str:
    segment = box._segments[0]
    path = folder / segment.name
    if how == "EIO":
        segment.close()
        divert(segment, segment._open(), "/proc/self/mem", os.O_RDONLY)
    elif how == "unlinked":
        segment.close()
        path.unlink()
    elif how == "replaced by a folder":
        segment.close()
        path.unlink()
        path.mkdir()
    elif how == "replaced by a link":
        segment.close()
        path.unlink()
        path.symlink_to("/etc/hostname")
    else:
        segment.close()
        os.truncate(path, 0 if how == "emptied" else 40)
    return segment.name


HOW = ["EIO", "unlinked", "replaced by a folder", "replaced by a link", "emptied", "cut short"]


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs /proc/self/mem to read from")
@pytest.mark.parametrize("owner", ["own", "adopted"])
@pytest.mark.parametrize("how", HOW)
def test_a_file_that_cannot_be_read_holds_up_nothing_and_is_counted(tmp_path: Path, how: str, owner: str) -> None:
    time, losses, troubles = Time(), Losses(), list[OSError]()
    limits = Limits(max_bytes=2**20, segment_bytes=4096, max_age_s=DAY_S)

    def new_box() -> DiskOutbox:
        path = str(tmp_path / "box")
        return DiskOutbox(path, limits, losses.note, on_problem=troubles.append, clocks=time.clocks())

    box = new_box()
    payloads = spread(box, 4)
    if owner == "adopted":
        abandon(box)
        box = new_box()
        box.adopt()
    name = break_one_file(box, tmp_path / "box", how)
    seen = drain(box)
    assert seen == payloads[3:]
    for _ in range(4):
        time.true_s += 2.0
        assert drain(box) == []
    assert not box.has_pending()
    assert losses == {"damaged": 3 if owner == "own" else 1}
    assert box.is_settled_to(len(payloads) if owner == "own" else 0)
    is_cut = how in ("emptied", "cut short")
    assert box.set_aside == (0 if is_cut else 1)
    assert is_cut or troubles
    if how == "EIO":
        assert (tmp_path / "box" / f"{name}.bad").is_file()
    more = spread(box, 2, b"later")
    assert drain(box) == more
    box.close()
    heir = new_box()
    heir.adopt()
    assert drain(heir) == []
    heir.close()


def test_a_file_that_cannot_be_read_for_a_moment_is_read_then(tmp_path: Path) -> None:
    time, losses = Time(), Losses()
    box = aging_box(tmp_path, time, losses)
    payloads = spread(box, 3)
    segment = box._segments[0]
    segment.close()
    hidden = tmp_path / "box" / segment.name
    hidden.rename(hidden.with_suffix(".hidden"))
    assert box.take(1, 10**6).payloads == payloads[3:4]  # type: ignore[union-attr]
    hidden.with_suffix(".hidden").rename(hidden)
    assert drain(box) == payloads[3:]
    assert box.has_pending()
    assert not box.has_ready()
    time.true_s += 2.0
    assert drain(box) == payloads[:3]
    assert losses == {}
    box.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_mark_that_cannot_be_written_repeats_nothing_while_the_process_lives(tmp_path: Path) -> None:
    troubles: list[OSError] = []
    losses = Losses()
    limits = Limits(max_bytes=2**20, segment_bytes=2**16, max_age_s=DAY_S)
    box = DiskOutbox(str(tmp_path / "box"), limits, losses.note, on_problem=troubles.append)
    for number in range(9):
        box.append(b"%d" % number, ORDER)
    # Reading goes on from a copy: what fails is only the writing of the mark.
    segment = box._segments[0]
    reader, mark = os.dup(segment._open()), segment.mark
    seen: list[bytes] = []
    for _ in range(3):
        batch = box.take(2, 10**6)
        assert batch is not None
        seen += batch.payloads
        divert(segment, segment._open(), "/dev/full", os.O_WRONLY)
        box.settle(batch)
        os.dup2(reader, segment._open())
        segment.mark = mark
    os.close(reader)
    assert {problem.errno for problem in troubles} == {28}
    assert len(troubles) == 3
    assert seen + drain(box) == [b"%d" % number for number in range(9)]
    assert box.settled == 9
    assert losses == {}
    box.close()


def test_a_delivered_file_that_cannot_be_removed_is_not_sent_again(tmp_path: Path) -> None:
    """As on a disk that turned read-only: neither the mark nor the removal works."""
    box = disk_at(tmp_path)
    box.append(b"once", ORDER)
    abandon(box)
    troubles: list[OSError] = []
    heir = DiskOutbox(str(tmp_path / "box"), LIMITS, Losses().note, on_problem=troubles.append)
    heir.adopt()
    batch = heir.take(10, 10**6)
    assert batch is not None
    segment = heir._segments[0]
    divert(segment, segment._open(), "/dev/full", os.O_WRONLY)
    (tmp_path / "no folder").write_text("")
    segment._folder = os.open(tmp_path / "no folder", os.O_RDONLY)
    heir.settle(batch)
    assert len(troubles) == 2
    assert len(list((tmp_path / "box").glob("*.seg"))) == 1
    stranger = disk_at(tmp_path)
    for _ in range(3):
        assert not heir.adopt()
        assert heir.take(10, 10**6) is None
        assert not stranger.adopt()
    os.close(segment._folder)
    stranger.close()
    heir.close()


@pytest.mark.parametrize("how", ["unlinked", "emptied", "the folder is removed"])
def test_events_after_somebody_tampered_with_the_file_in_use_are_safe(tmp_path: Path, how: str) -> None:
    losses = Losses()
    box = disk_at(tmp_path, losses)
    folder = tmp_path / "box"
    box.append(b"before", ORDER)
    path = folder / box._segments[0].name
    if how == "emptied":
        os.truncate(path, 0)
    elif how == "unlinked":
        path.unlink()
    else:
        shutil.rmtree(folder)
    box.look_after()
    box.append(b"after", ORDER)
    files = b"".join(file.read_bytes() for file in folder.glob("*.seg"))
    assert b"after" in files
    assert drain(box) == ([b"after"] if how == "emptied" else [b"before", b"after"])
    assert losses == ({"damaged": 1} if how == "emptied" else {})
    assert box.is_settled_to(2)
    box.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_file_that_takes_no_more_is_left_and_the_next_event_gets_another(tmp_path: Path) -> None:
    box = disk_at(tmp_path)
    box.append(b"first", ORDER)
    divert(box._segments[0], box._segments[0].writer, "/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space"):
        box.append(b"refused", ORDER)
    box.append(b"second", ORDER)
    assert drain(box) == [b"first", b"second"]
    box.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_at_any_moment_holds_none_of_its_parents_locks(tmp_path: Path) -> None:
    """While one thread takes over and gives back files, another forks: a lock copied unknowingly would stay held."""
    for _ in range(30):
        dead = disk_at(tmp_path)
        dead.append(b"x", ORDER)
        abandon(dead)
    box = disk_at(tmp_path)
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            box.adopt()
            box.forget()
            # A fork waits until nobody is at it: without a breath in between it waits for a second and longer.
            time.sleep(0.002)

    thread = threading.Thread(target=work)
    thread.start()
    held: list[int] = []
    folder = os.path.realpath(tmp_path / "box")
    for _ in range(100):
        pid = os.fork()
        if not pid:
            with suppress(OSError):
                box.forget()
            links = (_link(name) for name in os.listdir("/proc/self/fd"))
            os._exit(min(sum(link.startswith(folder) and ".lock" in link for link in links), 100))
        held.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    is_over.set()
    thread.join()
    box.close()
    assert held == [0] * 100


def _link(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""


def test_what_waits_in_memory_goes_to_disk_when_that_works_again_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "box").write_text("in the way")
    losses = Losses()
    box = Outbox(disk_at(tmp_path, losses), MemoryOutbox(LIMITS, losses.note), lambda _: None)
    for number in range(5):
        box.append(b"%d" % number, ORDER)
    box.append_report(b"report")
    assert not box.is_durable()
    assert box.tracked() == 5
    (tmp_path / "box").unlink()
    box.close()
    assert losses == {}
    assert box.tracked() == 5
    heir = disk_at(tmp_path)
    heir.adopt()
    assert drain(heir) == [b"0", b"1", b"2", b"3", b"4", b"report"]
    heir.close()
