"""How a shop's process ends, with every kind of collector and on every Python: quickly, quietly, with nothing lost."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

import fault_server as faults
import touchtrail
from fault_server import FaultServer, answering, full_backlog, serving
from touchtrail import Client

PROMISE_S = 0.5
# Two cores that others use as well: the wait itself, and the whole end of the process, may take this much longer here.
LOADED, HEAVILY_LOADED = 1.5, 5.0
SDK = Path(touchtrail.__file__).parents[1]
ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")
AT_ONCE = 3
PIP = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--only-binary=:all:"]


class Python(msgspec.Struct, frozen=True):
    """An interpreter that can import the SDK from its source."""

    version: str
    command: str
    path: str

    def start(self, code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.command, "-c", textwrap.dedent(code), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": self.path} | environment,
        )  # fmt: skip


THIS = Python(
    f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable, os.pathsep.join([str(SDK), *filter(None, sys.path)])
)


def find_python(version: str) -> str | None:
    """Return an interpreter of the version: on the path, else among pyenv's."""
    candidates = [shutil.which(f"python{version}") or ""]
    candidates += [str(path) for path in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    for candidate in filter(None, candidates):
        asked = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        if asked.returncode == 0 and asked.stdout.startswith(f"Python {version}."):
            return candidate
    return None


@pytest.fixture(scope="session")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Python]:
    """Give an interpreter by its version, with httpx and msgspec in a folder of its own."""
    known = {THIS.version: THIS}

    def give(version: str) -> Python:
        if version in known:
            return known[version]
        prepared = ROOT / f".venv-{version}" / "bin" / "python"
        if (ROOT / f".venv-{version}" / ".ready").exists():
            # As scripts/test-pythons left it.
            known[version] = Python(version, str(prepared), str(SDK))
            return known[version]
        command = find_python(version)
        if command is None:
            pytest.skip(f"NOT TESTED: there is no Python {version} here, neither on the path nor in pyenv")
        folder = tmp_path_factory.mktemp(f"python-{version}")
        install = [*PIP, "--target", str(folder), "--python-version", version, "httpx>=0.28", "msgspec>=0.19"]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"NOT TESTED: httpx and msgspec for Python {version} cannot be installed: {done.stderr[-300:]}")
        known[version] = Python(version, command, os.pathsep.join([str(SDK), str(folder)]))
        return known[version]

    return give


# The shop writes down what was taken after ``track`` returned. Its main program's last words are the time; the time
# the SDK's own handler takes after them follows.
HEAD = """
import atexit, os, signal, sys, threading, time
url, spool, book = sys.argv[1:]
began = 0.0
# Registered before the SDK's own, so done after it.
atexit.register(lambda: os.write(1, b" %f" % (time.time() - began)))
taken = os.open(book, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
from touchtrail import Client

client = Client(url, key="k", spool_dir=spool, linger_s=0.01, timeout_s=5.0)

def track(number, client=client):
    event_id = f"{threading.get_native_id()}-{number}"
    if client.track("clicked", anonymous_id="a", event_id=event_id):
        os.write(taken, event_id.encode() + b"\\n")

def forbid_new_threads():
    def start(self):
        os.write(2, b"a thread was started at exit\\n")
    threading.Thread.start = start

def begin():
    global began
    began = time.time()

def last_words():
    atexit.register(begin)
    os.write(1, b"%f" % time.time())

for number in range(100):
    track(number)
time.sleep(float(os.environ.get("PAUSE", "0.3")))
"""
PLAIN = "forbid_new_threads(); last_words()"
ENDINGS: dict[str, tuple[str, int, str]] = {
    # What the shop does at its end, its exit code, and the last line that may stand on stderr.
    "at the end of its code": (PLAIN, 0, ""),
    "by sys.exit": ("last_words(); sys.exit(3)", 3, ""),
    "by an exception": ("last_words(); raise LookupError('the shop is broken')", 1, "LookupError: the shop is broken"),
    "by os._exit": ("last_words(); os._exit(4)", 4, ""),
    "by sys.exit in a thread": (
        "thread = threading.Thread(target=sys.exit, args=(5,)); thread.start(); thread.join(); " + PLAIN, 0, "",
    ),
    "by SIGTERM": ("last_words(); os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM, ""),
    "by SIGINT while it flushes": (
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try: client.flush(60)\n"
        "except KeyboardInterrupt: last_words(); sys.exit(6)", 6, "",
    ),
    "by sys.exit in a signal while it flushes": (
        "signal.signal(signal.SIGALRM, lambda *_: (last_words(), sys.exit(7)))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.2)\n"
        "client.flush(60)", 7, "",
    ),
    "while a thread tracks on": (
        "def shop():\n"
        "    number = 1000\n"
        "    while True: track(number); number += 1\n"
        "for _ in range(3): threading.Thread(target=shop, daemon=True).start()\n"
        "time.sleep(0.1); last_words()", 0, "",
    ),
    "with an event tracked at exit": ("atexit.register(track, 7777)\n" + PLAIN, 0, ""),
    "with the first event of a client tracked at exit": (
        "late = Client(url, key='k', spool_dir=spool + '-late')\n"
        "atexit.register(track, 8888, late)\n" + PLAIN, 0, "",
    ),
    "with a client that only refused events": (
        "mute = Client(url, key='k', spool_dir=spool + '-mute')\n"
        "assert not mute.track('clicked')\n" + PLAIN, 0, "",
    ),
    "with an event tracked by the last object": (
        "class Cart:\n"
        "    def __del__(self): client.track('clicked', anonymous_id='a')\n"
        "sys.cart = Cart()\n" + PLAIN, 0, "",
    ),
    "with a client for each of four shops": (
        "more = [Client(url, key='k', spool_dir=spool + str(n), linger_s=0.01, timeout_s=5.0) for n in range(3)]\n"
        "for other in more: track(1, other)\n"
        "time.sleep(0.2); " + PLAIN, 0, "",
    ),
    "closed twice before": ("client.close(0.1); client.close(); last_words()", 0, ""),
}  # fmt: skip
VARYING = [
    "at the end of its code", "by sys.exit in a thread", "by SIGINT while it flushes", "while a thread tracks on",
    "with an event tracked at exit", "with an event tracked by the last object",
]  # fmt: skip
"""The ends in which versions of Python differ: threads and objects while the interpreter goes down."""


def run_to_its_end(python: Python, code: str, *arguments: str, **environment: str) -> tuple[int, str, float, float]:
    """Run a shop; return its exit code, what stood on stderr, how long its end took, and what the SDK took of that."""
    process = python.start(code, *arguments, **environment)
    try:
        out, err = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"the process does not end: {process.communicate()}")
    said_last, sdk_s = [*map(float, out.split()), 0.0][:2]
    return process.returncode, err, time.time() - said_last, sdk_s


