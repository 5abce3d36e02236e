"""The thousand-and-first property name of a sender goes under `_overflow`, and nothing is lost by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from in_process_http import Application
from shop_events import wire_event
from touchtrail_collector.domain.property_names import MAX_NAMES, NameFit
from touchtrail_collector.services.collector import Collector

OpenCollector = Callable[..., Collector]


@pytest.fixture
def app(open_collector: OpenCollector) -> Application:
    collector = open_collector()
    key = collector.store.create_key(source="web")
    collector.reload_keys()
    return Application(collector, key)


def thing(number: int, properties: dict[str, Any], name: str = "own_thing") -> dict[str, Any]:
    return wire_event(f"e{number}", name, properties=properties)


def bodies(app: Application) -> list[Any]:
    with app.collector.store.reading() as reader:
        return [json.loads(body)["properties"] for (body,) in reader.execute("SELECT body FROM events ORDER BY seq")]


def fill(app: Application) -> None:
    """Send as many names as there is room for."""
    batch = [thing(n, {f"p{n * 50 + m}": 1 for m in range(50)}) for n in range(MAX_NAMES // 50)]
    assert app.post(batch).json()["accepted"] == MAX_NAMES // 50


def test_names_beyond_the_limit_are_kept_under_overflow(app: Application) -> None:
    fill(app)
    app.post([thing(900, {"p7": 1, "late": 2, "later": {"a": 3}}), thing(901, {"late": 1, "_overflow": {"x": 1}})])
    app.post([thing(902, {"extra": {"late": 4, "p8": 5}}, "page_viewed"), thing(903, {"_overflow": 7, "late": 1})])
    assert bodies(app)[-4:] == [
        {"p7": 1, "_overflow": {"late": 2, "later": {"a": 3}}},
        {"_overflow": {"late": 1, "x": 1}},
        {"extra": {"p8": 5, "_overflow": {"late": 4}}},
        {"_overflow": {"late": 1, "_overflow": 7}},
    ]
    assert all("_overflow" not in body for body in bodies(app)[:-4])


def test_the_limit_holds_within_one_request_and_for_each_sender_alone(app: Application) -> None:
    app.post([thing(n, {f"p{n * 60 + m}": 1 for m in range(60)}) for n in range(30)])
    names = {name for body in bodies(app) for name in body}
    assert len(names - {"_overflow"}) == MAX_NAMES
    assert sum(len(body) + len(body.get("_overflow", {})) for body in bodies(app)) == 30 * 60 + sum(
        "_overflow" in body for body in bodies(app)
    )
    till = Application(app.collector, app.collector.store.create_key(source="till"))
    app.collector.reload_keys()
    till.post([thing(1, {"late": 1})])
    assert bodies(app)[-1] == {"late": 1}


def test_the_names_outlive_a_restart_and_a_check_alone_adds_none(
    app: Application, open_collector: OpenCollector
) -> None:
    fill(app)
    app.collector.close()
    again = Application(open_collector(), app.key)
    again.post([thing(900, {"p7": 1, "late": 2})])
    assert bodies(again)[-1] == {"p7": 1, "_overflow": {"late": 2}}
    key = again.collector.store.create_key(source="till")
    again.collector.reload_keys()
    till = Application(again.collector, key)
    till.post([thing(1, {f"q{n}": 1 for n in range(60)})], "/v1/events/validate")
    with again.collector.store.reading() as reader:
        assert reader.execute("SELECT count(*) FROM property_names WHERE name LIKE 'q%'").fetchone() == (0,)


def test_memory_is_bounded_whatever_comes() -> None:
    known: set[str] = set()
    fit = NameFit(1, known, limit=10)
    superfluous = [name for n in range(100) for name in fit.find_superfluous({f"n{n}": 1})]
    assert (len(fit.fresh), len(superfluous), known) == (10, 90, set())
