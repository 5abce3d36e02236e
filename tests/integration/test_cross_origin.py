"""Browsers: questions before, whose pages may send with a key, and what an answer lets them read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from in_process_http import Application
from shop_events import wire_event
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.admin import run_operation
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.web.app import create_app
from touchtrail_plugins.sources import segment

SHOP, OTHER = "https://shop.example", "https://evil.example"
TRACK = b'{"type": "track", "event": "x", "userId": "u", "messageId": "m-1"}'


@pytest.fixture
def app(open_collector: Callable[..., Collector]) -> Application:
    collector = open_collector(host=PluginHost.of({"source.segment": segment}))
    arguments = {"source": "web", "origins": [SHOP, "http://localhost:3000"]}
    return Application(collector, run_operation(collector, "create_key", arguments)["key"])


@pytest.fixture
def anywhere(app: Application) -> Application:
    return Application(app.collector, run_operation(app.collector, "create_key", {"source": "app"})["key"])


def test_a_page_of_an_allowed_origin_may_send_and_read_the_answer(app: Application) -> None:
    for number, origin in enumerate((SHOP, "http://localhost:3000")):
        answer = app.post(wire_event(str(number)), origin=origin)
        assert answer.json()["accepted"] == 1
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    [
        OTHER,
        "null",
        "https://shop.example.evil.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://sub.shop.example",
        "\u00fc",
    ],
)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/validate", "/v1/track", "/v1/track/"])
def test_a_page_of_another_origin_is_refused_whatever_the_way_in(app: Application, path: str, origin: str) -> None:
    headers = {"authorization": f"Bearer {app.key}", "origin": origin.encode("latin-1")}
    answer = app.ask("POST", path, content=TRACK, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert app.stored() == []


def test_who_is_no_browser_names_no_origin_and_is_let_in(app: Application) -> None:
    assert app.post(wire_event("1")).json()["accepted"] == 1


def test_without_a_list_any_page_may_send(anywhere: Application) -> None:
    for number, origin in enumerate((SHOP, OTHER, "null")):
        answer = anywhere.post(wire_event(str(number)), origin=origin)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)


def test_the_list_is_changed_for_all_keys_at_once(app: Application) -> None:
    second = Application(app.collector, run_operation(app.collector, "create_key", {"source": "web"})["key"])
    assert second.post(wire_event("1"), origin=OTHER).status_code == 403
    run_operation(app.collector, "set_sender", {"source": "web", "origins": [OTHER]})
    assert [sender.post(wire_event("1"), origin=SHOP).status_code for sender in (app, second)] == [403, 403]
    run_operation(app.collector, "set_sender", {"source": "web", "origins": []})
    assert [sender.post(wire_event("1"), origin=SHOP).status_code for sender in (app, second)] == [200, 200]


def test_every_way_in_answers_a_browsers_question(app: Application) -> None:
    asked = {
        "origin": OTHER,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, x-retry-count",
    }
    paths = {entry.path.replace("{key}", "k") for entry in create_app(app.collector).state.table if entry.takes_events}
    assert len(paths) > 25
    for path in paths:
        answer = app.ask("OPTIONS", path, headers=asked)
        assert (answer.status_code, answer.content) == (204, b""), path
        assert "OPTIONS" in answer.headers["allow"].split(", ")
        assert answer.headers["access-control-allow-origin"] == OTHER
        assert answer.headers["access-control-allow-headers"] == "authorization, x-retry-count"
        assert {"GET", "POST", "OPTIONS"} <= set(answer.headers["access-control-allow-methods"].split(", "))
        assert int(answer.headers["access-control-max-age"]) >= 900


def test_a_question_that_names_the_key_is_answered_for_its_origins_alone(
    app: Application, anywhere: Application
) -> None:
    def ask(key: str, origin: str) -> tuple[int, bool]:
        answer = app.ask("OPTIONS", f"/v1/events?key={key}", headers={"origin": origin})
        return answer.status_code, "access-control-allow-origin" in answer.headers

    assert ask(app.key, SHOP) == (204, True)
    assert ask(app.key, OTHER) == (403, False)
    assert ask(anywhere.key, OTHER) == (204, True)
    assert ask("unknown", OTHER) == (204, True)  # the request itself will be told that the key is unknown


def test_errors_can_be_read_by_the_page_that_sent_too(app: Application) -> None:
    for path, key, status in (
        ("/v1/events", app.key, 400),
        ("/v1/events", "nonsense", 401),
        ("/v1/track", app.key, 400),
        ("/v1/track", "nonsense", 401),
    ):
        headers = {"authorization": f"Bearer {key}", "origin": SHOP}
        answer = app.ask("POST", path, content=b"{" if status == 400 else TRACK, headers=headers)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, SHOP)


def test_a_sender_may_name_a_page_as_people_write_it_and_browsers_are_let_in(app: Application) -> None:
    run_operation(app.collector, "set_sender", {"source": "web", "origins": ["HTTPS://Straße.example:443/"]})
    assert app.post(wire_event("1"), origin="https://xn--strae-oqa.example").status_code == 200
    assert app.post(wire_event("2"), origin="https://strasse.example").status_code == 403
