"""Puts a file under its name only when it is whole: a kill at any moment leaves the old one, or the new one."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import StoreError

PARTIAL = ".partial"
KEPT = ".replaced-"
"""Between a database's name and the day, in the name of what a restore replaced."""


@contextmanager
def partial_file(target: Path) -> Iterator[Path]:
    """Give a new empty file beside ``target`` to be filled and moved there with `put_in_place`.

    Only its owner can read it. What is still there at the end of the block is removed, and so is what a killed process
    left of an earlier one.

    Raises: StoreError where no file can be made.
    """
    remove_leftovers(target)
    try:
        fd, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=PARTIAL, dir=target.parent)
    except OSError as error:
        raise StoreError(f"no file can be made in {target.parent}: {error.strerror}") from None
    partial = Path(name)
    fcntl.flock(fd, fcntl.LOCK_EX)  # tells `remove_leftovers` of another process that somebody is at work
    try:
        yield partial
    finally:
        for path in (partial, *companions(partial)):
            with suppress(FileNotFoundError):
                path.unlink()
        os.close(fd)


def companions(database: Path) -> list[Path]:
    """Return the names of the files that SQLite may keep beside a database."""
    return [database.with_name(database.name + ending) for ending in ("-wal", "-shm", "-journal")]


def leftovers(target: Path) -> list[Path]:
    """Return what killed processes left of partial files for ``target``, and what others work on."""
    try:
        names = sorted(os.listdir(target.parent))
    except OSError:
        return []
    return [target.parent / name for name in names if name.startswith(f".{target.name}.") and name.endswith(PARTIAL)]


def remove_leftovers(target: Path) -> None:
    """Remove partial files whose makers are gone."""
    for path in leftovers(target):
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for own in (*companions(path), path):
                    own.unlink(missing_ok=True)
            finally:
                os.close(fd)


def put_in_place(partial: Path, target: Path) -> None:
    """Move a whole file to its name, in the place of what is there; it outlives a power cut from then on.

    Raises: StoreError.
    """
    try:
        sync(partial)
        os.replace(partial, target)
        sync(target.parent)
    except OSError as error:
        raise StoreError(f"{target} could not be written: {error.strerror}; check the disk and its room") from None


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def interrupted(database: Path) -> list[Path]:
    """Return the hidden names that killed restores left."""
    try:
        names = sorted(os.listdir(database.parent))
    except OSError:
        return []
    return [database.parent / name for name in names if name.startswith(f".{database.name}{KEPT}")]


def finish_interrupted(database: Path) -> None:
    """Finish what a killed restore left: a second name of the database goes, a replaced file gets its dated name."""
    for hidden in interrupted(database):
        if database.exists() and hidden.samefile(database):
            hidden.unlink()
        else:
            with suppress(FileNotFoundError):
                os.replace(hidden, hidden.with_name(hidden.name.removeprefix(".")))
