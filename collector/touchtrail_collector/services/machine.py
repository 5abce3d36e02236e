"""What `touchtrail doctor` finds out about the machine: its clock, its disk, who may read the files."""

from __future__ import annotations

import ctypes
import os
import stat
import sys
import time
from pathlib import Path
from typing import Literal

Clock = Literal["synchronised", "free", "unknown"]

_TIMEX_BYTES = 1_024
_TIME_ERROR = 5


def clock_state() -> Clock:
    """Say whether the kernel knows its clock to be synchronised; without asking anybody else.

    Source: adjtimex(2): with no mode set it only reads, and returns TIME_ERROR (5) while unsynchronised.
    """
    if not sys.platform.startswith("linux"):
        return "unknown"
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return "unknown"
    if state < 0:
        return "unknown"
    return "free" if state == _TIME_ERROR else "synchronised"


def newest_change_s(paths: list[Path]) -> float:
    """Return when the newest of these files was changed, in seconds since 1970; 0 where none is there."""
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


def installed_at_s() -> float:
    """Return when this program was put on the disk: the clock cannot rightly show less."""
    return os.stat(__file__).st_mtime


def now_s() -> float:
    """Return the time in seconds since 1970."""
    return time.time()


def exposures(path: Path) -> list[str]:
    """Return what is wrong with a private file's owner and permissions."""
    try:
        found = path.stat()
    except OSError as error:
        return [f"{path} cannot be looked at: {error.strerror}"]
    problems = []
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        problems.append(f"{path} can be used by other users of this machine (mode {stat.S_IMODE(found.st_mode):04o})")
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        problems.append(f"{path} belongs to another user")
    return problems


def waiting_spools(base: Path, *, older_than_s: float) -> dict[Path, int]:
    """Return the folders below a spool's base with files that nobody has touched for so long, and their bytes."""
    waiting: dict[Path, int] = {}
    try:
        folders = sorted(path for path in base.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return {}
    for folder in folders:
        size = sum(_old_bytes(path, now_s() - older_than_s) for path in folder.glob("*.seg"))
        if size:
            waiting[folder] = size
    return waiting


def _old_bytes(path: Path, before_s: float) -> int:
    try:
        found = path.stat()
    except OSError:
        return 0  # delivered and gone in this moment
    return found.st_size if found.st_mtime < before_s else 0
