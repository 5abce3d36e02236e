"""The ASGI application: every path and who may use it, in one table."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import TouchtrailCollectorError
from ..services.collector import Collector
from .admin import admin
from .body import header
from .errors import (
    HttpError,
    handle_collector_error,
    handle_http_error,
    handle_starlette_error,
    handle_unexpected,
    send_error,
    wrong_host,
)
from .health import healthz, readyz
from .ingest import EventGate, EventsEndpoint, SourceEndpoint
from .reports import report

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


def create_app(collector: Collector) -> Starlette:
    """Return the application that serves a collector; it neither opens nor closes it."""
    gate = EventGate(collector)
    routes: list[BaseRoute] = [
        Route("/v1/events", EventsEndpoint(gate), methods=["POST", "OPTIONS"]),
        Route("/v1/events/validate", EventsEndpoint(gate, stores=False), methods=["POST", "OPTIONS"]),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/api/v1/reports/{name}", report),
        Route("/api/v1/admin/{operation}", admin, methods=["POST"]),
        *source_routes(gate),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            HttpError: handle_http_error,
            HTTPException: handle_starlette_error,
            TouchtrailCollectorError: handle_collector_error,
            Exception: handle_unexpected,
        },
    )
    # A redirect to the path with a slash would lose a POST's body; source paths answer both forms instead.
    app.router.redirect_slashes = False
    app.state.collector = collector
    hosts = host_names(collector)
    if hosts:
        app.add_middleware(HostCheck, hosts=hosts)
    return app


def source_routes(gate: EventGate) -> list[BaseRoute]:
    """Return the routes of every source plugin, with and without a slash at the end."""
    routes: list[BaseRoute] = []
    for name, source in gate.collector.host.sources().items():
        for endpoint in source.endpoints:
            served = SourceEndpoint(gate, name, endpoint)
            bare = endpoint.path.rstrip("/")
            methods = [*endpoint.methods, "OPTIONS"]
            routes.extend(Route(path, served, methods=methods) for path in (bare, bare + "/"))
    return routes


def host_names(collector: Collector) -> frozenset[str]:
    """Return the names a request may give in its Host header; empty = any.

    On loopback only loopback names: else a web page could reach the collector through a name of its own that points
    to 127.0.0.1 (DNS rebinding). On another address the settings decide.
    """
    settings = collector.settings.server
    named = frozenset(name.lower() for name in settings.allowed_hosts)
    if settings.host in LOOPBACK:
        return LOOPBACK | named
    return named | {settings.host} if named else frozenset()


class HostCheck:
    """Refuses requests whose Host header names somebody else."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        if scope["type"] == "http":
            host = header(scope["headers"], b"host").decode("latin-1").lower()
            name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
            if name not in self._hosts:
                await send_error(wrong_host(name), scope, receive, send)
                return
        await self._app(scope, receive, send)
