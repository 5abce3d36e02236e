"""The spool on a disk that fills up, is taken away, refuses or garbles: no call raises or waits, every event counted."""

from __future__ import annotations

import errno
import logging
import os
import random
import resource
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fault_server as faults
from fault_server import FaultServer, answering, serving
from touchtrail import Client

QUICK: dict[str, Any] = {"backoff_min_s": 0.01, "backoff_max_s": 0.05, "linger_s": 0.01, "timeout_s": 1.0}
LONGEST_CALL_S = 0.05
HELD_UP_S = 0.5
"""A loaded machine may keep a thread from running in the middle of a call: one call, for so long."""
DISK_BYTES = 1_048_576
EIGHT_S = 8.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"NOT TESTED: no tmpfs here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A collector that is down for everybody until ``otherwise`` says something else."""
    with serving(otherwise=answering(503)) as running:
        yield running


class Book:
    """Tracks, and keeps what was taken and how long it took."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.taken: list[str] = []
        self.refused = 0
        self.times_s: list[float] = []

    def track(self, events: int, *, bytes_each: int = 600) -> None:
        for _ in range(events):
            event_id = f"{id(self)}-{len(self.taken) + self.refused}"
            began = time.perf_counter()
            said = self.client.track(
                "clicked", anonymous_id="a", event_id=event_id, properties={"filling": "x" * bytes_each}
            )
            self.times_s.append(time.perf_counter() - began)
            if said:
                self.taken.append(event_id)
            else:
                self.refused += 1

    def assert_balanced(self, server: FaultServer, *, most_lost: int = 0) -> None:
        """Let the collector come up; then each event is stored once or counted as lost."""
        server.otherwise = faults.acknowledge
        assert self.client.flush(20), self.client.health()
        health = self.client.health()
        stored = stored_in(server)
        missing = set(self.taken) - stored
        assert health.tracked == len(self.taken)
        assert sum(health.refused.values()) == self.refused
        assert health.delivered + health.duplicates + health.rejected + sum(health.dropped.values()) == health.tracked
        assert len(missing) <= sum(health.dropped.values()) <= most_lost
        assert health.spooled_bytes == 0

    def assert_quick(self) -> None:
        """No call waits: of all of them one may be over the limit, where the machine is to blame, and that is said."""
        longest_s, second_s = sorted(self.times_s)[:-3:-1]
        if longest_s >= LONGEST_CALL_S:
            print(f"one call of {len(self.times_s)} took {longest_s * 1e3:.1f} ms, the next {second_s * 1e3:.1f} ms")
        assert second_s < LONGEST_CALL_S
        assert longest_s < HELD_UP_S


def stored_in(server: FaultServer) -> set[str]:
    return {event_id for event_id, event in server.events.items() if event["name"] != "events_lost"}


def segments(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.seg"))


class Log(logging.Handler):
    """Keeps what the SDK says of its spool."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.of_spool: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "spool" in record.getMessage():
            self.of_spool.append(record.getMessage())


@pytest.fixture
def log() -> Iterator[Log]:
    """Listen at the SDK's own logger: what other tests made of the root's does not matter here."""
    logger, handler = logging.getLogger("touchtrail"), Log()
    level, disabled = logger.level, logger.disabled
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.disabled = False
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.disabled = disabled


def wait_until(is_so: Callable[[], object], limit_s: float = EIGHT_S) -> None:
    until = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.02)


def fill_up(disk: Path, *, leaving: int) -> Path:
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
    filler.write_bytes(b"\0" * max(free - leaving, 0))
    return filler


