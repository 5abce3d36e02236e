"""The ASGI application: the table of paths behind the check of the Host header, and errors in one form."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from ..errors import TouchtrailCollectorError
from ..services.collector import Collector
from .errors import HttpError, handle_collector_error, handle_http_error, handle_starlette_error, handle_unexpected
from .hosts import HostCheck, HostNames
from .metrics import CountedRequests, RequestTally
from .operation import Entry
from .routes import build_table


def create_app(collector: Collector) -> Starlette:
    """Return the application that serves a collector; it neither opens nor closes it."""
    requests = RequestTally()
    table = build_table(collector, requests)
    routes = make_routes(table)
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
    app.state.table = table
    app.add_middleware(HostCheck, hosts=HostNames(collector.settings.server))
    requests.learn(routes)
    app.add_middleware(CountedRequests, tally=requests)
    return app


def make_routes(table: Iterable[Entry]) -> list[Route]:
    """Return a route per path and endpoint: methods of one path must stand in one route, or 405 names only some."""
    routes: dict[tuple[str, int], Route] = {}
    for entry in table:
        route = entry.route()
        known = routes.setdefault((entry.path, id(entry.endpoint)), route)
        known.methods = (known.methods or set()) | (route.methods or set())
    return list(routes.values())
