"""`/sign-in` and `/sign-out`: a one-time link or the password begins a session, and a button ends it.

The link only opens a page with a button: programs that look at links before people do, in mail and chat, use none up.
"""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from ..domain.batch import DECODE_ERRORS
from ..services.collector import Collector
from ..services.sessions import Session
from .access import Doorkeeper
from .answer import json_response
from .body import read_body
from .error_page import error_page, wants_page
from .errors import (
    HttpError,
    bad_body,
    cross_site,
    form_too_large,
    insecure_connection,
    too_many_attempts,
    unknown_link,
    wrong_password,
)
from .limits import TokenBuckets, sender_of
from .pages import Reader, page
from .session_cookie import is_confidential, is_foreign_fetch, is_same_origin, read_cookie, write_cookie
from .session_endpoint import FORM_BYTES, Form, is_form, read_form, sealed

ADDRESS_BURST: Final = 5
ADDRESS_PER_S: Final = 1 / 60
ALL_BURST: Final = 20
ALL_PER_S: Final = 1 / 6
"""Guesses at the password of one address, or network, and of all together. Senders on this machine count as well, and
so does a proxy nobody named. A link is let in whatever is guessed meanwhile."""


class SignInBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What lets in: the token of a one-time link, or the password."""

    token: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return "SignInBody(…)"


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """What a program gets beside the session's cookie: the token that requests which change something must show."""

    csrf_token: str


class SignOutForm(msgspec.Struct, frozen=True, kw_only=True):
    """What the button sends; a program sends nothing but `X-CSRF-Token` and gets JSON."""

    csrf_token: str = ""
    lang: str = ""


class SignedOut(msgspec.Struct, frozen=True, kw_only=True):
    """The session has ended."""

    signed_out: bool = True


class Guesses:
    """Lets guesses at the password through one at a time, and not too many.

    One at a time, because each takes 64 MiB: memory must not grow with the number of guessers.
    """

    def __init__(self, collector: Collector) -> None:
        self._password = collector.password
        self._addresses = TokenBuckets(ADDRESS_PER_S, ADDRESS_BURST)
        self._all = TokenBuckets(ALL_PER_S, ALL_BURST)
        self._turn = asyncio.Lock()

    async def is_right(self, scope: Scope, password: str) -> bool:
        """Return whether this is the password. Raises: HttpError 429."""
        client = scope.get("client")
        sender = sender_of(client[0] if client else "").name
        # The address's own first: one that guesses on and on takes nothing from the others.
        if wait_s := self._addresses.take(sender) or self._all.take(""):
            raise too_many_attempts(wait_s)
        async with self._turn:
            return await run_in_threadpool(self._password.verify, password)


