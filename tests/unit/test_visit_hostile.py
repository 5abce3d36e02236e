"""Whatever a request holds: nothing is raised, no cookie is set that is none, no event is lost to it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from touchtrail.integrations import asgi, wsgi
from touchtrail.integrations.visit import HttpAnswer, HttpRequest, Visits, WebOptions, current_visit
from touchtrail.testing import CapturingClient

REQUESTS = 2000
AT_ONCE = 4
LEGAL = re.compile(
    r"(tt_visitor|tt_consent|tt_visitor_landed)=[0-9a-z=&-]*; Max-Age=[0-9]+; Path=/; SameSite=Lax(; Secure)?; HttpOnly"
)
YES = "tt_consent=analytics=1&ads=1"

SIGNS = "abcXYZ019 ./:-_+%&;=,@\"'<>\r\n\x00é\u0661\ud800\udcff"
PIECES = [
    "",
    "\r\nSet-Cookie: a=b",
    "%0d%0aX: y",
    "[::1]",
    "/../",
    "<script>",
    "::ffff:10.0.0.1",
    "a@b.example",
    "token=1",
    "%25" * 9,
]
text = st.builds("{}{}".format, st.sampled_from(PIECES), st.text(SIGNS, max_size=12))
TEMPLATES = {
    "cookie": ("{}", YES + "; tt_visitor={}", "tt_consent={}", "tt_consent=analytics={}"),
    "referer": ("{}", "https://shop.example/{0}?utm_source={0}&{0}", "https://{}/"),
    "accept": ("{}", "text/html"),
    "x-forwarded-for": ("{}", "{}, 203.0.113.9", "10.0.0.7,{}"),
    "x-forwarded-host": ("{}", "shop.example", "{},shop.example"),
    "x-forwarded-proto": ("{}", "https"),
    "user-agent": ("{}",),
    "accept-language": ("{}", "{};q={}"),
    "sec-gpc": ("{}", "1"),
    "sec-fetch-dest": ("{}", "document"),
    "sec-fetch-site": ("{}", "cross-site"),
    "sec-purpose": ("{}",),
}


@st.composite
def requests(draw: st.DrawFn) -> list[HttpRequest]:
    """Draw few texts, which is what takes the time, and put them everywhere in some requests."""
    texts, dice = draw(st.lists(text, min_size=3, max_size=3)), Random(draw(st.integers(0, 2**32)))

    def fill(*templates: str) -> str:
        return dice.choice(templates).format(*dice.sample(texts, 2))

    def request() -> HttpRequest:
        return HttpRequest(
            fill("GET", "GET", "POST", "{}"),
            fill("http", "https", "{}"),
            fill("{}", "shop.example", "shop.example:8443", "[::1]:80"),
            fill("/{}", "/p/1"),
            fill("{}", "utm_source={0}&gclid={0}&token={1}"),
            {name: fill(*templates) for name, templates in TEMPLATES.items() if dice.random() < 0.6},
            dice.choice([None, "10.0.0.1", "203.0.113.9", texts[0]]),
        )

    return [request() for _ in range(AT_ONCE)]


answers = st.builds(
    HttpAnswer,
    st.sampled_from([200, 204, 302, 404]),
    st.sampled_from(["text/html", ""]) | text,
    st.just("") | text,
    text,
)
customers = st.none() | text | st.integers() | st.binary(max_size=3)

client = CapturingClient(strict=False)
OPTIONS = WebOptions(visitor_id="unless_refused", trusted_proxies=("10.0.0.0/8", "unix"), client_address="truncated")
quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)


def test_no_request_raises_loses_an_event_or_writes_a_header_of_its_own() -> None:
    seen: Counter[str] = Counter()

    @settings(quick, max_examples=REQUESTS // AT_ONCE)
    @given(asked=requests(), answer=answers, customer_id=customers, says=st.sampled_from([None, True, False]))
    def serve(asked: list[HttpRequest], answer: HttpAnswer, customer_id: Any, says: bool | None) -> None:
        for request in asked:
            serve_one(request, answer, customer_id, says)

    def serve_one(request: HttpRequest, answer: HttpAnswer, customer_id: Any, says: bool | None) -> None:
        visits = Visits(client, OPTIONS)
        before = len(client.events)
        visit = visits.begin(request, customer_id=customer_id)
        with visit:
            if says is not None:
                visit.set_consent(analytics=says)
            assert client.track("clicked", customer_id="c")
        written = visit.finish(answer)
        assert [value for value in written if not LEGAL.fullmatch(value)] == []
        # The ids of customers come from the shop and may be none; all else is read without a stumble.
        assert visits.problems.keys() <= {"identify", "set_consent"}
        page = visit.context.page
        for address in () if page is None else (page.url, page.referrer):
            assert address is None or (address.isascii() and address.isprintable() and not set(' "<>') & set(address))
        seen.update(requests=1, cookies=len(written), events=len(client.events) - before, pages=page is not None)

    serve()
    assert seen["requests"] >= REQUESTS
    assert min(seen["cookies"], seen["events"], seen["pages"]) > REQUESTS // 10, seen
    assert client.health().refused == {}


def test_no_request_breaks_the_asgi_middleware() -> None:
    served = Counter[str]()

    async def shop(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        assert current_visit() is not None
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/html")]})
        await send({"type": "http.response.body", "body": b"x"})

    app = asgi.TouchtrailMiddleware(shop, client, options=OPTIONS)

    @settings(quick, max_examples=400 // AT_ONCE)
    @given(asked=requests())
    def serve(asked: list[HttpRequest]) -> None:
        for request in asked:
            serve_one(request)

    def serve_one(request: HttpRequest) -> None:
        sent: list[asgi.Message] = []

        async def send(message: asgi.Message) -> None:
            sent.append(message)

        async def receive() -> asgi.Message:
            return {"type": "http.disconnect"}

        raw = [(name.encode(), value.encode("utf-8", "replace")) for name, value in request.headers.items()]
        scope = {
            "type": "http",
            "method": request.method,
            "path": request.path,
            "query_string": request.query.encode("utf-8", "replace"),
            "headers": [*raw, (b"host", request.host.encode("utf-8", "replace")), *raw[:1]],
            "client": request.peer and (request.peer, 1),
        }
        asyncio.run(app(scope, receive, send))
        written = [value.decode() for name, value in sent[0]["headers"] if name == b"set-cookie"]
        assert [value for value in written if not LEGAL.fullmatch(value)] == []
        served.update(requests=1, cookies=len(written))

    serve()
    assert served["requests"] >= 400
    assert served["cookies"] > 40
    assert app.visits.problems == {}


def test_no_request_breaks_the_wsgi_middleware() -> None:
    served = Counter[str]()

    def shop(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert current_visit() is not None
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"x"]

    app = wsgi.TouchtrailMiddleware(shop, client, options=OPTIONS)

    def native(text: str) -> str:
        return text.encode("utf-8", "replace").decode("latin-1")

    @settings(quick, max_examples=400 // AT_ONCE)
    @given(asked=requests())
    def serve(asked: list[HttpRequest]) -> None:
        for request in asked:
            serve_one(request)

    def serve_one(request: HttpRequest) -> None:
        environ = {
            "REQUEST_METHOD": request.method,
            "PATH_INFO": native(request.path),
            "QUERY_STRING": native(request.query),
            "HTTP_HOST": native(request.host),
            "REMOTE_ADDR": request.peer or "",
            "wsgi.url_scheme": request.scheme,
            **{f"HTTP_{name.upper().replace('-', '_')}": native(value) for name, value in request.headers.items()},
        }
        heads: list[list[tuple[str, str]]] = []
        assert app(environ, lambda status, headers, *_: heads.append(headers)) == [b"x"]  # type: ignore[arg-type, return-value]
        written = [value for name, value in heads[0] if name == "Set-Cookie"]
        assert [value for value in written if not LEGAL.fullmatch(value)] == []
        served.update(requests=1, cookies=len(written))

    serve()
    assert served["requests"] >= 400
    assert served["cookies"] > 40
    assert app.visits.problems == {}
