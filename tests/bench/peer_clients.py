"""One client of those that are compared doing one thing: a program that prints what it measured as JSON.

`python peer_clients.py CLIENT TASK PORT FOLDER`, run by an interpreter that has the client installed. All send the same
properties and have their own defaults.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, NamedTuple

CALLS: Final = 20_000
PACED_CALLS: Final = 1_000
FEW: Final = 100
PROPERTIES: Final = {
    "sku": "SKU-1", "name": "Shoe", "category": "Shoes/Running", "brand": "Acme", "variant": "42", "price": "129.90",
    "currency": "EUR", "list": "spring",
}  # fmt: skip
MODULES: Final = {
    "touchtrail": "touchtrail",
    "segment": "segment.analytics",
    "posthog": "posthog",
    "rudder": "rudderstack.analytics",
    "snowplow": "snowplow_tracker",
}


class Driven(NamedTuple):
    """A client behind the two calls that are compared."""

    track: Callable[[], object]
    flush: Callable[[], object]


def touchtrail(url: str, folder: str) -> Driven:
    """The durable outbox, all else as it comes."""
    library: Any = import_module("touchtrail")
    client = library.Client(url, key="k", spool_dir=folder)
    name, page = "product_seen", library.Page(url="https://shop.example/p/1", referrer="https://shop.example/")
    return Driven(
        lambda: client.track(name, properties=PROPERTIES, anonymous_id="a-1", page=page), lambda: client.flush(30)
    )


def segment(url: str, folder: str) -> Driven:
    """As it comes."""
    client = import_module("segment.analytics.client").Client("k", host=url)
    return Driven(
        lambda: client.track(anonymous_id="a-1", event="product_seen", properties=PROPERTIES, context=_context()),
        client.flush,
    )


def posthog(url: str, folder: str) -> Driven:
    """As it comes."""
    client = import_module("posthog").Posthog("k", host=url)
    return Driven(
        lambda: client.capture("product_seen", distinct_id="a-1", properties={**PROPERTIES, **_context()}), client.flush
    )


def rudder(url: str, folder: str) -> Driven:
    """As it comes."""
    client = import_module("rudderstack.analytics.client").Client("k", host=url)
    return Driven(
        lambda: client.track(anonymous_id="a-1", event="product_seen", properties=PROPERTIES, context=_context()),
        client.flush,
    )


def snowplow(url: str, folder: str) -> Driven:
    """The emitter that sends in a thread."""
    library: Any = import_module("snowplow_tracker")
    emitter = library.AsyncEmitter(url.removeprefix("http://"), protocol="http", method="post")
    tracker = library.Tracker("bench", emitter)
    event = import_module("snowplow_tracker.events").SelfDescribing
    schema = "iglu:com.example/product_seen/jsonschema/1-0-0"
    return Driven(lambda: tracker.track(event(library.SelfDescribingJson(schema, PROPERTIES))), emitter.sync_flush)


def _context() -> dict[str, Any]:
    return {"page": {"url": "https://shop.example/p/1", "referrer": "https://shop.example/"}}


def flat_out(client: Driven) -> dict[str, float]:
    """Call as fast as it goes; until ``flush`` returns, everything counts."""
    for _ in range(FEW):
        client.track()
    client.flush()
    cpu_s, began_s = time.process_time(), time.perf_counter()
    took = [_timed(client.track) for _ in range(CALLS)]
    client.flush()
    seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    return {**_quantiles(took), "seconds": seconds, "cpu_s": cpu_s, "calls": CALLS + FEW}


def paced(client: Driven) -> dict[str, float]:
    """Call 500 times a second."""
    took = []
    due_s = time.perf_counter()
    for _ in range(PACED_CALLS):
        due_s += 0.002
        time.sleep(max(due_s - time.perf_counter(), 0.0))
        took.append(_timed(client.track))
    client.flush()
    return _quantiles(took)


def hanging(client: Driven) -> dict[str, float]:
    """Call 200 times a second while nobody answers."""
    took = []
    for _ in range(500):
        took.append(_timed(client.track))
        time.sleep(0.005)
    return _quantiles(took)


def killed(client: Driven) -> dict[str, float]:
    """Track a few events and die."""
    for _ in range(FEW):
        client.track()
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def leaving(client: Driven) -> dict[str, float]:
    """Track a few events and end as a program ends; the caller sees when it is over."""
    for _ in range(FEW):
        client.track()
    return {"left_at_s": time.monotonic()}


def forked(client: Driven) -> dict[str, float]:
    """Track one event, fork, track a few in the child, which lives on for two seconds."""
    client.track()
    child = os.fork()
    if not child:
        with suppress(Exception):
            for _ in range(FEW):
                client.track()
            time.sleep(2)
        os._exit(0)
    client.flush()
    os.waitpid(child, 0)
    return {}


def nothing(client: Driven) -> dict[str, float]:
    """Deliver what a dead process left, for clients that can."""
    client.flush()
    return {}


CLIENTS: Final = {function.__name__: function for function in (touchtrail, segment, posthog, rudder, snowplow)}
TASKS: Final = {
    function.__name__: function for function in (flat_out, paced, hanging, killed, leaving, forked, nothing)
}


def _timed(call: Callable[[], object]) -> float:
    began_ns = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began_ns) / 1000


def _quantiles(took_us: list[float]) -> dict[str, float]:
    took_us.sort()
    return {"p50": took_us[len(took_us) // 2], "p99": took_us[int(len(took_us) * 0.99)], "max": took_us[-1]}


if __name__ == "__main__":
    _, name, task, port, folder = sys.argv
    print(json.dumps(TASKS[task](CLIENTS[name](f"http://127.0.0.1:{port}", folder))), flush=True)
    if task == "hanging":
        os._exit(0)
