"""A real file system of a few megabytes that can be filled to the last byte, for tests of what happens then."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest


class TinyDisk(msgspec.Struct, frozen=True):
    """A mounted file system.

    Args:
        path: where it is mounted.
    """

    path: Path

    @property
    def filler(self) -> Path:
        """The file that takes up the room."""
        return self.path / "filler"

    def free_bytes(self) -> int:
        """Return how much may still be written."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_bsize

    def fill(self, *, leaving: int = 0) -> None:
        """Take up all the room but so many bytes."""
        with self.filler.open("ab") as file:
            file.write(b"\0" * max(self.free_bytes() - leaving, 0))

    def empty(self) -> None:
        """Give the room back."""
        self.filler.unlink()

    def remount(self, how: str) -> None:
        """Change how it is mounted: `ro`, `rw`."""
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.path)], check=True)


@contextmanager
def tiny_disk(path: Path, megabytes: int) -> Iterator[TinyDisk]:
    """Give a disk of this size; where none can be mounted the test is skipped, or fails where changes are judged."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"NOT TESTED: no tmpfs here: {mounted.stderr.strip()}")
    try:
        yield TinyDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