def test_a_disk_that_fills_up_and_empties_again_costs_nothing(small_disk: Path, server: FaultServer, log: Log) -> None:
    with Client(server.url, key="k", spool_dir=small_disk / "spool", **QUICK) as client:
        book = Book(client)
        book.track(50)
        filler = fill_up(small_disk, leaving=150_000)
        book.track(1000)
        on_disk = sum(path.stat().st_size for path in segments(small_disk))
        assert os.statvfs(small_disk).f_bavail < 4
        assert 100_000 < on_disk < 400_000
        assert client.health().spooled_bytes > on_disk
        assert len(log.of_spool) == 1
        filler.unlink()

        def is_used_again() -> bool:
            book.track(1)
            return sum(path.stat().st_size for path in segments(small_disk)) > on_disk + 2000

        wait_until(is_used_again)
        assert len(log.of_spool) == 1
        book.assert_balanced(server)
        print(
            f"{len(book.taken)} events, {on_disk} bytes of them on the full disk, longest {max(book.times_s) * 1e3:.1f} ms"
        )
        assert book.refused == 0
        book.assert_quick()


def test_a_disk_that_is_full_from_the_beginning_is_done_without(
    small_disk: Path, server: FaultServer, log: Log
) -> None:
    fill_up(small_disk, leaving=0)
    with Client(server.url, key="k", spool_dir=small_disk / "spool", **QUICK) as client:
        book = Book(client)
        book.track(300)
        assert len(log.of_spool) == 1
        book.assert_balanced(server)
        book.assert_quick()
        assert len(book.taken) == 300


@pytest.mark.parametrize("room_bytes", [1, 10, 16, 17, 100, 611, 612, 613, 700, 1300])
def test_a_write_the_disk_breaks_off_leaves_no_half_event(tmp_path: Path, server: FaultServer, room_bytes: int) -> None:
    """The limit of a file's size breaks a write off at the byte, as a full disk does at a page."""
    with Client(server.url, key="k", spool_dir=tmp_path, **QUICK) as client:
        book = Book(client)
        book.track(5)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = sum(path.stat().st_size for path in segments(tmp_path))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + room_bytes, before[1]))
        try:
            book.track(5)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        book.track(5)
        book.assert_balanced(server)
        assert len(book.taken) == 15


def remounted(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def test_a_disk_that_became_read_only_is_survived_and_its_events_wait(
    small_disk: Path, server: FaultServer, log: Log
) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", LEAVES_EVENTS, server.url, str(small_disk / "spool"), "40"], check=False
    )
    assert dead.returncode == 9
    remounted(small_disk, "ro")
    try:
        with Client(server.url, key="k", spool_dir=small_disk / "spool", **QUICK) as client:
            book = Book(client)
            book.track(200)
            server.otherwise = faults.acknowledge
            wait_until(lambda: set(book.taken) <= stored_in(server))
            assert len(log.of_spool) == 1
            assert len(book.taken) == 200
            book.assert_quick()
    finally:
        remounted(small_disk, "rw")
    with Client(server.url, key="k", spool_dir=small_disk / "spool", **QUICK) as heir:
        assert heir.flush(10)
    assert {f"left-{number}" for number in range(40)} <= stored_in(server)
    assert segments(small_disk) == []


LEAVES_EVENTS = textwrap.dedent("""
    import os, sys
    from touchtrail import Client
    url, spool, events = sys.argv[1:]
    client = Client(url, key="k", spool_dir=spool, linger_s=60, segment_bytes=4096)
    for number in range(int(events)):
        assert client.track("clicked", anonymous_id="a", event_id=f"left-{number}", properties={"filling": "x" * 300})
    os._exit(9)
""")


@pytest.mark.parametrize("is_known_to_reader", [True, False], ids=["while it is read", "before it was read"])
def test_a_folder_taken_away_loses_nothing_uncounted_and_is_made_again(
    tmp_path: Path, server: FaultServer, is_known_to_reader: bool
) -> None:
    spool = tmp_path / "spool"
    options = QUICK | ({} if is_known_to_reader else {"linger_s": 60})
    with Client(server.url, key="k", spool_dir=spool, **options) as client:
        book = Book(client)
        book.track(100)
        if is_known_to_reader:
            wait_until(lambda: server.played)
        shutil.rmtree(spool)
        book.track(100)

        def is_durable_again() -> bool:
            book.track(1)
            return any(book.taken[-1].encode() in path.read_bytes() for path in segments(tmp_path))

        # "True: it is on disk" must become true again without a restart.
        wait_until(is_durable_again)
        book.assert_balanced(server, most_lost=len(book.taken))
        assert book.refused == 0
        book.assert_quick()


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def cut_to_nothing(path: Path) -> None:
    path.write_bytes(b"")


