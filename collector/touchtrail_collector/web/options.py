"""`OPTIONS` of paths that take no events: which methods there are. Pages of other origins are allowed nothing there."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from .access import Doorkeeper
from .ingest import allow, respond


class OptionsAnswered:
    """An endpoint that is asked for everything but its methods.

    Args:
        methods: those of the path.
    """

    def __init__(self, endpoint: ASGIApp, methods: Iterable[str], doorkeeper: Doorkeeper) -> None:
        self._endpoint = endpoint
        self._allow = allow(methods)
        self._doorkeeper = doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        if scope["method"] != "OPTIONS":
            await self._endpoint(scope, receive, send)
            return
        self._doorkeeper.check_address(scope)
        await respond(send, 204, b"", [self._allow])
