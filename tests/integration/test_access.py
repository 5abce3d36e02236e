"""Every path declares who may use it, and lets in nobody else."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import msgspec
import pytest
from starlette.routing import Route

from in_process_http import Application
from shop_events import wire_event
from signed_in import signed_in
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.admin import run_operation
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.web.access import ACCESS_CLASSES
from touchtrail_collector.web.app import create_app
from touchtrail_collector.web.headers import SECURITY_HEADERS
from touchtrail_collector.web.operation import Entry
from touchtrail_collector.web.pages import PAGE_HEADERS
from touchtrail_plugins.channels import default
from touchtrail_plugins.sources import segment

HOST = PluginHost.of({"channel.default": default, "source.segment": segment})
SESSION = "session"
"""Stands for a session of its own with each request: the last one may have signed out."""

FILLED = {"{name}": "overview", "{operation}": "plugins", "{key}": "none"}


@pytest.fixture
def app(open_collector: Callable[..., Collector]) -> Application:
    return Application(open_collector(host=HOST), "")


@pytest.fixture
def credentials(app: Application) -> dict[str, str | None]:
    """Return what somebody may come with, by what it is."""
    make = lambda **arguments: run_operation(app.collector, "create_key", arguments)["key"]  # noqa: E731
    given = {"write": make(source="web"), "read": make(), "revoked write": make(source="web"), "revoked read": make()}
    ended = {"rotated write": make(source="web"), "rotated read": make()}
    for key in (given["revoked write"], given["revoked read"]):
        run_operation(app.collector, "revoke_key", {"key": key})
    for key in ended.values():
        run_operation(app.collector, "rotate_key", {"key": key, "grace_hours": 0})
    return (
        {"nothing": None, "nonsense": "ttw_nonsense", "not ascii": "tt\xfcw", "admin": app.collector.admin_token}
        | {"link": app.collector.sessions.issue_link(), "session": SESSION}
        | given
        | ended
    )


MAY: dict[str, dict[str, int]] = {
    "anyone": {},
    "write_key": {"write": 200, "read": 403},
    "read_token": {"read": 200, "write": 403, SESSION: 200},
    "admin_token": {"admin": 200},
    "source": {"write": 200},
    "sign_in": {"link": 200},
    "session": {SESSION: 200},
}
"""What each class answers to whom; everybody else gets 401, and anyone is anyone."""


def ask(app: Application, entry: Entry, key: str | None, path: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"authorization": f"Bearer {key}".encode("latin-1")}
    if key == SESSION:
        headers = signed_in(app.collector)
    bodies = {"admin_token": b"{}", "sign_in": msgspec.json.encode({"token": key or "none"})}
    body = bodies.get(entry.access, b'{"batch": [], "events": []}')
    return app.ask(
        entry.method, path or filled(entry.path), headers=headers, content=body if entry.method == "POST" else None
    )


def filled(path: str) -> str:
    for placeholder, value in FILLED.items():
        path = path.replace(placeholder, value)
    return path


def test_every_route_stands_in_the_table_with_a_class_of_access(app: Application) -> None:
    application = create_app(app.collector)
    table: list[Entry] = application.state.table
    declared = {(entry.path, entry.method): entry.access for entry in table}
    assert len(declared) == len(table) > 30
    assert set(declared.values()) == set(ACCESS_CLASSES) == set(MAY)
    served = {
        (route.path, method)
        for route in application.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    assert len(application.routes) == len({path for path, _ in served})
    assert served == set(declared)


def test_every_class_lets_in_whom_it_should_and_nobody_else(
    app: Application, credentials: dict[str, str | None]
) -> None:
    tried = 0
    for entry in create_app(app.collector).state.table:
        for who, key in credentials.items():
            path = filled(entry.path)
            if "{key}" in entry.path:  # its client gives the key there
                path = entry.path.replace("{key}", key if key and key.isascii() else "none")
            expected = 200 if entry.access == "anyone" else MAY[entry.access].get(who, 401)
            if entry.access == "source" and who in ("nothing", SESSION) and is_batch(entry):
                expected = 200  # no key and no event: there is nothing to let in
            if (entry.path, entry.method, who) == ("/sign-in", "GET", SESSION):
                expected = 303  # who is in goes on to the first page
            answer = ask(app, entry, key, path)
            assert answer.status_code == expected, (entry.path, who, answer.text)
            if expected == 401 and entry.access != "source":
                assert answer.headers["www-authenticate"].startswith("Bearer")
            tried += 1
    assert tried > 300
    assert app.stored() == []


def is_batch(entry: Entry) -> bool:
    return entry.path.rstrip("/") in ("/v1/batch", "/v1/b")


def test_every_answer_tells_browsers_what_not_to_do(app: Application, credentials: dict[str, str | None]) -> None:
    keys = {"write_key": "write", "read_token": "read", "admin_token": "admin", "source": "write", "anyone": "nothing"}
    keys |= {"sign_in": "link", "session": SESSION}
    answers = []
    for entry in create_app(app.collector).state.table:
        good, bad = ask(app, entry, credentials[keys[entry.access]]), ask(app, entry, None)
        for answer in (good, bad):
            expected = PAGE_HEADERS if answer.headers["content-type"].startswith("text/html") else SECURITY_HEADERS
            assert {name: answer.headers.get(name) for name in expected} == expected, entry.path
        if entry.access in ("read_token", "admin_token", "sign_in", "session"):
            assert good.headers["cache-control"] == "no-store"
        answers += [good, bad]
    for path, method in (("/nowhere", "GET"), ("/v1/events", "PUT"), ("/healthz", "POST")):
        answer = app.ask(method, path)
        assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert len(answers) > 60


def test_no_other_origin_may_read_what_is_not_ingest(app: Application, credentials: dict[str, str | None]) -> None:
    origin = {"origin": "https://evil.example"}
    asked = 0
    for entry in create_app(app.collector).state.table:
        if entry.takes_events:
            continue
        for headers in (origin, origin | {"authorization": f"Bearer {credentials['read']}"}):
            for method in (entry.method, "OPTIONS"):
                answer = app.ask(method, filled(entry.path), headers=headers)
                assert not [name for name in answer.headers if name.startswith("access-control")]
                asked += 1
    assert asked >= 20


def test_every_path_tells_its_methods_and_a_method_it_lacks_is_told_them_too(app: Application) -> None:
    methods: dict[str, set[str]] = {}
    for entry in create_app(app.collector).state.table:
        methods.setdefault(entry.path, set()).update(
            {entry.method, "OPTIONS"} | ({"HEAD"} if entry.method == "GET" else set())
        )
    for path, expected in methods.items():
        asked, wrong = app.ask("OPTIONS", filled(path)), app.ask("BREW", filled(path))
        assert (asked.status_code, asked.content) == (204, b""), path
        assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed"), path
        for answer in (asked, wrong):
            assert {name.strip() for name in answer.headers["allow"].split(",")} == expected, path
            assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert len(methods) > 35
    assert sum("GET" in names for names in methods.values()) >= 8
    assert app.ask("OPTIONS", "/nowhere").status_code == 404
    assert app.ask("OPTIONS", "/healthz", headers={"host": "evil.example"}).status_code == 421


def test_a_revoked_key_ends_in_the_middle_of_a_running_application(app: Application) -> None:
    app.key = run_operation(app.collector, "create_key", {"source": "web"})["key"]
    token = run_operation(app.collector, "create_key", {})["key"]
    assert app.post(wire_event("1")).status_code == 200
    for key in (app.key, token):
        run_operation(app.collector, "revoke_key", {"key": key})
    assert app.post(wire_event("2")).status_code == 401
    assert app.ask("GET", "/api/v1/reports/orders", headers={"authorization": f"Bearer {token}"}).status_code == 401
