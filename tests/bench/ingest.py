"""Durable ingest over HTTP: against raw `executemany` into the same table, and against bare Starlette on uvicorn."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

import msgspec
from events import journeys
from load import Measured, drive, post

from touchtrail_collector.store.sqlite.append import INSERT_EVENT
from touchtrail_collector.store.sqlite.database import open_writing_connection

BATCHES = 1_000
BATCH_EVENTS = 100
SINGLES = 20_000
ROUNDS = 5
BATCH_CONNECTIONS = 32
WARMING_EVENTS = 500
WARMING_S = 1.5

BARE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

async def accept(request: Request) -> Response:
    await request.body()
    return Response(b"{}", media_type="application/json")

uvicorn.run(Starlette(routes=[Route("/v1/events", accept, methods=["POST"])]), port=int(sys.argv[1]),
            log_level="warning", access_log=False)
"""


class Round(msgspec.Struct, frozen=True):
    """One measurement between two of its limit, as a machine that others use too is not equally fast all the time.

    Args:
        limit: how many a second the limit allows, the mean of before and after.
    """

    limit: float
    measured: Measured
    events: int

    @property
    def rate(self) -> float:
        """Return how many events a second were acknowledged."""
        return self.measured.requests * self.events / self.measured.seconds

    @property
    def ratio(self) -> float:
        """Return the share of the limit."""
        return self.rate / self.limit


def run() -> None:
    """Measure in rounds and print the medians."""
    batched, single = [], []
    for number in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="touchtrail-bench-") as folder:
            bodies = [msgspec.json.encode(event) for event in journeys(BATCHES * BATCH_EVENTS, seed=number)]
            batched.append(measure_batches(Path(folder), bodies))
            single.append(measure_singles(Path(folder), bodies[:SINGLES]))
    report(f"raw executemany, {BATCH_EVENTS} rows a commit, synchronous=FULL", [round_.limit for round_ in batched])
    report_rounds(f"POST /v1/events, batches of {BATCH_EVENTS}, {BATCH_CONNECTIONS} connections", batched, "raw", 0.6)
    report("bare Starlette on uvicorn, 64 connections", [round_.limit for round_ in single])
    report_rounds("POST /v1/events, single events, 64 connections", single, "bare", 0.4)


def measure_batches(folder: Path, bodies: Sequence[bytes]) -> Round:
    """Return what batches reach, between two runs of raw inserts."""
    before = raw_inserts(folder / "before.db", bodies)
    with collector(folder / "batch.db") as (port, key):
        warm_up(port, key)
        measured = drive(port, batches(bodies, key), connections=BATCH_CONNECTIONS)
    return Round((before + raw_inserts(folder / "after.db", bodies)) / 2, measured, BATCH_EVENTS)


def measure_singles(folder: Path, bodies: Sequence[bytes]) -> Round:
    """Return what single events reach, between two runs of bare Starlette."""
    before = bare_requests(bodies)
    with collector(folder / "single.db") as (port, key):
        warm_up(port, key)
        measured = drive(port, [post("/v1/events", body, key) for body in bodies], connections=64)
    return Round((before + bare_requests(bodies)) / 2, measured, 1)


def report(what: str, rates: Sequence[float]) -> None:
    """Print a limit: the median, and the least and the most."""
    print(f"{what:<58}{median(rates):10,.0f}/s  ({min(rates):,.0f} to {max(rates):,.0f})")


def report_rounds(what: str, rounds: Sequence[Round], limit: str, aim: float) -> None:
    """Print the same of what was measured, and its share of the limit in the same round."""
    report(what, [one.rate for one in rounds])
    ratios = [one.ratio for one in rounds]
    slowest_ms = median([one.measured.quantile(0.99) for one in rounds])
    print(
        f"    {median(ratios):.2f} x {limit} ({min(ratios):.2f} to {max(ratios):.2f}; aim {aim})   p99 {slowest_ms:.1f} ms"
    )
    if failures := sum(one.measured.failures for one in rounds):
        print(f"    {failures} requests failed")


def batches(bodies: Sequence[bytes], key: str) -> list[bytes]:
    """Return requests of a hundred events each."""
    return [
        post("/v1/events", b'{"events":[' + b",".join(bodies[start : start + BATCH_EVENTS]) + b"]}", key)
        for start in range(0, len(bodies), BATCH_EVENTS)
    ]


def raw_inserts(db: Path, bodies: Sequence[bytes]) -> float:
    """Return how many rows a second go into the collector's own table with the same durability."""
    rows = []
    for body in bodies:
        event = msgspec.json.decode(body)
        rows.append((None, 1, event["event_id"], event["name"], 0, None, 0, event["anonymous_id"], None, body.decode()))
    insert = f"{INSERT_EVENT} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    with closing(open_writing_connection(db)) as connection:
        started = time.perf_counter()
        for start in range(0, len(rows), BATCH_EVENTS):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, rows[start : start + BATCH_EVENTS])
            connection.execute("COMMIT")
        return len(rows) / (time.perf_counter() - started)


def warm_up(port: int, key: str) -> None:
    """Have everything loaded that the first events load, in the process and behind it: it happens once a start."""
    bodies = [msgspec.json.encode(event) for event in journeys(WARMING_EVENTS, seed=ROUNDS)]
    drive(port, batches(bodies, key), connections=1)
    time.sleep(WARMING_S)


def bare_requests(bodies: Sequence[bytes]) -> float:
    """Return how many requests a second an application answers that only reads the body."""
    with bare_starlette() as port:
        measured = drive(port, [post("/v1/events", body) for body in bodies], connections=64)
    return measured.requests / measured.seconds


@contextmanager
def collector(db: Path) -> Iterator[tuple[int, str]]:
    """Give the port and a write key of a collector with a fresh database."""
    command = [sys.executable, "-m", "touchtrail_collector"]
    created = [*command, "keys", "create", "--source", "bench", "--db", str(db)]
    key = subprocess.run(created, check=True, capture_output=True, text=True).stdout.strip()
    process = subprocess.Popen([*command, "serve", "--db", str(db), "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().rpartition(":")[2]), key
    finally:
        process.terminate()
        process.wait()


@contextmanager
def bare_starlette() -> Iterator[int]:
    """Give the port of an application that reads the body and answers."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", BARE, str(port)])
    try:
        wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int) -> None:
    """Wait until somebody listens, at most ten seconds."""
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nobody listens on port {port}")
