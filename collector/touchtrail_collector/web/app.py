"""The ASGI application: the table of paths behind the check of the Host header, and errors in one form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..errors import TouchtrailCollectorError
from ..services.collector import Collector
from .access import Doorkeeper
from .direct import DirectPaths, find_direct
from .error_page import as_pages
from .errors import HttpError, handle_collector_error, handle_http_error, handle_starlette_error, handle_unexpected
from .health import HEALTH_PATHS
from .hosts import HostCheck, HostNames
from .limits import RateLimits
from .metrics import CountedRequests, RequestTally
from .operation import Entry
from .options import OptionsAnswered
from .routes import build_table


class Application(Starlette):
    """Starlette, which is asked only for what is not taken on the direct way.

    Its middleware and its search for the route take as long as the rest of a request with one event (measured).
    """

    def __init__(self, direct: DirectPaths, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._direct = direct

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        endpoint = self._direct.find(scope)
        if endpoint is None:
            await super().__call__(scope, receive, send)
        else:
            await self._direct.serve(endpoint, scope, receive, send)


def create_app(collector: Collector) -> Starlette:
    """Return the application that serves a collector; it neither opens nor closes it."""
    requests = RequestTally()
    hosts = HostNames(collector.settings.server)
    doorkeeper = Doorkeeper(collector, RateLimits(collector.settings.limits))
    table = build_table(collector, requests, doorkeeper)
    routes = make_routes(table, doorkeeper)
    app = Application(
        DirectPaths(find_direct(table), hosts, requests),
        routes=routes,
        exception_handlers=as_pages(
            {
                HttpError: handle_http_error,
                HTTPException: handle_starlette_error,
                TouchtrailCollectorError: handle_collector_error,
                Exception: handle_unexpected,
            }
        ),
    )
    # A redirect to the path with a slash would lose a POST's body; source paths answer both forms instead.
    app.router.redirect_slashes = False
    app.state.collector = collector
    app.state.table = table
    app.add_middleware(HostCheck, hosts=hosts, nameless=find_nameless(table, routes))
    requests.learn(routes)
    app.add_middleware(CountedRequests, tally=requests)
    return app


def find_nameless(table: Iterable[Entry], routes: Iterable[Route]) -> list[Route]:
    """Return the routes that may be asked without a Host header: a key is all that counts there, or nothing does."""
    paths = {entry.path for entry in table if entry.takes_events} | HEALTH_PATHS
    return [route for route in routes if route.path in paths]


def make_routes(table: Iterable[Entry], doorkeeper: Doorkeeper) -> list[Route]:
    """Return a route per path and endpoint: methods of one path must stand in one route, or 405 names only some."""
    together: dict[tuple[str, int], list[Entry]] = {}
    for entry in table:
        together.setdefault((entry.path, id(entry.endpoint)), []).append(entry)
    routes = []
    for (path, _), entries in together.items():
        methods = [entry.method for entry in entries]
        endpoint = entries[0].endpoint
        if not entries[0].takes_events:
            endpoint = OptionsAnswered(endpoint, methods, doorkeeper)
        routes.append(Route(path, endpoint, methods=[*methods, "OPTIONS"]))
    return routes
