"""Every path and who may use it, in one table: the application and `/openapi.json` are made from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from touchtrail.events import Event

from ..services.admin import OPERATIONS
from ..services.collector import Collector, Readiness
from ..services.ingest import Ack
from ..services.reports import REPORTS
from .access import Access, Doorkeeper
from .admin import admin
from .answer import GuardedEndpoint, Serve
from .health import Health, NotReady, healthz, readyz
from .home import home
from .ingest import EventGate, EventsEndpoint
from .metrics import MetricsEndpoint, RequestTally
from .openapi import describe
from .openapi_schema import EVENT_BODIES
from .operation import Entry, Operation
from .reports import ReportsEndpoint
from .session_endpoint import FORM, SessionEndpoint
from .sign_in import SignedIn, SignedOut, SignInBody, SignInEndpoint, SignOutForm, sign_out
from .source_endpoint import SourceEndpoint

BODY_ERRORS: Final = (413, 415)


def build_table(collector: Collector, requests: RequestTally, doorkeeper: Doorkeeper) -> list[Entry]:
    """Return every path of a collector, those of its source plugins last.

    Args:
        requests: what `/metrics` tells of the requests.
        doorkeeper: lets in or does not, at every path.
    """
    gate = EventGate(collector)
    entries = [
        *ingest_entries(gate, doorkeeper),
        *open_entries(doorkeeper, MetricsEndpoint(collector, requests).answer),
        *token_entries(collector, doorkeeper),
        *page_entries(collector, doorkeeper),
        *source_entries(gate, doorkeeper),
    ]
    entries.append(description_entry(entries, doorkeeper, collector.host.event_types()))
    return entries


def ingest_entries(gate: EventGate, doorkeeper: Doorkeeper) -> Iterator[Entry]:
    """Yield our own ways in."""
    summaries = {"/v1/events": "Keep events", "/v1/events/validate": "Check events and keep nothing"}
    for path, summary in summaries.items():
        operation = Operation(
            path=path, summary=summary, tag="events", request=EVENT_BODIES, answer=Ack, errors=BODY_ERRORS,
        )  # fmt: skip
        endpoint = EventsEndpoint(gate, doorkeeper, stores=path == "/v1/events")
        yield Entry(path=path, method="POST", access="write_key", endpoint=endpoint, operations=(operation,))


def open_entries(doorkeeper: Doorkeeper, metrics: Serve) -> Iterator[Entry]:
    """Yield what anyone on the bound address may ask."""
    yield guarded(
        doorkeeper, "GET", "anyone", healthz,
        Operation(path="/healthz", summary="Is the process alive", tag="operation", answer=Health),
    )  # fmt: skip
    yield guarded(
        doorkeeper, "GET", "anyone", readyz,
        Operation(
            path="/readyz", summary="Are events taken", tag="operation", answer=Readiness,
            other_answers={503: NotReady},
        ),
    )  # fmt: skip
    yield guarded(
        doorkeeper, "GET", "anyone", metrics,
        Operation(path="/metrics", summary="Numbers for Prometheus", tag="operation", media_type="text/plain"),
    )  # fmt: skip


def token_entries(collector: Collector, doorkeeper: Doorkeeper) -> Iterator[Entry]:
    """Yield the reports, and what other commands of the same user on this machine may ask."""
    reports = [
        Operation(
            path=f"/api/v1/reports/{name}", summary=entry.answers, tag="reports", parameters=entry.parameters,
            answer=entry.result, pages=(400, 401, 403, 429, 503),
        )
        for name, entry in REPORTS.items()
    ]  # fmt: skip
    answer = ReportsEndpoint(collector).answer
    yield guarded(doorkeeper, "GET", "read_token", answer, *reports, path="/api/v1/reports/{name}")
    operations = [
        Operation(
            path=f"/api/v1/admin/{name}", summary=(run.__doc__ or name).splitlines()[0], tag="internal",
            request=(kind,), answer=dict[str, Any], errors=BODY_ERRORS,
        )
        for name, (kind, run) in OPERATIONS.items()
    ]  # fmt: skip
    yield guarded(doorkeeper, "POST", "admin_token", admin, *operations, path="/api/v1/admin/{operation}")


def page_entries(collector: Collector, doorkeeper: Doorkeeper) -> Iterator[Entry]:
    """Yield the pages of whoever is signed in, and how one gets there."""
    first = Operation(path="/", summary="The first page", tag="pages", media_type="text/html", pages=(303, 403, 429))
    show = Operation(
        path="/sign-in", summary="The page to sign in at", tag="pages", media_type="text/html", pages=(303, 403, 429),
    )  # fmt: skip
    begin = Operation(
        path="/sign-in", summary="Begin a session with a one-time link or the password", tag="pages",
        request=(SignInBody,), request_types=("application/json", FORM), answer=SignedIn,
        pages=(303, 400, 401, 403, 413, 429),
    )  # fmt: skip
    end = Operation(
        path="/sign-out", summary="End the session", tag="pages", request=(SignOutForm,), request_types=(FORM,),
        answer=SignedOut, pages=(303, 400, 403, 413, 429),
    )  # fmt: skip
    sign_in = SignInEndpoint(collector, doorkeeper)
    yield Entry(
        path="/", method="GET", access="session", endpoint=SessionEndpoint(home, doorkeeper), operations=(first,)
    )  # fmt: skip
    yield Entry(path="/sign-in", method="GET", access="anyone", endpoint=sign_in, operations=(show,))
    yield Entry(path="/sign-in", method="POST", access="sign_in", endpoint=sign_in, operations=(begin,))
    yield Entry(
        path="/sign-out", method="POST", access="session", endpoint=SessionEndpoint(sign_out, doorkeeper),
        operations=(end,),
    )  # fmt: skip


def source_entries(gate: EventGate, doorkeeper: Doorkeeper) -> Iterator[Entry]:
    """Yield the paths of every source plugin, with and without a slash at the end."""
    for name, source in gate.collector.host.sources().items():
        for endpoint in source.endpoints:
            served = SourceEndpoint(gate, doorkeeper, name, endpoint)
            bare = endpoint.path.rstrip("/")
            for path in (bare, bare + "/"):
                operation = Operation(
                    path=path, summary=f"A path of the plugin source.{name}", tag=f"source.{name}",
                    follows_protocol=True, errors=BODY_ERRORS,
                )  # fmt: skip
                for method in endpoint.methods:
                    yield Entry(path=path, method=method, access="source", endpoint=served, operations=(operation,))


def description_entry(
    entries: Iterable[Entry], doorkeeper: Doorkeeper, event_types: Mapping[str, type[Event]]
) -> Entry:
    """Return the entry of `/openapi.json`, which tells of itself as well; it is made when it is first asked for."""
    document = b""
    others = list(entries)

    async def openapi(_: Request) -> Response:
        nonlocal document
        # Takes a twentieth of a second, once; in threads, all who ask at first would make one each.
        document = document or msgspec.json.encode(describe([*others, entry], event_types))
        return Response(document, media_type="application/json")

    operation = Operation(path="/openapi.json", summary="This description", tag="operation", answer=dict[str, Any])
    entry = guarded(doorkeeper, "GET", "anyone", openapi, operation)
    return entry


def guarded(
    doorkeeper: Doorkeeper, method: str, access: Access, serve: Serve, *operations: Operation, path: str | None = None
) -> Entry:
    """Return a row whose function is called only for whom the access class lets in.

    Args:
        path: the route's, where it is not that of its one operation.
    """
    endpoint = GuardedEndpoint(serve, access, doorkeeper, is_private=access != "anyone")
    return Entry(
        path=path or operations[0].path, method=method, access=access, endpoint=endpoint, operations=operations
    )
