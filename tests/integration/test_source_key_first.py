"""A vendor's path refuses an unknown key in headers, path or query before it reads a byte of the body.

Of who shows none there it reads a small body, and few of them that held no key either.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette

from shop_events import wire_event
from touchtrail_collector.api import hookimpl
from touchtrail_collector.domain.source import (
    Endpoint,
    Source,
    SourceAck,
    SourceEvents,
    SourceRefusal,
    SourceRequest,
    SourceResponse,
)
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.admin import run_operation
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.web.app import create_app
from touchtrail_collector.web.limits import STRANGER_BURST
from touchtrail_collector.web.source_endpoint import STRANGER_BODY_BYTES
from touchtrail_plugins.sources import segment

HOST = PluginHost.of({"source.segment": segment})
CALL = b'{"type": "page", "anonymousId": "a", "messageId": "%s", "writeKey": "%s"}'


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


class Answer(msgspec.Struct):
    """What became of a request, and how often its body was asked for."""

    status: int = 0
    reads: int = 0
    headers: dict[bytes, bytes] = {}
    body: bytes = b""


async def ask(app: Starlette, body: bytes, path: str = "/v1/page", **given: Any) -> Answer:
    """Send a request; ``pieces`` is how many its body comes in, each after others had their turn."""
    answer, pieces = Answer(), given.get("pieces", 1)
    size = -(-len(body) // pieces) or 1

    async def receive() -> Any:
        answer.reads += 1
        await asyncio.sleep(0)
        start = (answer.reads - 1) * size
        return {"type": "http.request", "body": body[start : start + size], "more_body": answer.reads < pieces}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], dict(message["headers"])
        answer.body += message.get("body", b"")

    headers = [(b"host", b"127.0.0.1"), (b"content-length", b"%d" % len(body))]
    headers += [(b"authorization", given["authorization"].encode())] if given.get("authorization") else []
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "root_path": "", "scheme": "http",
        "query_string": given.get("query", "").encode(), "headers": headers, "http_version": "1.1",
        "client": (given.get("address", "127.0.0.1"), 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    await app(scope, receive, send)
    return answer


def post(collector: Collector, body: bytes, authorization: str = "", query: str = "") -> tuple[int, int]:
    """Return the status, and how often the body was asked for."""
    answer = asyncio.run(ask(create_app(collector), body, authorization=authorization, query=query))
    return answer.status, answer.reads


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
    assert rows(collector, "events") == len(ways)


def rows(collector: Collector, table: str) -> int:
    with collector.store.reading() as reader:
        return int(reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def call(number: int, key: str) -> bytes:
    return CALL % (b"m%d" % number, key.encode())


@pytest.mark.parametrize(
    "body", [call(0, "nobody"), call(0, ""), b"{", b'{"batch": NaN'], ids=["key", "no key", "json", "nan"]
)
def test_after_so_many_bodies_without_a_valid_key_an_address_is_refused_before_the_body(
    collector: Collector, body: bytes
) -> None:
    async def work() -> None:
        app = create_app(collector)
        first = [await ask(app, body) for _ in range(STRANGER_BURST)]
        assert {answer.status for answer in first} <= {400, 401}
        assert all(answer.reads == 1 for answer in first)
        refused = await ask(app, body)
        assert (refused.status, refused.reads) == (429, 0)
        assert msgspec.json.decode(refused.body)["code"] == "rate_limited"
        assert 1 <= int(refused.headers[b"retry-after"]) <= 3
        assert (await ask(app, body, address="192.0.2.9")).status in (400, 401)  # another address is another matter

    asyncio.run(work())
    assert rows(collector, "quarantine") == 0


def test_who_shows_a_valid_key_early_is_never_affected_by_others_of_the_same_address(collector: Collector) -> None:
    key = run_operation(collector, "create_key", {"source": "web"})["key"]

    async def work() -> None:
        app = create_app(collector)
        for _ in range(STRANGER_BURST + 5):
            await ask(app, call(0, "nobody"))
        early = [{"authorization": basic(key)}, {"query": f"writeKey={key}"}, {"authorization": f"Bearer {key}"}]
        for number, given in enumerate(early):
            assert (await ask(app, call(number, ""), **given)).status == 200, given
        for _ in range(STRANGER_BURST * 2):  # what they get wrong is not counted as a stranger's
            assert (await ask(app, b"{", authorization=f"Bearer {key}")).status == 400
        assert (await ask(app, call(9, key))).status == 429  # in the body alone it is known too late

    asyncio.run(work())
    assert rows(collector, "events") == 3


def test_valid_keys_in_the_body_use_nothing_up(collector: Collector) -> None:
    key = run_operation(collector, "create_key", {"source": "web"})["key"]

    async def work() -> None:
        app = create_app(collector)
        for number in range(STRANGER_BURST * 3):
            assert (await ask(app, call(number, key))).status == 200

    asyncio.run(work())
    assert rows(collector, "events") == STRANGER_BURST * 3


def test_of_many_that_come_at_the_same_time_no_more_are_read_than_are_counted(open_collector: Any) -> None:
    till = Till()
    collector = open_collector(host=PluginHost.of({"source.till": till}))

    async def work() -> None:
        app = create_app(collector)
        answers = await asyncio.gather(
            *(ask(app, b"no key here", "/till", pieces=4) for _ in range(STRANGER_BURST * 5))
        )
        statuses = [answer.status for answer in answers]
        assert (statuses.count(401), statuses.count(429)) == (STRANGER_BURST, STRANGER_BURST * 4)

    asyncio.run(work())
    assert till.bodies == STRANGER_BURST


def test_a_body_without_an_early_key_may_not_be_large(collector: Collector) -> None:
    key = run_operation(collector, "create_key", {"source": "web"})["key"]

    async def work() -> None:
        app = create_app(collector)
        fits, large = (b" " * size + call(1, key) for size in (25_000, STRANGER_BODY_BYTES))
        assert (await ask(app, fits)).status == 200
        refused = await ask(app, large, pieces=10)
        assert (refused.status, refused.reads) == (413, 0)
        told = msgspec.json.decode(refused.body)
        assert told["code"] == "body_too_large"
        assert "send the key there" in told["message"]
        assert (await ask(app, large, authorization=basic(key))).status != 413  # it is read

    asyncio.run(work())


class Till:
    """A source whose key is looked for in the query where ``finds_key``, and whose reading can fail."""

    def __init__(self, *, finds_key: bool = False) -> None:
        self.finds_key = finds_key
        self.bodies = 0

    def read(self, request: SourceRequest) -> SourceEvents:
        self.bodies += bool(request.body)
        if request.body.startswith(b"crash"):
            raise KeyError("a bug")
        if request.body == b"refuse":
            raise SourceRefusal(SourceResponse(status=400), code="invalid_json", message="no")
        key = request.query.get("key")
        return SourceEvents(key=key, events=(wire_event("1"),) if request.body else ())

    @hookimpl
    def touchtrail_sources(self, settings: Any) -> list[Source]:
        find_key = (lambda request: request.query.get("key")) if self.finds_key else None
        end = Endpoint(
            path="/till", read=self.read, answer=told, unauthorized=SourceResponse(status=401), find_key=find_key
        )
        return [Source(name="till", endpoints=(end,))]


def told(ack: SourceAck, _: SourceRequest) -> SourceResponse:
    return SourceResponse(body=b"%d %d" % (ack.accepted, ack.rejected))


@pytest.mark.parametrize("finds_key", [False, True])
def test_what_a_plugin_fails_at_is_kept_only_of_senders_whose_key_is_in_it(
    open_collector: Any, finds_key: bool
) -> None:
    collector = open_collector(host=PluginHost.of({"source.till": Till(finds_key=finds_key)}))
    key = run_operation(collector, "create_key", {"source": "till"})["key"]
    token = run_operation(collector, "create_key", {})["key"]

    async def work() -> None:
        app = create_app(collector)
        for body, query in (
            (b"crash", ""),
            (b"crash", "key=nobody"),
            (f"crash {token} {key}x ttw_{'a' * 32}".encode(), ""),
        ):
            assert (await ask(app, body, "/till", query=query)).status == 401
        assert rows(collector, "quarantine") == 0
        for body, query in ((b"crash", f"key={key}"), (f'crash {{"writeKey": "{key}"}}'.encode(), "")):
            known = await ask(app, body, "/till", query=query)
            assert (known.status, known.body) == (200, b"0 1")

    asyncio.run(work())
    with collector.store.reading() as reader:
        kept = reader.execute("SELECT source_id, reader, code FROM quarantine").fetchall()
        counted = dict(reader.execute("SELECT name, sum(n) FROM counters GROUP BY name").fetchall())
    (source_id,) = {owner.source_id for owner in collector.store.key_owners().values() if owner.kind == "write"}
    assert kept == [(source_id, "till", "plugin_failed")] * 2
    assert counted == {"rejected:plugin_failed": 2}
    (plugin,) = collector.host.plugins()
    assert plugin.failures == (4 if finds_key else 5)


def test_what_a_plugin_fails_at_is_not_kept_where_consent_is_required(open_collector: Any) -> None:
    collector = open_collector(host=PluginHost.of({"source.till": Till(finds_key=True)}))
    key = run_operation(collector, "create_key", {"source": "till", "mode": "consent_required"})["key"]
    answer = asyncio.run(ask(create_app(collector), b"crash", "/till", query=f"key={key}"))
    assert (answer.status, answer.body) == (200, b"0 1")
    assert rows(collector, "quarantine") == 0


def test_a_ping_without_body_and_key_is_answered_as_often_as_it_comes(open_collector: Any) -> None:
    collector = open_collector(host=PluginHost.of({"source.till": Till()}))

    async def work() -> None:
        app = create_app(collector)
        for _ in range(STRANGER_BURST * 3):
            assert (await ask(app, b"", "/till")).status == 200

    asyncio.run(work())
