"""Spool folders beside ours: what waits there for another address or key, and giving it up when it grows old."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Final

from .base import Clocks, Loss
from .own import Held
from .record import MAX_RECORD
from .segment import Segment
from .spool import Spool, locking, try_lock

_NAME: Final = re.compile(r"[0-9a-f]{32}")
_MOST_FOLDERS: Final = 64
_MOST_OWNERS: Final = 256
_AT_ONCE: Final = 1_000


class Siblings:
    """The other folders in the same base folder, each of another collector address or key.

    What waits there is never delivered to this collector. Files whose process is dead age while somebody looks, and
    are removed when they are too old; one process does that for all.

    Args:
        path: our own spool folder.
        max_age_s: how long events may wait.
        on_loss: is told why and how many events were given up.
    """

    def __init__(self, path: str, max_age_s: float, on_loss: Loss, clocks: Clocks) -> None:
        self._base, self._own_name = os.path.split(path)
        self._max_age_s = max_age_s
        self._on_loss = on_loss
        self._clocks = clocks
        self._keeper = Held()
        self.forget()

    def forget(self) -> None:
        """Begin anew in a forked child: the parent goes on looking after the folders."""
        self._keeper.close()
        self._looked_at_s: float | None = None
        self.waiting: dict[str, int] = {}

    def look(self) -> None:
        """See what waits in the other folders (``waiting``: bytes by path), and let it grow older."""
        now_s = self._clocks.steady()
        waiting: dict[str, int] = {}
        # No folder yet, a folder of another user, one that is being removed: not ours to look at.
        with suppress(OSError):
            is_keeper, last_s = self._is_keeper(), self._looked_at_s
            passed_s = now_s - last_s if is_keeper and last_s is not None else 0.0
            names = sorted(name for name in os.listdir(self._base) if name != self._own_name and _NAME.fullmatch(name))
            for name in names[:_MOST_FOLDERS]:
                path = os.path.join(self._base, name)
                with suppress(OSError):
                    if found := self._look_into(path, passed_s):
                        waiting[path] = found
        self._looked_at_s, self.waiting = now_s, waiting

    def close(self) -> None:
        """Let another process look after the folders."""
        self.forget()

    def _is_keeper(self) -> bool:
        if not self._keeper.is_ours():
            with locking:
                self._keeper = try_lock(self._base)
        return self._keeper.number >= 0

    def _look_into(self, path: str, passed_s: float) -> int:
        spool = Spool(path)
        waiting = 0
        try:
            if not spool.exists():
                return 0
            for owner, names in list(spool.leftovers().items())[:_MOST_OWNERS]:
                # Whose lock is held is alive and delivers by itself; one that cannot be opened hides no other.
                with suppress(OSError):
                    if names and spool.claim(owner):
                        waiting += sum(self._look_at(spool, name, passed_s) for name in names if name.endswith(".seg"))
                        spool.release(owner)
        finally:
            spool.forget()
        return waiting

    def _look_at(self, spool: Spool, name: str, passed_s: float) -> int:
        """Return how many bytes wait in a file; 0 when it was given up, or cannot be read."""
        try:
            segment = Segment.found(spool.folder, name, self._clocks.steady())
            if segment.is_done():
                return 0
            waited_s = segment.waited_before_s + passed_s
            if waited_s > self._max_age_s:
                self._give_up(segment)
                return 0
            if passed_s:
                segment.note_waited(waited_s)
        except OSError:
            return 0
        return segment.size - segment.delivered_to

    def _give_up(self, segment: Segment) -> None:
        events = 0
        while not segment.is_done():
            found = segment.read(_AT_ONCE, MAX_RECORD)
            segment.delivered_to += found.end
            events += len(found.records) + found.gaps
        segment.delete()
        if events:
            self._on_loss("too_old", events)
