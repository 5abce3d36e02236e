"""Errors as pages, for people: what happened and what to do, in their language. Programs go on getting JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from .errors import ErrorBody, HttpError
from .headers import header
from .pages import Reader, page

API_PATHS: Final = ("/v1/", "/api/", "/webhooks/")
"""Whoever asks below these is a program, whatever it says that it accepts."""

REPORTS: Final = "/api/v1/reports/"
"""But these the first page links: what opens one without a token is a browser."""

Handler = Callable[[Request, Exception], Response]


def wants_page(scope: Scope) -> bool:
    """True where a browser is to show the answer to a person: it alone asks for `text/html` in so many words."""
    headers, path = scope["headers"], scope["path"]
    if b"text/html" not in header(headers, b"accept"):
        return False
    return not path.startswith(API_PATHS) or (path.startswith(REPORTS) and not header(headers, b"authorization"))


def error_page(reader: Reader, error: HttpError) -> Response:
    """Return the page of an error."""
    return page_of(reader, error.response())


def page_of(reader: Reader, answer: Response) -> Response:
    """Return an error's JSON answer as a page, with its status and whatever else its headers say."""
    said = msgspec.json.decode(bytes(answer.body), type=ErrorBody)
    words = reader.words.error(said.code, answer.status_code)
    shown: Response = page(
        "error", reader, answer.status_code, path="/", title=words.title,
        text=words.text.format(answer.headers.get("retry-after", ""), message=said.message),
        number=answer.status_code, error_code=said.code, first_page=reader.address("/"),
    )  # fmt: skip
    for name, value in answer.headers.items():
        shown.headers.setdefault(name, value)
    return shown


def as_pages(handlers: Mapping[Any, Handler]) -> dict[Any, Handler]:
    """Return Starlette's handlers of exceptions so that people get what they say as a page."""
    return {kind: partial(answer_as_wanted, handler) for kind, handler in handlers.items()}


def answer_as_wanted(handler: Handler, request: Request, error: Exception) -> Response:
    """Return a handler's answer, as a page where a person waits for one."""
    answer = handler(request, error)
    return page_of(Reader(request), answer) if wants_page(request.scope) else answer
