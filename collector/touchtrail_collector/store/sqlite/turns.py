"""Who of this process reads for long, so that the writer finds a moment when nobody does.

SQLite begins its write-ahead log anew only when nobody reads; where each reader begins before the one before it ends,
that moment never comes by itself.

Source: sqlite.org/wal.html, "Avoiding Excessively Large WAL Files".
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Protocol
from weakref import WeakSet, WeakValueDictionary

from ...errors import QueryTimeout, StoreUnavailable


class Timed(Protocol):
    """A reader: a connection that cannot write."""

    ends_at: float
    turns: Turns | None


class Turns:
    """The readers of one file that have a deadline, those who wait included."""

    def __init__(self) -> None:
        self._present: WeakSet[Timed] = WeakSet()
        self._changed = threading.Condition()
        self._is_held = False
        self._is_over = False

    def enter(self, reader: Timed, deadline_s: float) -> None:
        """Let a reader begin as soon as no cut of the log is due; from then on it has so much time.

        Raises: QueryTimeout when that takes as long; StoreUnavailable after `end`.
        """
        with self._changed:
            is_free = self._changed.wait_for(lambda: self._is_over or not self._is_held, deadline_s)
            if self._is_over:
                raise StoreUnavailable("the collector is stopping")
            if not is_free:
                raise QueryTimeout("reports wait until the write-ahead log has been cut; ask again")
            reader.turns, reader.ends_at = self, time.monotonic() + deadline_s
            self._present.add(reader)

    def leave(self, reader: Timed) -> None:
        """Note that a reader has ended."""
        with self._changed:
            self._present.discard(reader)

    def hold(self) -> bool:
        """Have readers that come from now on wait; return whether none is left."""
        with self._changed:
            self._is_held = True
            return not self._present

    def release(self) -> None:
        """Let those who wait begin."""
        with self._changed:
            self._is_held = False
            self._changed.notify_all()

    def interrupt(self) -> None:
        """Have the deadline of whoever reads now be over."""
        with self._changed:
            for reader in self._present:
                reader.ends_at = 0.0

    def open(self) -> None:
        """Let readers begin: a collector starts."""
        with self._changed:
            self._is_over = self._is_held = False

    def end(self) -> None:
        """Interrupt whoever reads now, and let nobody begin any more: the collector stops."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self.interrupt()


_known: WeakValueDictionary[str, Turns] = WeakValueDictionary()
_knowing = threading.Lock()


def turns_of(path: Path) -> Turns:
    """Return the turns that everybody of this process takes who reads or writes this file."""
    name = os.path.realpath(path)
    with _knowing:
        turns = _known.get(name)
        if turns is None:
            turns = _known[name] = Turns()
        return turns
