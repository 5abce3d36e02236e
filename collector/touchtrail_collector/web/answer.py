"""Answers of the paths that are no ingest: structs as JSON, from a function that is told the request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .access import Access, Doorkeeper
from .headers import SECURITY_HEADERS

Serve = Callable[[Request], Awaitable[Response]]


def json_response(value: object, status: int = 200) -> Response:
    """Return a struct as a JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


class GuardedEndpoint:
    """A function behind the check of its access class.

    Args:
        serve: is called only when the request may come in.
        is_private: True keeps answers out of every cache.
    """

    def __init__(self, serve: Serve, access: Access, doorkeeper: Doorkeeper, *, is_private: bool) -> None:
        self._serve = serve
        self._access = access
        self._doorkeeper = doorkeeper
        self._headers = SECURITY_HEADERS | ({"cache-control": "no-store"} if is_private else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        self._doorkeeper.check(self._access, scope)
        try:
            answer = await self._serve(Request(scope, receive))
        except ClientDisconnect:
            return
        for name, value in self._headers.items():
            answer.headers.setdefault(name, value)
        await answer(scope, receive, send)