@functools.cache
def end_of_nobodys_process_s(python: Python) -> float:
    """Return how long a process without a client takes to end here: the best of three."""
    code = "import os, sys, time, httpx, msgspec, logging, threading\nos.write(1, b'%f' % time.time())"
    return min(run_to_its_end(python, code)[2] for _ in range(3))


def taken_in(book: Path) -> set[str]:
    return set(book.read_text().split())


@contextmanager
def nobody() -> Iterator[FaultServer]:
    """A server that is not there: its port is free."""
    server = FaultServer()
    server.stop()
    yield server


COLLECTORS: dict[str, Callable[[], AbstractContextManager[FaultServer]]] = {
    "hanging": lambda: serving(otherwise=faults.hang),
    "down": nobody,
    "refusing the key": lambda: serving(otherwise=answering(401)),
    "failing": lambda: serving(otherwise=answering(503, b"", ("Retry-After", "60"))),
    "slow": lambda: serving(otherwise=faults.acknowledge_slowly),
    "dripping its head": lambda: serving(otherwise=faults.drip_the_head),
    "well": serving,
}


def end_with(python: Python, folder: Path, server: FaultServer, ending: str, **environment: str) -> float:
    """Let a shop end so before this collector; see that all is right, and return how long the SDK held it up."""
    code, exit_code, word = ENDINGS[ending]
    book = folder / "book"
    arguments = (server.url, str(folder / "spool"), str(book))
    returned, err, took_s, sdk_s = run_to_its_end(python, HEAD + code, *arguments, **environment)
    assert returned == exit_code, err
    assert (err.count("Traceback"), err.splitlines()[-1:]) == ((1, [word]) if word else (0, [])), err
    assert sdk_s < PROMISE_S * LOADED, f"the SDK took {sdk_s:.3f} s of an end of {took_s:.3f} s"
    assert took_s - end_of_nobodys_process_s(python) < PROMISE_S * HEAVILY_LOADED, f"the end took {took_s:.3f} s"
    # A spool belongs to an address: the next collector answers where this one did.
    server.stop()
    with serving(port=server.port) as well:
        for spool in folder.glob("spool*"):
            with Client(server.url, key="k", spool_dir=spool) as heir:
                assert heir.flush(10), heir.health()
                assert heir.health().dropped == {}
        assert taken_in(book) - (server.events.keys() | well.events.keys()) == set()
        lost = [event["properties"]["reason"] for event in well.events.values() if event["name"] == "events_lost"]
        assert lost == ["no_person"] * ("mute" in code)
    assert len(taken_in(book)) >= 100
    return sdk_s


