"""Runs a piece of work again and again in a child, each time killed (SIGKILL) one step further on.

`python killed_steps.py backup|restore FOLDER`: for each step a fresh copy of FOLDER is made as FOLDER-N, and there the
child works until the Nth line of code that calls into the operating system or SQLite. The last line on stdout is how many
such lines there were.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from touchtrail_collector.services.backup import back_up, restore

STEPS = {
    "backup", "chmod", "close", "commit", "connect", "execute", "executemany", "flock", "fsync", "ftruncate", "link",
    "open", "pwrite", "remove", "rename", "replace", "unlink",
}  # fmt: skip
"""Names of the C functions by which a process changes what is on disk, or is about to."""

WORK: dict[str, Callable[[Path], object]] = {
    "backup": lambda folder: back_up(folder / "shop.db", folder / "copy.db", force=True),
    "restore": lambda folder: restore(folder / "copy.db", folder / "shop.db"),
}


def kill_at(step: int) -> Callable[[Any, str, Any], None]:
    """Return a profiling function that kills this process before a step."""
    lines: set[tuple[str, int]] = set()
    own_calls = {"execute", "close"}

    def watch(frame: Any, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in STEPS:
            # A method around the C function of its name stands in one line for all who call it: theirs are the steps.
            line = frame.f_back if frame.f_code.co_name in own_calls and frame.f_back is not None else frame
            lines.add((line.f_code.co_filename, line.f_lineno))
            if len(lines) == step:
                os.kill(os.getpid(), signal.SIGKILL)

    return watch


def is_killed(work: Callable[[Path], object], folder: Path, step: int) -> bool:
    """Work in a child until a step; return whether it was killed there, or came to its end before."""
    child = os.fork()
    if child == 0:
        sys.setprofile(kill_at(step))
        work(folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        assert os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def main(name: str, folder: Path) -> None:
    """Work with ever later kills until one comes too late."""
    step = 0
    killed = True
    while killed:
        step += 1
        own = folder.with_name(f"{folder.name}-{step}")
        shutil.copytree(folder, own)
        killed = is_killed(WORK[name], own, step)
    print(step - 1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
