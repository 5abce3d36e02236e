"""What other `touchtrail` commands ask of the running collector: it alone may write to the file.

Only who can read the lock file, which holds the token, gets in.
"""

from __future__ import annotations

import hmac
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..services.admin import run_operation
from ..services.collector import Collector
from .errors import HttpError
from .health import json_response


async def admin(request: Request) -> Response:
    """`POST /api/v1/admin/{operation}` with the operation's arguments as a JSON object."""
    collector: Collector = request.app.state.collector
    given = request.headers.get("authorization", "").encode()
    # Bytes: compare_digest raises on text that is not ASCII.
    if not hmac.compare_digest(given, f"Bearer {collector.admin_token}".encode()):
        raise HttpError(401, "unknown_token", "this path is for touchtrail's own commands on this machine")
    try:
        arguments: dict[str, Any] = msgspec.json.decode(await request.body() or b"{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HttpError(400, "invalid_json", str(error)) from None
    result = await run_in_threadpool(run_operation, collector, request.path_params["operation"], arguments)
    return json_response(result)
