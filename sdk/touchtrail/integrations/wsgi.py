"""WSGI: a middleware for every app that speaks WSGI; Flask and Django have modules of their own beside this one.

``app = TouchtrailMiddleware(app, client=client)``. The context holds in the app and while its answer is iterated, in
whatever thread the server does that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from ..client import Client, Tracker
from ..context import Consent
from .exchange import NO_REQUEST, HttpAnswer, HttpRequest
from .visit import Visit, Visits
from .web_options import WebOptions

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["TouchtrailMiddleware", "request_of"]


class TouchtrailMiddleware:
    """Sets the context for each request of a WSGI app, keeps the visitor's cookie and counts landings.

    Args:
        app: the app inside.
        client: None = one made from the ``TOUCHTRAIL_*`` variables; it is closed at exit.
        options: None = the defaults.
        consent: for a shop with a consent manager of its own, see ``Visits``.
        customer_id: returns who is signed in, from the environ.

    Raises:
        OptionsError: when it is built; nothing is raised into a request.
    """

    def __init__(
        self,
        app: WSGIApplication,
        client: Tracker | None = None,
        *,
        options: WebOptions | None = None,
        consent: Callable[[HttpRequest], Consent | None] | None = None,
        customer_id: Callable[[WSGIEnvironment], Any] | None = None,
    ) -> None:
        self.app = app
        self.visits = Visits(Client.from_env() if client is None else client, options, consent=consent)
        self._customer_id = customer_id

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        visit = self._begin(environ)

        def start_with_cookies(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
        ) -> Callable[[bytes], object]:
            headers = self._with_cookies(status, headers, visit)
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        # A context of its own instead of resetting: the server may iterate late, elsewhere or never.
        context = copy_context()
        context.run(visit.enter)
        body = context.run(self.app, environ, start_with_cookies)
        return body if _is_ready(body, environ) else _Body(body, context)

    def _begin(self, environ: WSGIEnvironment) -> Visit:
        request, customer_id = NO_REQUEST, None
        try:
            request = request_of(environ)
            if self._customer_id is not None:
                customer_id = self._customer_id(environ)
        except Exception as problem:  # noqa: BLE001 - the shop's function failed, or an environ is none; the page goes on
            self.visits.count("read the request", problem)
        return self.visits.begin(request, customer_id=customer_id)

    def _with_cookies(self, status: str, headers: list[tuple[str, str]], visit: Visit) -> list[tuple[str, str]]:
        try:
            cookies = visit.finish(_answer_of(status, headers))
        except Exception as problem:  # noqa: BLE001 - a head the server shall complain of, not we
            self.visits.count("finish", problem)
            return headers
        # A list of its own: the app may use the one it gave again.
        return [*headers, *(("Set-Cookie", cookie) for cookie in cookies)] if cookies else headers


def request_of(environ: WSGIEnvironment) -> HttpRequest:
    """Return the facts of a request, for ``Visits.begin``; for every framework that keeps the environ."""
    host = environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
    return HttpRequest(
        method=environ["REQUEST_METHOD"],
        scheme=environ.get("wsgi.url_scheme", "http"),
        host=host,
        path=_text(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")),
        query=_text(environ.get("QUERY_STRING", "")),
        headers=EnvironHeaders(environ),
        peer=environ.get("REMOTE_ADDR") or None,
    )


class EnvironHeaders(Mapping[str, str]):
    """The request's headers by lower-case name, read from the environ when they are asked for."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        value: str = self._environ[_key(name)]
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header's value."""
        return self._environ.get(_key(name), default)

    def __iter__(self) -> Iterator[str]:
        return (name for key in self._environ if (name := _name(key)) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Body:
    """The app's answer, each piece made in the visit's context."""

    def __init__(self, body: Iterable[bytes], context: Context) -> None:
        self._body = body
        self._context = context
        self._pieces = context.run(iter, body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._context.run(next, self._pieces)

    def close(self) -> None:
        """Close the app's answer, as PEP 3333 asks of every layer."""
        close = getattr(self._body, "close", None)
        if close is not None:
            self._context.run(close)


def _is_ready(body: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    """True for an answer no code of the app runs for any more: the server may look at its length, or send the file."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(body, list | tuple) or (isinstance(wrapper, type) and isinstance(body, wrapper))


def _answer_of(status: str, headers: Iterable[tuple[str, str]]) -> HttpAnswer:
    found = {"content-type": "", "cache-control": "", "location": ""}
    for given, value in headers:
        name = given.lower()
        if name in found:
            found[name] = f"{found[name]}, {value}" if found[name] else value
    code = status[:3]
    number = int(code) if code.isdecimal() else 0
    return HttpAnswer(number, found["content-type"], found["cache-control"], found["location"])


def _text(native: str) -> str:
    """Return what was sent in UTF-8: WSGI hands over bytes as if each were a letter (PEP 3333, "Unicode Issues")."""
    if native.isascii():
        return native
    try:
        return native.encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return native


def _key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _name(key: str) -> str | None:
    if key.startswith("HTTP_"):
        key = key[5:]
    elif key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        return None
    return key.replace("_", "-").lower()
