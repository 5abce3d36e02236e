"""`GET /metrics`: the collector's numbers in Prometheus' text format, and the count of requests they come with.

Nothing in it is of a person or a key: names are our own words, plugin ids, and error codes.

Source: prometheus.io/docs/instrumenting/writing_exporters; metric names in units of seconds and bytes, counters ending
in `_total`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector as MetricSource
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..services.collector import Collector
from ..services.metrics import take_health
from .connections import DOOR_STATE, Door
from .metric_family import (
    REST,
    build_family,
    connection_families,
    derivation_families,
    door_families,
    histogram_family,
    labelled,
    plugin_families,
    request_family,
    storage_families,
)
from .source_endpoint import SourceEndpoint

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

UNREAD: Final = "unread"
"""The class of what the door answers: without a whole request there is no path."""

KEPT_S = 1.0
"""An answer is given again for so long: anybody on the bound address may ask."""


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
    """Makes the metrics of one collector, each time anew; registered in a registry of its own.

    Attributes:
        door: where connections come in; None as long as nobody came through one.
    """

    def __init__(self, collector: Collector, requests: RequestTally, door: Door | None = None) -> None:
        self._collector = collector
        self._requests = requests
        self.door = door

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        health = take_health(self._collector)
        yield from door_families(health)
        answers = {} if self.door is None else self.door.tally.answers()
        yield request_family(self._requests.read() | {(UNREAD, status): n for status, n in answers.items()})
        if self.door is not None:
            yield from connection_families(self.door)
        commits = self._collector.commits
        yield histogram_family(
            "touchtrail_commit_duration_seconds", "Time from a group's first insert to its fsync.", commits.seconds
        )
        yield histogram_family(
            "touchtrail_commit_group_requests", "Requests and other jobs that shared a commit.", commits.requests
        )
        yield labelled(
            "touchtrail_commit_failures", "Requests and other jobs that could not be written.", "reason",
            commits.failures(),
        )  # fmt: skip
        yield from storage_families(health)
        yield from derivation_families(health)
        yield from plugin_families(health)
        yield build_family()


class MetricsEndpoint:
    """`GET /metrics`."""

    def __init__(self, collector: Collector, requests: RequestTally) -> None:
        self._registry = CollectorRegistry()
        self._metrics = CollectorMetrics(collector, requests)
        self._registry.register(self._metrics)
        ProcessCollector(registry=self._registry)
        self._lock = threading.Lock()
        self._text = b""
        self._made_at = float("-inf")

    async def answer(self, request: Request) -> Response:
        """Answer with the numbers of this second."""
        self._metrics.door = request.scope.get("state", {}).get(DOOR_STATE)
        return Response(await run_in_threadpool(self.render), media_type=CONTENT_TYPE_LATEST)

    def render(self) -> bytes:
        """Return the text; several who ask at once get the same one."""
        with self._lock:
            if time.monotonic() - self._made_at >= KEPT_S:
                self._text = generate_latest(self._registry)
                self._made_at = time.monotonic()
            return self._text
