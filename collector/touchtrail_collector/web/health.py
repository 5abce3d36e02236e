"""Is it alive, is it ready."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..services.collector import Collector


def json_response(value: object, status: int = 200) -> Response:
    """Return a struct as a JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def healthz(_: Request) -> Response:
    """`GET /healthz`: 200 as long as the process answers."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """`GET /readyz`: 200 when events are taken; 503 while starting, stopping or unable to write.

    A broken plugin is told, but does not make the collector unready.
    """
    collector: Collector = request.app.state.collector
    readiness = collector.readiness()
    return json_response(readiness, 200 if readiness.is_ready else 503)
