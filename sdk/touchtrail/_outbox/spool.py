"""The spool folder: who owns which files, told by locks that end with the process that holds them."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from touchtrail._forks import lock_against_forks
from touchtrail.options import Options, whole_spool_dir

from .own import Held, let_owner_in
from .segment import DRAFT, SET_ASIDE

_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW if os.name == "posix" else 0
_DEAD_LETTERS: Final = "dead-letters.jsonl"
_DEAD_LETTERS_BYTES: Final = 8 * 1024 * 1024
_LOCK_SUFFIX: Final = ".lock"
_CLAIM_TRIES: Final = 20
OWNER_PATTERN: Final = r"\d{19}-\d+-[0-9a-f]{16}"
SEGMENT_NAME: Final = re.compile(rf"({OWNER_PATTERN})-\d{{6,}}\.seg")
_LOCK_NAME: Final = re.compile(rf"({OWNER_PATTERN})\.lock")

# No fork happens while a lock's descriptor is open and not noted: the child would hold the lock, unknowing, for
# as long as it lives, and what its parent leaves behind could not be taken over.
locking = lock_against_forks()


class Spool:
    """One folder, shared by every process with the same collector address and key.

    Each process owns one lock file; its name begins the names of the process's files. Who gets the lock of
    somebody else knows that one is dead.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._owner = ""
        self._locks: dict[str, Held] = {}
        self._turn = Held()
        self._removed: list[Held] = []
        self._folder = Held()

    @property
    def folder(self) -> int:
        """The folder's descriptor; -1 = not open."""
        return self._folder.number

    def forget(self) -> None:
        """Close every descriptor, as a forked child must: a copy of the parent's lock would outlive the parent."""
        with locking:
            held = (*self._locks.values(), *self._removed, self._turn, self._folder)
            self._owner, self._locks, self._removed, self._turn, self._folder = "", {}, [], Held(), Held()
            for each in held:
                each.close()

    def let_go(self) -> None:
        """Let go of every lock; the folder stays open where it still is.

        One that was closed by somebody is not closed again: a signal handler that tracks meanwhile may have opened the
        same folder under the same number.
        """
        folder = self._folder if self._folder.is_ours() else Held()
        turn = self._turn if self._turn.is_ours() else Held()
        with locking:
            held = (*self._locks.values(), *self._removed)
            self._owner, self._locks, self._removed, self._turn, self._folder = "", {}, [], turn, folder
            for each in held:
                each.close()

    def is_whole(self) -> bool:
        """Say whether every descriptor still is what it was; somebody may have closed them, and so our locks too."""
        held = (self._folder, self._turn, *self._locks.values(), *self._removed)
        return all(each.number < 0 or each.is_ours() for each in held)

    def exists(self) -> bool:
        """Open the folder if it is there; say whether it is."""
        if self.folder < 0 and os.path.isdir(self._path):
            self._folder = Held(_open_folder(self._path))
        return self.folder >= 0

    def open(self) -> str:
        """Make folder and lock if need be; return this process's name in the folder.

        Raises:
            OSError: the folder cannot be made, belongs to somebody else or is a link, or knows no locks.
        """
        if self.folder >= 0 and not os.fstat(self.folder).st_nlink:
            # Somebody removed the folder: begin a new one. Files of the old one can still be read through it.
            self._removed.append(self._folder)
            self._owner, self._folder = "", Held()
        if not self._owner:
            if self.folder < 0:
                _make_folders(self._path)
                self._folder = Held(_open_folder(self._path))
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

    def claim(self, owner: str) -> bool:
        """Try to get the owner's lock; False when it is held, by this process too."""
        import fcntl

        if owner in self._locks:
            return False
        name = owner + _LOCK_SUFFIX
        with locking:
            lock = os.open(name, os.O_CREAT | os.O_RDWR | _FLAGS, 0o600, dir_fd=self.folder)
            try:
                let_owner_in(lock)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Its last holder may have removed the file between our opening and locking it.
                held = os.fstat(lock).st_ino == os.stat(name, dir_fd=self.folder).st_ino
            except (BlockingIOError, FileNotFoundError):
                held = False
            except OSError:
                os.close(lock)
                raise
            if held:
                self._locks[owner] = Held(lock)
            else:
                os.close(lock)
        return held

    def is_claimed(self, owner: str) -> bool:
        """Say whether this process holds the owner's lock."""
        return owner in self._locks

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Give True to one process at a time, False to whoever comes meanwhile; ends with the block."""
        import fcntl

        with locking:
            if self._turn.number < 0:
                self._turn = Held(os.open(".", os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=self.folder))
        try:
            fcntl.flock(self._turn.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(self._turn.number, fcntl.LOCK_UN)

    def release(self, owner: str) -> None:
        """Remove a lock whose files are all gone."""
        with locking:
            lock = self._locks.pop(owner, None)
            if lock is not None:
                with suppress(OSError):
                    os.unlink(owner + _LOCK_SUFFIX, dir_fd=self.folder)
                lock.close()

    def held_for_others(self) -> int:
        """Return how many dead processes' locks this process holds."""
        return len(self._locks) - bool(self._owner)

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.folder)

    def is_file(self, name: str) -> bool:
        """Say whether there is a file of that name, and not a link or a folder."""
        try:
            return stat.S_ISREG(os.stat(name, dir_fd=self.folder, follow_symlinks=False).st_mode)
        except OSError:
            return False

    def total_bytes(self) -> int:
        """Return the size of everybody's spool files, those set aside included."""
        return sum(self._sizes((".seg", SET_ASIDE)).values())

    def drop_set_aside(self, excess: int) -> int:
        """Remove files that were set aside, oldest first, until so many bytes are free; return how many are."""
        freed = 0
        for name, size in sorted(self._sizes((SET_ASIDE,)).items()):
            if freed >= excess:
                break
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.folder)
            freed += size
        return freed

    def leftovers(self) -> dict[str, list[str]]:
        """Return everybody's spool files and drafts (`.tmp`, left by a kill) by owner, oldest owner and file first.

        An owner may have a lock and no files.
        """
        found: dict[str, list[str]] = {}
        for name in sorted(self.names()):
            if lock := _LOCK_NAME.fullmatch(name):
                found.setdefault(lock[1], [])
            elif file := SEGMENT_NAME.fullmatch(name.removesuffix(DRAFT)):
                found.setdefault(file[1], []).append(name)
        return dict(sorted(found.items()))

    def _sizes(self, suffixes: tuple[str, ...]) -> dict[str, int]:
        sizes = {}
        for name in self.names():
            if name.endswith(suffixes):
                with suppress(FileNotFoundError):
                    sizes[name] = os.stat(name, dir_fd=self.folder, follow_symlinks=False).st_size
        return sizes

    def keep_dead_letter(self, line: bytes) -> None:
        """Append one line; at 8 MB the file becomes ``.1``, which the next one replaces."""
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | _FLAGS
        file = os.open(_DEAD_LETTERS, flags, 0o600, dir_fd=self.folder)
        try:
            let_owner_in(file)
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


def spool_folder(options: Options) -> str:
    """Return the folder of a collector address and key: what was taken for one must never be delivered to another.

    Raises:
        OptionsError: there can be no such folder.
    """
    import hashlib

    sender = hashlib.sha256(f"{options.url.rstrip('/')}\0{options.key}".encode()).hexdigest()[:32]
    return os.path.join(whole_spool_dir(options), sender)


def try_lock(path: str) -> Held:
    """Return what holds the folder's lock as long as it is open; nothing is held when another process has it.

    Raises:
        OSError: no such folder, or it knows no locks.
    """
    import fcntl

    with locking:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            os.close(folder)
            if isinstance(problem, BlockingIOError):
                return Held()
            raise
    return Held(folder)


def _make_folders(path: str) -> None:
    """Make a folder and those above it that are missing, for their owner alone, whatever the ``umask``."""
    missing = [path]
    while not os.path.isdir(above := os.path.dirname(missing[-1])) and above != missing[-1]:
        missing.append(above)
    for folder in reversed(missing):
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)
            os.chmod(folder, 0o700)


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
