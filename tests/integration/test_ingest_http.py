"""`POST /v1/events` to the letter of its contract, and every other answer a sender can get."""

from __future__ import annotations

import asyncio
import gzip
import threading
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from in_process_http import Application
from shop_events import START_MS, rfc3339, wire_event
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.web.ingest import EventGate

OpenCollector = Callable[..., Collector]


@pytest.fixture
def app(collector: Collector) -> Application:
    key = collector.store.create_key(source="web")
    collector.reload_keys()
    return Application(collector, key)


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    body = answer.json()
    assert set(body) <= {"code", "message", "field"}
    assert body["message"]
    return answer.status_code, body["code"], body.get("field")


def ack(answer: httpx.Response) -> tuple[int, int, list[Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["accepted", "duplicates", "rejected"]
    return body["accepted"], body["duplicates"], body["rejected"]


EVENT = wire_event("1")


@pytest.mark.parametrize(
    "body", [{"events": [EVENT], "sent_at": rfc3339(START_MS)}, [EVENT], EVENT], ids=["batch", "array", "one event"]
)
def test_every_form_of_body_is_kept(app: Application, body: Any) -> None:
    assert ack(app.post(body)) == (1, 0, [])
    assert app.stored() == ["1"]


def test_nothing_sent_is_nothing_kept(app: Application) -> None:
    assert ack(app.post({"events": []})) == (0, 0, [])
    assert ack(app.post([])) == (0, 0, [])


def test_bad_events_are_named_and_do_not_sink_the_others(app: Application) -> None:
    batch = [wire_event("1"), wire_event("2", colour="red"), wire_event("3"), 7]
    accepted, duplicates, rejected = ack(app.post(batch))
    assert (accepted, duplicates) == (2, 0)
    assert [(r["index"], r["id"], r["code"], r["field"]) for r in rejected] == [
        (1, "2", "unknown_field", "colour"), (3, None, "invalid_type", None),
    ]  # fmt: skip
    assert all(list(r) == ["index", "id", "code", "field", "message"] for r in rejected)
    assert app.stored() == ["1", "3"]
    with app.collector.store.reading() as reader:
        kept = reader.execute("SELECT code, field, body FROM quarantine ORDER BY id").fetchall()
    assert kept == [("unknown_field", "colour", msgspec.json.encode(batch[1])), ("invalid_type", None, b"7")]


def test_what_was_sent_before_is_a_duplicate_in_any_mixture(app: Application) -> None:
    app.post([wire_event("1"), wire_event("2")])
    assert ack(app.post([wire_event("2"), wire_event("3"), wire_event("3"), wire_event("1")])) == (1, 3, [])
    assert app.stored() == ["1", "2", "3"]


def test_one_id_of_two_senders_is_two_events(app: Application) -> None:
    till = Application(app.collector, app.collector.store.create_key(source="till"))
    app.collector.reload_keys()
    assert ack(app.post(EVENT)) == ack(till.post(EVENT)) == (1, 0, [])


def test_what_was_sent_is_accounted_for_to_the_event(app: Application) -> None:
    app.post([wire_event("1"), wire_event("1"), wire_event("2", colour="red")])
    app.post([wire_event("1"), wire_event("3", colour="red"), wire_event("4", page=1)])
    with app.collector.store.reading() as reader:
        counts = dict(reader.execute("SELECT name, sum(n) FROM counters GROUP BY name"))
    assert counts == {"accepted": 1, "duplicate": 2, "rejected:unknown_field": 2, "rejected:invalid_type": 1}


PLAIN = msgspec.json.encode([EVENT])


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(gzip.compress(PLAIN), {"content_encoding": "gzip"}, id="gzip"),
        pytest.param(gzip.compress(PLAIN), {"content_encoding": "GZIP"}, id="gzip in capitals"),
        pytest.param(gzip.compress(PLAIN), {}, id="gzip without a word"),
        pytest.param(
            gzip.compress(PLAIN[:9]) + gzip.compress(PLAIN[9:]), {"content_encoding": "gzip"}, id="gzip in two members"
        ),
        pytest.param(zlib.compress(PLAIN), {"content_encoding": "deflate"}, id="deflate"),
        pytest.param(PLAIN, {"content_encoding": "gzip"}, id="called gzip, but plain"),
        pytest.param(PLAIN, {"content_encoding": "identity"}, id="identity"),
        pytest.param(PLAIN, {"content_type": "text/plain;charset=UTF-8"}, id="a beacon's content type"),
    ],
)
def test_bodies_may_be_compressed(app: Application, body: bytes, headers: dict[str, str]) -> None:
    assert ack(app.post(body, **headers)) == (1, 0, [])


