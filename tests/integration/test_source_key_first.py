"""A vendor's path refuses an unknown key in headers, path or query before it reads a byte of the body."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.admin import run_operation
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.web.app import create_app
from touchtrail_plugins.sources import segment

HOST = PluginHost.of({"source.segment": segment})
CALL = b'{"type": "page", "anonymousId": "a", "messageId": "%s", "writeKey": "%s"}'


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


def post(collector: Collector, body: bytes, authorization: str = "", query: str = "") -> tuple[int, int]:
    """Return the status, and how often the body was asked for."""
    app, reads, status = create_app(collector), 0, 0

    async def receive() -> Any:
        nonlocal reads
        reads += 1
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"host", b"127.0.0.1"), (b"authorization", authorization.encode())]
    scope = {
        "type": "http", "method": "POST", "path": "/v1/page", "raw_path": b"/v1/page", "query_string": query.encode(),
        "headers": headers, "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "root_path": "",
        "http_version": "1.1",
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return status, reads


@pytest.fixture
def collector(open_collector: Any) -> Collector:
    return open_collector(host=HOST)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("authorization", "query"), [(basic("nobody"), ""), ("", "writeKey=nobody")], ids=["basic", "query"]
)
def test_an_unknown_key_before_the_body_is_refused_without_reading_it(
    collector: Collector, authorization: str, query: str
) -> None:
    assert post(collector, b"x" * 1_000_000, authorization, query) == (401, 0)


def test_a_revoked_key_and_a_read_token_are_refused_as_early(collector: Collector) -> None:
    key, token = (run_operation(collector, "create_key", given)["key"] for given in ({"source": "web"}, {}))
    run_operation(collector, "revoke_key", {"key": key})
    assert [post(collector, b"{}", basic(one)) for one in (key, token)] == [(401, 0)] * 2


def test_a_known_key_is_let_in_wherever_it_stands_and_a_bearer_token_may_be_none_of_ours(collector: Collector) -> None:
    key = run_operation(collector, "create_key", {"source": "web"})["key"]
    ways = [(basic(key), "", ""), ("", f"writeKey={key}", ""), ("", "", key), ("Bearer oauth", "", key)]
    for number, (authorization, query, in_body) in enumerate(ways):
        body = CALL % (b"m%d" % number, in_body.encode())
        assert post(collector, body, authorization, query)[0] == 200, (authorization, query)
    with collector.store.reading() as reader:
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (len(ways),)
