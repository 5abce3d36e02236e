"""`GET /metrics`: the collector's numbers in Prometheus' text format, and the count of requests they come with.

Nothing in it is of a person or a key: names are our own words, plugin ids, and error codes.

Source: prometheus.io/docs/instrumenting/writing_exporters; metric names in units of seconds and bytes, counters ending
in `_total`.
"""

from __future__ import annotations

import platform
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector as MetricSource
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from touchtrail import __version__

from ..services.collector import Collector
from ..services.metrics import Health, Histogram, take_health
from ..store.sqlite.figures import SQLITE_VERSION
from .ingest import SourceEndpoint

PATH_CLASSES: Final = {
    "/v1/events": "events",
    "/v1/events/validate": "validate",
    "/healthz": "health",
    "/readyz": "health",
    "/metrics": "metrics",
    "/api/v1/reports/{name}": "report",
    "/api/v1/admin/{operation}": "admin",
    "/": "page",
    "/sign-in": "sign_in",
    "/sign-out": "sign_in",
}
"""A route's class of path; those of source plugins are `source`, what is not here is `other`."""

KEPT_S = 1.0
"""An answer is given again for so long: anybody on the bound address may ask."""

MOST_CODES = 50
CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")
REST = "other"


class RequestTally:
    """Counts requests by class of path and status. Everything happens in the event loop's thread."""

    def __init__(self) -> None:
        self._classes: dict[object, str] = {}
        self._counts: Counter[tuple[str, int]] = Counter()

    def learn(self, routes: Iterable[BaseRoute]) -> None:
        """Learn the routes' classes of path."""
        for route in routes:
            if isinstance(route, Route):
                rest = "source" if isinstance(route.endpoint, SourceEndpoint) else REST
                self._classes[route.endpoint] = PATH_CLASSES.get(route.path, rest)

    def add(self, endpoint: object, status: int) -> None:
        """Count an answer; ``endpoint`` as the router found it, None where it found none."""
        self._counts[self._classes.get(endpoint, REST), status] += 1

    def read(self) -> dict[tuple[str, int], int]:
        """Return the counts so far, from any thread."""
        return dict(self._counts)


