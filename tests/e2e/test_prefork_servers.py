"""Servers that build the shop once and fork: every event of every child arrives once, however the child ends."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

import touchtrail
from sdk_sink import Sink, running_sink
from touchtrail import Client

REQUESTS = 120

WEB_SHOP = """
    import json, os
    from touchtrail import Client

    client = Client(os.environ["SHOP_URL"], key="k", spool_dir=os.environ["SHOP_SPOOL"])
    if os.environ["SHOP_TRACKS_EARLY"] == "1":
        client.track("preloaded", anonymous_id="a")

    def application(environ, start_response):
        number = int(environ["QUERY_STRING"])
        taken = client.track("clicked", anonymous_id="a", properties={"number": number, "pid": os.getpid()})
        start_response("200 OK" if taken else "500 No", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


def environment(folder: Path, sink: Sink, *, tracks_early: bool = False) -> dict[str, str]:
    (folder / "shop.py").write_text(textwrap.dedent(WEB_SHOP))
    packages = [str(Path(touchtrail.__file__).parents[1]), sysconfig.get_path("purelib")]
    own = {
        "PYTHONPATH": os.pathsep.join([str(folder), *packages]),
        "SHOP_URL": sink.url,
        "SHOP_SPOOL": str(folder / "spool"),
        "SHOP_TRACKS_EARLY": str(int(tracks_early)),
    }
    return os.environ | own


@contextmanager
def serving(
    command: list[str], folder: Path, variables: dict[str, str], port: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a process group of its own until the block ends; what is left of the group is killed."""
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until(lambda: accepts(port) or server.poll() is not None, "the server listens")
        assert server.poll() is None, (folder / "log").read_text()
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(10)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_until(is_so: Any, what: str, *, timeout_s: float = 15.0) -> None:
    ends_at = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < ends_at, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask_while_a_worker_is_killed(port: int) -> dict[int, int]:
    """Send the requests, four at a time; at half time kill the worker that answered last.

    Returns:
        The worker's pid for each request that was answered.
    """
    answered: dict[int, int] = {}

    def ask(number: int) -> None:
        try:
            # A server that hangs is seen by its first request.
            answer = browser.get(f"http://127.0.0.1:{port}/?{number}")
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.ConnectError):
            return
        assert answer.status_code == 200
        answered[number] = int(answer.text)

    one_request_each = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(timeout=10, trust_env=False, limits=one_request_each) as browser, ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(REQUESTS // 2)))
        victim = answered[max(answered)]
        again = pool.map(ask, range(REQUESTS // 2, REQUESTS))
        os.kill(victim, signal.SIGKILL)
        list(again)
    # A killed worker takes at most the requests with it that it was serving.
    assert len(answered) >= REQUESTS - 8
    assert len(set(answered.values())) >= 2
    return answered


def drained(sink: Sink, spool: Path) -> int:
    """Deliver what processes left, as the next process does; return how much that was, and assert nothing is left."""
    with Client(sink.url, key="k", spool_dir=spool) as heir:
        assert heir.flush(10)
        health = heir.health()
    assert (health.dropped, health.rejected) == ({}, 0)
    assert [path.name for path in spool.rglob("*") if path.is_file()] == []
    return health.delivered


def numbers(sink: Sink) -> Counter[int]:
    """Return how often each request's event was stored."""
    return Counter(event["properties"]["number"] for event in sink.events.values() if event["name"] == "clicked")


def assert_each_once(sink: Sink, answered: dict[int, int]) -> None:
    arrived = numbers(sink)
    assert set(arrived.values()) == {1}
    assert set(answered) <= set(arrived) <= set(range(REQUESTS))
    by_number = {event["properties"]["number"]: event["properties"]["pid"] for event in clicked(sink)}
    assert {number: by_number[number] for number in answered} == answered


def clicked(sink: Sink) -> list[dict[str, Any]]:
    return [event for event in sink.events.values() if event["name"] == "clicked"]


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_gunicorn_with_preload_recycling_a_killed_worker_and_a_graceful_end(
    worker: str, sink: Sink, tmp_path: Path
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--preload", "-k", worker, "--workers", "2", "--threads", "2"]
    command += ["--max-requests", "25", "--bind", f"127.0.0.1:{port}", "--graceful-timeout", "5", "shop:application"]
    with serving(command, tmp_path, environment(tmp_path, sink, tracks_early=True), port) as server:
        answered = ask_while_a_worker_is_killed(port)
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0, (tmp_path / "log").read_text()
    drained(sink, tmp_path / "spool")
    assert_each_once(sink, answered)
    # 120 requests at 25 to a worker: the two of the beginning were replaced several times.
    assert len(set(answered.values())) >= 4
    assert [event["name"] for event in sink.events.values()].count("preloaded") == 1


def uwsgi(*options: str, port: int) -> list[str]:
    plugin = f"python3{sys.version_info.minor}"
    program = shutil.which("uwsgi")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs uWSGI: uwsgi-core and uwsgi-plugin-python3")
    probe = subprocess.run([program, "--plugin", plugin, "--version"], capture_output=True, check=False)
    if b"UNABLE" in probe.stderr + probe.stdout:
        pytest.skip(f"this uWSGI has no plugin for Python 3.{sys.version_info.minor}")
    command = [program, "--plugin", plugin, "--http-socket", f"127.0.0.1:{port}", "--module", "shop", "--need-app"]
    command += ["--master", "--processes", "2", "--die-on-term", "--max-requests", "40", "--min-worker-lifetime", "0"]
    return [*command, "--listen", "16", "--worker-reload-mercy", "2", *options]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "tracks_early"),
    [
        pytest.param((), False, id="no threads"),
        pytest.param((), True, id="no threads, an event before the fork"),
        pytest.param(("--enable-threads",), False, id="threads"),
        pytest.param(("--enable-threads",), True, id="threads, an event before the fork"),
        pytest.param(("--lazy-apps",), True, id="no threads, built in each worker"),
    ],
)
def test_uwsgi_with_and_without_threads(
    options: tuple[str, ...], tracks_early: bool, sink: Sink, tmp_path: Path
) -> None:
    port = free_port()
    command = uwsgi(*options, port=port)
    with serving(command, tmp_path, environment(tmp_path, sink, tracks_early=tracks_early), port) as server:
        answered = ask_while_a_worker_is_killed(port)
        if "--enable-threads" in options:
            # The worker that was killed is heard of through the others.
            wait_until(lambda: set(answered) <= set(numbers(sink)), "every worker delivers by itself")
        server.send_signal(signal.SIGTERM)
        server.wait(15)
    drained(sink, tmp_path / "spool")
    assert_each_once(sink, answered)
    early = [event["name"] for event in sink.events.values()].count("preloaded")
    builds = len(set(answered.values())) if "--lazy-apps" in options else 1
    assert early >= builds if tracks_early else early == 0


CELERY_SHOP = """
    import os
    from celery import Celery
    from touchtrail import Client
    from touchtrail.integrations.celery import install

    root = os.environ["SHOP_ROOT"]
    app = Celery("shop", broker="filesystem://", set_as_current=False)
    app.conf.update(
        broker_transport_options={
            "data_folder_in": f"{root}/queue", "data_folder_out": f"{root}/queue", "control_folder": f"{root}/control",
            "polling_interval": 0.01,
        },
        task_ignore_result=True, worker_enable_remote_control=False, broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=1,
    )
    client = Client(os.environ["SHOP_URL"], key="k", spool_dir=os.environ["SHOP_SPOOL"])
    client.track("preloaded", anonymous_id="a")
    install(client)

    @app.task(name="click")
    def click(number, end=None):
        client.track("clicked", properties={"number": number, "pid": os.getpid()})
        if end == "SIGKILL":
            os.kill(os.getpid(), 9)
        if end == "os._exit":
            os._exit(3)

    @app.task(name="wake")
    def wake():
        pass
"""


@pytest.mark.slow
def test_celery_prefork_with_recycled_killed_and_exiting_children(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "celery_shop.py").write_text(textwrap.dedent(CELERY_SHOP))
    (tmp_path / "queue").mkdir()
    (tmp_path / "control").mkdir()
    variables = environment(tmp_path, sink) | {"SHOP_ROOT": str(tmp_path)}
    command = [sys.executable, "-m", "celery", "-A", "celery_shop", "worker", "--pool", "prefork", "--concurrency", "2"]
    command += ["--max-tasks-per-child", "10", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    publisher = """
        import celery_shop, sys
        from touchtrail import Context, use_context
        for number in range(100):
            with use_context(Context(anonymous_id=f"a-{number}")):
                celery_shop.click.delay(number, {30: "SIGKILL", 60: "os._exit"}.get(number))
        assert celery_shop.client.flush(10)
        sys.stdin.readline()
        for _ in range(100):
            celery_shop.wake.delay()
    """
    publish = [sys.executable, "-c", textwrap.dedent(publisher)]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=log, stderr=log, start_new_session=True)
        web = subprocess.Popen(publish, cwd=tmp_path, env=variables, stdin=subprocess.PIPE)
    try:
        wait_until(lambda: len(clicked(sink)) == 100, "every child delivers by itself", timeout_s=30)
        worker.send_signal(signal.SIGTERM)
        # The worker looks whether it should end when a task comes, else every two seconds.
        web.communicate(b"\n", timeout=15)
        assert web.returncode == 0
        assert worker.wait(20) == 0, (tmp_path / "log").read_text()
    finally:
        for process in (worker, web):
            process.kill()
            process.wait(10)
    drained(sink, tmp_path / "spool")
    assert numbers(sink) == Counter(range(100))
    assert all(event["anonymous_id"] == f"a-{event['properties']['number']}" for event in clicked(sink))
    # 100 tasks at 10 to a child, and two children that ended early.
    assert len({event["properties"]["pid"] for event in clicked(sink)}) >= 10
    assert [event["name"] for event in sink.events.values()].count("preloaded") == 2


POOL_SHOP = """
    import multiprocessing, os, sys
    from touchtrail import Client

    client = Client(os.environ["SHOP_URL"], key="k", spool_dir=os.environ["SHOP_SPOOL"])

    def click(number):
        assert client.track("clicked", anonymous_id="a", properties={"number": number, "pid": os.getpid()})
        return os.getpid()

    if __name__ == "__main__":
        client.track("preloaded", anonymous_id="a")
        context = multiprocessing.get_context(sys.argv[1])
        with context.Pool(3, maxtasksperchild=5) as pool:
            pids = pool.map(click, range(60), chunksize=1)
            pool.close()
            pool.join()
        assert client.flush(10)
        print(len(set(pids)), client.health().dropped)
"""


@pytest.mark.parametrize(
    "method", [m for m in ("fork", "spawn", "forkserver") if m in multiprocessing.get_all_start_methods()]
)
def test_multiprocessing_pools_that_recycle_their_workers(method: str, sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "pool_shop.py").write_text(textwrap.dedent(POOL_SHOP))
    command = [sys.executable, "pool_shop.py", method]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(tmp_path, sink), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    pids, dropped = done.stdout.split()
    assert int(pids) >= 12
    assert dropped == "{}"
    drained(sink, tmp_path / "spool")
    assert numbers(sink) == Counter(range(60))
    assert len(sink.events) == 61


@pytest.mark.parametrize("ending", ["os._exit(0)", "os.kill(os.getpid(), 9)", "os.execv('/bin/true', ['true'])"])
def test_a_process_that_ends_without_pythons_exit_leaves_its_events_to_the_next(
    ending: str, sink: Sink, tmp_path: Path
) -> None:
    code = f"""
        import os
        from touchtrail import Client
        client = Client(os.environ["SHOP_URL"], key="k", spool_dir=os.environ["SHOP_SPOOL"])
        for number in range(100):
            assert client.track("clicked", anonymous_id="a", properties={{"number": number, "pid": os.getpid()}})
        {ending}
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=environment(tmp_path, sink), capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (-9 if "kill" in ending else 0, b"")
    drained(sink, tmp_path / "spool")
    assert numbers(sink) == Counter(range(100))
