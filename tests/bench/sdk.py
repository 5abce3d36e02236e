"""The SDK: what a call of `track()` costs with the outbox on disk, what importing costs, how fast it delivers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ingest import collector

from touchtrail import Client, Page, events

CALLS = 20_000


def run() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="touchtrail-bench-") as compiled:
        import_ms("import touchtrail", compiled)
        rounds = [(import_ms("import touchtrail", compiled), import_ms("pass", compiled)) for _ in range(9)]
    whole, nothing = (sorted(column)[4] for column in zip(*rounds, strict=True))
    print(
        f"import touchtrail                        {whole - nothing:8.1f} ms (aim 60), beside python's own {nothing:.1f}"
    )
    with (
        tempfile.TemporaryDirectory(prefix="touchtrail-bench-") as folder,
        collector(Path(folder) / "bench.db") as (port, key),
    ):
        measure_track(f"http://127.0.0.1:{port}", key, Path(folder))


def measure_track(url: str, key: str, folder: Path) -> None:
    """Print the cost of a call at 500 calls a second and flat out, the delivery rate, and one raw write(2) beside."""
    page = Page(url="https://shop.example/p/1", referrer="https://shop.example/")
    viewed = events.ProductViewed(sku="SKU-1", name="Shoe", price="129.90", currency="EUR", brand="Acme", variant="42")
    with Client(url, key=key, spool_dir=folder / "spool") as client:
        for _ in range(500):
            client.track(viewed, anonymous_id="a-1", page=page)
        client.flush(timeout_s=30)
        spaced = sorted(timed(client, viewed, page, pause_s=0.002) for _ in range(2_000))
        show("track() at 500 calls/s", spaced)
        client.flush(timeout_s=30)
        started = time.perf_counter()
        flat_out = sorted(timed(client, viewed, page, pause_s=0) for _ in range(CALLS))
        show("track() flat out", flat_out)
        client.flush(timeout_s=60)
        seconds = time.perf_counter() - started
        health = client.health()
    lost = health.tracked - health.delivered
    print(f"delivered and acknowledged durably       {CALLS / seconds:8,.0f} events/s   lost {lost}")
    raw = sorted(raw_write(folder / "raw") for _ in range(5))
    ratio = flat_out[CALLS // 2] / raw[2]
    print(f"one raw write(2) of 500 bytes            {raw[2]:8.2f} µs   track() is {ratio:.1f} x that")


def show(what: str, sorted_us: list[float]) -> None:
    """Print the quantiles of calls."""
    p50, p99 = sorted_us[len(sorted_us) // 2], sorted_us[int(len(sorted_us) * 0.99)]
    print(f"{what:40} {p50:8.1f} µs p50 (aim 5)  {p99:8.1f} µs p99 (aim 60)  {sorted_us[-1] / 1000:6.2f} ms longest")


def timed(client: Client, event: events.Event, page: Page, *, pause_s: float) -> float:
    """Return what one call took in microseconds."""
    if pause_s:
        time.sleep(pause_s)
    started = time.perf_counter_ns()
    client.track(event, anonymous_id="a-1", page=page)
    return (time.perf_counter_ns() - started) / 1000


def import_ms(statement: str, compiled: str) -> float:
    """Return what a fresh interpreter takes for a statement, in milliseconds.

    Args:
        compiled: folder of compiled modules. A package that pip installed has them; a checkout in an environment that
            forbids to write them would be compiled anew each time (19 ms here).
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = compiled
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    return (time.perf_counter() - started) * 1000


def raw_write(path: Path) -> float:
    """Return what one write of an event's size takes in microseconds."""
    data = b"x" * 500
    with path.open("ab", buffering=0) as file:
        started = time.perf_counter_ns()
        for _ in range(5_000):
            file.write(data)
        return (time.perf_counter_ns() - started) / 5_000 / 1000
