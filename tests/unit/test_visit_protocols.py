"""The ASGI and WSGI middleware as protocols: what passes through untouched, what holds while, what is reset."""

from __future__ import annotations

import asyncio
import contextvars
import io
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest

from touchtrail import AsyncClient, OptionsError, current_context
from touchtrail.integrations import asgi, wsgi
from touchtrail.integrations.visit import WebOptions, current_visit
from touchtrail.testing import CapturingClient

ANYBODY = WebOptions(visitor_id="unless_refused")
HTTP = {"type": "http", "method": "GET", "path": "/p", "query_string": b"utm_source=x", "client": ("203.0.113.9", 1)}
HEADERS = [(b"host", b"shop.example"), (b"accept", b"text/html")]


def serve(app: Any, scope: dict[str, Any], incoming: list[dict[str, Any]] | None = None) -> list[Any]:
    """Run an ASGI app once and return what it sent."""
    sent: list[Any] = []
    waiting = list(incoming or [])

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "webtransport"])
def test_asgi_other_protocols_pass_through_as_they_are(kind: str) -> None:
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.extend((scope, receive, send))
        assert current_visit() is None
        await send({"type": f"{kind}.accept"})

    scope = {"type": kind, "headers": HEADERS}
    app = asgi.TouchtrailMiddleware(inner, CapturingClient())
    assert serve(app, scope) == [{"type": f"{kind}.accept"}]
    assert seen[0] is scope
    assert seen[2].__name__ == "send"


def test_asgi_messages_of_the_app_are_not_changed_and_only_the_head_of_the_answer_is_added_to() -> None:
    head = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"Content-Type", b"text/html")],
        "trailers": True,
    }
    body = {"type": "http.response.body", "body": b"x", "more_body": False}
    trailers = {"type": "http.response.trailers", "headers": []}
    early = {"type": "http.response.debug", "info": {}}

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        for message in (early, head, body, trailers):
            await send(message)

    sent = serve(asgi.TouchtrailMiddleware(inner, CapturingClient(), options=ANYBODY), {**HTTP, "headers": HEADERS})
    assert (sent[0], sent[2], sent[3]) == (early, body, trailers)
    assert head["headers"] == [(b"Content-Type", b"text/html")]
    name, cookie = sent[1]["headers"][-1]
    assert (name, cookie.partition(b"=")[0], sent[1]["trailers"]) == (b"set-cookie", b"tt_visitor", True)


