"""Is it alive, is it ready."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..services.collector import Collector
from .answer import json_response
from .errors import RETRY_AFTER_S

HEALTH_PATHS: Final = frozenset({"/healthz", "/readyz"})


class Health(msgspec.Struct, frozen=True):
    """What `GET /healthz` answers."""

    status: Literal["ok"] = "ok"


class NotReady(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET /readyz` answers with 503: an error, and what 200 would say."""

    code: str
    message: str
    is_ready: bool
    projector_lag_events: int
    projector_failure: str | None
    plugin_problems: list[str]


async def healthz(_: Request) -> Response:
    """`GET /healthz`: 200 as long as the process answers."""
    return json_response(Health())


async def readyz(request: Request) -> Response:
    """`GET /readyz`: 200 when events are taken; 503 while starting, stopping or unable to write.

    A broken plugin is told, but does not make the collector unready.
    """
    collector: Collector = request.app.state.collector
    readiness = collector.readiness()
    if readiness.is_ready:
        return json_response(readiness)
    message = f"events are not taken now: {collector.refusal() or 'ask again'}"
    told = NotReady(code="not_ready", message=message, **msgspec.structs.asdict(readiness))
    answer = json_response(told, 503)
    answer.headers["retry-after"] = str(RETRY_AFTER_S)
    return answer
