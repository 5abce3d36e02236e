"""Whether the names of a database and its log still lead to the files that are open, and how long the log is."""

from __future__ import annotations

import os
import shutil
import time
from math import inf
from pathlib import Path

from ...errors import StoreUnavailable

SPARE_BYTES = 1_000_000
"""With less room than this a database that could not be written is not tried again of our own accord."""

FRESH_S = 0.05
"""A look so old still counts before a commit; the one after the commit before is all there is under load."""


class OpenFiles:
    """Looks at the files by their names.

    SQLite goes on writing to a file that was removed or replaced by another, and says that all is well; what was
    acknowledged then would be gone with the process.

    Args:
        database: open and in WAL mode, so that both files are there; its own name, no link to it.
    """

    def __init__(self, database: Path) -> None:
        self._folder = database.parent
        self._name, self._log_name = str(database), f"{database}-wal"
        self._known = identify(self._name), identify(self._log_name)
        self._checked_at = -inf
        self.log_bytes = 0
        """Size of the write-ahead log as `check` saw it last."""

    def check(self) -> None:
        """Raise StoreUnavailable where a file was moved or removed; being put back is enough to go on.

        Each `stat` hands the interpreter's lock over and may wait for it, which takes a hundred times as long as the
        look itself: hence two and no more, and the log's length from one of them.
        """
        self._checked_at = -inf
        try:
            own, log = os.stat(self._name), os.stat(self._log_name)
        except OSError:
            raise moved() from None
        if ((own.st_dev, own.st_ino), (log.st_dev, log.st_ino)) != self._known:
            raise moved()
        self.log_bytes = log.st_size
        self._checked_at = time.monotonic()

    def check_unless_fresh(self) -> None:
        """Do the same unless the last look was good and at most `FRESH_S` ago, as it is while commits follow closely.

        What is refused is then not in the file either, but for what came in the very moment it was moved.
        """
        if time.monotonic() - self._checked_at > FRESH_S:
            self.check()

    def is_disk_full(self) -> bool:
        """Say whether there is less room than the next requests need, however small a write would still go through."""
        try:
            return shutil.disk_usage(self._folder).free < SPARE_BYTES
        except OSError:
            return False


def identify(name: str) -> tuple[int, int] | None:
    """Return what tells a file from all others; None where it is not there."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def moved() -> StoreUnavailable:
    """Return the error for a file that is not where it was."""
    return StoreUnavailable(
        "the database's file was moved, replaced or removed while it is in use; put it back, or restart the collector"
    )
