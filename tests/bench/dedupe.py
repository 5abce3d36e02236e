"""Knowing repeated events again: what random ids cost against time-ordered ones, on a log that has grown."""

from __future__ import annotations

import random
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from touchtrail_collector.store.engine import EventRow
from touchtrail_collector.store.sqlite.store import SqliteStore

EVENTS = 2_000_000
GROUP = 2_000
MEASURED = 400_000


def run() -> None:
    """Measure and print: the last events of a long log, ids of each kind, and the start after it."""
    rates = {}
    for name, make in (("time-ordered", ordered_ids(1)), ("random", random_ids(2))):
        with tempfile.TemporaryDirectory(prefix="touchtrail-bench-") as folder:
            rates[name], start_s = appended(Path(folder) / "log.db", make)
        print(
            f"{name:12} ids, events {EVENTS - MEASURED:,} to {EVENTS:,}   {rates[name]:10,.0f} events/s   opened in {start_s:.2f} s"
        )
    ratio = rates["time-ordered"] / rates["random"]
    print(f"time-ordered ids are {ratio:.2f} x as fast as random ones (aim: at most 2.5)")


def appended(db: Path, make_id: Callable[[], str]) -> tuple[float, float]:
    """Fill a database; return the rate of its last events and how long opening it took afterwards."""
    body = "x" * 420
    with SqliteStore(db) as store:
        source = store.ensure_source("bench")
        seconds = 0.0
        for done in range(0, EVENTS, GROUP):
            rows = [EventRow(source, make_id(), "page_viewed", 1, None, 1, "a-1", None, body) for _ in range(GROUP)]
            started = time.perf_counter()
            store.append(rows).result()
            if done >= EVENTS - MEASURED:
                seconds += time.perf_counter() - started
    started = time.perf_counter()
    with SqliteStore(db):
        opened = time.perf_counter() - started
    return MEASURED / seconds, opened


def random_ids(seed: int) -> Callable[[], str]:
    """Return a maker of ids as other vendors' clients make them: random from end to end."""
    rng = random.Random(seed)
    return lambda: str(uuid.UUID(int=rng.getrandbits(128), version=4))


def ordered_ids(seed: int) -> Callable[[], str]:
    """Return a maker of ids as our own clients make them, fifty to the millisecond."""
    rng = random.Random(seed)
    count = 0

    def make() -> str:
        nonlocal count
        count += 1
        return str(uuid.UUID(int=((1_700_000_000_000 + count // 50) << 80) | 7 << 76 | rng.getrandbits(76)))

    return make
