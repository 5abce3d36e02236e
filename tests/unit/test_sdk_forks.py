"""Knowing a fork, whichever way it came about."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from still_client import outbox_of, still
from touchtrail import TransportError
from touchtrail._forks import ProcessMark, _ByNumber, _page_wiped_on_fork, mark_process
from touchtrail.testing import Reply, ScriptedTransport

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def fork_in_c() -> int:
    """Fork as uWSGI does: Python is not told, and no at-fork handler runs."""
    number: int = ctypes.PyDLL(None).fork()
    return number


def in_child(fork: Callable[[], int], act: Callable[[], int]) -> int:
    """Return what ``act`` returns in a forked child: a number up to 250."""
    pid = fork()
    if not pid:
        code = 255
        try:
            code = act()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("fork", [os.fork, fork_in_c], ids=["os.fork", "fork in C"])
@pytest.mark.parametrize("make", [mark_process, _ByNumber], ids=["marked", "by number"])
def test_a_mark_holds_in_its_own_process_only(make: Callable[[], ProcessMark], fork: Callable[[], int]) -> None:
    mark = make()
    assert mark[0] == 1
    assert in_child(fork, lambda: mark[0]) == 0
    assert in_child(fork, lambda: make()[0]) == 1
    assert in_child(fork, lambda: in_child(fork, lambda: mark[0])) == 0
    assert mark[0] == 1


def test_linux_has_the_mark_that_needs_no_system_call() -> None:
    if os.uname().sysname != "Linux" or tuple(map(int, os.uname().release.split(".")[:2])) < (4, 14):
        pytest.skip("MADV_WIPEONFORK came with Linux 4.14")
    assert _page_wiped_on_fork() is not None


class ParentsTransport(ScriptedTransport):
    """Reaches its collector from the process that made it, and from no other."""

    def __init__(self) -> None:
        super().__init__()
        self._pid = os.getpid()

    def send(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        if os.getpid() != self._pid:
            raise TransportError("not from here")
        return super().send(body, headers)


@pytest.mark.parametrize("fork", [os.fork, fork_in_c], ids=["os.fork", "fork in C"])
def test_a_child_has_files_and_counts_of_its_own_whichever_way_it_was_forked(
    tmp_path: Path, fork: Callable[[], int]
) -> None:
    collector = ParentsTransport()
    with still(collector, tmp_path) as (client, sender):
        assert client.track("clicked", anonymous_id="a", event_id="parent")

        def act() -> int:
            client.track("clicked", anonymous_id="a", event_id="child")
            return client.health().tracked

        assert in_child(fork, act) == 1
        assert client.track("clicked", anonymous_id="a", event_id="parent again")
        assert len(list(tmp_path.glob("*/*.seg"))) == 2
        outbox_of(client).tend()
        while sender.step() is not None:
            pass
        assert set(collector.stored) == {"parent", "child", "parent again"}
        assert client.health().delivered == 3