def bomb(megabytes: int) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(squeezer.compress(b"\0" * 1_000_000) for _ in range(megabytes)) + squeezer.flush()


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        pytest.param(b"", {}, (400, "invalid_json", None), id="nothing"),
        pytest.param(b"{", {}, (400, "invalid_json", None), id="cut off"),
        pytest.param(b'{"events": 5}', {}, (400, "invalid_batch", "events"), id="no list"),
        pytest.param(b'{"events": [{"a": "\x01"}', {}, (400, "invalid_json", None), id="damaged and cut off"),
        pytest.param(b"[" * 100_000, {}, (400, "invalid_json", None), id="lists in lists"),
        pytest.param(b"[" + b"1," * 2500 + b"1]", {}, (400, "batch_too_large", None), id="too many"),
        pytest.param(b" " * 5_000_001, {}, (413, "body_too_large", None), id="too large"),
        pytest.param(bomb(50), {"content_encoding": "gzip"}, (413, "body_too_large", None), id="bomb"),
        pytest.param(bomb(4) * 2, {}, (413, "body_too_large", None), id="bomb in two members"),
        pytest.param(gzip.compress(b"") * 200, {}, (413, "body_too_large", None), id="a heap of empty members"),
        pytest.param(gzip.compress(PLAIN)[:-9], {}, (400, "invalid_encoding", None), id="gzip cut off"),
        pytest.param(gzip.compress(PLAIN)[:20] + b"\0" * 20, {}, (400, "invalid_encoding", None), id="gzip damaged"),
        pytest.param(gzip.compress(PLAIN) + b"more", {}, (400, "invalid_encoding", None), id="gzip and something else"),
        pytest.param(PLAIN, {"content_encoding": "deflate"}, (400, "invalid_encoding", None), id="no deflate"),
        pytest.param(PLAIN, {"content_encoding": "br"}, (415, "unsupported_encoding", None), id="brotli"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_refused_whole(
    app: Application, body: bytes, headers: dict[str, str], expected: tuple[int, str, str | None]
) -> None:
    assert error(app.post(body, **headers)) == expected
    assert app.stored() == []


def test_a_body_is_refused_before_it_has_come_whole(app: Application) -> None:
    taken = 0

    async def endless() -> Any:
        nonlocal taken
        while taken < 50:
            taken += 1
            yield b" " * 1_000_000

    answer = app.ask("POST", "/v1/events", content=endless(), headers={"authorization": f"Bearer {app.key}"})
    assert error(answer)[:2] == (413, "body_too_large")
    assert taken <= 7


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer nonsense", "Basic dXNlcjo=", "Bearer ttw_\xff\xfe", "Bearer " + "k" * 9000],
)
def test_without_a_valid_key_nothing_gets_in(app: Application, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    answer = app.ask("POST", "/v1/events", content=PLAIN, headers=headers)
    assert error(answer) == (401, "unknown_key", None)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert app.stored() == []


def test_a_read_token_does_not_write_and_a_write_key_does_not_read(app: Application) -> None:
    token = app.collector.store.create_key(source=None)
    app.collector.reload_keys()
    assert error(Application(app.collector, token).post(EVENT))[:2] == (403, "wrong_key_kind")
    answer = app.ask("GET", "/api/v1/reports/overview", headers={"authorization": f"Bearer {app.key}"})
    assert error(answer)[:2] == (403, "wrong_key_kind")


def test_a_revoked_key_is_out_at_once(app: Application) -> None:
    assert ack(app.post(wire_event("1")))[0] == 1
    app.collector.store.revoke_key(app.key)
    app.collector.reload_keys()
    assert error(app.post(wire_event("2")))[:2] == (401, "unknown_key")


def test_guessed_keys_are_not_remembered(app: Application) -> None:
    for number in range(50):
        assert app.collector.find_owner(f"guess-{number}") is None
    app.post(EVENT)
    assert list(app.collector._keys._by_key) == [app.key]


def test_a_beacon_gives_its_key_in_the_address(app: Application) -> None:
    assert ack(app.ask("POST", f"/v1/events?key={app.key}", content=PLAIN)) == (1, 0, [])
    assert error(app.ask("POST", "/v1/events?key=nonsense", content=PLAIN))[:2] == (401, "unknown_key")


def test_a_browser_may_send_from_any_origin(app: Application) -> None:
    origin = {"origin": "https://shop.example"}
    asked = app.ask(
        "OPTIONS", "/v1/events",
        headers=origin | {"access-control-request-method": "POST", "access-control-request-headers": "authorization, content-encoding"},
    )  # fmt: skip
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-headers"] == "authorization, content-encoding"
    assert "POST" in asked.headers["access-control-allow-methods"]
    good, bad = app.post(EVENT, **origin), app.ask("POST", "/v1/events", headers=origin)
    for answer in (asked, good, bad):
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in app.post(EVENT).headers


def test_validation_answers_the_same_and_keeps_nothing(app: Application) -> None:
    batch = [wire_event("1"), wire_event("2", colour="red")]
    checked = ack(app.post(batch, "/v1/events/validate"))
    with app.collector.store.reading() as reader:
        for table in ("events", "quarantine", "counters"):
            assert reader.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    assert checked == ack(app.post(batch))


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nowhere", (404, "not_found", None)),
        ("GET", "/v1/events/", (404, "not_found", None)),
        ("GET", "/v1/events", (405, "method_not_allowed", None)),
        ("DELETE", "/v1/events", (405, "method_not_allowed", None)),
        ("POST", "/healthz", (405, "method_not_allowed", None)),
        ("GET", "/api/v1/reports/overview", (401, "unknown_token", None)),
        ("POST", "/api/v1/admin/rebuild", (401, "unknown_token", None)),
        ("GET", "/api/v1/admin/rebuild", (405, "method_not_allowed", None)),
    ],
)
def test_errors_are_json_wherever_they_arise(
    app: Application, method: str, path: str, expected: tuple[int, str, str | None]
) -> None:
    answer = app.ask(method, path)
    assert error(answer) == expected
    if answer.status_code == 405:
        assert answer.headers["allow"]


