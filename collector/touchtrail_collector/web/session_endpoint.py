"""Paths for whoever is signed in: the session, where the request comes from, and its token against forged requests.

All three are checked here, for every such path: what serves it cannot forget them.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.datastructures import URL
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from ..services.sessions import Session
from .access import Doorkeeper
from .body import read_body
from .error_page import error_page, wants_page
from .errors import HttpError, bad_body, form_too_large, wrong_csrf_token
from .headers import SECURITY_HEADERS, header
from .pages import Reader, page
from .session_cookie import SAFE_METHODS

FORM: Final = "application/x-www-form-urlencoded"
FORM_BYTES: Final = 16_384
CSRF_FIELD: Final = "csrf_token"
MOST_FIELDS: Final = 100
AGAIN: Final = "again"
"""In the query of what our own page asked for in a browser's stead, see `way_in`."""

Form = Mapping[str, str]
Serve = Callable[[Request, Session, Form], Awaitable[Response]]


class SessionEndpoint:
    """A function behind a session; whoever has none and reads pages is shown the way to the sign-in page.

    Args:
        serve: is given the session and the fields of the form, none where the body is no form.
    """

    def __init__(self, serve: Serve, doorkeeper: Doorkeeper) -> None:
        self._serve = serve
        self._doorkeeper = doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except ClientDisconnect:
            return
        await sealed(answer)(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        form: Form = {}
        try:
            session = self._doorkeeper.check_session(request.scope)
            if AGAIN in request.query_params:
                return RedirectResponse(own_address(request.url.remove_query_params(AGAIN)), 303)
            if request.method not in SAFE_METHODS:
                form = await read_form(request) if is_form(request.scope) else {}
                check_csrf(request, session, form)
            return await self._serve(request, session, form)
        except HttpError as error:
            if error.status == 401 and reads_pages(request.scope):
                return way_in(request)
            if not wants_page(request.scope):
                raise
            return error_page(Reader(request, form.get("lang")), error)


def sealed(answer: Response) -> Response:
    """Return an answer with what browsers are told not to do with it; a page's own headers stay."""
    for name, value in {**SECURITY_HEADERS, "cache-control": "no-store"}.items():
        answer.headers.setdefault(name, value)
    return answer


def is_form(scope: Scope) -> bool:
    """True where the body is a form's."""
    return header(scope["headers"], b"content-type").partition(b";")[0].strip().lower() == FORM.encode()


def reads_pages(scope: Scope) -> bool:
    """True where a person waits for a page, not a program for JSON."""
    return is_form(scope) or (scope["method"] in SAFE_METHODS and b"text/html" in header(scope["headers"], b"accept"))


async def read_form(request: Request) -> Form:
    """Return a form's fields; of several of one name the last. Raises: HttpError 400, 413."""
    body = await read_body(request.receive, FORM_BYTES, request.scope["headers"], form_too_large)
    try:
        return dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise bad_body("bad_request", f"the form has more than {MOST_FIELDS} fields") from None


def check_csrf(request: Request, session: Session, form: Form) -> None:
    """Hold a request's token, of the header or else of the form, to the session's. Raises: HttpError 403."""
    given = request.headers.get("x-csrf-token", form.get(CSRF_FIELD, ""))
    # Bytes: compare_digest raises on text that is not ASCII.
    if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), session.csrf_token.encode()):
        raise wrong_csrf_token()


def way_in(request: Request) -> Response:
    """Return the redirect to the sign-in page, or, to who comes from another site, a page that asks once more.

    A browser keeps the session's cookie (SameSite=Strict) to itself when a link of another site is followed: somebody
    who is signed in looks as if they were not. What our own page asks for comes with the cookie.
    """
    reader = Reader(request)
    comes_from_elsewhere = request.headers.get("sec-fetch-site") == "cross-site"
    if comes_from_elsewhere and request.method == "GET" and AGAIN not in request.query_params:
        # Not the same address: that would be a reload, which counts as coming from where the first one came.
        return page("again", reader, address=own_address(request.url.include_query_params(**{AGAIN: "1"})))
    return RedirectResponse(reader.address("/sign-in"), 303)


def own_address(url: URL) -> str:
    """Return path and query of an address; whatever the path, it stays on this host."""
    return f"/{url.path.lstrip('/')}{'?' if url.query else ''}{url.query}"
