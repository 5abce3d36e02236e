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

import msgspec
from events import journeys
from load import Measured, drive, post

from touchtrail_collector.store.sqlite.append import INSERT_EVENT
from touchtrail_collector.store.sqlite.database import open_writing_connection

BATCHES = 1_000
BATCH_EVENTS = 100
SINGLES = 20_000
ROUNDS = 3

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


def run() -> None:
    """Measure and print; each round takes the parts in turn, and the best round of each counts."""
    raw, batched, bare, single = [], [], [], []
    for number in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="touchtrail-bench-") as folder:
            bodies = [msgspec.json.encode(event) for event in journeys(BATCHES * BATCH_EVENTS, seed=number)]
            raw.append(raw_inserts(Path(folder) / "raw.db", bodies))
            with collector(Path(folder) / "batch.db") as (port, key):
                batched.append(drive(port, batches(bodies, key), connections=8))
            singles = bodies[:SINGLES]
            with bare_starlette() as port:
                bare.append(drive(port, [post("/v1/events", body) for body in singles], connections=64))
            with collector(Path(folder) / "single.db") as (port, key):
                single.append(drive(port, [post("/v1/events", body, key) for body in singles], connections=64))
    report(max(raw), fastest(batched), fastest(bare), fastest(single))


def report(raw: float, batched: Measured, bare: Measured, single: Measured) -> None:
    """Print the best round of each."""
    batched_rate = batched.requests * BATCH_EVENTS / batched.seconds
    bare_rate, single_rate = bare.requests / bare.seconds, single.requests / single.seconds
    print(f"raw executemany, {BATCH_EVENTS} rows a commit, synchronous=FULL   {raw:10,.0f} events/s")
    print(
        f"POST /v1/events, batches of {BATCH_EVENTS}, 8 connections         {batched_rate:10,.0f} events/s"
        f"   {batched_rate / raw:5.2f} x raw (aim 0.6)   p99 {batched.quantile(0.99):.1f} ms"
    )
    print(f"bare Starlette on uvicorn, 64 connections             {bare_rate:10,.0f} requests/s")
    print(
        f"POST /v1/events, single events, 64 connections        {single_rate:10,.0f} requests/s"
        f" {single_rate / bare_rate:5.2f} x bare (aim 0.4)  p99 {single.quantile(0.99):.1f} ms"
    )
    for measured in (batched, single):
        if measured.failures:
            print(f"{measured.failures} requests failed")


def fastest(measured: Sequence[Measured]) -> Measured:
    """Return the round with the most requests a second."""
    return max(measured, key=lambda one: one.requests / one.seconds)


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
