"""The Flask extension in a real Flask: in process where only Flask matters, served by werkzeug and gunicorn else."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Blueprint, Flask, g, make_response, redirect, render_template_string, request, send_file, session
from flask import stream_with_context as with_context
from shop_browser import Browser, ask_at_once, check_order, order_a_shoe, running_example, wait_for
from werkzeug.serving import make_server

from sdk_sink import Sink, running_sink
from touchtrail import Client, Consent, current_context
from touchtrail.integrations.flask import Touchtrail
from touchtrail.integrations.visit import current_visit
from touchtrail.testing import CapturingClient

NAVIGATION = {"Accept": "text/html", "Sec-Fetch-Dest": "document"}


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


@pytest.fixture
def client() -> Iterator[CapturingClient]:
    with CapturingClient() as capturing:
        yield capturing


def make_app(client: Client, **given: Any) -> Flask:
    """Return an app that tracks in every place Flask runs a shop's code in; visitors are known unless they refuse."""
    app = Flask("shop")
    app.secret_key = "k"
    app.config["TOUCHTRAIL_VISITOR_ID"] = "unless_refused"
    Touchtrail(app, client=client, **given)

    @app.get("/p")
    def page() -> str:
        client.track("seen")
        return "page"

    @app.get("/async")
    async def async_page() -> str:
        client.track("seen")
        return "page"

    @app.get("/stream")
    def stream() -> Any:
        def pieces() -> Iterator[str]:
            try:
                for number in range(3):
                    client.track("piece", properties={"number": number})
                    yield str(number)
            finally:
                client.track("closed")

        kept = pieces() if request.args.get("plain") else with_context(pieces())
        return app.response_class(kept, mimetype="text/html")

    @app.get("/broken")
    def broken() -> str:
        raise LookupError

    @app.errorhandler(404)
    @app.errorhandler(LookupError)
    def failed(error: Exception) -> tuple[str, int]:
        client.track("failed")
        return "failed", 500

    return app


def visitors(client: CapturingClient) -> list[tuple[str, str | None]]:
    return [(event.name, event.wire.get("anonymous_id")) for event in client.events]


@pytest.mark.parametrize("path", ["/p", "/async"])
def test_the_context_holds_in_a_view(client: CapturingClient, path: str) -> None:
    browser = make_app(client).test_client()
    answer = browser.get(path + "?utm_source=news", headers=NAVIGATION)
    cookie = answer.headers["Set-Cookie"]
    visitor = cookie.partition("=")[2].partition(";")[0]
    assert "HttpOnly" in cookie
    assert sorted(visitors(client)) == [("page_viewed", visitor), ("seen", visitor)]
    assert {event.wire["campaign"]["source"] for event in client.events} == {"news"}
    assert current_context() is None
    assert current_visit() is None


@pytest.mark.parametrize("path", ["/broken", "/nowhere"])
def test_the_context_holds_in_an_error_handler_and_ends_after_it(client: CapturingClient, path: str) -> None:
    app = make_app(client)
    assert app.test_client().get(path).status_code == 500
    ((name, visitor),) = visitors(client)
    assert name == "failed"
    assert visitor
    assert current_context() is None


def test_an_error_nobody_handles_is_the_shops_as_before_and_leaves_no_context(client: CapturingClient) -> None:
    app = Flask("shop")
    app.testing = True
    Touchtrail(app, client=client)

    @app.get("/")
    def broken() -> str:
        raise LookupError

    with pytest.raises(LookupError):
        app.test_client().get("/")
    assert current_context() is None
    assert current_visit() is None


@pytest.mark.parametrize("query", ["", "?plain=1"], ids=["stream_with_context", "plain generator"])
def test_the_context_holds_while_an_answer_is_streamed(client: CapturingClient, query: str) -> None:
    answer = make_app(client).test_client().get("/stream" + query, buffered=False)
    pieces = []
    for piece in answer.response:
        # Between the pieces the server's thread belongs to nobody.
        assert current_context() is None
        pieces.append(piece)
    answer.close()
    assert pieces == [b"0", b"1", b"2"]
    names, people = zip(*visitors(client), strict=True)
    assert names == ("piece", "piece", "piece", "closed")
    assert len(set(people)) == 1
    assert people[0] is not None
    assert current_context() is None


def test_a_stream_the_browser_breaks_off_is_closed_in_its_context(client: CapturingClient) -> None:
    answer = make_app(client).test_client().get("/stream?plain=1", buffered=False)
    assert next(iter(answer.response)) == b"0"
    answer.close()
    (first, visitor), (last, same) = visitors(client)
    assert (first, last) == ("piece", "closed")
    assert visitor == same
    assert visitor is not None
    assert current_context() is None


