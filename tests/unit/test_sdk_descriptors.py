"""A program that closes descriptors it does not own: no byte of ours goes into what it opens next, and no event is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from sdk_sink import running_sink
from spool_boxes import Losses, descriptors_into, disk_at, drain
from still_client import outbox_of, still
from touchtrail._envelope import ORDER
from touchtrail._outbox.own import Held, is_at_mark, new_mark
from touchtrail.testing import ScriptedTransport

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to see what is open")

PRECIOUS = b"orders of the shop\n" * 400


def take_over(numbers: list[int], folder: Path, *, flags: int = os.O_RDWR | os.O_APPEND) -> dict[int, Path]:
    """Close descriptors as a careless program does, and open its own files under their numbers."""
    files = {}
    for number in numbers:
        os.close(number)
        path = folder / f"shop-{number}-{len(list(folder.iterdir()))}.csv"
        path.write_bytes(PRECIOUS)
        file = os.open(path, flags)
        if file != number:
            os.dup2(file, number)
            os.close(file)
        files[number] = path
    return files


def check_unharmed(files: dict[int, Path]) -> None:
    for number, path in files.items():
        assert path.read_bytes() == PRECIOUS, path
        assert os.path.samestat(os.fstat(number), path.stat()), f"{number} was closed or replaced"
        os.close(number)


@pytest.mark.parametrize("seed", range(20))
def test_descriptors_that_became_the_shops_are_neither_written_to_nor_closed(tmp_path: Path, seed: int) -> None:
    """Any of them, at any moment, several times; all events arrive, only ever in the collector."""
    chance = random.Random(seed)
    shop = tmp_path / "shop"
    shop.mkdir()
    collector = ScriptedTransport()
    happened: Counter[str] = Counter()
    files: dict[int, Path] = {}
    with still(collector, tmp_path / "spool", segment_bytes=4096, batch_events=5) as (client, sender):
        for number in range(120):
            assert client.track("clicked", anonymous_id="a", event_id=f"e-{number}", properties={"x": "y" * 200})
            what = chance.choice(["take over", "send", "send", "tend", "nothing", "nothing"])
            happened[what] += 1
            if what == "take over":
                numbers = descriptors_into(tmp_path / "spool")
                assert numbers
                files |= take_over(chance.sample(numbers, chance.randint(1, len(numbers))), shop)
            elif what == "send":
                sender.step()
            elif what == "tend":
                outbox_of(client).tend()
        outbox_of(client).tend()
        while sender.step() is not None or outbox_of(client).has_pending():
            outbox_of(client).tend()
        health = client.health()
    assert happened["take over"] >= 8
    assert len(files) >= 20
    check_unharmed(files)
    assert set(collector.stored) == {f"e-{number}" for number in range(120)}
    assert (health.tracked, health.dropped, health.refused, health.damaged_files) == (120, {}, {}, 0)
    assert health.delivered == 120


def test_after_all_descriptors_were_closed_the_next_event_is_on_disk(tmp_path: Path) -> None:
    collector = ScriptedTransport()
    with still(collector, tmp_path) as (client, sender):
        assert client.track("before", anonymous_id="a")
        for number in descriptors_into(tmp_path):
            os.close(number)
        assert client.track("after", anonymous_id="a")
        assert outbox_of(client).is_durable()
        files = b"".join(path.read_bytes() for path in tmp_path.glob("*/*.seg"))
        assert b'"before"' in files
        assert b'"after"' in files
        outbox_of(client).tend()
        while sender.step() is not None:
            pass
        assert {event["name"] for event in collector.stored.values()} == {"before", "after"}
        assert client.health().dropped == {}


def test_a_batch_under_way_while_everything_is_taken_over_is_counted_once(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    losses = Losses()
    box = disk_at(tmp_path, losses)
    for number in range(6):
        box.append(b"%d" % number, ORDER)
    batch = box.take(4, 10**6)
    assert batch is not None
    files = take_over(descriptors_into(tmp_path / "box"), shop)
    box.append(b"6", ORDER)
    box.settle(batch)
    box.adopt()
    # The mark could not be set: those four go out again, and the collector knows them by their ids.
    assert sorted(drain(box)) == [b"%d" % number for number in range(7)]
    assert box.is_settled_to(7)
    assert (box.settled, box.tracked(), losses) == (7, 7, {})
    box.close()
    check_unharmed(files)


def test_a_thread_that_is_about_to_mark_a_file_delivered_marks_no_other(tmp_path: Path) -> None:
    """In that moment the shop's thread finds the lock closed, leaves all files, and begins a new one."""
    losses = Losses()
    box = disk_at(tmp_path, losses, segment_bytes=4096)
    for number in range(6):
        box.append(b"%d" % number, ORDER)
    batch = box.take(6, 10**6)
    assert batch is not None
    is_about, may_go_on = threading.Event(), threading.Event()

    def settle() -> None:
        sys.settrace(wait_before_the_mark_is_written)
        box.settle(batch)

    def wait_before_the_mark_is_written(frame: FrameType, event: str, _: object) -> Any:
        if (frame.f_code.co_name, event) == ("_open", "return"):
            is_about.set()
            assert may_go_on.wait(20)
        return wait_before_the_mark_is_written

    sender = threading.Thread(target=settle)
    sender.start()
    assert is_about.wait(20)
    for number in descriptors_into(tmp_path / "box"):
        if os.readlink(f"/proc/self/fd/{number}").endswith(".lock"):
            os.close(number)
    # Enough for a new file: only then is the lock looked at.
    later = [b"%d" % number * 100 for number in range(100, 125)]
    for payload in later:
        box.append(payload, ORDER)
    may_go_on.set()
    sender.join(20)
    box.close()

    heir = disk_at(tmp_path, losses)
    heir.adopt()
    found = drain(heir)
    assert [payload for payload in found if payload in later] == later
    assert losses == {}
    heir.close()