class CountedRequests:
    """ASGI middleware that tells a `RequestTally` of every answer that was begun."""

    def __init__(self, app: ASGIApp, tally: RequestTally) -> None:
        self._app = app
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        is_begun = False

        async def counted(message: Message) -> None:
            nonlocal is_begun
            if not is_begun:
                is_begun = True
                # The router has put the endpoint there by now.
                self._tally.add(scope.get("endpoint"), message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception:
            if not is_begun:
                self._tally.add(scope.get("endpoint"), 500)
            raise


class CollectorMetrics(MetricSource):
    """Makes the metrics of one collector, each time anew; registered in a registry of its own."""

    def __init__(self, collector: Collector, requests: RequestTally) -> None:
        self._collector = collector
        self._requests = requests

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        health = take_health(self._collector)
        yield from door_families(health)
        yield request_family(self._requests.read())
        commits = self._collector.commits
        yield histogram_family(
            "touchtrail_commit_duration_seconds", "Time from a group's first insert to its fsync.", commits.seconds
        )
        yield histogram_family(
            "touchtrail_commit_group_requests", "Requests and other jobs that shared a commit.", commits.requests
        )
        yield from storage_families(health)
        yield from derivation_families(health)
        yield from plugin_families(health)
        yield build_family()


def door_families(health: Health) -> Iterator[Metric]:
    """Yield what came and what became of it: kept in the database, so a restart does not reset it."""
    counters = {} if health.figures is None else health.figures.counters
    if health.figures is not None:
        accepted = "Events that were stored."
        yield CounterMetricFamily("touchtrail_events_accepted", accepted, counters.get("accepted", 0))
        duplicates = "Events that were there already."
        yield CounterMetricFamily("touchtrail_events_duplicate", duplicates, counters.get("duplicate", 0))
        rejected = CounterMetricFamily("touchtrail_events_rejected", "Events put into quarantine.", labels=["code"])
        for code, n in sorted(rejects_by_code(counters).items()):
            rejected.add_metric([code], n)
        yield rejected
        dropped = "Rejects that had to make room for newer ones, or grew too old."
        yield CounterMetricFamily("touchtrail_quarantine_dropped", dropped, counters.get("quarantine_dropped", 0))
        waiting = "Rejects that wait to be repaired and replayed."
        yield gauge("touchtrail_quarantine_open", waiting, health.figures.open_rejects)
        if health.figures.last_received is not None:
            last = "When the newest event was received."
            yield gauge("touchtrail_last_event_timestamp_seconds", last, health.figures.last_received / 1000)
    yield gauge("touchtrail_ready", "1 while events are taken.", health.is_ready)
    yield gauge("touchtrail_database_readable", "1 when the database answered.", health.figures is not None)


def rejects_by_code(counters: Mapping[str, int]) -> dict[str, int]:
    """Return rejects by code, at most `MOST_CODES` of them: plugins make codes too, and could make any number."""
    by_code: Counter[str] = Counter()
    for name, n in sorted(counters.items()):
        kind, _, code = name.partition(":")
        if kind == "rejected":
            is_named = CODE.fullmatch(code) is not None and (code in by_code or len(by_code) < MOST_CODES)
            by_code[code if is_named else REST] += n
    return by_code


def request_family(counts: Mapping[tuple[str, int], int]) -> Metric:
    """Return the count of requests since the start."""
    family = CounterMetricFamily(
        "touchtrail_http_requests", "Requests by class of path and status.", labels=["path", "status"]
    )
    for (path, status), n in sorted(counts.items()):
        family.add_metric([path, str(status)], n)
    return family


def histogram_family(name: str, documentation: str, histogram: Histogram) -> Metric:
    """Return a histogram as Prometheus has them: each bucket counts the ones below it as well."""
    counts, total = histogram.read()
    family = HistogramMetricFamily(name, documentation)
    below = 0
    buckets: list[tuple[str, float]] = []
    for bound, n in zip((*histogram.bounds, float("inf")), counts, strict=True):
        below += n
        buckets.append(("+Inf" if bound == float("inf") else f"{float(bound)}", below))
    family.add_metric([], buckets, total)
    return family


def storage_families(health: Health) -> Iterator[Metric]:
    """Yield what is on disk and what waits to get there."""
    yield gauge("touchtrail_database_bytes", "Size of the database file.", health.database_bytes)
    yield gauge("touchtrail_wal_bytes", "Size of the write-ahead log beside it.", health.wal_bytes)
    if health.disk_free_bytes is not None:
        yield gauge("touchtrail_disk_free_bytes", "Free space where the database is.", health.disk_free_bytes)
    yield gauge(
        "touchtrail_writer_backlog_requests", "Requests and other jobs that wait to be written.", health.backlog
    )


def derivation_families(health: Health) -> Iterator[Metric]:
    """Yield how far reports are behind."""
    if health.figures is not None:
        yield gauge("touchtrail_projector_lag_events", "Events that reports do not have yet.", health.figures.waiting)
        yield gauge("touchtrail_projector_lag_seconds", "How long the first of them has been waiting.", health.lag_s)
    yield gauge("touchtrail_projector_failing", "1 while the derivation does not go on.", health.is_projector_failing)


def plugin_families(health: Health) -> Iterable[Metric]:
    """Return how plugins fare."""
    failures = CounterMetricFamily("touchtrail_plugin_failures", "Failed calls into a plugin.", labels=["plugin"])
    active = GaugeMetricFamily("touchtrail_plugin_active", "1 while a plugin takes part.", labels=["plugin"])
    for plugin in health.plugins:
        failures.add_metric([plugin.id], plugin.failures)
        if plugin.state != "disabled":
            active.add_metric([plugin.id], plugin.state == "active")
    return failures, active


def build_family() -> Metric:
    """Return which versions run."""
    family = GaugeMetricFamily("touchtrail_build_info", "Versions; always 1.", labels=["version", "python", "sqlite"])
    family.add_metric([__version__, platform.python_version(), SQLITE_VERSION], 1)
    return family


def gauge(name: str, documentation: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return GaugeMetricFamily(name, documentation, value)


class MetricsEndpoint:
    """`GET /metrics`."""

    def __init__(self, collector: Collector, requests: RequestTally) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(CollectorMetrics(collector, requests))
        ProcessCollector(registry=self._registry)
        self._lock = threading.Lock()
        self._text = b""
        self._made_at = float("-inf")

    async def answer(self, _: Request) -> Response:
        """Answer with the numbers of this second."""
        return Response(await run_in_threadpool(self.render), media_type=CONTENT_TYPE_LATEST)

    def render(self) -> bytes:
        """Return the text; several who ask at once get the same one."""
        with self._lock:
            if time.monotonic() - self._made_at >= KEPT_S:
                self._text = generate_latest(self._registry)
                self._made_at = time.monotonic()
            return self._text