def replaced_by_a_file(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(random.Random(3).randbytes(5000))
    other.replace(path)


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replaced_by_a_link(path: Path) -> None:
    target = path.parent.parent / "precious"
    target.write_text("not the SDK's")
    path.unlink()
    path.symlink_to(target)


def overwritten(path: Path) -> None:
    path.write_bytes(random.Random(4).randbytes(path.stat().st_size))


def with_flipped_bits(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in random.Random(5).sample(range(len(content)), 8):
        content[place] ^= 1 << place % 8
    path.write_bytes(content)


def with_a_huge_length(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(b"\xfeTT\xff")
    content[place + 4 : place + 8] = b"\xff\xff\xff\x7f"
    path.write_bytes(content)


def lengthened(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\xfeTT\xff" * 100 + random.Random(6).randbytes(500))


def removed(path: Path) -> None:
    path.unlink()


HARMS = [
    cut, cut_to_nothing, replaced_by_a_file, replaced_by_a_folder, replaced_by_a_link, overwritten, with_flipped_bits,
    with_a_huge_length, lengthened, removed,
]  # fmt: skip


@pytest.mark.parametrize("moment", ["before it was read", "while it is read"])
@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_what_is_done_to_a_living_processes_file_is_counted_and_delivery_goes_on(
    tmp_path: Path, server: FaultServer, harm: Callable[[Path], None], moment: str
) -> None:
    options = QUICK | ({"linger_s": 60} if moment == "before it was read" else {})
    with Client(server.url, key="k", spool_dir=tmp_path / "spool", segment_bytes=20_000, **options) as client:
        book = Book(client)
        # Some finished files and the one that is written to.
        book.track(100)
        if moment == "while it is read":
            wait_until(lambda: server.played)
        harmed = [segments(tmp_path)[0], segments(tmp_path)[-1]]
        for path in harmed:
            harm(path)
        book.track(20)
        book.assert_balanced(server, most_lost=100)
        book.track(20)
        book.assert_balanced(server, most_lost=100)
        assert set(book.taken[-20:]) <= stored_in(server)
        book.assert_quick()
    if harm is replaced_by_a_link:
        assert next(tmp_path.rglob("precious")).read_text() == "not the SDK's"


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_what_is_done_to_a_dead_processes_file_keeps_nothing_else_from_delivery(
    tmp_path: Path, server: FaultServer, harm: Callable[[Path], None]
) -> None:
    subprocess.run([sys.executable, "-c", LEAVES_EVENTS, server.url, str(tmp_path / "spool"), "60"], check=False)
    files = segments(tmp_path)
    assert len(files) >= 5
    unharmed = b"".join(path.read_bytes() for path in files if path != files[1])
    harm(files[1])
    server.otherwise = faults.acknowledge
    with Client(server.url, key="k", spool_dir=tmp_path / "spool", **QUICK) as heir:
        wanted = {f"left-{number}" for number in range(60) if b'"left-%d"' % number in unharmed}
        assert len(wanted) > 40
        book = Book(heir)
        book.track(1)
        wait_until(lambda: wanted <= stored_in(server))
        missing = {f"left-{number}" for number in range(60)} - stored_in(server)
        if harm not in (removed, cut_to_nothing, replaced_by_a_folder, replaced_by_a_link):
            # What is no file any more, or an empty one, tells nobody that there was anything.
            wait_until(lambda: bool(heir.health().dropped) or not missing)
        assert stored_in(server) <= {f"left-{number}" for number in range(60)} | set(book.taken)


def test_swapped_copied_and_foreign_files_are_delivered_once_or_left_alone(tmp_path: Path, server: FaultServer) -> None:
    subprocess.run([sys.executable, "-c", LEAVES_EVENTS, server.url, str(tmp_path / "spool"), "60"], check=False)
    files = segments(tmp_path)
    first, second, third = (path.read_bytes() for path in files[:3])
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    # The same events once more, under a name of a process that never was.
    shutil.copy(files[2], files[2].with_name(f"{1:019d}-1-{'0' * 16}-000001.seg"))
    folder = files[0].parent
    foreign = {
        "README": b"hands off",
        "x.seg": third,
        ".hidden": b"",
        "dead-letters.jsonl": b"{}\n",
        "core": b"\0" * 9999,
    }
    for name, content in foreign.items():
        (folder / name).write_bytes(content)
    # Things in the way under names the SDK uses.
    owner = f"{2:019d}-2-{'1' * 16}"
    (folder / f"{owner}-000001.seg").mkdir()
    (folder / f"{3:019d}-3-{'2' * 16}.lock").mkdir()
    (folder / f"{9:019d}-9-{'3' * 16}.lock").symlink_to(folder / "README")
    (folder / f"{9:019d}-9-{'3' * 16}-000001.seg").write_bytes(third)
    server.otherwise = faults.acknowledge
    with Client(server.url, key="k", spool_dir=tmp_path / "spool", **QUICK) as heir:
        book = Book(heir)
        book.track(10)
        wanted = {f"left-{number}" for number in range(60)} | set(book.taken)
        wait_until(lambda: wanted <= stored_in(server))
        assert stored_in(server) == wanted
        assert len(book.taken) == 10
    assert {name: (folder / name).read_bytes() for name in foreign} == foreign


def descriptors_of(folder: Path) -> list[int]:
    """Return this process's descriptors of spool files in the folder."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith(str(folder)) and ".seg" in target:
            found.append(int(name))
    return found


def _break(descriptor: int) -> None:
    """Let a descriptor lead to where all fails, at the place by which the client knows its file."""
    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    broken = os.open("/proc/self/mem", os.O_RDWR)
    os.lseek(broken, place, os.SEEK_SET)
    os.dup2(broken, descriptor, inheritable=False)
    os.close(broken)


def test_input_and_output_errors_of_the_disk_are_survived(tmp_path: Path, server: FaultServer, log: Log) -> None:
    """Real EIO: every descriptor of the spool's files is made to point where reading and writing both fail."""
    broken = os.open("/proc/self/mem", os.O_RDWR)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            os.pread(broken, 10, 32)
        with Client(server.url, key="k", spool_dir=tmp_path, **QUICK) as client:
            book = Book(client)
            book.track(50)
            wait_until(lambda: server.played)
            hit = descriptors_of(tmp_path)
            for descriptor in hit:
                _break(descriptor)
            book.track(50)
            assert len(hit) >= 1
            assert len(log.of_spool) == 1
            book.assert_balanced(server, most_lost=50)
            assert set(book.taken[50:]) <= stored_in(server)
            assert len(book.taken) == 100
            book.assert_quick()
    finally:
        os.close(broken)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_or_open_to_all_is_not_trusted(tmp_path: Path, server: FaultServer, log: Log) -> None:
    with Client(server.url, key="k", spool_dir=tmp_path, **QUICK) as client:
        Book(client).track(1)
        folder = segments(tmp_path)[0].parent
        server.otherwise = faults.acknowledge
        assert client.flush(5)
    folder.chmod(0o777)
    with Client(server.url, key="k", spool_dir=tmp_path, **QUICK) as client:
        Book(client).track(1)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
        assert client.flush(5)
    os.chown(folder, 12345, 12345)
    with Client(server.url, key="k", spool_dir=tmp_path, **QUICK) as client:
        book = Book(client)
        book.track(20)
        assert segments(tmp_path) == []
        assert len(log.of_spool) == 1
        book.assert_balanced(server)
        assert len(book.taken) == 20
