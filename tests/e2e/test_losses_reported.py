"""What a client could not keep while the collector was down stands in the data-quality report, to the event."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from collector_process import COMMAND, RunningCollector, touchtrail

from accounting import Book, assert_adds_up, assert_report_agrees, read_door
from touchtrail import Client, events
from touchtrail._worker import Health

AT_THE_DOOR = ("accepted", "duplicates", "rejected", "dropped", "refused")


@pytest.fixture
def address() -> tuple[str, int]:
    """A loopback address nobody listens on; the collector that comes later takes it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}", free.getsockname()[1]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@contextmanager
def collector_at(db: Path, port: int) -> Iterator[RunningCollector]:
    command = [*COMMAND, "serve", "--db", str(db), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"touchtrail listening on http://127.0.0.1:{port}\n"
            yield RunningCollector(db, f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()
            process.wait(10)


def make_key(db: Path) -> str:
    made = touchtrail("keys", "create", "--source", "web", db=db)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def figures(collector: RunningCollector) -> dict[str, int]:
    return collector.report("data-quality")["figures"]


def wait_for_report(collector: RunningCollector, is_whole: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the data-quality report once every loss was told; a client tells them when it delivers."""
    until = time.monotonic() + 20
    while not is_whole(report := collector.report("data-quality")):
        assert time.monotonic() < until, report["figures"]
        time.sleep(0.1)
    return report


def by_reason(report: dict[str, Any], outcome: str) -> dict[str, int]:
    return {row["reason"]: row["events"] for row in report["losses"] if row["outcome"] == outcome}


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def track_a_morning(client: Client, visitors: range) -> int:
    """Track more than a tiny spool holds, and what no collector takes; return the number of calls."""
    calls = 0
    for visitor in visitors:
        client.track(events.PageViewed(name="home"), anonymous_id=f"a-{visitor}")
        client.track(events.ProductViewed(sku="SKU-1", extra={"note": "x" * 200}), anonymous_id=f"a-{visitor}")
        calls += 2
        if visitor % 10 == 0:
            order = events.OrderPlaced(order_id=f"O-{visitor}", currency="EUR", total="10.00")
            client.track(order, customer_id=f"c-{visitor}", anonymous_id=f"a-{visitor}")
            client.track("no person at all")
            client.track(events.ProductViewed(sku="SKU-2"))
            calls += 3
    return calls


def test_every_tracked_call_of_an_outage_is_found_in_the_report(
    db: Path, tmp_path: Path, address: tuple[str, int]
) -> None:
    url, port = address
    options: dict[str, Any] = {"spool_dir": tmp_path / "spool", "max_spool_bytes": 65_536, "segment_bytes": 4_096}
    with Client(url, key=make_key(db), backoff_max_s=0.05, linger_s=0.0, **options) as client:
        calls = track_a_morning(client, range(200))
        wait_until(lambda: bool(client.health().dropped))
        calls += track_a_morning(client, range(200, 400))
        with collector_at(db, port) as collector:
            assert client.flush(20)
            assert client.track(events.ProductViewed(sku="S", price="1", currency="ZZZ"), anonymous_id="no currency")
            assert client.track(events.PageViewed(), anonymous_id="a-1", event_id="own-id")
            assert client.track(events.PageViewed(), anonymous_id="a-1", event_id="own-id")
            calls += 3
            assert client.flush(20)
            report = wait_for_report(collector, lambda found: found["figures"]["sent"] >= calls)
            health = client.health()
            collector.wait_until_derived()
            overview = collector.report("overview")
    counts, people, reach = report["figures"], overview["fit"], overview["reach"]
    print(f"{calls} calls:", {name: counts[name] for name in AT_THE_DOOR})
    assert counts["sent"] == calls == sum(counts[name] for name in AT_THE_DOOR)
    assert (by_reason(report, "dropped"), by_reason(report, "refused")) == (health.dropped, health.refused)
    assert_door_agrees(db, health, report)
    # Each kind of loss really happened.
    assert counts["dropped"] + counts["refused"] > 300
    assert counts["dropped"] > 20
    assert {reason: by_reason(report, "refused")[reason] for reason in ("bad_name", "no_person")} == {
        "bad_name": 40, "no_person": 40,
    }  # fmt: skip
    assert (counts["rejected"], counts["duplicates"]) == (1, 1)
    assert counts["accepted"] > 50
    assert (counts["custom"], counts["personless"], counts["waiting"]) == (0, 0, 0)
    # Of forty customers some orders got through; nobody was made of the reports of losses.
    assert 1 <= people["identified"] <= 40
    assert 10 <= reach["persons"] <= counts["accepted"]
    assert {row["sender"].partition("/")[0] for row in report["losses"]} == {"touchtrail-python"}


def assert_door_agrees(db: Path, health: Health, report: dict[str, Any]) -> None:
    """The client's counts, the rows and the report are the same to the event, the reports of losses left out."""
    loss_reports = sum(row["reports"] for row in report["losses"])
    book = Book()
    book.tell(health.delivered + loss_reports, health.duplicates, ["invalid_value"] * health.rejected)
    assert_adds_up(book, read_door(db))
    assert_report_agrees(report, read_door(db), loss_reports=loss_reports)
    assert loss_reports >= 3


SHOP = """
import sys, time
from touchtrail import Client
client = Client(sys.argv[1], key=sys.argv[2], spool_dir=sys.argv[3])
for _ in range(7):
    client.track("no_person_here")
client.track("clicked", anonymous_id="killed")
client.flush(0.0)
print("ready", flush=True)
time.sleep(60)
"""


def test_losses_of_a_process_that_was_killed_are_told_by_another_and_only_once(
    db: Path, tmp_path: Path, address: tuple[str, int]
) -> None:
    url, port = address
    key, spool = make_key(db), tmp_path / "spool"
    command = [sys.executable, "-c", SHOP, url, key, str(spool)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as shop:
        assert shop.stdout is not None
        assert shop.stdout.readline() == "ready\n"
        shop.kill()
    with collector_at(db, port) as collector, Client(url, key=key, spool_dir=spool, backoff_max_s=0.05) as client:
        client.track("no_person_either")
        client.track("clicked", anonymous_id="alive")
        assert client.flush(20)
        report = wait_for_report(collector, lambda found: found["figures"]["sent"] >= 10)
        assert client.flush(5)
    with collector_at(db, port) as again, Client(url, key=key, spool_dir=spool) as client:
        assert client.flush(5)
        counts = figures(again)
    assert by_reason(report, "refused") == {"no_person": 8}
    assert [counts[name] for name in ("sent", *AT_THE_DOOR)] == [10, 2, 0, 0, 0, 8]
