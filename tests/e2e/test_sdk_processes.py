"""The SDK in real processes: kill -9, fork, exit, import."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdk_sink import Sink, running_sink
from touchtrail import Client

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    # Python 3.12 warns of every fork beside a thread, whoever's it is; the child here is safe by our at-fork handlers.
    unmoved = ["-W", "ignore:This process:DeprecationWarning"]
    command = [sys.executable, *unmoved, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(code: str, *arguments: str) -> str:
    process = start(code, *arguments)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    return out


def test_kill_9_at_any_moment_loses_nothing_that_was_taken(sink: Sink, tmp_path: Path) -> None:
    shop = """
        import sys
        from touchtrail import Client
        client = Client(sys.argv[1], key="k", spool_dir=sys.argv[2], segment_bytes=8192)
        number = 0
        while client.track("clicked", anonymous_id="a", event_id=f"{sys.argv[3]}-{number}"):
            number += 1
            sys.stdout.write(f"{number}\\n")
            sys.stdout.flush()
    """
    taken: dict[str, int] = {}
    for name, url, spool in (("up", sink.url, "a"), ("down", NOBODY, "b"), ("up-again", sink.url, "a")):
        process = start(shop, url, str(tmp_path / spool), name)
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 700:
                break
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=10)
        taken[name] = int((rest.split("\n")[:-1] or [line])[-1])
    with Client(sink.url, key="k", spool_dir=tmp_path / "a") as heir:
        assert heir.flush(10)
    arrived = {(event_id.rpartition("-")[0], int(event_id.rpartition("-")[2])) for event_id in sink.events}
    for name in ("up", "up-again"):
        assert {(name, number) for number in range(taken[name])} <= arrived
    # The one whose collector was down waits in its spool, whole.
    spooled = b"".join(path.read_bytes() for path in (tmp_path / "b").rglob("*.seg"))
    assert spooled.count(b'"event_id"') >= taken["down"]


def test_forked_children_deliver_their_own_events_and_none_of_the_parents(sink: Sink, tmp_path: Path) -> None:
    out = finish(
        """
        import os, sys
        from touchtrail import Client
        client = Client(sys.argv[1], key="k", spool_dir=sys.argv[2])
        for number in range(20):
            client.track("clicked", anonymous_id="parent")
        children = []
        for child in range(4):
            pid = os.fork()
            if not pid:
                assert client.health().tracked == 0
                for number in range(10):
                    assert client.track("clicked", anonymous_id=f"child-{child}")
                if child == 0:
                    assert client.flush(10)
                if child == 1:
                    sys.exit(0)
                os._exit(0)
            children.append(pid)
        assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
        client.track("clicked", anonymous_id="parent")
        assert client.flush(10)
        health = client.health()
        print(health.tracked, health.duplicates)
        """,
        sink.url,
        str(tmp_path),
    )
    assert out.split() == ["21", "0"]
    counts = {"parent": 21, "child-0": 10, "child-1": 10, "child-2": 10, "child-3": 10}
    people = [event["anonymous_id"] for event in sink.events.values()]
    assert {name: people.count(name) for name in counts} == counts
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_exit_without_close_delivers_when_it_can(sink: Sink, tmp_path: Path) -> None:
    shop = """
        import sys
        from touchtrail import Client
        client = Client(sys.argv[1], key="k", spool_dir=sys.argv[2], linger_s=60)
        for number in range(100):
            client.track("clicked", anonymous_id=str(number))
    """
    finish(shop, sink.url, str(tmp_path))
    with Client(sink.url, key="k", spool_dir=tmp_path) as heir:
        heir.flush(5)
    assert len(sink.events) == 100


@pytest.mark.parametrize("collector", ["down", "hanging"])
def test_exit_with_the_collector_out_of_reach_is_quick_quiet_and_keeps_all(
    sink: Sink, tmp_path: Path, collector: str
) -> None:
    sink.hangs.set()
    shop = """
        import sys, time, atexit
        from touchtrail import Client
        import touchtrail.client
        client = Client(sys.argv[1], key="k", spool_dir=sys.argv[2], linger_s=0.0)
        for number in range(100):
            client.track("clicked", anonymous_id=str(number))
        time.sleep(0.3)
        began = time.monotonic()
        touchtrail.client._close_all()
        print(time.monotonic() - began)
    """
    added_s = float(finish(shop, NOBODY if collector == "down" else sink.url, str(tmp_path)))
    assert added_s < 1.0
    spooled = b"".join(path.read_bytes() for path in tmp_path.rglob("*.seg"))
    assert spooled.count(b'"event_id"') == 100


def test_multiprocessing_children_deliver(sink: Sink, tmp_path: Path) -> None:
    finish(
        """
        import multiprocessing, sys
        from touchtrail import Client

        client = Client(sys.argv[1], key="k", spool_dir=sys.argv[2])

        def work(child):
            assert client.track("clicked", anonymous_id=str(child))

        context = multiprocessing.get_context("fork")
        client.track("clicked", anonymous_id="parent")
        workers = [context.Process(target=work, args=(child,)) for child in range(5)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert client.flush(10)
        """,
        sink.url,
        str(tmp_path),
    )
    assert sorted(event["anonymous_id"] for event in sink.events.values()) == ["0", "1", "2", "3", "4", "parent"]


def test_importing_and_tracking_load_no_http_client() -> None:
    out = finish(
        """
        import sys
        import touchtrail
        heavy = {"httpx", "httpcore", "ssl", "socket", "asyncio", "logging", "email", "pytest", "touchtrail_collector"}
        print(sorted(heavy & set(sys.modules)))
        """
    )
    assert out.strip() == "[]"


def test_an_unwritable_spool_is_survived_in_memory(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Client(sink.url, key="k", spool_dir=tmp_path / "file") as client:
        assert client.track("clicked", anonymous_id="a")
        assert client.flush(5)
    assert len(sink.events) == 1


def test_a_spool_is_adopted_while_another_client_lives(sink: Sink, tmp_path: Path) -> None:
    """A process that was killed is heard of through one that lives on, without a restart."""
    with Client(sink.url, key="k", spool_dir=tmp_path) as living:
        living.track("clicked", anonymous_id="living")
        assert living.flush(5)
        pid = os.fork()
        if not pid:
            living.track("clicked", anonymous_id="killed")
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        until = time.monotonic() + 10
        while len(sink.events) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
