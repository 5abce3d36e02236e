"""A collector under a steady mixed load for minutes: does memory, or anything else, grow that should not?

`scripts/bench soak [seconds]`; ten minutes unless told otherwise. Half of the load comes through the real client, half
as batches over HTTP, with repeated, damaged, late events and people who turn out to be one; a report is asked for now
and then. What is sampled is the collector's alone.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
from events import event

from touchtrail import Client

SECONDS = 600
EVENTS_S = 500
BATCH_EVENTS = 25
BATCHES_S = EVENTS_S / 2 / BATCH_EVENTS
TICK_S = 0.02
PERSON_EVENTS = 44
"""What one device sends in all; new ones come at the rate old ones end, as in a shop."""

DAY_MS = 86_400_000
TRIES = 10
REPORTS = ("overview", "data-quality", "channels", "orders")
COMMAND = (sys.executable, "-m", "touchtrail_collector")


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What the collector used at one moment.

    Args:
        at_s: since the load began.
        p99_ms: of the batches' answers since the last sample.
    """

    at_s: float
    events: int
    rss_mb: float
    files: int
    threads: int
    wal_mb: float
    db_mb: float
    lag_events: int
    p99_ms: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a soak found.

    Args:
        sent: what the senders counted: `stored`, `duplicates`, `rejected`, `dropped`, and their sum as `sent`.
        told: the same as the report data-quality says it.
        rss_slope_mb_min: of the collector's memory after the first half of the run, by least squares.
    """

    samples: list[Sample]
    sent: dict[str, int]
    told: dict[str, int]
    reports: int
    rss_slope_mb_min: float


class Shop:
    """Makes events of devices that come and go; every third device is a second one of somebody known."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._count = 0

    def next(self) -> dict[str, Any]:
        """Return the next event as it stands on the wire."""
        chance = self._chance
        self._count += 1
        # Three hundred visits go on at a time.
        device = self._count // PERSON_EVENTS + chance.randrange(300)
        at_ms = time.time_ns() // 1_000_000 - (3 * DAY_MS if chance.random() < 0.05 else 0)
        made = event(self._count, device, at_ms, chance.choice(["google", "direct", "bing"]), chance)
        made["event_id"] = f"{id(self):x}-{self._count}"
        if "order_id" in made["properties"]:
            made["properties"]["order_id"] = f"{id(self):x}-{self._count}"
            made["customer_id"] = f"c-{device - (device % 3 == 0)}"
        return made


