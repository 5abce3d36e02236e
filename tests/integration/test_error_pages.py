"""Errors as people in a browser see them: a page that says what to do, while programs get JSON."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from markupsafe import escape
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from signed_in import signed_in
from touchtrail_collector.errors import QueryTimeout, StoreUnavailable, TouchtrailCollectorError
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.settings import LimitsSettings, Settings, StoreSettings
from touchtrail_collector.web.app import create_app
from touchtrail_collector.web.error_page import as_pages
from touchtrail_collector.web.errors import (
    HttpError,
    handle_collector_error,
    handle_http_error,
    handle_starlette_error,
    handle_unexpected,
)
from touchtrail_collector.web.pages import PAGE_HEADERS

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
GERMAN = {"accept-language": "de-DE,de;q=0.9"}
OWN_PAGE = {"sec-fetch-site": "same-origin", "origin": "null"}


def ask(app: Any, method: str, path: str, *, base: str = "http://127.0.0.1", **given: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("198.51.100.7", 4711))
        async with httpx.AsyncClient(transport=transport, base_url=base) as asking:
            return await asking.request(method, path, **given)

    return asyncio.run(run())


def check_page(answer: httpx.Response, status: int, title: str, code: str) -> None:
    assert answer.status_code == status
    assert {name: answer.headers[name] for name in PAGE_HEADERS} == PAGE_HEADERS
    assert answer.headers["content-type"].startswith("text/html")
    assert f"<h1>{title}</h1>" in answer.text
    assert f"{status} {code}" in answer.text, "what to quote when asking somebody for help"
    assert re.search(r'<a href="/(\?lang=\w\w)?">', answer.text), "a way on"
    assert "{}" not in answer.text
    assert "None" not in answer.text


def test_a_page_that_is_out_of_date_says_so_in_the_persons_language(collector: Collector) -> None:
    app, own = create_app(collector), signed_in(collector)
    headers = {"cookie": own["cookie"]} | HTML | OWN_PAGE
    stale = {"csrf_token": "0" * 64}
    answer = ask(app, "POST", "/sign-out", headers=headers, data=stale)
    check_page(answer, 403, "This page is out of date", "wrong_csrf_token")
    answer = ask(app, "POST", "/sign-out", headers=headers | GERMAN, data=stale)
    check_page(answer, 403, "Diese Seite ist veraltet", "wrong_csrf_token")
    answer = ask(app, "POST", "/sign-out", headers=headers, data=stale | {"lang": "de"})
    check_page(answer, 403, "Diese Seite ist veraltet", "wrong_csrf_token")
    assert 'href="/?lang=de"' in answer.text, "the language that was asked for goes on"
    assert 'href="/?lang=en"' in answer.text, "the other language is not at the address of the button"
    assert ask(app, "GET", "/", headers=headers).status_code == 200, "nothing was changed"


def test_a_form_from_another_page_gets_a_page_too(collector: Collector) -> None:
    app, own = create_app(collector), signed_in(collector)
    headers = {"cookie": own["cookie"], "sec-fetch-site": "same-site"} | HTML
    answer = ask(app, "POST", "/sign-out", headers=headers, data={"csrf_token": own["x-csrf-token"]})
    check_page(answer, 403, "The request came from another page", "cross_site")


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [(b"x" * 20_000, 413, "body_too_large"), (b"&".join(b"a=1" for _ in range(200)), 400, "bad_request")],
)
def test_a_form_that_cannot_be_read_gets_a_page(
    collector: Collector, path: str, body: bytes, status: int, code: str
) -> None:
    own = signed_in(collector)
    headers = {"cookie": own["cookie"], "content-type": "application/x-www-form-urlencoded"} | HTML | OWN_PAGE
    answer = ask(create_app(collector), "POST", path, headers=headers, content=body)
    check_page(answer, status, "That did not work", code)


@pytest.mark.parametrize("path", ["/", "/sign-in"])
def test_who_asks_too_often_is_told_how_long_to_wait(tmp_path: Path, default_host: PluginHost, path: str) -> None:
    limits = LimitsSettings(address_requests_per_s=1, burst_s=3)
    settings = Settings(store=StoreSettings(db=tmp_path / "shop.db"), limits=limits)
    collector = Collector(settings, default_host, starts_projector=False)
    try:
        app = create_app(collector)
        answers = [ask(app, "GET", path, headers=HTML) for _ in range(8)]
        program = ask(app, "GET", path)
    finally:
        collector.close()
    refused = answers[-1]
    check_page(refused, 429, "Too many requests", "rate_limited")
    assert f"Wait {refused.headers['retry-after']} seconds" in refused.text
    assert program.json()["code"] == "rate_limited"


def test_a_name_that_is_not_ours_gets_a_page_that_says_what_to_set(collector: Collector) -> None:
    app = create_app(collector)
    answer = ask(app, "GET", "/", base="http://collect.shop.example", headers=HTML | GERMAN)
    check_page(answer, 421, "Dieser Name ist hier nicht bekannt", "wrong_host")
    assert "server.allowed_hosts" in answer.text
    assert ask(app, "GET", "/", base="http://collect.shop.example").json()["code"] == "wrong_host"


REPORT_PATHS = ["/api/v1/reports/overview", "/api/v1/reports/nothing"]


@pytest.mark.parametrize("path", ["/v1/events", "/api/v1/admin/nothing", "/v1/nothing", *REPORT_PATHS])
def test_programs_and_api_paths_get_json_whatever_they_accept(collector: Collector, path: str) -> None:
    app = create_app(collector)
    token = HTML | {"authorization": "Bearer ttr_nonsense"}
    for headers in (token if path in REPORT_PATHS else HTML, {}, {"accept": "*/*"}, {"accept": "application/json"}):
        answer = ask(app, "GET", path, headers=headers)
        assert answer.status_code in (401, 404, 405)
        assert set(answer.json()) >= {"code", "message"}


@pytest.mark.parametrize(
    ("path", "status", "code", "english", "german"),
    [
        ("overview?start=yesterday", 400, "invalid_parameter", "This report cannot be made like that",
         "So lässt sich der Bericht nicht erstellen"),
        ("overview?%3Cscript%3E=1", 400, "invalid_parameter", "This report cannot be made like that",
         "So lässt sich der Bericht nicht erstellen"),
        ("nothing", 404, "unknown_report", "There is no such report", "Diesen Bericht gibt es nicht"),
    ],
)  # fmt: skip
def test_a_report_that_a_browser_opened_fails_with_a_page(
    collector: Collector, path: str, status: int, code: str, english: str, german: str
) -> None:
    app = create_app(collector)
    headers = {"cookie": signed_in(collector)["cookie"], "sec-fetch-mode": "navigate"}
    answer = ask(app, "GET", f"/api/v1/reports/{path}", headers=headers | HTML)
    check_page(answer, status, english, code)
    check_page(ask(app, "GET", f"/api/v1/reports/{path}", headers=headers | HTML | GERMAN), status, german, code)
    assert "<script" not in answer.text
    told = ask(app, "GET", f"/api/v1/reports/{path}", headers=headers).json()
    assert told["code"] == code
    if code == "invalid_parameter":
        assert escape(told["message"]) in answer.text, "what does not fit, and where"


def test_a_report_opened_by_who_is_not_signed_in_is_a_page_with_a_way_there(collector: Collector) -> None:
    app = create_app(collector)
    answer = ask(app, "GET", "/api/v1/reports/overview", headers=HTML)
    check_page(answer, 401, "You are not signed in", "unknown_token")
    answer = ask(app, "GET", "/api/v1/reports/overview", headers=HTML | GERMAN)
    check_page(answer, 401, "Sie sind nicht angemeldet", "unknown_token")


async def fail(request: Request) -> Response:
    """Raise what the path says."""
    errors: dict[str, Exception] = {
        "timeout": QueryTimeout("took too long"),
        "store": StoreUnavailable("<script>disk</script>"),
        "fault": RuntimeError("secret of the inside"),
    }
    raise errors[request.path_params["name"]]


@pytest.fixture
def failing() -> Starlette:
    """The handlers of the application around paths that fail."""
    handlers = as_pages(
        {
            HttpError: handle_http_error, HTTPException: handle_starlette_error,
            TouchtrailCollectorError: handle_collector_error, Exception: handle_unexpected,
        }
    )  # fmt: skip
    routes = [Route("/page/{name}", fail), Route("/api/{name}", fail), Route("/button", fail, methods=["POST"])]
    return Starlette(routes=routes, exception_handlers=handlers)


@pytest.mark.parametrize(
    ("method", "path", "status", "title", "code"),
    [
        ("GET", "/nowhere", 404, "There is nothing here", "not_found"),
        ("GET", "/button", 405, "This address cannot be opened", "method_not_allowed"),
        ("GET", "/page/timeout", 503, "This takes too long at the moment", "query_timeout"),
        ("GET", "/page/store", 503, "The database cannot be used at the moment", "unavailable"),
        ("GET", "/page/fault", 500, "The collector failed", "internal_error"),
    ],
)
def test_errors_that_nobody_caught_are_pages_for_people_and_json_for_programs(
    failing: Starlette, method: str, path: str, status: int, title: str, code: str
) -> None:
    answer = ask(failing, method, path, headers=HTML)
    check_page(answer, status, title, code)
    assert "secret of the inside" not in answer.text
    assert "<script" not in answer.text
    program = ask(failing, method, path)
    assert (program.status_code, program.json()["code"]) == (status, code)
    kept = ("retry-after", "allow", "connection")
    assert {name: answer.headers.get(name) for name in kept} == {name: program.headers.get(name) for name in kept}
    if status == 503:
        assert f"in {answer.headers['retry-after']} seconds" in answer.text


def test_api_paths_that_fail_stay_json(failing: Starlette) -> None:
    for name, status in (("timeout", 503), ("fault", 500)):
        answer = ask(failing, "GET", f"/api/{name}", headers=HTML)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")


def test_the_application_itself_answers_people_with_pages(collector: Collector) -> None:
    app = create_app(collector)
    check_page(ask(app, "GET", "/nowhere", headers=HTML), 404, "There is nothing here", "not_found")
    answer = ask(app, "GET", "/sign-out", headers=HTML | GERMAN)
    check_page(answer, 405, "Diese Adresse lässt sich nicht öffnen", "method_not_allowed")
    assert ask(app, "GET", "/nowhere").json()["code"] == "not_found"
