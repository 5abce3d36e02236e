"""touchtrail beside the Python clients of others: one run, rounds in turn, medians, the same sink for all.

The others are installed into an environment of the bench's own in the user's cache folder, never into the project's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple
from urllib.request import urlopen

from peer_clients import MODULES

HERE: Final = Path(__file__).parent
SDK: Final = HERE.parents[1] / "sdk"
PACKAGES: Final = {
    "touchtrail": "httpx msgspec",
    "segment": "segment-analytics-python==2.4.0",
    "posthog": "posthog==7.91.1",
    "rudder": "rudder-sdk-python==2.1.9",
    "snowplow": "snowplow-tracker==1.1.0",
}
ROUNDS: Final = 3
MOST_S: Final = 360.0
LONGEST_EXIT_S: Final = 20.0
LONGEST_TASK_S: Final = 40.0

Figures = dict[str, list[float]]


class Row(NamedTuple):
    """One line of the table.

    Args:
        aim: what touchtrail is to reach; ``best`` = no worse than the best of the others.
    """

    name: str
    label: str
    aim: str
    digits: int = 1


TABLE: Final = (
    Row("flat p50", "track() flat out, µs p50", "≤ 5"),
    Row("flat p99", "track() flat out, µs p99", "≤ 60"),
    Row("flat max", "track() flat out, µs longest", "≤ 50,000", 0),
    Row("lost", "lost of 20,000 flat out", "0", 0),
    Row("paced p50", "track() at 500/s, µs p50", "best"),
    Row("paced p99", "track() at 500/s, µs p99", "best"),
    Row("rate", "delivered events/s", "best", 0),
    Row("cpu", "CPU µs per event", "≤ 60"),
    Row("import", "import, ms", "≤ 60"),
    Row("killed", "kill -9: lost of 100", "0", 0),
    Row("exit s", "exit with the collector down, s", "≤ 0.5", 2),
    Row("exit lost", "… and lost of 100", "0", 0),
    Row("forked", "fork after init: delivered of 101", "101", 0),
    Row("hang max", "track() while the server hangs, µs longest", "≤ 50,000", 0),
)


class Peers:
    """Measures every client in turn and keeps what it found."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python = python
        self._folder = folder
        self._number = count()
        self.found: dict[str, Figures] = {client: {row.name: [] for row in TABLE} for client in PACKAGES}

    def measure_calls(self, client: str) -> None:
        """Cost of a call flat out, what got lost, how fast it was delivered and with how much processor time."""
        with sink() as port:
            figures = self._run(client, "flat_out", port)
            arrived = ask(port, "count")
        calls = figures["calls"]
        # Of the events that arrived: a client that drops most of them is not quicker for it.
        self._keep(client, "rate", arrived / figures["seconds"])
        self._keep(client, "cpu", figures["cpu_s"] / max(arrived, 1) * 1e6)
        self._keep(client, "lost", calls - arrived)
        for quantile in ("p50", "p99", "max"):
            self._keep(client, f"flat {quantile}", figures[quantile])

    def measure_paced_calls(self, client: str) -> None:
        """Cost of a call at 500 calls a second."""
        with sink() as port:
            figures = self._run(client, "paced", port)
        self._keep(client, "paced p50", figures["p50"])
        self._keep(client, "paced p99", figures["p99"])

    def measure_import(self, client: str) -> None:
        """What a fresh interpreter takes for the import alone."""
        took = [min(self._start_ms(statement) for _ in range(3)) for statement in (f"import {MODULES[client]}", "pass")]
        self._keep(client, "import", took[0] - took[1])

    def measure_kill(self, client: str) -> None:
        """What is lost when the process is killed; whoever comes next may deliver what it left."""
        folder = self._new_folder()
        with sink() as port:
            self._run(client, "killed", port, folder)
            self._run(client, "nothing", port, folder)
            self._keep(client, "killed", 100 - ask(port, "count"))

    def measure_exit(self, client: str) -> None:
        """What the end of a program takes while nobody listens, and what is lost by it."""
        folder = self._new_folder()
        with sink() as port:
            pass
        process = self._start(client, "leaving", port, folder)
        assert process.stdout is not None
        figures = json.loads(process.stdout.readline())
        try:
            process.wait(LONGEST_EXIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._keep(client, "exit s", time.monotonic() - figures["left_at_s"])
        process.stdout.close()
        with sink(port):
            self._run(client, "nothing", port, folder)
            self._keep(client, "exit lost", 100 - ask(port, "count"))

    def measure_fork(self, client: str) -> None:
        """How many of one event in the parent and a hundred in a forked child arrive."""
        with sink() as port:
            self._run(client, "forked", port)
            self._keep(client, "forked", ask(port, "count"))

    def measure_hanging_server(self, client: str) -> None:
        """The longest call while the server takes requests and never answers."""
        with sink() as port:
            ask(port, "hang")
            self._keep(client, "hang max", self._run(client, "hanging", port)["max"])

    def _run(self, client: str, task: str, port: int, folder: Path | None = None) -> dict[str, float]:
        process = self._start(client, task, port, folder or self._new_folder())
        try:
            out, _ = process.communicate(timeout=LONGEST_TASK_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
        lines = out.splitlines()
        return dict(json.loads(lines[0])) if lines else {}

    def _start(self, client: str, task: str, port: int, folder: Path) -> subprocess.Popen[str]:
        command = [str(part) for part in (self._python, HERE / "peer_clients.py", client, task, port, folder)]
        environment = {**os.environ, "PYTHONPATH": str(SDK)}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, cwd=self._folder
        )

    def _start_ms(self, statement: str) -> float:
        began_s = time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(SDK)}
        # The peers were compiled when they were installed; our checkout need not have been.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(self._folder / "compiled")
        subprocess.run([self._python, "-c", statement], check=True, env=environment)
        return (time.perf_counter() - began_s) * 1000

    def _new_folder(self) -> Path:
        return self._folder / str(next(self._number))

    def _keep(self, client: str, row: str, value: float) -> None:
        self.found[client][row].append(value)


