"""The spool folder: who owns which files, told by locks that end with the process that holds them."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import Final

_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW if os.name == "posix" else 0
_DEAD_LETTERS: Final = "dead-letters.jsonl"
_DEAD_LETTERS_BYTES: Final = 8 * 1024 * 1024
_LOCK_SUFFIX: Final = ".lock"
_CLAIM_TRIES: Final = 20
OWNER_PATTERN: Final = r"\d{19}-\d+-[0-9a-f]{16}"
_LOCK_NAME: Final = re.compile(rf"({OWNER_PATTERN})\.lock")


class Spool:
    """One folder, shared by every process with the same collector address and key.

    Each process owns one lock file; its name begins the names of the process's files. Who gets the lock of
    somebody else knows that one is dead.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._owner = ""
        self._locks: dict[str, int] = {}
        self.folder = -1

    def forget(self) -> None:
        """Close every descriptor, as a forked child must: a copy of the parent's lock would outlive the parent."""
        for descriptor in (*self._locks.values(), self.folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._owner, self._locks, self.folder = "", {}, -1

    def exists(self) -> bool:
        """Open the folder if it is there; say whether it is."""
        if self.folder < 0 and os.path.isdir(self._path):
            self.folder = _open_folder(self._path)
        return self.folder >= 0

    def open(self) -> str:
        """Make folder and lock if need be; return this process's name in the folder.

        Raises:
            OSError: the folder cannot be made, belongs to somebody else or is a link, or knows no locks.
        """
        if not self._owner:
            if self.folder < 0:
                os.makedirs(self._path, mode=0o700, exist_ok=True)
                self.folder = _open_folder(self._path)
            self._owner = self._claim_new_name()
        return self._owner

    def _claim_new_name(self) -> str:
        """Return a new name whose lock is ours.

        Between making a lock file and locking it, a process that looks for orphans may take it for one: then another
        name has to do (seen under load: one forked child in four lost its event to the memory fallback).
        """
        for _ in range(_CLAIM_TRIES):
            owner = f"{time.time_ns():019d}-{os.getpid()}-{os.urandom(8).hex()}"
            if self.claim(owner):
                return owner
        raise OSError("the spool's lock was taken by other processes")

    def names(self) -> list[str]:
        """Return the names of all files in the folder."""
        return os.listdir(self.folder)

    def lock_owners(self) -> set[str]:
        """Return whose locks lie in the folder."""
        return {found[1] for name in self.names() if (found := _LOCK_NAME.fullmatch(name))}

    def claim(self, owner: str) -> bool:
        """Try to get the owner's lock; False when it is held, by this process too."""
        import fcntl

        if owner in self._locks:
            return False
        name = owner + _LOCK_SUFFIX
        lock = os.open(name, os.O_CREAT | os.O_RDWR | _FLAGS, 0o600, dir_fd=self.folder)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder may have removed the file between our opening and locking it.
            held = os.fstat(lock).st_ino == os.stat(name, dir_fd=self.folder).st_ino
        except (BlockingIOError, FileNotFoundError):
            held = False
        except OSError:
            os.close(lock)
            raise
        if held:
            self._locks[owner] = lock
        else:
            os.close(lock)
        return held

    def release(self, owner: str) -> None:
        """Remove a lock whose files are all gone, with what a kill left of a rewritten file."""
        lock = self._locks.pop(owner, -1)
        if lock < 0:
            return
        for name in self.names():
            if name == owner + _LOCK_SUFFIX or (name.startswith(owner) and name.endswith(".tmp")):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self.folder)
        os.close(lock)

    def total_bytes(self) -> int:
        """Return the size of everybody's spool files."""
        total = 0
        for name in self.names():
            if name.endswith(".seg"):
                with suppress(FileNotFoundError):
                    total += os.stat(name, dir_fd=self.folder, follow_symlinks=False).st_size
        return total

    def keep_dead_letter(self, line: bytes) -> None:
        """Append one line; at 8 MB the file becomes ``.1``, which the next one replaces."""
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | _FLAGS
        file = os.open(_DEAD_LETTERS, flags, 0o600, dir_fd=self.folder)
        try:
            os.write(file, line)
            is_large = os.fstat(file).st_size > _DEAD_LETTERS_BYTES
        finally:
            os.close(file)
        if is_large:
            os.replace(_DEAD_LETTERS, _DEAD_LETTERS + ".1", src_dir_fd=self.folder, dst_dir_fd=self.folder)

    def close(self) -> None:
        """Let go of all locks; a lock whose owner left files behind stays for whoever adopts them."""
        with suppress(OSError):
            left = self.names() if self.folder >= 0 else []
            for owner in list(self._locks):
                if not any(name.startswith(owner) and name.endswith(".seg") for name in left):
                    self.release(owner)
        self.forget()


def _open_folder(path: str) -> int:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
    try:
        facts = os.fstat(folder)
        if facts.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        if facts.st_mode & 0o077:
            os.fchmod(folder, 0o700)
    except OSError:
        os.close(folder)
        raise
    return folder
