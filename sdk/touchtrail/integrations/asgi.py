"""ASGI: a middleware for Starlette, FastAPI, Litestar and every other app that speaks ASGI.

Starlette and FastAPI: ``app.add_middleware(TouchtrailMiddleware, client=client)``. Litestar:
``Litestar(…, middleware=[DefineMiddleware(TouchtrailMiddleware, client=client)])``. Anything else:
``app = TouchtrailMiddleware(app, client=client)``.

The context holds in handlers, in those that run in threads, in background tasks and while a body is streamed. Bodies
are passed on as they come. Websockets and other protocols pass through untouched.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

from ..client import AsyncClient, Tracker
from ..context import Consent
from .exchange import NO_REQUEST, HttpAnswer, HttpRequest
from .visit import Visit, Visits
from .web_options import WebOptions

__all__ = ["TouchtrailMiddleware", "request_of"]

# Each framework has types of its own for these: mappings in Starlette, typed dicts in Litestar. None fits all of them.
Scope = Any
Message = Any
Receive = Callable[..., Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]


class TouchtrailMiddleware:
    """Sets the context for each request of an ASGI app, keeps the visitor's cookie and counts landings.

    Args:
        app: the app inside.
        client: ``Client`` or ``AsyncClient``; the shop closes it. None = one made from the ``TOUCHTRAIL_*`` variables;
            the middleware closes that one when the server shuts down. Litestar builds a middleware for
            each route: give it a client.
        options: None = the defaults.
        consent: for a shop with a consent manager of its own, see ``Visits``.
        customer_id: returns who is signed in, from the scope; may be a coroutine function. What it reads
            (``scope["session"]``) must be there already: put the session's middleware outside this one, which in
            Starlette means to add it after.

    Raises:
        OptionsError: when it is built; nothing is raised into a request.
    """

    def __init__(
        self,
        app: App,
        client: Tracker | None = None,
        *,
        options: WebOptions | None = None,
        consent: Callable[[HttpRequest], Consent | None] | None = None,
        customer_id: Callable[[Scope], Any] | None = None,
    ) -> None:
        self.app = app
        self._own_client: AsyncClient | None = None
        if client is None:
            client = self._own_client = AsyncClient.from_env()
        self.visits = Visits(client, options, consent=consent)
        self._customer_id = customer_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, connection or lifespan."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan" and self._own_client is not None:
            await self._live(scope, receive, send, self._own_client)
        else:
            await self.app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = await self._begin(scope)

        async def send_with_cookies(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = self._with_cookies(message, visit)
            await send(message)

        visit.enter()
        try:
            await self.app(scope, receive, send_with_cookies)
        finally:
            visit.leave()

    async def _begin(self, scope: Scope) -> Visit:
        request, customer_id = NO_REQUEST, None
        try:
            request = request_of(scope)
            if self._customer_id is not None:
                given = self._customer_id(scope)
                customer_id = await given if isawaitable(given) else given
        except Exception as problem:  # noqa: BLE001 - the shop's function failed; the page goes on without it
            self.visits.count("read the request", problem)
        return self.visits.begin(request, customer_id=customer_id)

    def _with_cookies(self, start: Message, visit: Visit) -> Message:
        try:
            cookies = visit.finish(_answer_of(start))
            if not cookies:
                return start
            headers = [*start.get("headers", ()), *((b"set-cookie", cookie.encode("latin-1")) for cookie in cookies)]
            return {**start, "headers": headers}
        except Exception as problem:  # noqa: BLE001 - a head the server shall complain of, not we
            self.visits.count("finish", problem)
            return start

    async def _live(self, scope: Scope, receive: Receive, send: Send, client: AsyncClient) -> None:
        async def send_after_closing(message: Message) -> None:
            # The app's own shutdown is over: nothing will be tracked any more.
            if message["type"].startswith("lifespan.shutdown."):
                await self._close(client)
            await send(message)

        await self.app(scope, receive, send_after_closing)

    async def _close(self, client: AsyncClient) -> None:
        try:
            await client.close()
        except Exception as problem:  # noqa: BLE001 - what was taken is on disk; the server shuts down all the same
            self.visits.count("close", problem)


def request_of(scope: Scope) -> HttpRequest:
    """Return the facts of an HTTP request, for ``Visits.begin``."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in headers:
            # HTTP/2 may split the cookies over several headers (RFC 9113, section 8.2.3).
            value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"
        headers[name] = value
    path, mount = scope["path"], scope.get("root_path") or ""
    client = scope.get("client")
    return HttpRequest(
        method=scope["method"],
        scheme=scope.get("scheme") or "http",
        host=headers.get("host", ""),
        # Servers differ in whether the path holds the part the app is mounted at (asgiref, issue 229).
        path=path if path.startswith(mount) else mount + path,
        query=(scope.get("query_string") or b"").decode("utf-8", "surrogateescape"),
        headers=headers,
        peer=client[0] if client else None,
    )


def _answer_of(start: Message) -> HttpAnswer:
    found = {b"content-type": "", b"cache-control": "", b"location": ""}
    for raw_name, value in start.get("headers", ()):
        name = raw_name.lower()
        if name in found:
            text = value.decode("latin-1")
            found[name] = f"{found[name]}, {text}" if found[name] else text
    return HttpAnswer(start["status"], found[b"content-type"], found[b"cache-control"], found[b"location"])
