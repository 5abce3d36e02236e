"""More than ten thousand strange requests to a real collector: each is answered in our words, and nothing breaks after.

The seed is `TOUCHTRAIL_FUZZ_SEED`, or one that changes with the day; it is shown when the test fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
import schemathesis
from click.testing import CliRunner
from collector_process import COMMAND, touchtrail
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from accounting import Book, Door, assert_adds_up, assert_metrics_agree, find_wrong, read_door
from http_mutations import Mutator
from raw_http import Answer, RawClient
from touchtrail_collector.cli.export import export
from touchtrail_collector.services.reports import REPORTS
from touchtrail_collector.store.sqlite.tables import TABLES
from touchtrail_collector.web.errors import CODES

SEED = int(os.environ.get("TOUCHTRAIL_FUZZ_SEED") or time.strftime("%Y%m%d"))
EVENT_PATHS = ["/v1/events", "/v1/events/validate"]
SOURCE_PATHS = ["/v1/track", "/v1/batch", "/v1/identify/", "/v1/p", "/v1/projects/x/settings"]
READ_PATHS = ["/healthz", "/readyz", "/metrics", "/openapi.json", "/api/v1/reports/overview", "/api/v1/admin/plugins"]
NAMES_A_FIELD = {"unknown_field", "missing_field", "no_identity", "invalid_parameter"}
AT_LEAST = 10_000
OTHER = "other"
"""The sender of what is answered in a vendor's words, which do not say how many events were kept."""

EDGES = ("0001-01-01", "0001-01-02", "9999-12-30", "9999-12-31")
ZONES = ("UTC", "Asia/Tokyo", "America/New_York")
STEP = 20
"""Of the vocabulary every so manieth event is spelled out to schemathesis, which takes two seconds for each."""