def run() -> None:
    """Measure and print; what has no time any more is left out and said."""
    python = prepare()
    with tempfile.TemporaryDirectory(prefix="touchtrail-bench-") as folder:
        peers = Peers(python, Path(folder))
        rounds = (peers.measure_calls, peers.measure_paced_calls, peers.measure_import, peers.measure_kill)
        once = (peers.measure_fork, peers.measure_exit, peers.measure_hanging_server)
        plan: list[tuple[Callable[[str], None], str]] = [
            (measure, client) for _ in range(ROUNDS) for measure in rounds for client in PACKAGES
        ]
        # What a client loses is the same each time; it comes after the first round, so that no figure is missing.
        at = len(rounds) * len(PACKAGES)
        plan[at:at] = [(measure, client) for measure in once for client in PACKAGES]
        left_out = work_through(plan)
    show(peers.found)
    if left_out:
        print(f"{left_out} of {len(plan)} measurements had no time left")


def work_through(plan: Sequence[tuple[Callable[[str], None], str]]) -> int:
    """Run the measurements with a progress line; return how many had no time."""
    began_s = time.monotonic()
    for done, (measure, client) in enumerate(plan):
        seconds = time.monotonic() - began_s
        if seconds > MOST_S - LONGEST_TASK_S:
            return len(plan) - done
        what = f"{measure.__name__.removeprefix('measure_').replace('_', ' ')}: {client}"
        print(f"\r\033[K{done}/{len(plan)} {seconds:4.0f} s  {what}", end="", file=sys.stderr, flush=True)
        measure(client)
    print("\r\033[K", end="", file=sys.stderr)
    return 0


def prepare() -> Path:
    """Return the interpreter of the environment with all clients; made when it is not there as it should be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / f"touchtrail-bench-{sys.version_info[0]}.{sys.version_info[1]}"
    python, mark = home / "bin" / "python", home / "installed"
    wanted = "\n".join(PACKAGES.values())
    if not mark.exists() or mark.read_text() != wanted:
        print(f"installing the clients into {home}", file=sys.stderr, flush=True)
        venv.create(home, clear=True, with_pip=True)
        packages = [package for names in PACKAGES.values() for package in names.split()]
        subprocess.run([python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *packages], check=True)
        mark.write_text(wanted)
    return python


@contextmanager
def sink(port: int = 0) -> Iterator[int]:
    """A sink in a process of its own; gives its port."""
    command = [sys.executable, str(HERE / "peer_sink.py"), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def ask(port: int, what: str) -> int:
    """Ask the sink how many events it has, or tell it to hang."""
    with urlopen(f"http://127.0.0.1:{port}/{what}", timeout=10) as answer:
        count_: Any = json.load(answer)
    return int(count_)


def show(found: dict[str, Figures]) -> None:
    """Print the medians, clients side by side, with the aims."""
    print(f"{'':44}" + "".join(f"{client:>12}" for client in found) + "   aim")
    for row in TABLE:
        cells = []
        for figures in found.values():
            values = figures[row.name]
            cells.append(f"{median(values):>12,.{row.digits}f}" if values else f"{'–':>12}")
        print(f"{row.label:44}" + "".join(cells) + f"   {row.aim}")
    print(f"medians of up to {ROUNDS} rounds; an exit is cut off at {LONGEST_EXIT_S:.0f} s")


if __name__ == "__main__":
    run()