class Door(threading.Thread):
    """Sends batches over HTTP at a steady rate and counts what they were answered."""

    def __init__(self, port: int, key: str) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._key = key
        self._shop = Shop(1)
        self._chance = random.Random(2)
        self._latest: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.took_ms: list[float] = []
        self.problem: BaseException | None = None
        self.ends = threading.Event()

    def run(self) -> None:
        """Send until told to end."""
        try:
            with closing(HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
                for due in ticks(1 / BATCHES_S):
                    if self.ends.wait(max(due - time.monotonic(), 0)):
                        return
                    self._send(connection, self._batch())
        except BaseException as error:
            self.problem = error

    def _batch(self) -> list[dict[str, Any]]:
        chance = self._chance
        batch = [self._shop.next() for _ in range(BATCH_EVENTS)]
        for place in range(BATCH_EVENTS):
            if chance.random() < 0.05 and self._latest:
                batch[place] = chance.choice(self._latest)
            elif chance.random() < 0.03:
                batch[place] = batch[place] | {"colour": str(chance.random())}
        self._latest = (self._latest + [made for made in batch if "colour" not in made])[-1_000:]
        return batch

    def _send(self, connection: HTTPConnection, batch: list[dict[str, Any]]) -> None:
        began = time.perf_counter()
        headers = {"Authorization": f"Bearer {self._key}"}
        connection.request("POST", "/v1/events", msgspec.json.encode(batch), headers)
        answer = connection.getresponse()
        text = answer.read()
        self.took_ms.append((time.perf_counter() - began) * 1000)
        assert answer.status == 200, text
        receipt = msgspec.json.decode(text)
        counted = receipt["accepted"], receipt["duplicates"], len(receipt["rejected"])
        assert sum(counted) == len(batch), receipt
        self.counts.update(dict(zip(("stored", "duplicates", "rejected"), counted, strict=True)))


class Buyers(threading.Thread):
    """Tracks with the real client at a steady rate."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._shop = Shop(3)
        self.ends = threading.Event()

    def run(self) -> None:
        """Track until told to end."""
        for due in ticks(TICK_S):
            if self.ends.wait(max(due - time.monotonic(), 0)):
                return
            for _ in range(round(EVENTS_S / 2 * TICK_S)):
                self._track(self._shop.next())

    def _track(self, made: dict[str, Any]) -> None:
        made.pop("occurred_at")
        self._client.track(made.pop("name"), **made)


class Reports(threading.Thread):
    """Asks for a report every two seconds."""

    def __init__(self, port: int, token: str) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._token = token
        self.answered = 0
        self.problem: BaseException | None = None
        self.ends = threading.Event()

    def run(self) -> None:
        """Ask until told to end."""
        try:
            while not self.ends.wait(2.0):
                name = REPORTS[self.answered % len(REPORTS)]
                ask(self._port, f"/api/v1/reports/{name}", self._token)
                self.answered += 1
        except BaseException as error:
            self.problem = error


def ticks(every_s: float) -> Iterator[float]:
    """Yield when each thing is due; what was missed is made up for, so that the rate holds."""
    due = time.monotonic()
    while True:
        yield due
        due += every_s


def ask(port: int, path: str, token: str = "") -> dict[str, Any]:
    """Return what the collector answers to a GET; where it is told to come again, it does, a few times.

    Raises: AssertionError for anything but 200 in the end.
    """
    for _ in range(TRIES):
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            text = answer.read()
        if answer.status != 503:
            break
        time.sleep(float(answer.headers["retry-after"]))
    assert answer.status == 200, text
    told: dict[str, Any] = msgspec.json.decode(text)
    return told


class Soaked:
    """A collector, its load, and what was sampled of it."""

    def __init__(self, db: Path, process: subprocess.Popen[str], port: int) -> None:
        self._db = db
        self._pid = process.pid
        self._port = port
        self._token = command(db, "keys", "create", "--read")
        key = command(db, "keys", "create", "--source", "web")
        self._client = Client(f"http://127.0.0.1:{port}", key=key, spool_dir=db.parent / "spool")
        self._door = Door(port, key)
        self._buyers = Buyers(self._client)
        self._reports = Reports(port, self._token)
        self._seen = 0
        self.samples: list[Sample] = []

    def run(self, seconds: float, every_s: float) -> Figures:
        """Load the collector for so long, then let it finish and hold the counts against each other."""
        threads = (self._door, self._buyers, self._reports)
        began = time.monotonic()
        for thread in threads:
            thread.start()
        while (at_s := time.monotonic() - began) < seconds:
            time.sleep(min(every_s, max(seconds - at_s, 0.1)))
            self._sample(time.monotonic() - began)
        for thread in threads:
            thread.ends.set()
            thread.join(60)
        for problem in (self._door.problem, self._reports.problem):
            if problem is not None:
                raise problem
        return self._figures()

    def _sample(self, at_s: float) -> None:
        took_ms = sorted(self._door.took_ms[self._seen :])
        self._seen += len(took_ms)
        status = Path(f"/proc/{self._pid}/status").read_text()
        self.samples.append(
            Sample(
                at_s=at_s, events=self._door.counts.total() + self._client.health().tracked,
                rss_mb=field(status, "VmRSS") / 1024, threads=field(status, "Threads"),
                files=len(list(Path(f"/proc/{self._pid}/fd").iterdir())),
                wal_mb=size_mb(self._db.with_name(self._db.name + "-wal")), db_mb=size_mb(self._db),
                lag_events=ask(self._port, "/readyz")["projector_lag_events"],
                p99_ms=took_ms[int(len(took_ms) * 0.99)] if took_ms else 0.0,
            )
        )  # fmt: skip
        show(self.samples[-1])

    def _figures(self) -> Figures:
        assert self._client.flush(60), self._client.health()
        health = self._client.health()
        self._client.close()
        counts = self._door.counts
        sent = {
            "stored": counts["stored"] + health.delivered, "duplicates": counts["duplicates"] + health.duplicates,
            "rejected": counts["rejected"] + health.rejected, "dropped": sum(health.dropped.values()),
        }  # fmt: skip
        told = ask(self._port, "/api/v1/reports/data-quality", self._token)["figures"]
        return Figures(
            samples=self.samples, sent={"sent": sum(sent.values()), **sent},
            told={"sent": told["sent"], "stored": told["accepted"]}
            | {name: told[name] for name in ("duplicates", "rejected", "dropped")},
            reports=self._reports.answered, rss_slope_mb_min=rss_slope(self.samples),
        )  # fmt: skip


def field(status: str, name: str) -> int:
    """Return a number of `/proc/PID/status`."""
    return int(status.partition(f"\n{name}:")[2].split()[0])


def size_mb(path: Path) -> float:
    """Return a file's size; 0 where there is none."""
    return path.stat().st_size / 1e6 if path.exists() else 0.0


def rss_slope(samples: list[Sample]) -> float:
    """Return how memory grew in the second half of the run, in MB a minute: the slope of least squares."""
    late = samples[len(samples) // 2 :]
    at = [sample.at_s / 60 for sample in late]
    mean_at, mean_rss = sum(at) / len(late), sum(sample.rss_mb for sample in late) / len(late)
    spread = sum((place - mean_at) ** 2 for place in at)
    moved = sum((place - mean_at) * (sample.rss_mb - mean_rss) for place, sample in zip(at, late, strict=True))
    return moved / spread if spread else 0.0


def command(db: Path, *arguments: str) -> str:
    """Run a command on the database and return what it printed."""
    done = subprocess.run([*COMMAND, *arguments, "--db", str(db)], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@contextmanager
def collector(db: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Give a collector with a fresh database and the port it listens on."""
    serve = [*COMMAND, "serve", "--db", str(db), "--port", "0"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.terminate()


def soak(seconds: float, every_s: float) -> Figures:
    """Run a collector under load for so long."""
    with tempfile.TemporaryDirectory(prefix="touchtrail-soak-") as folder:
        db = Path(folder) / "shop.db"
        with collector(db) as (process, port):
            figures = Soaked(db, process, port).run(seconds, every_s)
        with closing(sqlite3.connect(db)) as reader:
            assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return figures


COLUMNS = "{:>7} {:>9} {:>8} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8}"


def show(sample: Sample) -> None:
    """Print a sample: a line of the table; a terminal shows it as progress."""
    row = msgspec.structs.astuple(sample)
    cells = [f"{value:.1f}" if isinstance(value, float) else f"{value}" for value in row]
    print(COLUMNS.format(*cells), file=sys.stderr, flush=True)


def run(seconds: float = SECONDS, every_s: float = 0.0) -> Figures:
    """Soak, and print the samples and what came out.

    Args:
        every_s: between two samples; 0 = thirty in the whole run.
    """
    print(f"{seconds:g} s of {EVENTS_S} events/s, half by the client, half in batches of {BATCH_EVENTS}")
    names = ("s", "events", "RSS MB", "files", "threads", "WAL MB", "file MB", "lag", "p99 ms")
    print(COLUMNS.format(*names), file=sys.stderr, flush=True)
    figures = soak(seconds, every_s or seconds / 30)
    rss = [sample.rss_mb for sample in figures.samples]
    print(
        f"RSS {rss[0]:.1f} MB at first, {rss[len(rss) // 2]:.1f} half way, {rss[-1]:.1f} at the end, at most "
        f"{max(rss):.1f}; slope of the second half {figures.rss_slope_mb_min:+.2f} MB/min"
    )
    print(f"{figures.reports} reports; sent {figures.sent}; told {figures.told}")
    return figures


def main(given: list[str] | None = None) -> None:
    """Run with the arguments of the command line; `--figures FILE` writes them as JSON for a program."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("seconds", nargs="?", type=float, default=SECONDS)
    parser.add_argument("--every", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--figures", type=Path)
    arguments = parser.parse_args(given)
    figures = run(arguments.seconds, arguments.every)
    if arguments.figures is not None:
        arguments.figures.write_bytes(msgspec.json.encode(figures))


if __name__ == "__main__":
    main()