class SignInEndpoint:
    """`/sign-in`: GET is the page, POST begins a session; from a form the answer is a page, else JSON."""

    def __init__(self, collector: Collector, doorkeeper: Doorkeeper) -> None:
        self._sessions = collector.sessions
        self._password = collector.password
        self._doorkeeper = doorkeeper
        self._guesses = Guesses(collector)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        request = Request(scope, receive)
        try:
            self._doorkeeper.check_address(scope)
            answer = await self._answer_post(request) if request.method == "POST" else self._show(request)
        except ClientDisconnect:
            return
        except HttpError as error:
            if not wants_page(scope):
                raise
            answer = error_page(Reader(request), error)
        await sealed(answer)(scope, receive, send)

    def _show(self, request: Request) -> Response:
        """Return the page that says how to sign in, or the button of a link; who is signed in goes on from there."""
        reader = Reader(request)
        link = request.query_params.get("token", "")
        if self._is_signed_in(request.scope):
            return RedirectResponse(reader.address("/"), 303)
        if not is_confidential(request.scope):
            return self._page(reader, 403, wrong=reader.words.insecure, is_confidential=False)
        if link and not self._sessions.is_open(link):
            return self._page(reader, wrong=reader.words.link_has_ended)
        said = reader.words.signed_out if "signed-out" in request.query_params else ""
        return self._page(reader, link=link, said=said, keeps=f"token={quote(link, safe='')}&" if link else "")

    def _is_signed_in(self, scope: Scope) -> bool:
        """True for who has a session; pages of other origins learn nothing of it, nor keep it alive."""
        token = None if is_foreign_fetch(scope) else read_cookie(scope)
        return token is not None and self._sessions.find(token) is not None

    def _page(self, reader: Reader, status: int = 200, *, keeps: str = "", **values: object) -> Response:
        given = {"wrong": "", "said": "", "link": "", "is_confidential": True, "has_password": self._password.is_set}
        return page("sign_in", reader, status, path="", keeps=keeps, **given | values)

    async def _answer_post(self, request: Request) -> Response:
        if not is_form(request.scope):
            token = await self._let_in(request, await read_json(request))
            session = self._sessions.find(token)
            answer = json_response(SignedIn(csrf_token=session.csrf_token if session else ""))
        else:
            form = await read_form(request)
            reader = Reader(request, form.get("lang", ""))
            try:
                token = await self._let_in(request, read_fields(form))
            except HttpError as error:
                return self._refuse(reader, error)
            answer = RedirectResponse(reader.address("/"), 303)
        answer.headers["set-cookie"] = write_cookie(request.scope, token)
        return answer

    async def _let_in(self, request: Request, given: SignInBody) -> str:
        """Return the token of a new session; the one the browser had before ends. Raises: HttpError 401, 403, 429."""
        if not is_confidential(request.scope):
            raise insecure_connection()
        if is_same_origin(request.scope) is False:
            raise cross_site()
        token = self._redeem(given.token) if given.token is not None else await self._try(request, given.password or "")
        if before := read_cookie(request.scope):
            self._sessions.end(before)
        return token

    def _redeem(self, link: str) -> str:
        token = self._sessions.redeem(link)
        if token is None:
            raise unknown_link()
        return token

    async def _try(self, request: Request, password: str) -> str:
        generation = self._sessions.generation
        is_right = await self._guesses.is_right(request.scope, password)
        token = self._sessions.start(generation) if is_right else None
        if token is None:
            raise wrong_password()
        return token

    def _refuse(self, reader: Reader, error: HttpError) -> Response:
        """Return an error as the page that was to be left, in words."""
        words = reader.words
        wait_s = error.retry_after_s or 0
        said = {
            "unknown_link": words.link_has_ended, "wrong_password": words.wrong_password,
            "too_many_attempts": words.too_many_attempts.format(wait_s), "cross_site": words.other_page,
            "insecure_connection": words.insecure,
        }  # fmt: skip
        is_secure = error.body.code != "insecure_connection"
        answer = self._page(reader, error.status, wrong=said[error.body.code], is_confidential=is_secure)
        for name, value in error.response().headers.items():
            if name in ("retry-after", "www-authenticate"):
                answer.headers[name] = value
        return answer


async def read_json(request: Request) -> SignInBody:
    """Return what lets in. Raises: HttpError 400, 413."""
    body = await read_body(request.receive, FORM_BYTES, request.scope["headers"], form_too_large)
    try:
        given = msgspec.json.decode(body, type=SignInBody)
    except DECODE_ERRORS:  # whose message could hold what was sent
        raise bad_body("invalid_json", 'send {"password": "…"} or {"token": "…"} as JSON') from None
    if (given.token is None) == (given.password is None):
        raise bad_body("bad_request", "send either a password or a link's token", field="password")
    return given


def read_fields(form: Form) -> SignInBody:
    """Return what lets in from a form's fields; the bytes of a page are UTF-8."""
    link = form.get("token")
    return SignInBody(token=link) if link else SignInBody(password=form.get("password", ""))


async def sign_out(request: Request, session: Session, form: Form) -> Response:
    """End the session."""
    collector: Collector = request.app.state.collector
    token = read_cookie(request.scope)
    assert token is not None, "the session was found by it"
    collector.sessions.end(token)
    answer: Response = json_response(SignedOut())
    if is_form(request.scope):
        reader = Reader(request, form.get("lang", ""))
        answer = RedirectResponse(f"/sign-in?signed-out&lang={reader.lang}".removesuffix("&lang="), 303)
    answer.headers["set-cookie"] = write_cookie(request.scope, None)
    return answer