def test_two_exceptions_thrown_into_one_call_leave_nothing_that_hides_the_next_event(tmp_path: Path) -> None:
    """The first when an event is written and not yet counted, the second before it is cut off."""

    class TooLong(TimeoutError):
        pass

    def handle(_: int, __: FrameType) -> None:
        raise TooLong

    def at_the_write(_: FrameType, event: str, function: object) -> None:
        if (event, getattr(function, "__name__", "")) == ("c_return", "pwrite"):
            handle(signal.SIGALRM, sys._getframe())

    def at_the_cut(frame: FrameType, event: str, _: object) -> None:
        if (frame.f_code.co_name, event) == ("cut_back", "call"):
            handle(signal.SIGALRM, sys._getframe())

    losses = Losses()
    box = disk_at(tmp_path, losses)
    box.append(b"before", ORDER)
    sys.settrace(at_the_cut)
    sys.setprofile(at_the_write)
    with pytest.raises(TooLong) as thrown:
        box.append(b"longer than the others", ORDER)
    assert isinstance(thrown.value.__context__, TooLong)
    for number in range(3):
        box.append(b"%d" % number, ORDER)
    assert box.tracked() == 4
    mark = box.appended
    assert drain(box) == [b"before", b"0", b"1", b"2"]
    assert box.is_settled_to(mark)
    assert losses == {}
    box.close()


DAEMON = """
import os, socket, sys
from touchtrail import Client
url, folder, shop, most = *sys.argv[1:4], int(sys.argv[4])
client = Client(url, key="k", spool_dir=folder, backoff_min_s=0.01, backoff_max_s=0.1)
assert client.track("started", anonymous_id="a", event_id="e-0")
assert client.flush(20)
os.closerange(3, most)
pairs = [socket.socketpair() for _ in range(8)]
files = [open(os.path.join(shop, f"{n}.csv"), "wb+", buffering=0) for n in range(40)]
for number in range(1, 50):
    assert client.track("worked", anonymous_id="a", event_id=f"e-{number}")
assert client.flush(20), client.health()
assert client.track("ended", anonymous_id="a", event_id="e-50")
health = client.health()
assert not health.dropped and health.tracked == 51 and health.delivered >= 50, health
client.close(5)
for number, file in enumerate(files):
    assert os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
    assert os.fstat(file.fileno()).st_size == 0, file.name
for one, other in pairs:
    one.send(b"x"), other.send(b"y")
    assert (one.recv(99), other.recv(99)) == (b"y", b"x")
"""


@pytest.mark.parametrize("most", [256, 4096])
def test_a_daemon_that_closes_everything_keeps_its_files_and_connections_and_its_events(
    tmp_path: Path, most: int
) -> None:
    """With the client's thread at work, and its idle connection closed under it."""
    spool, shop = tmp_path / "spool", tmp_path / "shop"
    shop.mkdir()
    with running_sink() as server:
        command = [sys.executable, "-c", DAEMON, server.url, str(spool), str(shop), str(most)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert set(server.events) == {f"e-{number}" for number in range(51)}
        assert len(server.requests) >= 2


def test_marks_tell_files_apart(tmp_path: Path) -> None:
    marks = {new_mark() for _ in range(1000)}
    assert len(marks) >= 990
    assert all(2**31 <= mark < 2**32 - 2**30 for mark in marks)
    file = os.open(tmp_path / "f", os.O_CREAT | os.O_RDWR)
    mark = marks.pop()
    assert not is_at_mark(file, mark)
    os.lseek(file, mark, os.SEEK_SET)
    assert is_at_mark(file, mark)
    assert not is_at_mark(-1, mark)
    os.close(file)
    assert not is_at_mark(file, mark)


def test_what_is_held_is_closed_unless_it_became_somebody_elses(tmp_path: Path) -> None:
    held = Held(os.open(tmp_path, os.O_RDONLY))
    assert held.is_ours()
    number = held.number
    held.close()
    assert not held.is_ours()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(number)
    held = Held(os.open(tmp_path, os.O_RDONLY))
    other = os.open("/dev/null", os.O_RDONLY)
    os.dup2(other, number := held.number)
    assert not held.is_ours()
    held.close()
    assert os.path.samestat(os.fstat(number), os.fstat(other))
    os.close(number)
    os.close(other)
    assert not Held().is_ours()


def test_a_time_limit_that_ends_in_the_look_at_a_descriptor_does_not_make_it_somebody_elses(tmp_path: Path) -> None:
    """Taken for closed by somebody, every file in use would be left, under the feet of the thread that sends it."""

    class TooLong(TimeoutError):
        pass

    is_looking = False

    def interrupt(*_: object) -> None:
        if is_looking:
            raise TooLong

    file = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    held, mark = Held(file), new_mark()
    os.lseek(file, mark, os.SEEK_SET)
    before = signal.signal(signal.SIGALRM, interrupt)
    chance, interrupted, answers = random.Random(7), 0, set()
    for _ in range(20_000):
        try:
            is_looking = True
            signal.setitimer(signal.ITIMER_REAL, 1e-6 + 2e-5 * chance.random())
            answers.add(held.is_ours())
            answers.add(is_at_mark(file, mark))
            is_looking = False
        except TooLong:
            interrupted += 1
        is_looking = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    os.close(file)
    assert interrupted >= 500
    assert answers == {True}
