"""The direct way to the paths that are asked thousands of times a second, past the middleware and the router."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from ..errors import TouchtrailCollectorError
from .errors import handle_collector_error, handle_unexpected
from .hosts import HostNames, read_host
from .ingest import EventsEndpoint
from .metrics import RequestTally
from .operation import Entry


class DirectPaths:
    """Does for a few paths what the middleware does for all: checks the Host header, counts, answers every error.

    Args:
        endpoints: by path; they answer their own errors.
        hosts: the names the collector answers to.
        tally: is told of every answer.
    """

    def __init__(self, endpoints: Mapping[str, EventsEndpoint], hosts: HostNames, tally: RequestTally) -> None:
        self._endpoints = endpoints
        self._hosts = hosts
        self._tally = tally

    def find(self, scope: Scope) -> EventsEndpoint | None:
        """Return who serves a request that may go this way; every refusal is the other way's business."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is None:
            return None
        host = read_host(scope)
        return endpoint if host is not None and self._hosts.allow_header(host) else None

    async def serve(self, endpoint: EventsEndpoint, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        try:
            status = await endpoint.serve(scope, receive, send)
        except TouchtrailCollectorError as error:
            answer = handle_collector_error(Request(scope), error)
            status = answer.status_code
            await answer(scope, receive, send)
        except Exception as error:
            self._tally.add(endpoint, 500)
            await handle_unexpected(Request(scope), error)(scope, receive, send)
            raise  # the server logs it, as it does what comes out of the middleware
        if status is not None:
            self._tally.add(endpoint, status)


def find_direct(table: Iterable[Entry]) -> dict[str, EventsEndpoint]:
    """Return the endpoints of our own ways in by their paths."""
    return {entry.path: entry.endpoint for entry in table if isinstance(entry.endpoint, EventsEndpoint)}
