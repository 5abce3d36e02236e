"""Ten minutes without a collector, at fifty events a second, in a few seconds: every event once, and little memory."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import fault_server as faults
from fault_server import free_port, serving

EVENTS = 30_000
MOST_GROWTH_KB = 20 * 1024
SHOP = textwrap.dedent("""
    import re, sys, time
    from touchtrail import Client

    def resident_kb():
        return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1])

    def track(number):
        return client.track(
            "product_viewed", anonymous_id=f"a-{number}", event_id=f"e-{number}",
            properties={"sku": f"SKU-{number % 500}", "name": "A shoe for every day", "price": "129.90", "currency": "EUR"},
        )

    url, spool, events, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), 3
    client = Client(url, key="k", spool_dir=spool, connect_timeout_s=0.3, timeout_s=0.3, backoff_max_s=0.2)
    assert all(track(-number) for number in range(1, 201))
    # The first failed request has imported everything there is to import.
    while client.health().state != "retrying":
        time.sleep(0.01)
    before, longest = resident_kb(), 0.0
    for number in range(events):
        began = time.perf_counter()
        assert track(number)
        longest = max(longest, time.perf_counter() - began)
        if number % 1000 == 0:
            # Ten minutes have many retries; a few of them lie in here.
            time.sleep(0.05)
    during = resident_kb()
    print(before, during, client.health().spooled_bytes, longest, flush=True)
    sys.stdin.readline()
    assert client.flush(60), client.health()
    health = client.health()
    print(resident_kb(), health.tracked, health.delivered, health.duplicates, health.rejected, sum(health.dropped.values()))
""")


@pytest.mark.parametrize("trouble", ["nobody listens", "hangs", "answers 503"])
def test_ten_minutes_of_outage_cost_no_event_and_little_memory(tmp_path: Path, trouble: str) -> None:
    if not os.path.exists("/proc/self/status"):
        pytest.skip("needs /proc")
    events = EVENTS if trouble == "nobody listens" else EVENTS // 5
    port = free_port()
    command = [sys.executable, "-c", SHOP, f"http://127.0.0.1:{port}", str(tmp_path), str(events)]
    faulty = {"hangs": faults.hang, "answers 503": faults.answering(503)}.get(trouble)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as shop:
        assert shop.stdin is not None
        assert shop.stdout is not None
        assert shop.stderr is not None
        if faulty is None:
            line = shop.stdout.readline()
        else:
            with serving(otherwise=faulty, port=port) as server:
                line = shop.stdout.readline()
                assert server.played[faulty.__name__] >= 2
        with serving(port=port) as server:
            rest, err = shop.communicate("go on\n", timeout=90)
    assert (shop.returncode, err) == (0, ""), line
    before_kb, during_kb, spooled_bytes, longest_s = line.split()
    after_kb, tracked, delivered, duplicates, rejected, dropped = map(int, rest.split())
    growth_kb = max(int(during_kb), after_kb) - int(before_kb)
    print(
        f"{trouble}: {events} events, {int(spooled_bytes) / 1e6:.1f} MB on disk, resident memory grew by "
        f"{growth_kb / 1024:.1f} MB, longest call {float(longest_s) * 1e3:.1f} ms"
    )
    everything = {f"e-{number}" for number in range(-200, events) if number} | {"e-0"}
    assert server.events.keys() == everything
    assert (tracked, delivered + duplicates, rejected, dropped) == (len(everything), len(everything), 0, 0)
    assert int(spooled_bytes) > 200 * events
    assert growth_kb <= MOST_GROWTH_KB