class Target:
    """A collector that listens, and the sum of what it said."""

    def __init__(self, db: Path, port: int, errors: Path) -> None:
        self.db = db
        self.port = port
        self.errors = errors
        self.key, self.till_key, self.other_key, self.token = (
            touchtrail("keys", "create", *given, db=db).stdout.strip()
            for given in (("--source", "web"), ("--source", "till"), ("--source", OTHER), ("--read",))
        )
        self.requests = 0
        self.book = Book()
        self.statuses: Counter[int] = Counter()
        self.codes: Counter[str] = Counter()

    def count(self, answer: Answer, what: object, *, is_ours: bool = True) -> None:
        """Hold an answer to what every answer promises."""
        self.requests += 1
        self.statuses[answer.status] += 1
        assert answer.status < 500, (SEED, what, answer)
        assert answer.headers["x-content-type-options"] == "nosniff", (SEED, what, answer)
        if answer.status >= 400 and answer.body:
            told = answer.json()
            assert answer.headers["content-type"] == "application/json"
            assert {"code", "message"} <= set(told) <= {"code", "message", "field"}, (SEED, what, told)
            assert told["code"], (SEED, what, told)
            assert told["message"], (SEED, what, told)
            assert not is_ours or told["code"] in CODES[answer.status], (SEED, what, told)
            assert told["code"] not in NAMES_A_FIELD or "field" in told or not is_ours, (SEED, what, told)
            self.codes[told["code"]] += 1

    def count_ack(self, answer: Answer, what: object, *, stores: bool) -> None:
        """Hold the answer to events to its promise."""
        self.count(answer, what)
        if answer.status != 200:
            return
        ack = answer.json()
        assert list(ack) == ["accepted", "duplicates", "rejected"]
        for entry in ack["rejected"]:
            assert entry["message"], (SEED, what, entry)
            assert entry["field"] is not None or entry["code"] not in NAMES_A_FIELD, (SEED, what, entry)
            self.codes[entry["code"]] += 1
        if stores:
            self.book.answer(answer.status, answer.body)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Give a collector; at its end it must stop in order."""
    db = tmp_path_factory.mktemp("fuzz") / "shop.db"
    errors = db.with_suffix(".stderr")
    waits = {f"TOUCHTRAIL_SERVER_{name}_TIMEOUT_S": "0.5" for name in ("HEADERS", "BODY")}
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            [*COMMAND, "serve", "--db", str(db), "--port", "0"],
            stdout=subprocess.PIPE, stderr=stderr, text=True, env=os.environ | waits,
        ) as process,
    ):  # fmt: skip
        try:
            assert process.stdout is not None
            yield Target(db, int(process.stdout.readline().rpartition(":")[2]), errors)
        finally:
            process.terminate()
            assert process.wait(15) == 0


def test_bodies_that_are_nearly_right(target: Target) -> None:
    mutator = Mutator(SEED)
    before = target.requests
    requests = []
    for number in range(5_500):
        path = mutator.random.choice((*EVENT_PATHS, EVENT_PATHS[0]))
        body, encoding = mutator.encode(mutator.body()) if number % 5 == 0 else (mutator.body(), b"")
        key = mutator.random.choice((target.key, target.till_key)).encode()
        requests.append((path.encode(), body, b"Authorization: Bearer %b\r\n%b" % (key, encoding)))
    for (path, body, _), answer in in_threads(requests, lambda client, one: client.post(*one), target.port):
        target.count_ack(answer, (path, body[:500]), stores=path == b"/v1/events")
    assert target.requests - before == 5_500
    assert {200, 400} <= set(target.statuses)
    assert {"unknown_field", "invalid_type", "invalid_value", "missing_field", "invalid_json"} <= set(target.codes)


def test_bodies_of_another_vendors_form(target: Target) -> None:
    mutator = Mutator(SEED + 1)
    auth = b"Authorization: Bearer %b\r\n" % target.other_key.encode()
    requests = []
    for number in range(1_500):
        call: dict[str, Any] = {
            "type": "track", "event": "Order Completed", "userId": "u", "messageId": f"m-{number}", "timestamp": "2026-01-01T00:00:00Z",
            "properties": {"order_id": "1", "total": 5, "currency": "EUR", "products": [{"sku": "S", "price": 1}]}, "context": {"page": {"url": "https://a.example"}},
        }  # fmt: skip
        for _ in range(mutator.random.randint(0, 2)):
            mutator.spoil(call)
        body = json.dumps(call if number % 2 else {"batch": [call, call], "sentAt": "2026-01-01T00:00:00Z"}).encode()
        body = mutator.mangle(body) if number % 3 == 0 else body
        requests.append((b"/v1/track" if number % 2 else b"/v1/batch", body, auth))
    for request, answer in in_threads(requests, lambda client, one: client.post(*one), target.port):
        target.count(answer, request[:2], is_ours=False)
    assert read_door(target.db, [OTHER]).accepted > 100


def test_paths_methods_and_headers_that_are_nearly_right(target: Target) -> None:
    mutator = Mutator(SEED + 2)
    paths = EVENT_PATHS + SOURCE_PATHS + READ_PATHS
    requests = []
    for _ in range(3_000):
        method = mutator.random.choice(
            ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "get")
        )
        body = b"" if method in ("GET", "HEAD") else mutator.random.choice((b"", b"{}", b"\xff"))
        head = b"%b %b HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n%b\r\n" % (
            method.encode(), mutator.target(paths), mutator.random.choice((b"127.0.0.1", b"localhost:1", b"evil.example", b"", b"\xff")),
            len(body), mutator.headers(mutator.random.choice((target.other_key, target.token))),
        )  # fmt: skip
        requests.append((head + body, method == "HEAD"))
    # Chunked bodies that are told too long or end too early make the collector wait: that is what 408 is for.
    requests += [(mutator.mangle(request[:-2]) + b"\r\n\r\n", is_head) for request, is_head in requests[:300]]
    before = target.requests
    ask = lambda client, one: client.ask(one[0], is_head=one[1], alone=True)  # noqa: E731
    for (request, _), answer in in_threads(requests, ask, target.port):
        target.count(answer, request[:500], is_ours=b"/v1/" not in request or b"/v1/events" in request)
    assert target.requests - before == 3_300
    assert {400, 401, 404, 405, 421} <= set(target.statuses)


def in_threads(requests: list[Any], ask: Callable[[RawClient, Any], Answer], port: int) -> Iterator[tuple[Any, Answer]]:
    """Send requests over several connections, which share commits, and yield each with its answer."""

    def send(part: list[Any]) -> list[tuple[Any, Answer]]:
        with RawClient(port) as client:
            return [(request, ask(client, request)) for request in part]

    with ThreadPoolExecutor(16) as pool:
        for part in pool.map(send, [requests[start::16] for start in range(16)]):
            yield from part


def test_parameters_of_reports_that_are_nearly_right(target: Target) -> None:
    names = st.sampled_from([name for report in REPORTS.values() for name in report.parameters.__struct_fields__])
    texts = st.one_of(
        st.text(max_size=20),
        st.sampled_from(["2026-01-01", "0001-01-01", "9999-12-31", "true", "-1", "EUR", "a=b", "full", "UTC", "\x00"]),
    )
    pairs = st.lists(st.tuples(st.one_of(names, st.text(max_size=5)), texts), max_size=4)
    asked = 0

    @seed(SEED)
    @settings(
        max_examples=300, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from([*REPORTS, "none"]), pairs)
    def ask(name: str, given_pairs: list[tuple[str, str]]) -> None:
        nonlocal asked
        query = urlencode(given_pairs, encoding="utf-8", errors="surrogatepass").encode()
        request = b"GET /api/v1/reports/%b?%b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n\r\n"
        target.count(client.ask(request % (name.encode(), query, target.token.encode())), (name, query))
        asked += 1

    with RawClient(target.port) as client:
        ask()
        for name, report in REPORTS.items():
            days = [field for field in ("start", "end", "as_of") if field in report.parameters.__struct_fields__]
            for query in (f"{field}={day}&time_zone={zone}" for field in days for day in EDGES for zone in ZONES):
                head = f"GET /api/v1/reports/{name}?{query} HTTP/1.1\r\nHost: localhost\r\n"
                answer = client.ask(f"{head}Authorization: Bearer {target.token}\r\n\r\n".encode())
                target.count(answer, (name, query))
                asked += 1
    assert asked >= 350


def spelled_out(document: dict[str, Any], place: int) -> dict[str, Any]:
    """Return the description with one event of the vocabulary in full: the generator does not know `if` and `then`."""
    event = document["components"]["schemas"]["Event"]
    chosen = event.pop("allOf")[place]
    event["properties"] |= chosen["if"]["properties"] | chosen["then"]["properties"]
    return document


def test_what_the_description_allows_and_forbids(target: Target) -> None:
    """Requests by schemathesis from `/openapi.json`; not of commands of this machine's owner, who may read its files."""
    with RawClient(target.port) as client:
        described = client.ask(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n").body
    count = len(msgspec.json.decode(described)["components"]["schemas"]["Event"]["allOf"])
    sent = 0
    for place in range(SEED % STEP, count, STEP):
        schema = schemathesis.openapi.from_dict(spelled_out(msgspec.json.decode(described), place))
        for result in schema.get_all_operations():
            operation = result.ok()
            raw = operation.definition.raw
            if operation.path != "/v1/events" and (place >= STEP or raw["x-access"] in ("admin_token", "source")):
                continue
            sent += drive(target, operation, schemathesis.GenerationMode.POSITIVE, 6)
            if raw["parameters"] or "requestBody" in raw:
                sent += drive(target, operation, schemathesis.GenerationMode.NEGATIVE, 6)
    assert sent >= 100


def drive(target: Target, operation: Any, mode: Any, examples: int) -> int:
    """Send what schemathesis makes of an operation, hold the answers to its description, return how many there were."""
    sent = 0
    key = target.token if "/reports/" in operation.path else target.key
    checks = [
        schemathesis.checks.not_a_server_error, schemathesis.checks.CHECKS.get_one("status_code_conformance"),
        schemathesis.checks.CHECKS.get_one("content_type_conformance"), schemathesis.checks.CHECKS.get_one("response_schema_conformance"),
    ]  # fmt: skip

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        nonlocal sent
        sent += 1
        answer = case.call(base_url=f"http://127.0.0.1:{target.port}", headers={"Authorization": f"Bearer {key}"})
        case.validate_response(answer, checks=checks)
        if operation.path == "/v1/events" and answer.status_code == 200:
            target.book.answer(answer.status_code, answer.content)
        target.requests += 1
        target.statuses[answer.status_code] += 1

    run()
    return sent


def find_wrong_in(door: Door) -> list[str]:
    """Return where rows, counters and quarantine disagree, whatever the answers were."""
    told = Book()
    told.tell(door.accepted, door.duplicates)
    told.rejected.update(door.rejected)
    return find_wrong(told, door)


def test_afterwards_everything_still_works(target: Target) -> None:
    assert target.requests >= AT_LEAST, target.requests
    assert_adds_up(target.book, read_door(target.db, ["web", "till"]))
    assert target.book.accepted > 1_000
    assert target.book.rejected.total() > 1_000
    assert target.book.duplicates > 0
    everybody = read_door(target.db)
    assert find_wrong_in(everybody) == []
    with RawClient(target.port) as client:
        ends_at = time.monotonic() + 30
        while client.ask(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").json()["projector_lag_events"]:
            assert time.monotonic() < ends_at
            time.sleep(0.05)
        ready = client.ask(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").json()
        assert (ready["is_ready"], ready["projector_failure"]) == (True, None)
        for name in REPORTS:
            head = b"GET /api/v1/reports/%b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n\r\n"
            answer = client.ask(head % (name.encode(), target.token.encode()))
            assert (answer.status, answer.json()["scope"]["waiting_events"]) == (200, 0), (name, answer.body[:300])
        answer = client.ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer.status == 200
        assert_metrics_agree(answer.body.decode(), everybody)
    for table in TABLES:
        for exporter in ("csv", "jsonl"):
            arguments = [
                exporter,
                "--to",
                str(target.db.with_name(f"{table}.{exporter}")),
                "--table",
                table,
                "--db",
                str(target.db),
            ]
            done = CliRunner().invoke(export, arguments, catch_exceptions=False)
            assert done.exit_code == 0, (table, done.output)
    assert "Traceback" not in target.errors.read_text(errors="replace")
