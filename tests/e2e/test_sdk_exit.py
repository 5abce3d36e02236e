"""Real interpreters that end, and real forks at bad moments: quick, silent, no thread started, nothing locked up."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdk_sink import Sink, running_sink
from touchtrail import Client

NOBODY = "http://127.0.0.1:9"
MOST_ADDED_S = 0.7  # 0.5 s are promised; the rest is for a machine that does something else

PROLOGUE = """
import atexit, os, signal, sys, threading, time

began_s = []
atexit.register(lambda: os.write(1, b"%f" % (time.monotonic() - began_s[0])))

start = threading.Thread.start
def watched(self):
    if not threading.main_thread().is_alive():
        os.write(2, b"a thread was started at exit")
    start(self)
threading.Thread.start = watched

from touchtrail import Client

def track(client, events=50):
    for _ in range(events):
        assert client.track("clicked", anonymous_id="a")

url, folder = sys.argv[1:]
"""
# Registered last, so the first that runs at exit.
EPILOGUE = "\natexit.register(lambda: began_s.append(time.monotonic()))\n"
EXITS = {
    "at once": "client = Client(url, key='k', spool_dir=folder); track(client)",
    "while a request is under way": """
        client = Client(url, key='k', spool_dir=folder, linger_s=0.0)
        track(client)
        time.sleep(0.5)
    """,
    "two clients": """
        clients = [Client(url, key=key, spool_dir=folder, linger_s=0.0) for key in "ab"]
        for client in clients: track(client)
        time.sleep(0.5)
    """,
    "in the middle of a flush, by a signal": """
        client = Client(url, key='k', spool_dir=folder)
        track(client)
        signal.signal(signal.SIGALRM, lambda *_: sys.exit(0))
        signal.setitimer(signal.ITIMER_REAL, 0.4)
        REGISTER
        client.flush(20)
    """,
    "in the middle of a flush, by the keyboard": """
        client = Client(url, key='k', spool_dir=folder)
        track(client)
        threading.Timer(0.4, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            client.flush(20)
        except KeyboardInterrupt:
            pass
    """,
    "after a thread of the shop's ended by SystemExit": """
        client = Client(url, key='k', spool_dir=folder)
        def work():
            track(client)
            sys.exit(1)
        thread = threading.Thread(target=work); thread.start(); thread.join()
    """,
    "while a thread of the shop's goes on tracking": """
        client = Client(url, key='k', spool_dir=folder)
        def work():
            while True:
                client.track("clicked", anonymous_id="a")
                time.sleep(0.001)
        track(client)
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.3)
    """,
    "having only refused events": """
        client = Client(url, key='k', spool_dir=folder)
        for _ in range(50):
            assert not client.track("clicked")
    """,
    "with the first event tracked at exit": """
        client = Client(url, key='k', spool_dir=folder)
        REGISTER
        atexit.register(track, client)
    """,
}


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


@pytest.mark.parametrize("collector", ["down", "hanging"])
def test_an_interpreter_ends_quickly_and_silently_and_keeps_what_it_took(
    sink: Sink, tmp_path: Path, collector: str
) -> None:
    sink.hangs.set()
    url = NOBODY if collector == "down" else sink.url
    processes = {}
    for number, (how, code) in enumerate(EXITS.items()):
        body = textwrap.dedent(code)
        body = body.replace("REGISTER", EPILOGUE.strip()) if "REGISTER" in body else body + EPILOGUE
        command = [sys.executable, "-c", PROLOGUE + body, url, str(tmp_path / str(number))]
        processes[how] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # Not all at once: what is measured is a time.
        if number % 2:
            processes[how].wait(timeout=30)
    for number, (how, process) in enumerate(processes.items()):
        out, err = process.communicate(timeout=30)
        assert (how, process.returncode, err) == (how, 0, "")
        assert float(out) < MOST_ADDED_S, how
        spooled = b"".join(path.read_bytes() for path in (tmp_path / str(number)).rglob("*.seg"))
        kept = spooled.count(b'"event_id"')
        assert kept >= (1 if "refused" in how else 50), how
        assert ("refused" in how) == (b'"events_lost"' in spooled), how


def test_children_forked_while_everything_is_busy_neither_lock_up_nor_lose_or_repeat_events(
    sink: Sink, tmp_path: Path
) -> None:
    code = """
        import os, signal, sys, threading, time
        from touchtrail import Client

        url, folder = sys.argv[1:]
        client = Client(url, key="k", spool_dir=folder, linger_s=0.0, segment_bytes=4096, batch_events=20)
        is_over = threading.Event()
        taken = [0] * 3

        def shop(place):
            while not is_over.is_set():
                client.track("clicked")
                taken[place] += client.track("clicked", anonymous_id="parent")
                time.sleep(0.002)

        threads = [threading.Thread(target=shop, args=(place,), daemon=True) for place in range(3)]
        for thread in threads:
            thread.start()
        children = 0
        for number in range(24):
            pid = os.fork()
            if not pid:
                # A lock that nobody gives back ends the child here, with a signal.
                signal.alarm(20)
                sent = [client.track("clicked", anonymous_id=f"child-{number}") for _ in range(5)]
                client.track("clicked")
                is_done = client.flush(0 if number % 6 else 15) or number % 6
                os._exit(0 if all(sent) and is_done else 1)
            status = os.waitpid(pid, 0)[1]
            assert status == 0, status
            children += 1
        is_over.set()
        for thread in threads:
            thread.join()
        assert client.flush(20)
        print(children, sum(taken), client.health().tracked)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), sink.url, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    children, taken, tracked = map(int, done.stdout.split())
    assert children == 24
    assert taken == tracked > 200
    with Client(sink.url, key="k", spool_dir=tmp_path) as heir:
        assert heir.flush(10)
    people = Counter(event.get("anonymous_id") for event in sink.events.values())
    assert people.pop("parent") == taken
    lost = [event["properties"] for event in sink.events.values() if event["name"] == "events_lost"]
    assert people.pop(None) == len(lost) > 0
    assert people == {f"child-{number}": 5 for number in range(24)}