def test_a_report_that_does_not_exist_and_a_parameter_that_does_not_fit_are_named(app: Application) -> None:
    token = {"authorization": f"Bearer {app.collector.store.create_key(source=None)}"}
    app.collector.reload_keys()
    assert error(app.ask("GET", "/api/v1/reports/horoscope", headers=token)) == (404, "unknown_report", None)
    wrong = app.ask("GET", "/api/v1/reports/overview?start=soon", headers=token)
    assert error(wrong) == (400, "invalid_parameter", "start")


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("127.0.0.1:8377", 200), ("LOCALHOST", 200), ("[::1]:8377", 200), ("evil.example", 421),
     ("evil.example:8377", 421), ("127.0.0.1.evil.example", 421), ("", 421)],
)  # fmt: skip
def test_on_loopback_only_loopback_names_are_served(app: Application, host: str, status: int) -> None:
    answer = app.ask("GET", "/healthz", headers={"host": host})
    assert answer.status_code == status
    if status == 421:
        assert error(answer) == (421, "wrong_host", None)


def test_a_name_that_is_allowed_is_served(open_collector: OpenCollector) -> None:
    collector = open_collector(allowed_hosts=("track.shop.example",))
    assert Application(collector, "").ask("GET", "/healthz", headers={"host": "track.shop.example"}).status_code == 200


def test_an_unforeseen_failure_is_json_too_and_says_nothing_of_its_cause(app: Application) -> None:
    app.collector.find_owner = lambda key: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    answer = app.post(EVENT)
    assert error(answer) == (500, "internal_error", None)
    assert "division" not in answer.text
    assert answer.headers["connection"] == "close"


def test_a_store_that_cannot_write_says_when_to_come_back(app: Application) -> None:
    app.collector.store.write(lambda connection: connection.execute("PRAGMA query_only = 1"))
    answer = app.post(EVENT)
    assert error(answer)[:2] == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert app.stored() == []
    app.collector.store.writer._connection.execute("PRAGMA query_only = 0")
    assert ack(app.post(EVENT)) == (1, 0, [])