def in_turns(jobs: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Do the jobs, a few at a time; return their figures, or fail with everything that failed."""
    problems: dict[str, str] = {}
    figures: dict[str, float] = {}

    def do(name: str, job: Callable[[], float]) -> None:
        try:
            figures[name] = job()
        except (AssertionError, pytest.fail.Exception) as problem:
            problems[name] = str(problem)

    with ThreadPoolExecutor(AT_ONCE) as crew:
        list(crew.map(do, jobs, jobs.values()))
    assert problems == {}
    assert len(figures) == len(jobs) > 0
    return figures


def test_the_end_is_quick_and_quiet_and_loses_nothing_however_the_collector_is(tmp_path: Path) -> None:
    def job(collector: str, pause: str) -> float:
        folder = tmp_path / f"{collector}-{pause}"
        folder.mkdir()
        with COLLECTORS[collector]() as server:
            return end_with(THIS, folder, server, "at the end of its code", PAUSE=pause)

    cases = [(name, "0.4") for name in COLLECTORS] + [(name, "0") for name in ("hanging", "down", "well")]
    jobs = {f"{name}, {pause} s": partial(job, name, pause) for name, pause in cases}
    end_of_nobodys_process_s(THIS)
    for name, held_s in in_turns(jobs).items():
        print(f"collector {name} after the last event: the SDK held up the end for {held_s:.3f} s")


@pytest.mark.parametrize("version", VERSIONS)
def test_whatever_ends_the_process_nothing_is_lost_or_printed_on_any_python(
    tmp_path: Path, pythons: Callable[[str], Python], version: str
) -> None:
    python = pythons(version)
    end_of_nobodys_process_s(python)

    def job(ending: str) -> float:
        folder = tmp_path / ending.replace(" ", "-")
        folder.mkdir()
        with serving(otherwise=faults.hang) as server:
            return end_with(python, folder, server, ending)

    endings = ENDINGS if python is THIS else VARYING
    for ending, held_s in in_turns({ending: partial(job, ending) for ending in endings}).items():
        print(f"Python {version} ended {ending}: the SDK held it up for {held_s:.3f} s")


def test_a_port_that_never_accepts_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with full_backlog() as url:
        code = HEAD + PLAIN
        returned, err, _, sdk_s = run_to_its_end(THIS, code, url, str(tmp_path / "spool"), str(tmp_path / "book"))
    assert (returned, err) == (0, "")
    assert sdk_s < PROMISE_S * LOADED
    spooled = b"".join(path.read_bytes() for path in tmp_path.rglob("*.seg"))
    assert len(taken_in(tmp_path / "book")) == 100
    assert all(event_id.encode() in spooled for event_id in taken_in(tmp_path / "book"))


@pytest.mark.parametrize(
    "base", ["Exception", "BaseException", "TimeoutError", "TimeoutError+track", "Exception+track"]
)
def test_an_exception_thrown_into_track_by_a_signal_reaches_the_shop_and_loses_nothing_that_was_taken(
    tmp_path: Path, base: str
) -> None:
    """As Celery's soft time limit throws one, and Ctrl-C in a shell: at any instruction, a thousand times.

    With ``+track`` the signal's handler tracks as well; the last one does not raise.
    """
    shop = """
        import builtins, os, random, signal, sys
        from touchtrail import Client

        url, spool, book, base = sys.argv[1:]
        TooLong = type("TooLong", (getattr(builtins, base.removesuffix("+track")),), {})

        def interrupt(*_):
            global noted
            if base.endswith("+track"):
                noted += 1
                if client.track("noted", anonymous_id="a", event_id=f"n-{noted}", properties={"x": "y" * (noted % 500)}):
                    os.write(taken, b"n-%d\\n" % noted)
            if base != "Exception+track":
                raise TooLong

        taken = os.open(book, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        client = Client(url, key="k", spool_dir=spool, linger_s=60, segment_bytes=4096)
        interrupted, accepted, number, noted, chance = 0, 0, 0, 0, random.Random(5)
        client.track("clicked", anonymous_id="a", event_id="first")
        signal.signal(signal.SIGALRM, interrupt)
        # A busy machine needs more calls until enough of either kind came about.
        while number < 6_000 or (min(interrupted + noted, accepted) < 500 and number < 60_000):
            number += 1
            event_id, said = f"e-{number}", False
            try:
                try:
                    # From two to 400 millionths of a second: in every line of track(), and after it.
                    signal.setitimer(signal.ITIMER_REAL, 2e-6 * 200 ** chance.random())
                    said = client.track("clicked", anonymous_id="a", event_id=event_id)
                    if not number % 20:
                        client.flush(0.001)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except TooLong:
                    interrupted += 1
                interrupted += not said
                if said:
                    accepted += 1
                    os.write(taken, event_id.encode() + b"\\n")
            except TooLong:
                pass  # one that was under way when the timer stopped
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        client.close(10)
        health = client.health()
        print(interrupted + noted, min([0, *health.dropped.values()]), sum(health.refused.values()), health)
    """
    with serving() as server:
        process = THIS.start(shop, server.url, str(tmp_path / "spool"), str(tmp_path / "book"), base)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        with Client(server.url, key="k", spool_dir=tmp_path / "spool") as heir:
            assert heir.flush(10), (out, heir.health())
            # Shown when the test fails.
            print(out, heir.health())
        interrupted, least_dropped, refused = map(int, out.split(maxsplit=3)[:3])
        taken, stored = taken_in(tmp_path / "book"), server.events.keys()
        print(f"{interrupted} calls interrupted, {len(taken)} taken, {len(taken - stored)} of them lost")
        assert interrupted >= 500
        assert len(taken) >= 500
        assert taken - stored == set()
        # A count below zero is no count.
        assert least_dropped == 0
        # What was thrown in went on to the shop, whatever its kind: none of it was taken for a value's failure.
        assert refused == 0
