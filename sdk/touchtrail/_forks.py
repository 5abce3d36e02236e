"""Locks under which no fork happens: a child would keep a copy of what they guard, half done, for good."""

from __future__ import annotations

# Imported for its fork handlers alone, see below.
import logging as logging  # noqa: PLC0414
import os
import threading
from contextlib import AbstractContextManager


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
