"""A real `touchtrail serve` in a process of its own, for end-to-end tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

COMMAND = (sys.executable, "-m", "touchtrail_collector")


class RunningCollector(msgspec.Struct):
    """A collector that listens."""

    db: Path
    url: str
    process: subprocess.Popen[str]

    def run(self, *arguments: str) -> str:
        """Run another `touchtrail` command on the same database and return what it printed."""
        done = touchtrail(*arguments, db=self.db)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def key(self, source: str = "web") -> str:
        """Make a write key."""
        return self.run("keys", "create", "--source", source).strip()

    def wait_until_derived(self, timeout_s: float = 20) -> None:
        """Wait until everything that came is in the reports."""
        ends_at = time.monotonic() + timeout_s
        while httpx.get(f"{self.url}/readyz").json()["projector_lag_events"] > 0:
            assert time.monotonic() < ends_at, "the projector does not catch up"
            time.sleep(0.02)

    def report(self, name: str, *arguments: str) -> dict:
        """Return a report as the command line gives it."""
        return msgspec.json.decode(self.run("report", name, "--format", "json", *arguments))


def touchtrail(*arguments: str, db: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    environment = os.environ | ({"TOUCHTRAIL_DB": str(db)} if db is not None else {})
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env=environment, timeout=120, check=False
    )


@contextmanager
def running_collector(db: Path) -> Iterator[RunningCollector]:
    """Give a collector on a free port; it is stopped at the end and must stop cleanly."""
    command = [*COMMAND, "serve", "--db", str(db), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("touchtrail listening on http://127.0.0.1:"), line
            yield RunningCollector(db, line.rpartition(" ")[2].strip(), process)
        finally:
            process.terminate()
            code = process.wait(10)
    assert code == 0
