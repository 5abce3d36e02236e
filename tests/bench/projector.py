"""The projector: a whole log from its start, and step by step as events come in."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import msgspec
from events import START_MS, journeys

from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.settings import Settings

EVENTS = 200_000
STEP = 1_000
STEPS = 20


def run() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="touchtrail-bench-") as folder:
        settings = Settings.load(db=Path(folder) / "bench.db", environ={})
        collector = Collector(settings, PluginHost.load(settings), starts_projector=False)
        try:
            source_id = collector.store.ensure_source("bench")
            bodies = [msgspec.json.encode(event) for event in journeys(EVENTS)]
            ingest_s = store(collector, source_id, bodies)
            started = time.perf_counter()
            derived = collector.projector.rebuild()
            rebuild_s = time.perf_counter() - started
            steps = [step(collector, source_id, number) for number in range(STEPS)]
        finally:
            collector.close()
    print(f"check and store in process                    {EVENTS / ingest_s:10,.0f} events/s")
    print(
        f"rebuild of {derived:,} events                     {derived / rebuild_s:10,.0f} events/s (aim 40,000)"
        f"   {rebuild_s / ingest_s:4.2f} x the time of storing them"
    )
    steps.sort()
    print(
        f"steps of {STEP:,} new events on that history      {STEP / steps[STEPS // 2]:10,.0f} events/s"
        f"   slowest {STEP / steps[-1]:,.0f}"
    )


def store(collector: Collector, source_id: int, bodies: list[bytes]) -> float:
    """Store events in batches of a hundred and return the seconds it took."""
    started = time.perf_counter()
    last = None
    for start in range(0, len(bodies), 100):
        body = b'{"events":[' + b",".join(bodies[start : start + 100]) + b"]}"
        prepared = collector.ingest.prepare(body, source_id=source_id, now_ms=time.time_ns() // 1_000_000)
        last = collector.store.append(prepared.events, prepared.reject_rows)
    assert last is not None
    last.result()
    return time.perf_counter() - started


def step(collector: Collector, source_id: int, number: int) -> float:
    """Store some more visits of the same people and return the seconds their derivation takes."""
    later_ms = START_MS + EVENTS * 2_000 + number * STEP * 2_000
    more = journeys(STEP, 1_000 + number, start_ms=later_ms, people=EVENTS // 44)
    store(collector, source_id, [msgspec.json.encode(event) for event in more])
    started = time.perf_counter()
    collector.projector.catch_up()
    return time.perf_counter() - started