def test_the_customer_is_asked_for_after_everything_of_the_shop_that_loads_users(client: CapturingClient) -> None:
    asked: list[str | None] = []

    def customer() -> str | None:
        asked.append(g.user)
        return g.user

    app = make_app(client, customer_id=customer)
    blueprint = Blueprint("account", "account", url_prefix="/account")

    @app.before_request
    def load() -> None:
        g.user = None

    @blueprint.before_app_request
    def load_app_wide() -> None:
        g.user = "c-1" if request.path == "/p" else None

    @blueprint.before_request
    def load_here() -> None:
        g.user = "c-2"

    @blueprint.get("/")
    def account() -> str:
        client.track("seen")
        return "account"

    app.register_blueprint(blueprint)
    for _ in range(2):
        for path in ("/p", "/account/", "/async"):
            assert app.test_client().get(path).status_code == 200
    assert asked == ["c-1", "c-2", None] * 2
    assert [event.wire.get("customer_id") for event in client.events] == ["c-1", "c-2", None] * 2


def test_numbers_of_customers_become_text_and_a_function_that_fails_costs_only_the_number(
    client: CapturingClient,
) -> None:
    app = make_app(client, customer_id=lambda: int(request.args["number"]))
    assert app.test_client().get("/p?number=42").status_code == 200
    assert app.test_client().get("/p?number=none").status_code == 200
    assert [event.wire.get("customer_id") for event in client.events] == ["42", None]
    assert app.extensions["touchtrail"].visits.problems == {"read the signed-in customer": 1}


def test_the_banner_sign_in_and_consent_manager_work_through_the_extension(client: CapturingClient) -> None:
    tt = Touchtrail(client=client, customer_id=lambda: session.get("customer"))
    app = Flask("shop")
    app.secret_key = "k"
    tt.init_app(app)

    @app.post("/consent")
    def consent() -> Any:
        assert tt.visit is current_visit() is not None
        tt.visit.set_consent(analytics=True)
        return redirect("/p")

    @app.post("/in")
    def sign_in() -> str:
        session["customer"] = "c-42"
        assert tt.visit
        tt.visit.identify("c-42")
        tt.client.track("signed_in")
        return ""

    @app.get("/p")
    def page() -> str:
        tt.client.track("seen")
        return ""

    browser = app.test_client()
    browser.post("/consent", headers={"Referer": "http://localhost/p?utm_source=news", **NAVIGATION})
    browser.post("/in")
    browser.get("/p")
    who = {(event.wire["anonymous_id"], event.wire.get("customer_id"), event.name) for event in client.events}
    (visitor,) = {anonymous_id for anonymous_id, _, _ in who}
    assert who == {
        (visitor, None, "consent_given"),
        (visitor, None, "page_viewed"),
        (visitor, "c-42", "signed_in"),
        (visitor, "c-42", "seen"),
    }


def test_a_consent_manager_of_the_shops_own_is_asked_and_obeyed() -> None:
    with CapturingClient(strict=False) as client:
        app = make_app(client, consent=lambda seen: Consent(analytics="no" not in seen.query))
        agreed = app.test_client().get("/p?yes", headers=NAVIGATION)
        refused = app.test_client().get("/p?no&utm_source=news", headers=NAVIGATION)
        assert "Set-Cookie" in agreed.headers
        assert "Set-Cookie" not in refused.headers
        assert [event.name for event in client.events] == ["seen"]
        assert client.health().refused == {"no_visitor": 1}


def test_no_cookie_is_written_where_the_shop_lets_caches_keep_the_answer(client: CapturingClient) -> None:
    app = make_app(client)

    @app.get("/cached")
    def cached() -> Any:
        return make_response("page")

    @app.after_request
    def let_caches_keep(answer: Any) -> Any:
        if request.path == "/cached":
            answer.headers["Cache-Control"] = "public, max-age=60"
        return answer

    assert "Set-Cookie" not in app.test_client().get("/cached", headers=NAVIGATION).headers
    assert "Set-Cookie" in app.test_client().get("/p", headers=NAVIGATION).headers


def test_files_and_ready_answers_are_passed_on_as_they_are(client: CapturingClient, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"x" * 70_000)
    app = make_app(client)
    app.add_url_rule("/file", view_func=lambda: send_file(tmp_path / "file.bin"))
    with app.test_client().get("/file") as answer:
        assert (answer.content_length, len(answer.data)) == (70_000, 70_000)
    assert app.test_client().head("/stream").status_code == 200
    assert app.extensions["touchtrail"].visits.problems == {}


