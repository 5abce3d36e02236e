"""What other `touchtrail` commands ask of the running collector: it alone may write to the file.

Only who can read the lock file, which holds the token, gets in.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..domain.batch import DECODE_ERRORS
from ..services.admin import run_operation
from ..services.collector import Collector
from .answer import json_response
from .body import read_body
from .errors import bad_body


async def admin(request: Request) -> Response:
    """`POST /api/v1/admin/{operation}` with the operation's arguments as a JSON object."""
    collector: Collector = request.app.state.collector
    body = await read_body(request.receive, collector.settings.server.body_limit_bytes, request.scope["headers"])
    try:
        arguments: dict[str, Any] = msgspec.json.decode(body or b"{}", type=dict[str, Any])
    except DECODE_ERRORS as error:
        raise bad_body("invalid_json", str(error)) from None
    result = await run_in_threadpool(run_operation, collector, request.path_params["operation"], arguments)
    return json_response(result)
