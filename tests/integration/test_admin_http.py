"""What other commands ask of the running collector: who gets in, and what they get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from derived_tables import store
from in_process_http import Application
from shop_events import wire_event
from touchtrail_collector.api import Channel, ChannelRule, ChannelRuleSet, hookimpl
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector


@pytest.fixture
def app(collector: Collector) -> Application:
    return Application(collector, "")


def run(app: Application, operation: str, token: str | None = None, **arguments: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {app.collector.admin_token if token is None else token}"}
    return app.ask("POST", f"/api/v1/admin/{operation}", json=arguments, headers=headers)


@pytest.mark.parametrize("token", ["", "x", "ä", "x" * 10_000])
def test_only_the_token_of_the_lock_file_gets_in(app: Application, token: str) -> None:
    answer = app.ask(
        "POST", "/api/v1/admin/create_key", content=b"{}", headers={"authorization": f"Bearer {token}".encode()}
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "unknown_token")


def test_neither_a_write_key_nor_a_read_token_gets_in(app: Application) -> None:
    for key in (app.collector.store.create_key(source="web"), app.collector.store.create_key(source=None)):
        app.collector.reload_keys()
        assert run(app, "rebuild", key).status_code == 401


def test_every_collector_has_a_token_of_its_own(app: Application, open_collector: Any) -> None:
    assert open_collector("other").admin_token != app.collector.admin_token


def test_a_new_key_works_at_once_and_a_revoked_one_no_more(app: Application) -> None:
    app.key = run(app, "create_key", source="web").json()["key"]
    assert app.post(wire_event("1")).json()["accepted"] == 1
    assert run(app, "revoke_key", key=app.key).json() == {"revoked": app.key[:8]}
    assert app.post(wire_event("2")).status_code == 401


def test_a_rebuild_is_done_when_it_is_answered(app: Application) -> None:
    store(app.collector, [wire_event("1"), wire_event("2", anonymous_id="b")])
    assert run(app, "rebuild").json() == {"events": 2}
    assert app.collector.projector.lag() == 0


def test_the_plugins_are_those_of_the_collector_with_what_happened_to_them(open_collector: Any) -> None:
    class Faulty:
        @hookimpl
        def touchtrail_channels(self) -> ChannelRuleSet:
            rule = ChannelRule(name="r", channel=Channel(name="X", medium="paid"), matches=lambda _: 1 / 0, priority=1)
            return ChannelRuleSet(name="faulty", version="1", rules=(rule,))

    app = Application(open_collector(host=PluginHost.of({"channel.faulty": Faulty()})), "")
    store(app.collector, [wire_event("1")])
    app.collector.projector.catch_up()
    listing = run(app, "plugins").json()
    (plugin,) = listing["plugins"]
    assert (plugin["id"], plugin["state"], plugin["failures"] > 0) == ("channel.faulty", "active", True)
    assert plugin["last_error"].startswith("ZeroDivisionError")
    assert listing["problems"] == []


@pytest.mark.parametrize(
    ("operation", "arguments", "said"),
    [
        ("dance", {}, "there is no operation 'dance'"),
        ("rebuild", {"twice": True}, "unknown field `twice`"),
        ("create_key", {"source": 5}, "source"),
        ("create_key", {"source": ""}, "1 to 64 letters"),
        ("create_key", {"source": "a/b" * 100}, "1 to 64 letters"),
        ("revoke_key", {}, "key"),
        ("revoke_key", {"key": "nonsense"}, "0 valid keys match"),
        ("replay", {"ids": [99]}, "there is no reject 99"),
        ("replay", {"ids": [1, 2], "body": "{}"}, "a repaired body stands for one reject"),
        ("import_file", {"reader": "clay_tablet", "path": "/x"}, "no plugin reads 'clay_tablet' files"),
    ],
)
def test_what_cannot_be_done_is_said(app: Application, operation: str, arguments: dict[str, Any], said: str) -> None:
    answer = run(app, operation, **arguments)
    assert answer.status_code == 400
    assert said in answer.json()["message"]


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b'{"a":' * 100_000])
def test_a_body_that_is_no_object_is_refused(app: Application, body: bytes) -> None:
    headers = {"authorization": f"Bearer {app.collector.admin_token}"}
    answer = app.ask("POST", "/api/v1/admin/rebuild", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")


def test_rejects_are_repaired_and_replayed_once(app: Application, tmp_path: Path) -> None:
    key = app.collector.store.create_key(source="web")
    app.collector.reload_keys()
    app.key = key
    app.post([wire_event("1", colour="red"), wire_event("2", size=9)])
    assert run(app, "replay").json() == {
        "stored": 0, "duplicates": 0, "rejected": 2,
        "named": [
            {"id": 1, "code": "unknown_field", "field": "colour", "message": "there is no field colour"},
            {"id": 2, "code": "unknown_field", "field": "size", "message": "there is no field size"},
        ],
    }  # fmt: skip
    repaired = '{"event_id":"1","name":"page_viewed","anonymous_id":"a","page":{"title":"jane@example.com"}}'
    assert run(app, "replay", ids=[1], body=repaired).json() == {
        "stored": 1,
        "duplicates": 0,
        "rejected": 0,
        "named": [],
    }
    assert run(app, "replay", ids=[1], body=repaired).json() == {
        "stored": 0,
        "duplicates": 1,
        "rejected": 0,
        "named": [],
    }
    assert run(app, "replay").json()["rejected"] == 1
    with app.collector.store.reading() as reader:
        (body,) = reader.execute("SELECT body FROM events").fetchone()
    assert "jane" not in body