def test_nested_requests_give_back_the_outer_visit(client: CapturingClient) -> None:
    app = make_app(client)

    @app.get("/outer")
    def outer() -> str:
        before = current_visit()
        with app.test_client() as inner:
            inner.get("/p")
        assert current_visit() is before is not None
        client.track("outer_seen")
        return ""

    assert app.test_client().get("/outer").status_code == 200
    (_, inner_visitor), (_, outer_visitor) = visitors(client)
    assert inner_visitor != outer_visitor
    assert current_visit() is None


def test_a_hundred_requests_at_once_each_have_their_own_visitor(sink: Sink, tmp_path: Path) -> None:
    with Client(sink.url, key="k", spool_dir=tmp_path, linger_s=0.01) as client:
        server = make_server("127.0.0.1", 0, make_app(client), threaded=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        seen: dict[str, str] = {}

        def ask(number: int, path: str) -> None:
            answer = httpx.get(f"{address}{path}", params={"utm_source": f"s{number}"}, headers=NAVIGATION)
            seen[f"s{number}"] = answer.cookies["tt_visitor"]

        paths = ("/p", "/async", "/stream", "/stream?plain=1")
        try:
            ask_at_once([lambda n=number: ask(n, paths[n % 4]) for number in range(100)], 20)  # type: ignore[misc]
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        assert client.flush(10)
    assert len(set(seen.values())) == 100
    whose = {(event["campaign"]["source"], event["anonymous_id"]) for event in sink.events.values()}
    assert whose == set(seen.items())
    # 25 of each kind, and every one a landing: 25 x (1 + 1) twice, 25 x (3 + 1 + 1) twice.
    assert len(sink.events) == 350


def test_a_visitor_is_followed_through_the_example(sink: Sink, tmp_path: Path) -> None:
    with running_example("flask_shop.py", sink.url, "k", tmp_path) as address:
        visitor = order_a_shoe(address)
        with Browser(address) as other:
            other.navigate("/")
            other.submit("/consent", answer="yes")
            other.submit("/order", sku="SOCK-1", customer="c-43")
            assert other.navigate("/feed.csv").text.count("\r\n") == 2
    came = wait_for(10, sink, timeout_s=0)
    check_order([event for event in came if event["anonymous_id"] == visitor], visitor)
    others = {event["name"]: event for event in came if event["anonymous_id"] != visitor}
    assert set(others) == {"consent_given", "customer_signed_in", "order_placed", "feed_read"}
    assert others["feed_read"]["customer_id"] == "c-43"


def test_the_snippet_stands_in_templates_with_a_browser_key_only(client: CapturingClient) -> None:
    template = "{{ touchtrail_snippet(nonce='a\"b') }}{{ touchtrail_snippet() }}"
    app = Flask("shop")
    app.config["TOUCHTRAIL"] = {"browser_key": "pub<1", "browser_url": "https://collect.shop.example/"}
    Touchtrail(app, client=client)
    plain = Flask("plain")
    Touchtrail(plain, client=client)
    start = '<script defer src="https://collect.shop.example/touchtrail.js" data-key="pub&lt;1"'
    with app.test_request_context():
        assert render_template_string(template) == f'{start} nonce="a&#34;b"></script>{start}></script>'
    with plain.test_request_context():
        assert render_template_string(template) == ""


def test_the_command_delivers_what_a_stopped_process_left(sink: Sink, tmp_path: Path) -> None:
    app = Flask("shop")
    app.config["TOUCHTRAIL"] = {"url": sink.url, "key": "k", "spool_dir": str(tmp_path), "linger_s": 60}
    Touchtrail(app)
    pid = os.fork()
    if not pid:
        with app.app_context():
            taken = [app.extensions["touchtrail"].client.track("clicked", anonymous_id=str(n)) for n in range(5)]
        os._exit(0 if all(taken) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    done = app.test_cli_runner().invoke(args=["touchtrail", "flush"])
    assert (done.exit_code, len(sink.events)) == (0, 5), done.output
    assert "5 events delivered" in done.output
    sink.statuses += [503] * 9
    with app.app_context():
        app.extensions["touchtrail"].client.track("clicked", anonymous_id="a")
    late = app.test_cli_runner().invoke(args=["touchtrail", "flush", "--timeout", "0.2"])
    assert late.exit_code == 1
    assert "503" in late.output
    app.extensions["touchtrail"].client.close(0)


def test_no_request_waits_for_the_collector(tmp_path: Path) -> None:
    with running_sink() as hanging:
        hanging.hangs.set()
        with Client(hanging.url, key="k", spool_dir=tmp_path, linger_s=0, close_timeout_s=0) as client:
            browser = make_app(client).test_client()
            slowest_s = 0.0
            for _ in range(50):
                began = time.perf_counter()
                assert browser.get("/p").status_code == 200
                slowest_s = max(slowest_s, time.perf_counter() - began)
            assert client.health().delivered == 0
    assert slowest_s < 0.5
