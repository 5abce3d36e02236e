"""The outbox where the process has few descriptors, keeps its files from itself, or somebody removes them."""

from __future__ import annotations

import os
import resource
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spool_boxes import Losses, abandon, descriptors_into, disk_at, drain
from touchtrail._envelope import ORDER

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to see what is open")

OWNERS, EVENTS = 6, 5


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let nothing be opened meanwhile."""
    lowest = os.dup(0)
    os.close(lowest)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def leave_files(path: Path) -> list[bytes]:
    """Return what processes left behind that were killed."""
    left = []
    for owner in range(OWNERS):
        box = disk_at(path)
        for number in range(EVENTS):
            box.append(payload := b"%d-%d" % (owner, number), ORDER)
            left.append(payload)
        abandon(box)
    return left


def test_files_of_dead_processes_wait_while_there_are_no_descriptors(tmp_path: Path) -> None:
    left, losses = leave_files(tmp_path), Losses()
    box = disk_at(tmp_path, losses)
    box.append(b"own", ORDER)
    with no_descriptor_left():
        for _ in range(10):
            with pytest.raises(OSError, match="Too many open files"):
                box.adopt()
            drain(box)
        assert box.has_pending()
        assert not box.has_ready()
        assert not box.is_settled_to(1)
    box.adopt()
    assert sorted(drain(box)) == left
    assert box.is_settled_to(1)
    assert (losses, box.set_aside) == ({}, 0)
    box.close()


def test_adopted_files_wait_while_there_are_no_descriptors(tmp_path: Path) -> None:
    left, losses = leave_files(tmp_path), Losses()
    box = disk_at(tmp_path, losses)
    box.adopt()
    for _ in range(5):
        with no_descriptor_left():
            assert drain(box) == []
        for segment in box._segments:
            segment.again_at_s = 0.0
    assert sorted(drain(box)) == left
    assert (losses, box.set_aside) == ({}, 0)
    box.close()


def test_files_that_wait_take_few_descriptors(tmp_path: Path) -> None:
    losses = Losses()
    box = disk_at(tmp_path, losses, segment_bytes=4096)
    events = [b"%06d" % number * 100 for number in range(800)]
    for event in events:
        box.append(event, ORDER)
    assert len(list((tmp_path / "box").glob("*.seg"))) >= 100
    box.look_after()
    assert len(descriptors_into(tmp_path)) <= 24
    assert drain(box) == events
    assert losses == {}
    box.close()
    assert descriptors_into(tmp_path) == []


@pytest.mark.parametrize("by", ["folder", "file"])
def test_events_whose_files_somebody_removed_are_counted_when_the_client_ends(tmp_path: Path, by: str) -> None:
    losses = Losses()
    box = disk_at(tmp_path, losses)
    for number in range(5):
        box.append(b"%d" % number, ORDER)
    batch = box.take(2, 10**6)
    assert batch is not None
    box.settle(batch)
    if by == "folder":
        shutil.rmtree(tmp_path / "box")
    else:
        for file in (tmp_path / "box").glob("*.seg"):
            file.unlink()
    box.close()
    assert losses == {"damaged": 3}


def test_a_umask_keeps_nobody_from_the_files(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        box = disk_at(tmp_path / "state" / "shop")
        box.append(b"1", ORDER)
        box.keep_dead_letter(b"{}\n")
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").rglob("*")}
    assert len(modes) >= 5
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    box.close()
