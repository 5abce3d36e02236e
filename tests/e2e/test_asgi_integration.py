"""The ASGI middleware in Starlette, FastAPI and Litestar, served by uvicorn, with the real client."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from collector_process import running_collector
from shop_browser import (
    GOOGLE,
    ORDER_EVENTS,
    Browser,
    ask_at_once,
    check_order,
    order_a_shoe,
    running_example,
    serving_asgi,
    visitors_events,
    wait_for,
)
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from sdk_sink import Sink, running_sink
from touchtrail import Client, current_context
from touchtrail.integrations.asgi import TouchtrailMiddleware
from touchtrail.integrations.cookies import new_visitor_id
from touchtrail.integrations.visit import WebOptions, current_visit

YES = "tt_consent=analytics=1&ads=1&personalisation=1"


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as open_sink:
        yield open_sink


@pytest.fixture
def client(sink: Sink, tmp_path: Path) -> Iterator[Client]:
    with Client(sink.url, key="k", spool_dir=tmp_path, linger_s=0.01) as open_client:
        yield open_client


def shop(client: Client, *routes: Route, **given: Any) -> TouchtrailMiddleware:
    """Return an app with the middleware around it."""
    return TouchtrailMiddleware(Starlette(routes=routes), client, **given)


async def page(request: Request) -> Response:
    return HTMLResponse("<p>a page</p>")


@pytest.mark.parametrize("example", ["asgi_shop.py", "fastapi_shop.py", "litestar_shop.py"])
def test_a_visitor_is_followed_from_the_first_page_to_the_order(example: str, sink: Sink, tmp_path: Path) -> None:
    with running_example(example, sink.url, "k", tmp_path) as address:
        visitor = order_a_shoe(address)
        with Browser(address) as other:
            other.navigate("/p/SHOE-1?utm_source=newsletter", referer=GOOGLE)
            other.submit("/consent", answer="no")
            other.navigate("/p/SOCK-1")
            assert other.cookies == {"tt_consent": "analytics=0&ads=0&personalisation=0"}
    check_order(wait_for(6, sink, timeout_s=0), visitor)


EXAMPLES = ["asgi_shop.py", "fastapi_shop.py", "litestar_shop.py", "flask_shop.py", "wsgi_shop.py"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_takes_no_answer_from_another_site_and_no_order_of_nothing(
    example: str, sink: Sink, tmp_path: Path
) -> None:
    with running_example(example, sink.url, "k", tmp_path) as address:
        own = {"Origin": address, "Referer": f"{address}/p/SHOE-1?x=1"}
        foreign = [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://x.example"}]
        foreign += [{"Origin": "null"}, {"Origin": "http://["}, own | {"Sec-Fetch-Site": "cross-site"}]
        for headers in foreign:
            answer = httpx.post(f"{address}/consent", data={"answer": "yes"}, headers=headers)
            assert answer.status_code == 303
            assert "set-cookie" not in answer.headers, headers
        for headers in (own, own | {"Sec-Fetch-Site": "same-origin"}, {}):
            answer = httpx.post(f"{address}/consent", data={"answer": "yes"}, headers=headers)
            assert (answer.status_code, "tt_consent" in answer.headers["set-cookie"]) == (303, True)
        for referer in ("http://[/x", "//evil.example/p", "http://y/\\\\evil.example"):
            answer = httpx.post(f"{address}/consent", data={"answer": "no"}, headers={"Referer": referer})
            place = answer.headers["location"].removeprefix(address)
            # Browsers read a backslash as a slash, and two of them as another host.
            assert place.startswith("/"), place
            assert not place.startswith(("//", "/\\")), place
        for form in ({}, {"customer": "c-1"}, {"customer": "c-1", "sku": "none"}):
            for path in ("/order", "/cart"):
                assert httpx.post(f"{address}{path}", data=form).status_code == 400, (path, form)


def test_a_real_collector_credits_the_campaign_of_the_landing(tmp_path: Path) -> None:
    with running_collector(tmp_path / "t.db") as collector:
        with running_example("asgi_shop.py", collector.url, collector.key(), tmp_path) as address:
            order_a_shoe(address)
        collector.wait_until_derived()
        names, rejects = contents_of(collector.db)
        report = collector.report("attribution")
    assert {name: names[name] for name in ORDER_EVENTS} == ORDER_EVENTS
    assert rejects == 0
    (email,) = report["channels"]
    revenue = {credit["model"]: credit["revenue_minor"] for credit in email["credits"]}
    assert (email["channel"], email["touches"], report["conversions"]) == ("Email", 1, 1)
    assert len(revenue) >= 6
    assert set(revenue.values()) == {12990}


def contents_of(db: Path) -> tuple[Counter[str], int]:
    """Return how many events of each name a collector keeps, and how many it refused."""
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
        names = Counter(name for (name,) in connection.execute("SELECT name FROM events"))
        (rejects,) = connection.execute("SELECT count(*) FROM quarantine").fetchone()
    return names, rejects


def test_a_landing_is_counted_once_with_its_campaign_over_a_redirect_and_a_reload(sink: Sink, client: Client) -> None:
    async def entry(request: Request) -> Response:
        return RedirectResponse("/de/", 302)

    options = WebOptions(visitor_id="unless_refused")
    app = shop(client, Route("/", entry), Route("/de/", page), options=options)
    with serving_asgi(app) as address, Browser(address) as browser:
        browser.navigate("/?utm_source=news&gclid=q&token=secret", referer=GOOGLE)
        assert browser.page == f"{address}/de/"
        browser.navigate("/de/", referer=browser.page)
        browser.load("/de/", "image")
        browser.navigate("/de/", referer=GOOGLE, **{"Sec-Purpose": "prefetch"})
        assert client.flush()
    (landing,) = wait_for(1, sink)
    assert landing["campaign"] == {"source": "news", "click_ids": {"gclid": "q"}}
    assert landing["page"] == {"url": f"{address}/?utm_source=news&gclid=q&token=***", "referrer": GOOGLE}
    assert landing["anonymous_id"] == browser.cookies["tt_visitor"]
    assert app.visits.problems == {}


def test_global_privacy_control_and_shared_pages_and_subresources_get_no_cookie(sink: Sink, client: Client) -> None:
    async def public(request: Request) -> Response:
        return HTMLResponse("for all", headers={"Cache-Control": "public, max-age=60"})

    options = WebOptions(visitor_id="unless_refused")
    app = shop(client, Route("/", page), Route("/public", public), options=options)
    with serving_asgi(app) as address:
        with Browser(address, **{"Sec-GPC": "1"}) as private:
            private.navigate("/?utm_source=news", referer=GOOGLE)
            assert private.written == {}
        with Browser(address) as browser:
            browser.navigate("/public?utm_source=news", referer=GOOGLE)
            browser.load("/", "image")
            browser.load("/", "script")
            assert browser.written == {}
            browser.navigate("/")
            assert browser.written.keys() == {"tt_visitor"}
        assert client.flush()
    assert visitors_events(sink) == []


@pytest.mark.parametrize(
    ("trusted", "seen"), [((), "127.0.0.0"), (("127.0.0.0/8",), "203.0.113.0")], ids=["visitor", "proxy"]
)
def test_a_forwarded_address_counts_only_from_a_trusted_proxy(
    trusted: tuple[str, ...], seen: str, sink: Sink, client: Client
) -> None:
    options = WebOptions(visitor_id="unless_refused", client_address="truncated", trusted_proxies=trusted)
    app = shop(client, Route("/", page), options=options)
    forged = {
        "X-Forwarded-For": "198.51.100.1, 203.0.113.77",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "x.example",
    }
    with serving_asgi(app) as address, Browser(address, **forged) as browser:
        browser.navigate("/?utm_source=news")
        assert client.flush()
        assert ("Secure" in browser.written["tt_visitor"]) is bool(trusted)
    (landing,) = wait_for(1, sink)
    assert landing["device"]["ip"] == seen
    assert landing["page"]["url"] == ("https://x.example" if trusted else address) + "/?utm_source=news"


def test_visitors_never_mix_in_coroutines_threads_streams_and_background_tasks(sink: Sink, client: Client) -> None:
    def click(request: Request, where: str) -> None:
        client.track("clicked", properties={"n": request.query_params["n"], "where": where})

    async def coroutine(request: Request) -> Response:
        click(request, "before")
        await asyncio.sleep(0.005)
        click(request, "after")
        return PlainTextResponse(request.cookies["tt_visitor"])

    def thread(request: Request) -> Response:
        time.sleep(0.002)
        click(request, "thread")
        return PlainTextResponse(request.cookies["tt_visitor"], background=BackgroundTask(click, request, "background"))

    async def stream(request: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            for number in range(2):
                await asyncio.sleep(0.002)
                click(request, f"piece {number}")
                yield request.cookies["tt_visitor"][number * 18 : number * 18 + 18]

        return StreamingResponse(pieces())

    kinds = [coroutine, thread, stream]
    app = shop(client, *(Route(f"/{number}", kind) for number, kind in enumerate(kinds)))
    visitors = [new_visitor_id(time.time()) for _ in range(20)]
    requests = 201

    with (
        serving_asgi(app) as address,
        httpx.Client(base_url=address, timeout=20, limits=httpx.Limits(max_connections=50)) as http,
    ):

        def ask(number: int) -> None:
            visitor = visitors[number % len(visitors)]
            answer = http.get(f"/{number % 3}?n={number}", headers={"Cookie": f"{YES}; tt_visitor={visitor}"})
            assert answer.text == visitor

        ask_at_once([lambda number=number: ask(number) for number in range(requests)])  # type: ignore[misc]
        events = wait_for(2 * requests, sink)
    mixed = [
        event for event in events if event["anonymous_id"] != visitors[int(event["properties"]["n"]) % len(visitors)]
    ]
    assert mixed == []
    places = Counter(event["properties"]["where"] for event in events)
    assert places == dict.fromkeys(["before", "after", "thread", "background", "piece 0", "piece 1"], requests // 3)
    assert app.visits.problems == {}


def test_a_body_is_passed_on_piece_by_piece_and_a_browser_that_leaves_is_survived(client: Client) -> None:
    go_on, left = threading.Event(), threading.Event()

    async def stream(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                assert current_visit() is not None
                yield b"first"
                while not go_on.is_set():
                    await asyncio.sleep(0.005)
                for _ in range(2000):
                    yield b"x" * 65_536
                    await asyncio.sleep(0)
            finally:
                left.set()

        return StreamingResponse(pieces())

    app = shop(client, Route("/stream", stream), Route("/", page))
    with serving_asgi(app) as address:
        host, _, port = address.rpartition("/")[2].partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(b"GET /stream HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            received = b""
            while b"first" not in received:
                received += connection.recv(4096)
        go_on.set()
        assert left.wait(10)
        assert httpx.get(address).status_code == 200
    assert app.visits.problems == {}


def test_an_error_of_the_shop_passes_through_and_the_next_request_begins_anew(client: Client) -> None:
    raised: list[BaseException] = []
    contexts: dict[str, list[object]] = defaultdict(list)

    async def broken(request: Request) -> Response:
        contexts["broken"].append(current_context())
        raise ZeroDivisionError("the shop's own")

    async def fine(request: Request) -> Response:
        contexts["fine"].append(current_context())
        return PlainTextResponse("fine")

    inner = shop(client, Route("/broken", broken), Route("/fine", fine), customer_id=lambda scope: 1 / 0)

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        try:
            await inner(scope, receive, send)
        except ZeroDivisionError as error:
            raised.append(error)
        assert current_visit() is None
        assert current_context() is None

    with serving_asgi(watched) as address, httpx.Client(base_url=address) as http:
        for _ in range(3):
            assert http.get("/broken", headers={"Cookie": YES}).status_code == 500
            assert http.get("/fine").status_code == 200
    assert [str(error) for error in raised] == ["the shop's own"] * 3
    assert len({id(context) for context in contexts["broken"] + contexts["fine"]}) == 6
    assert inner.visits.problems == {"read the request": 6}


@pytest.mark.parametrize("way", ["add_middleware", "wrapped"])
def test_a_client_the_middleware_made_is_closed_with_the_server_and_delivers_before(
    way: str, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "URL": sink.url,
        "KEY": "k",
        "SPOOL_DIR": str(tmp_path),
        "LINGER_S": "60",
        "CLOSE_TIMEOUT_S": "5",
    }.items():
        monkeypatch.setenv(f"TOUCHTRAIL_{name}", value)
    options = WebOptions(visitor_id="unless_refused")
    wrapped = Starlette(routes=[Route("/", page)])
    app: Any = (
        Starlette(routes=[Route("/", page)], middleware=[Middleware(TouchtrailMiddleware, options=options)])
        if way == "add_middleware"
        else TouchtrailMiddleware(wrapped, options=options)
    )
    with serving_asgi(app, lifespan="on") as address, Browser(address) as browser:
        browser.navigate("/?utm_source=news")
    assert [event["name"] for event in visitors_events(sink)] == ["page_viewed"]


def test_a_client_of_the_shop_is_left_open(sink: Sink, client: Client) -> None:
    app = shop(client, Route("/", page))
    with serving_asgi(app, lifespan="on") as address:
        assert httpx.get(address).status_code == 200
    assert client.track("clicked", anonymous_id="a-1")
    assert client.flush()
    assert len(sink.events) == 1
    assert app.visits.problems == {}


def test_the_customer_comes_from_the_shops_function_also_from_a_coroutine(sink: Sink, client: Client) -> None:
    async def customer(scope: Any) -> str | None:
        await asyncio.sleep(0)
        return dict(scope["headers"]).get(b"x-customer", b"").decode() or None

    async def click(request: Request) -> Response:
        return PlainTextResponse(str(client.track("clicked")))

    app = shop(client, Route("/", click), customer_id=customer)
    with serving_asgi(app) as address:
        assert httpx.get(address).text == "False"
        assert httpx.get(address, headers={"X-Customer": "c-7"}).text == "True"
    (event,) = wait_for(1, sink)
    assert (event["customer_id"], "anonymous_id" in event) == ("c-7", False)