def test_a_collector_that_stops_takes_nothing_more(app: Application) -> None:
    app.collector.close()
    assert error(app.post(EVENT))[:2] == (503, "unavailable")


def test_readiness_tells_what_is_the_matter(app: Application) -> None:
    assert app.ask("GET", "/healthz").json() == {"status": "ok"}
    ready = app.ask("GET", "/readyz")
    assert (ready.status_code, ready.json()["is_ready"], ready.json()["projector_lag_events"]) == (200, True, 0)
    app.post(EVENT)
    assert app.ask("GET", "/readyz").json()["projector_lag_events"] == 1
    app.collector.stop_taking()
    assert app.ask("GET", "/readyz").status_code == 503


def test_many_requests_at_once_are_each_answered_with_their_own(app: Application) -> None:
    headers = {"authorization": f"Bearer {app.key}"}
    requests = [
        (
            "POST",
            "/v1/events",
            {"content": msgspec.json.encode([wire_event(f"{n}-{k}") for k in range(n % 5)]), "headers": headers},
        )
        for n in range(200)
    ]
    assert [ack(answer)[0] for answer in app.ask_all(requests)] == [n % 5 for n in range(200)]
    assert len(app.stored()) == 400


def test_a_sender_that_went_away_while_its_events_were_written_disturbs_nobody(app: Application) -> None:
    """Its loop is closed before the commit: the writer goes on, and the events are there."""
    gate = threading.Event()
    app.collector.store.begin_write(lambda _: gate.wait(5))
    prepared = app.collector.ingest.prepare(msgspec.json.encode([EVENT]), source_id=1, now_ms=START_MS)

    async def go_away() -> None:
        waiting = asyncio.ensure_future(EventGate(app.collector).commit(prepared))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(go_away())
    gate.set()
    assert ack(app.post(wire_event("2"))) == (1, 0, [])
    assert app.stored() == ["1", "2"]


def test_a_sender_with_a_wrong_clock_costs_nothing_but_its_clock(app: Application) -> None:
    for number, sent_at in enumerate(
        ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "now", "", 5, [], {"a": 1}, None)
    ):
        event = wire_event(str(number), occurred_at=None)
        assert ack(app.post({"sent_at": sent_at, "events": [event]})) == (1, 0, [])
    with app.collector.store.reading() as reader:
        assert reader.execute("SELECT DISTINCT sent_at, occurred_at = received_at FROM events").fetchall() == [
            (None, 1)
        ]


def test_one_event_that_is_no_json_is_rejected_and_the_others_are_kept(app: Application) -> None:
    good, bad = [msgspec.json.encode(wire_event(str(number))) for number in range(3)], b'{"event_id":"x\n","a":"}]\\q"}'
    deep = b'{"event_id":"y","name":"own","anonymous_id":"a","properties":' + b'{"a":' * 1_000 + b"1" + b"}" * 1_001
    accepted, duplicates, rejected = ack(app.post(b"[" + b",".join([good[0], bad, good[1], deep, good[2]]) + b"]"))
    assert (accepted, duplicates) == (3, 0)
    assert [(r["index"], r["code"]) for r in rejected] == [(1, "invalid_json"), (3, "too_deep")]
    assert app.stored() == ["0", "1", "2"]
    with app.collector.store.reading() as reader:
        kept = reader.execute("SELECT code, body FROM quarantine ORDER BY id").fetchall()
    assert kept == [("invalid_json", bad), ("too_deep", deep)]


def test_a_duplicate_is_an_event_that_is_there(app: Application) -> None:
    """Ids that hold an address, or half a character, are not kept as they came; no two of them are one all the same."""
    ids = ["evt-A@x.example", "evt-a@x.example", "evt-a%40x.example", "sur\\ud800", "sur\\ud801", "sur\ufffd"]
    body = b"[" + b",".join(b'{"event_id":"%b","name":"own","anonymous_id":"a"}' % one.encode() for one in ids) + b"]"
    assert ack(app.post(body)) == (len(ids), 0, [])
    assert ack(app.post(body)) == (0, len(ids), [])
    assert len(set(app.stored())) == len(ids)
    assert b"x.example" not in app.collector.store.path.read_bytes()
