"""What a process did to the files of one folder, call by call: recorded with strace, read into plain values.

A call has a beginning and an end, as two threads may be in calls at once: what it writes may be on the disk from its
beginning on, what it promises holds from its end on.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

TRACED = "openat,pwrite64,write,fsync,fdatasync,ftruncate,unlink,unlinkat,rename,renameat,renameat2"
STRINGS_UP_TO = 4_000_000
LINE = re.compile(r"(\d+)\s+(.*)")  # short thread numbers are padded
CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+|\?)(.*)")
RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
UNFINISHED = " <unfinished ...>"
NOT_KEPT = ("-shm", ".lock")
"""Made anew, or of no meaning, after a power loss."""


class Call(msgspec.Struct, kw_only=True):
    """One call that changed or promised something.

    Args:
        kind: create | unlink | write | truncate | sync (a file) | sync_folder | said (written to standard output).
        began, ended: places in the log; ``ended`` is beyond its end where the process died in the call.
        file: number of the file; a name that is made anew gets a new one.
        name: the name that appears or goes.
        offset: where a write begins, or the size a truncation leaves.
        failed: a sync that reported an error.
    """

    kind: str
    began: int
    ended: int
    file: int = -1
    name: str = ""
    offset: int = 0
    data: bytes = b""
    failed: bool = False


def require_strace() -> None:
    """Skip a test where strace is missing or may not trace; fail it where changes are judged."""
    found = shutil.which("strace")
    if found is not None and subprocess.run([found, "-f", "-o", os.devnull, "true"], check=False).returncode == 0:
        return
    (pytest.fail if os.environ.get("CI") else pytest.skip)(
        "power loss is replayed from what strace records: install it"
    )


def record(command: Sequence[str], folder: Path, log: Path, *, inject: Sequence[str] = ()) -> list[Call]:
    """Run a command that must succeed and return its calls on the files of ``folder``, which must be empty before.

    Args:
        inject: faults for strace to plant, such as `fdatasync:error=EIO:when=40`.
    """
    assert list(folder.iterdir()) == []
    faults = [argument for fault in inject for argument in ("-e", f"inject={fault}")]
    options = ["-f", "--seccomp-bpf", "-xx", "-s", str(STRINGS_UP_TO), "-e", f"trace={TRACED}", *faults]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        ["strace", *options, "-o", str(log), *command], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return Reading(folder).read(log)


def joined(log: Path) -> Iterator[tuple[int, int, str]]:
    """Yield each call as one text, with its first and last line; the halves of interrupted ones are put together."""
    open_calls: dict[str, tuple[int, str]] = {}
    number = 0
    with log.open(encoding="ascii") as lines:
        for number, line in enumerate(lines):
            match = LINE.match(line)
            assert match is not None, line[:200]
            thread, text = match[1], match[2]
            if text.endswith(UNFINISHED):
                open_calls[thread] = (number, text.removesuffix(UNFINISHED))
            elif (rest := RESUMED.match(text)) is not None:
                began, head = open_calls.pop(thread)
                yield began, number, head + rest[1]
            elif not text.startswith(("+++", "---")):
                yield number, number, text
    for began, head in open_calls.values():
        yield began, number + 1, f"{head}) = ?"


class Reading:
    """Follows which descriptor is which file of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._descriptors: dict[int, int] = {}
        self._folders: set[int] = set()
        self._names: dict[str, int] = {}
        self._files = 0

    def read(self, log: Path) -> list[Call]:
        """Return the calls in the order in which they began."""
        calls = []
        for began, ended, text in sorted(joined(log)):
            match = CALL.fullmatch(text)
            if match is None:  # `???()`: a thread that was ended before it began a call
                assert text.startswith(("???", "exit")), text[:200]
                continue
            name, arguments, result = match[1], match[2].split(", "), match[3]
            call = getattr(self, f"_{name}")(arguments, result)
            if call is not None:
                call.began, call.ended = began, ended
                calls.append(call)
        return calls

    def _name_in_folder(self, text: str) -> str | None:
        path = plain(text).decode()
        folder, _, name = path.rpartition("/")
        return name if folder == self._folder and not name.endswith(NOT_KEPT) else None

    def _openat(self, arguments: list[str], result: str) -> Call | None:
        if not result.isdigit():
            return None
        descriptor = int(result)
        self._folders.discard(descriptor)
        self._descriptors.pop(descriptor, None)
        if plain(arguments[1]).decode() == self._folder:
            self._folders.add(descriptor)
            return None
        name = self._name_in_folder(arguments[1])
        if name is None:
            return None
        is_new = name not in self._names
        if is_new:
            self._names[name] = self._files
            self._files += 1
        file = self._descriptors[descriptor] = self._names[name]
        return Call(kind="create", began=0, ended=0, file=file, name=name) if is_new else None

    def _write_at(self, arguments: list[str], offset: int, result: str) -> Call | None:
        file = self._descriptors.get(int(arguments[0]))
        if file is None or result.startswith("-"):
            return None
        assert not arguments[1].endswith("..."), "strace cut a long write"
        data = plain(arguments[1])
        written = data if result == "?" else data[: int(result)]
        return Call(kind="write", began=0, ended=0, file=file, offset=offset, data=written)

    def _pwrite64(self, arguments: list[str], result: str) -> Call | None:
        return self._write_at(arguments, int(arguments[3]), result)

    def _write(self, arguments: list[str], result: str) -> Call | None:
        if arguments[0] == "1":
            return Call(kind="said", began=0, ended=0, data=plain(arguments[1]))
        assert int(arguments[0]) not in self._descriptors, "a write without an offset is not followed"
        return None

    def _fsync(self, arguments: list[str], result: str) -> Call | None:
        descriptor, failed = int(arguments[0]), result != "0"
        if descriptor in self._folders:
            return Call(kind="sync_folder", began=0, ended=0, failed=failed)
        file = self._descriptors.get(descriptor)
        return None if file is None else Call(kind="sync", began=0, ended=0, file=file, failed=failed)

    _fdatasync = _fsync

    def _ftruncate(self, arguments: list[str], result: str) -> Call | None:
        file = self._descriptors.get(int(arguments[0]))
        if file is None or result != "0":
            return None
        return Call(kind="truncate", began=0, ended=0, file=file, offset=int(arguments[1]))

    def _unlink(self, arguments: list[str], result: str) -> Call | None:
        name = self._name_in_folder(arguments[0])
        if name is None or result != "0":
            return None
        return Call(kind="unlink", began=0, ended=0, file=self._names.pop(name), name=name)

    def _refuse(self, arguments: list[str], result: str) -> None:
        paths = [argument for argument in arguments if argument.startswith('"')]
        assert not any(self._name_in_folder(path) for path in paths), "renaming is not followed"

    _unlinkat = _rename = _renameat = _renameat2 = _refuse


def plain(text: str) -> bytes:
    r"""Return the bytes of `"\x61\x62"`."""
    return bytes.fromhex(text.strip('"').replace("\\x", ""))
