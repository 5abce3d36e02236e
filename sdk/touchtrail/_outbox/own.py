"""Telling whether a descriptor's number still means our file.

A program that makes a daemon of itself closes descriptors it does not own (``os.closerange``), and what it opens next
gets their numbers. Whoever then goes on writing damages a file of the shop's.
"""

from __future__ import annotations

import os
from typing import Final

from touchtrail.errors import is_thrown_in

_LOWEST_MARK: Final = 2**31
_MARK_BITS: Final = 2**30 - 1


def new_mark() -> int:
    """Return a position, between 2 and 3 GiB and drawn at random, at which no other open file stands.

    ``pread`` and ``pwrite`` leave a file's position alone, so it is free to tell our files from others: asking for it
    costs a third of ``fstat``, and a device and inode number may come again once a file is deleted.
    """
    return _LOWEST_MARK + (int.from_bytes(os.urandom(4), "big") & _MARK_BITS)


def is_at_mark(descriptor: int, mark: int) -> bool:
    """Say whether the number is open and means the file that was sent to the mark."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_CUR) == mark
    except OSError as problem:
        # A TimeoutError of a signal handler's says nothing of the descriptor.
        if is_thrown_in(problem):
            raise
        return False


def close_quietly(descriptor: int) -> None:
    """Close a descriptor of ours; that it cannot be closed is nobody's concern."""
    try:
        os.close(descriptor)
    except OSError as problem:
        if is_thrown_in(problem):
            raise


def let_owner_in(descriptor: int) -> None:
    """Give the owner of a file back what a program's ``umask`` took, where the file system knows of it."""
    try:
        os.fchmod(descriptor, 0o600)
    except OSError as problem:
        if is_thrown_in(problem):
            raise


class Held:
    """A lock or folder that is kept open for long.

    Args:
        number: its descriptor, just opened; -1 = nothing is held.
    """

    def __init__(self, number: int = -1) -> None:
        self.number = number
        self._identity = None if number < 0 else _identity(number)

    def is_ours(self) -> bool:
        """Say whether the number still means what was opened; False when nothing is held."""
        try:
            return self.number >= 0 and _identity(self.number) == self._identity
        except OSError as problem:
            if is_thrown_in(problem):
                raise
            return False

    def close(self) -> None:
        """Close it, but never what somebody else opened under its number."""
        if self.is_ours():
            close_quietly(self.number)
        self.number = -1


def _identity(descriptor: int) -> tuple[int, int]:
    facts = os.fstat(descriptor)
    return facts.st_dev, facts.st_ino
