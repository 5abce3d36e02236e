"""Forks: locks under which none happens, as a child would keep what they guard half done, and knowing one has."""

from __future__ import annotations

# Imported for its fork handlers alone, see below.
import logging as logging  # noqa: PLC0414
import os
import sys
import threading
from contextlib import AbstractContextManager
from typing import Final, Protocol

_MADV_WIPEONFORK: Final = 18
_NO_ADVICE: Final = -1


def lock_against_forks() -> AbstractContextManager[bool]:
    """Return a lock that may be taken again by the thread that has it; a fork in another thread waits for it.

    Before a fork the handlers registered last run first. ``logging`` has one that takes its own lock: if it ran before
    ours, a thread that holds ours and asks for a logger, as httpcore does when it is imported, would never go on, and
    the fork neither (seen with Python 3.11). So ``logging`` comes before every lock made here.
    """
    lock = threading.RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock


class ProcessMark(Protocol):
    """Its ``[0]`` is 1 in the process that made it, and 0 in every process forked from that."""

    def __getitem__(self, place: int, /) -> int: ...


def mark_process() -> ProcessMark:
    """Return a mark of this process, which costs next to nothing to look at.

    Where the kernel can, it is a page of memory that a child gets empty, however the fork came about: a program that
    forks in C, as uWSGI does, runs no at-fork handlers. Asking for the process's number costs six times as much, and
    a child in a name space of its own may have the same.

    Source:
        madvise(2), ``MADV_WIPEONFORK`` (Linux 4.14).
    """
    return _page_wiped_on_fork() or _ByNumber()


class _ByNumber:
    def __init__(self) -> None:
        self._pid = os.getpid()

    def __getitem__(self, place: int, /) -> int:
        return os.getpid() == self._pid


def _page_wiped_on_fork() -> ProcessMark | None:
    import mmap

    if not sys.platform.startswith("linux"):
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_MADV_WIPEONFORK)
    except OSError:
        return None
    try:
        # An emulated kernel may take any advice, and follow none.
        page.madvise(_NO_ADVICE)
    except OSError:
        page[0] = 1
        return page
    return None