def test_asgi_an_app_that_raises_or_is_cancelled_leaves_nobody_behind() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        assert current_visit() is not None
        raise LookupError("the shop's own")

    async def hanging(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        app = asgi.TouchtrailMiddleware(broken, CapturingClient())
        with pytest.raises(LookupError, match="own"):
            await app({**HTTP, "headers": HEADERS}, None, None)  # type: ignore[arg-type]
        assert (current_visit(), current_context()) == (None, None)
        task = asyncio.ensure_future(
            asgi.TouchtrailMiddleware(hanging, CapturingClient())({**HTTP, "headers": HEADERS}, None, None)
        )  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "mount", "whole"),
    [("/p", "", "/p"), ("/shop/p", "/shop", "/shop/p"), ("/p", "/shop", "/shop/p")],
)
def test_asgi_a_request_is_read_as_servers_give_it(path: str, mount: str, whole: str) -> None:
    split = [
        *HEADERS,
        (b"Cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"x-forwarded-for", b"1.1.1.1"),
        (b"x-forwarded-for", b"2.2.2.2"),
    ]
    request = asgi.request_of({**HTTP, "path": path, "root_path": mount, "headers": split, "scheme": "https"})
    assert (request.path, request.host, request.scheme, request.peer) == (whole, "shop.example", "https", "203.0.113.9")
    assert (request.headers["cookie"], request.headers["x-forwarded-for"]) == ("a=1; b=2", "1.1.1.1, 2.2.2.2")
    assert asgi.request_of({"type": "http", "method": "GET", "path": "/", "headers": []}).peer is None


def test_asgi_a_head_that_is_none_goes_on_to_the_server_that_complains_of_it() -> None:
    head = {"type": "http.response.start", "headers": [("text", 3)]}

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send(head)

    app = asgi.TouchtrailMiddleware(inner, CapturingClient(), options=ANYBODY)
    assert serve(app, {**HTTP, "headers": HEADERS}) == [head]
    assert app.visits.problems == {"finish": 1}
    assert serve(app, {"type": "http"}) == [head]


def test_asgi_a_client_of_its_own_is_closed_without_holding_the_loop_after_the_app_shut_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("TOUCHTRAIL_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("TOUCHTRAIL_KEY", "k")
    monkeypatch.setenv("TOUCHTRAIL_SPOOL_DIR", str(tmp_path))
    states: list[str] = []
    beats: list[int] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        assert app.visits.client.track("clicked", anonymous_id="a")
        await receive()
        states.append(app.visits.client.health().state)
        await send({"type": "lifespan.shutdown.complete"})

    async def beat() -> None:
        while True:
            beats.append(1)
            await asyncio.sleep(0.005)

    async def live(scope: Any, receive: Any, send: Any) -> None:
        heart = asyncio.ensure_future(beat())
        await app(scope, receive, send)
        heart.cancel()

    app = asgi.TouchtrailMiddleware(inner)
    assert isinstance(app.visits.client, AsyncClient)
    sent = serve(live, {"type": "lifespan"}, [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert states != ["closed"]
    assert app.visits.client.health().state == "closed"
    # The collector is not there: closing waits for it, and meanwhile the loop went on.
    assert len(beats) > 10


def test_without_a_client_and_without_an_address_building_the_app_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOUCHTRAIL_URL", raising=False)
    monkeypatch.delenv("TOUCHTRAIL_KEY", raising=False)
    for kind in (asgi.TouchtrailMiddleware, wsgi.TouchtrailMiddleware):
        with pytest.raises(OptionsError):
            kind(lambda *_: None)  # type: ignore[arg-type]


class Server:
    """The server's side of WSGI: keeps the heads it was given."""

    def __init__(self) -> None:
        self.heads: list[tuple[str, list[tuple[str, str]], Any]] = []
        self.written: list[bytes] = []

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        self.heads.append((status, headers, exc_info))
        return self.written.append

    def cookies(self) -> list[list[str]]:
        return [[value.partition("=")[0] for name, value in head[1] if name == "Set-Cookie"] for head in self.heads]


def environ(**given: Any) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/p",
        "QUERY_STRING": "utm_source=x",
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_ACCEPT": "text/html",
        "REMOTE_ADDR": "203.0.113.9",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **given,
    }


def wrapped(app: Any, **given: Any) -> wsgi.TouchtrailMiddleware:
    return wsgi.TouchtrailMiddleware(app, CapturingClient(), options=given.pop("options", ANYBODY), **given)


def test_wsgi_keeps_to_the_protocol_on_both_sides() -> None:
    def pieces(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        yield b"a"
        yield b"b"

    server = Server()
    # wsgiref's validator stands between app and middleware and between middleware and server.
    body = validator(wrapped(validator(pieces)))(environ(), server.start)  # type: ignore[arg-type]
    try:
        assert list(body) == [b"a", b"b"]
    finally:
        body.close()  # type: ignore[attr-defined]
    assert server.cookies() == [["tt_visitor"]]


def test_wsgi_the_visit_holds_while_the_answer_is_iterated_in_any_thread_and_nothing_stays_behind() -> None:
    seen: list[Any] = []

    class Pieces:
        def __init__(self, start_response: Any) -> None:
            self.start, self.left = start_response, 3

        def __iter__(self) -> Pieces:
            return self

        def __next__(self) -> bytes:
            if self.left == 3:
                self.start("200 OK", [("Content-Type", "text/html")])
            if not self.left:
                raise StopIteration
            self.left -= 1
            seen.append(current_visit())
            return b"x"

        def close(self) -> None:
            seen.append(current_visit())

    app = wrapped(lambda environ, start_response: Pieces(start_response))
    first, second = Server(), Server()
    bodies = [iter(app(environ(), server.start)) for server in (first, second)]  # type: ignore[arg-type]
    for _ in range(3):
        for body in bodies:
            thread = threading.Thread(target=next, args=(body,))
            thread.start()
            thread.join()
            assert (current_visit(), current_context()) == (None, None)
    for body in bodies:
        assert list(body) == []
        body.close()  # type: ignore[attr-defined]
    visits = seen[:2]
    assert None not in visits
    assert visits[0] is not visits[1]
    assert seen == visits * 4
    assert first.cookies() == second.cookies() == [["tt_visitor"]]


def test_wsgi_an_error_page_takes_the_first_heads_place_with_its_cookies_and_exc_info() -> None:
    def breaks(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        try:
            raise LookupError("late")
        except LookupError:
            start_response("500 Oh", [("Content-Type", "text/html")], sys.exc_info())
        return [b"sorry"]

    server = Server()
    app = wrapped(breaks)
    assert app(environ(), server.start) == [b"sorry"]  # type: ignore[arg-type]
    assert server.cookies() == [["tt_visitor"], ["tt_visitor"]]
    assert server.heads[1][2][0] is LookupError
    assert len(app.visits.client.events) == 1  # type: ignore[attr-defined]


def test_wsgi_errors_of_the_app_pass_through() -> None:
    def breaks(environ: Any, start_response: Any) -> list[bytes]:
        raise LookupError("the shop's own")

    def breaks_late(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"x"
        raise LookupError("the shop's own")

    with pytest.raises(LookupError, match="own"):
        wrapped(breaks)(environ(), Server().start)  # type: ignore[arg-type]
    body = iter(wrapped(breaks_late)(environ(), Server().start))  # type: ignore[arg-type]
    assert next(body) == b"x"
    with pytest.raises(LookupError, match="own"):
        next(body)
    assert (current_visit(), current_context()) == (None, None)


def test_wsgi_lists_and_files_reach_the_server_as_they_are() -> None:
    def answer(body: Any) -> Any:
        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [("Content-Type", "text/html")])
            return body

        return wrapped(app)(environ(**{"wsgi.file_wrapper": FileWrapper}), Server().start)  # type: ignore[arg-type]

    for body in ([b"x"], (b"x",), FileWrapper(io.BytesIO(b"x"))):
        assert answer(body) is body
    stream = iter([b"x"])
    assert answer(stream) is not stream


def test_wsgi_write_and_the_headers_list_are_the_servers_and_the_apps_own() -> None:
    headers = [("Content-Type", "text/html")]

    def old(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)(b"written")
        return []

    server = Server()
    wrapped(old)(environ(), server.start)  # type: ignore[arg-type]
    assert (server.written, headers) == ([b"written"], [("Content-Type", "text/html")])


@pytest.mark.parametrize(
    ("script", "path", "read"),
    [
        ("", "/gr\xc3\xb6\xc3\x9fe", "/größe"),
        ("/shop", "/p", "/shop/p"),
        ("", "/\xff", "/\udcff"),
        ("", "/€", "/€"),
    ],
    ids=["utf-8 as latin-1", "mounted", "no utf-8", "a server that decodes"],
)
def test_wsgi_paths_are_read_as_pep_3333_hands_them_over(script: str, path: str, read: str) -> None:
    request = wsgi.request_of(environ(SCRIPT_NAME=script, PATH_INFO=path, REMOTE_ADDR=""))
    assert (request.path, request.peer, request.host) == (read, None, "shop.example:80")


def test_wsgi_headers_are_a_mapping_by_lower_case_name() -> None:
    headers = wsgi.request_of(environ(HTTP_X_CMP="1", CONTENT_TYPE="text/plain", HTTP_HOST="a.example")).headers
    assert dict(headers) == {"accept": "text/html", "x-cmp": "1", "content-type": "text/plain", "host": "a.example"}
    assert (headers["x-cmp"], headers.get("x-none"), headers.get("x-none", "-"), len(headers)) == ("1", None, "-", 4)
    assert "x-cmp" in headers
    with pytest.raises(KeyError):
        headers["x-none"]


def test_wsgi_a_shop_function_that_fails_costs_the_customer_not_the_page() -> None:
    def page(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        return [str(current_context().customer_id).encode()]  # type: ignore[union-attr]

    app = wrapped(page, customer_id=lambda environ: environ["shop.customer"])
    assert app(environ(**{"shop.customer": 42}), Server().start) == [b"42"]  # type: ignore[arg-type]
    assert app(environ(), Server().start) == [b"None"]  # type: ignore[arg-type]
    assert app({"broken": 1}, Server().start) == [b"None"]  # type: ignore[arg-type]
    assert app.visits.problems == {"read the request": 2}


def test_wsgi_the_variables_the_app_sets_stay_in_the_request() -> None:
    basket: contextvars.ContextVar[str] = contextvars.ContextVar("basket")

    def page(environ: Any, start_response: Any) -> Iterator[bytes]:
        basket.set("full")
        start_response("200 OK", [])
        yield basket.get().encode()

    assert list(wrapped(page)(environ(), Server().start)) == [b"full"]  # type: ignore[arg-type]
    assert basket.get("empty") == "empty"
