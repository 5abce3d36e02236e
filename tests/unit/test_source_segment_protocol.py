"""Segment's paths, bodies, keys, limits and answers."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from touchtrail.events import VOCABULARY
from touchtrail_collector.api import (
    Endpoint,
    SourceAck,
    SourceEvents,
    SourceRefusal,
    SourceReject,
    SourceRequest,
    SourceResponse,
)
from touchtrail_collector.domain.event import EventChecker, EventRejected
from touchtrail_collector.domain.privacy import Pseudonymiser
from touchtrail_collector.testing import check_source
from touchtrail_plugins.sources import segment

CALLS = ("track", "identify", "page", "screen", "group", "alias")
RECEIVED_AT = 1_795_255_200_000
TRACK = {"userId": "u", "event": "Signed In", "messageId": "m-1"}


def endpoints(plugin_settings: Any = None) -> dict[str, Endpoint]:
    (source,) = segment.touchtrail_sources(settings=plugin_settings)
    return {endpoint.path: endpoint for endpoint in source.endpoints}


ENDPOINTS = endpoints()


def request(path: str, body: Any = b"", **members: Any) -> SourceRequest:
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    asked = SourceRequest(
        method="POST", path=path, path_params={}, query={}, headers={}, body=encoded, received_at=RECEIVED_AT
    )
    return msgspec.structs.replace(asked, **members)


def read(path: str, body: Any = b"", **members: Any) -> SourceEvents:
    return ENDPOINTS[path].read(request(path, body, **members))


def events_of(batch: SourceEvents) -> list[Mapping[str, Any]]:
    return [event for event in batch.events if not isinstance(event, SourceReject)]


def refused(path: str, body: Any) -> SourceResponse:
    with pytest.raises(SourceRefusal) as refusal:
        read(path, body)
    return refusal.value.response


def basic(credentials: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}


@pytest.mark.parametrize("kind", CALLS)
def test_every_call_has_its_long_and_its_short_path(kind: str) -> None:
    body = {"userId": "u", "event": "Signed In", "groupId": "g", "previousId": "p", "writeKey": "k", "messageId": "m"}
    long, short = read(f"/v1/{kind}", body), read(f"/v1/{kind[0]}", body)
    assert long == short
    assert long.key == "k"
    assert events_of(long)[0]["event_id"] == "m"
    assert ENDPOINTS[f"/v1/{kind}"].methods == ("POST",)


def test_the_path_decides_the_type_of_a_single_call() -> None:
    (event,) = events_of(read("/v1/p", {"type": "track", "anonymousId": "a"}))
    assert event["name"] == "page_viewed"


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b"])
def test_a_batch_gives_its_context_to_every_item_and_an_item_keeps_its_own(path: str) -> None:
    body = {
        "writeKey": "k", "sentAt": "2026-11-21T10:00:00Z", "integrations": {"All": True},
        "context": {"locale": "de-DE", "page": {"title": "T", "url": "https://shop.example/"}},
        "batch": [
            {"type": "track", **TRACK},
            {"type": "page", "anonymousId": "a", "context": {"locale": "en-GB", "page": {"title": "Own"}}},
            {"type": "identify", "userId": "u", "anonymousId": None, "context": None, "traits": None},
        ],
    }  # fmt: skip
    batch = read(path, body)
    assert (batch.key, batch.sent_at) == ("k", "2026-11-21T10:00:00Z")
    first, second, third = events_of(batch)
    assert (first["device"], first["page"]["title"]) == ({"locale": "de-DE"}, "T")
    assert second["device"] == {"locale": "en-GB"}
    assert second["page"] == {"title": "Own", "url": "https://shop.example/"}
    assert (third["name"], third["device"]) == ("customer_identified", {"locale": "de-DE"})


def test_a_bad_item_does_not_sink_its_batch_and_names_its_place() -> None:
    items = [{"type": "track", **TRACK}, 7, {"userId": "u"}, {"type": "track", "event": "x", "properties": "no"}]
    batch = read("/v1/batch", {"batch": items})
    kept, number, typeless, broken = batch.events
    assert not isinstance(kept, SourceReject)
    found = [(item.code, item.field) for item in (number, typeless, broken) if isinstance(item, SourceReject)]
    assert found == [
        ("invalid_type", "batch[1]"),
        ("missing_field", "batch[2].type"),
        ("invalid_type", "batch[3].properties"),
    ]
    assert isinstance(typeless, SourceReject)
    assert msgspec.json.decode(typeless.raw) == {"userId": "u"}


def test_an_empty_batch_is_no_mistake() -> None:
    assert read("/v1/batch", {"batch": [], "writeKey": "k"}).events == ()


@pytest.mark.parametrize(
    ("body", "members", "key"),
    [
        ({"writeKey": "in-body"}, {}, "in-body"),
        ({}, {"headers": basic("in-user:")}, "in-user"),
        ({}, {"headers": basic("in-user")}, "in-user"),
        ({}, {"headers": {"authorization": "basic aW4tdXNlcg"}}, "in-user"),
        ({"writeKey": "in-body"}, {"headers": basic("in-user:")}, "in-body"),
        ({"writeKey": "in-body"}, {"headers": {"authorization": "Bearer oauth"}}, "in-body"),
        ({}, {"headers": {"authorization": "Bearer key"}}, "key"),
        ({}, {"query": {"writeKey": "in-query"}}, "in-query"),
        ({"writeKey": None}, {}, None),
        ({"writeKey": 5}, {"headers": {"authorization": "Basic ////"}}, None),
        ({}, {"headers": {"authorization": "Basic ä"}}, None),
        ({}, {"headers": {"authorization": "Digest x"}}, None),
    ],
)
@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
def test_the_write_key_is_found_wherever_a_client_puts_it(
    path: str, body: dict[str, Any], members: dict[str, Any], key: str | None
) -> None:
    assert read(path, {**TRACK, "batch": [], **body}, **members).key == key


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"\xff\xfe",
        b'{"event":"\xff"}',
        b"[" * 20_000,
        b'{"a":' * 5_000,
        b'{"a":1e999}',
    ],
)
def test_a_body_that_is_no_json_object_is_refused_with_code_and_message(path: str, body: bytes) -> None:
    response = refused(path, body)
    assert response.status == 400
    assert response.content_type == "application/json"
    answer = msgspec.json.decode(response.body)
    assert set(answer) == {"code", "message"}
    assert answer["code"] in ("invalid_json", "missing_field")


@pytest.mark.parametrize("body", [{}, {"batch": None}, {"batch": {}}, {"batch": "x"}])
def test_a_batch_without_a_list_is_refused(body: dict[str, Any]) -> None:
    assert refused("/v1/b", body).status == 400


def test_a_call_over_32_kb_is_refused_and_in_a_batch_it_alone_is_rejected() -> None:
    big = {"type": "track", "userId": "u", "event": "x", "properties": {"text": "x" * 33_000}}
    assert msgspec.json.decode(refused("/v1/track", big).body)["code"] == "too_large"
    rejected, kept = read("/v1/batch", {"batch": [big, {"type": "track", **TRACK}]}).events
    assert isinstance(rejected, SourceReject)
    assert (rejected.code, rejected.field) == ("too_large", "batch[0]")
    assert not isinstance(kept, SourceReject)


def test_a_batch_over_500_kb_or_2500_events_is_refused() -> None:
    fat = {"type": "track", "userId": "u", "event": "x", "properties": {"text": "x" * 30_000}}
    for batch in ([fat] * 18, [{"type": "track"}] * 2_501):
        response = refused("/v1/batch", {"batch": batch})
        assert (response.status, msgspec.json.decode(response.body)["code"]) == (400, "too_large")
    assert len(read("/v1/batch", {"batch": [{"type": "track", **TRACK}] * 2_500}).events) == 2_500


def test_calls_without_an_id_get_one_that_a_repeated_request_gives_again() -> None:
    item = {"type": "track", "userId": "u", "event": "x", "timestamp": "2026-11-21T10:00:00Z"}
    body = {"batch": [item, item], "sentAt": "2026-11-21T10:00:01Z"}
    first = [event["event_id"] for event in events_of(read("/v1/batch", body))]
    again = [event["event_id"] for event in events_of(read("/v1/batch", body, received_at=RECEIVED_AT + 5_000))]
    assert first == again
    assert len(set(first)) == 2


def test_undated_calls_without_an_id_are_told_apart_by_when_they_came() -> None:
    body = {"userId": "u", "event": "x"}
    first, second = (read("/v1/track", body, received_at=RECEIVED_AT + n) for n in (0, 1))
    assert events_of(first)[0]["event_id"] != events_of(second)[0]["event_id"]


@pytest.mark.parametrize("ack", [SourceAck(accepted=1), SourceAck(duplicates=1), SourceAck(rejected=3)])
def test_the_answer_is_200_whatever_became_of_the_events(ack: SourceAck) -> None:
    for path in ("/v1/track", "/v1/b"):
        response = ENDPOINTS[path].answer(ack, request(path))
        assert (response.status, msgspec.json.decode(response.body)) == (200, {"success": True})


def test_a_wrong_key_is_answered_with_401_code_and_message() -> None:
    for endpoint in ENDPOINTS.values():
        assert endpoint.unauthorized.status == 401
        assert set(msgspec.json.decode(endpoint.unauthorized.body)) == {"code", "message"}


SETTINGS_PATH = "/v1/projects/{key}/settings"


def browser_settings(plugin_settings: Any = None, **headers: str) -> dict[str, Any]:
    endpoint = endpoints(plugin_settings)[SETTINGS_PATH]
    asked = request("/v1/projects/k-1/settings", method="GET", path_params={"key": "k-1"}, headers=headers)
    assert endpoint.methods == ("GET",)
    assert endpoint.read(asked) == SourceEvents(key="k-1", events=())
    answer = msgspec.json.decode(endpoint.answer(SourceAck(), asked).body)
    assert isinstance(answer, dict)
    return answer


def test_analytics_js_is_told_to_send_to_this_collector_and_to_report_nothing_of_itself() -> None:
    answer = browser_settings(host="127.0.0.1:8377")
    wanted = {"apiKey": "k-1", "apiHost": "127.0.0.1:8377/v1", "protocol": "http"}
    assert answer["integrations"] == {"Segment.io": wanted}
    assert answer["metrics"] == {"sampleRate": 0}


@pytest.mark.parametrize(
    ("public_url", "host", "expected"),
    [
        (None, "t.shop.example", ("t.shop.example/v1", "https")),
        ("https://t.shop.example/", "127.0.0.1:8377", ("t.shop.example/v1", "https")),
        ("http://shop.example/track", "x", ("shop.example/track/v1", "http")),
    ],
)
def test_the_public_address_is_the_setting_or_the_host_asked_for(
    public_url: str | None, host: str, expected: tuple[str, str]
) -> None:
    given = msgspec.convert({"public_url": public_url}, segment.touchtrail_settings())
    told = browser_settings(given, host=host)["integrations"]["Segment.io"]
    assert (told["apiHost"], told["protocol"]) == expected


@pytest.mark.parametrize("given", [{"currency": "euro"}, {"public_url": "shop.example"}, {"unknown": 1}])
def test_wrong_settings_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, segment.touchtrail_settings())


TEXT = st.text(max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def objects(members: str, values: st.SearchStrategy[Any] = JSON) -> st.SearchStrategy[Any]:
    """Objects with some of the named members, each holding anything; or anything."""
    return st.dictionaries(st.sampled_from(members.split()), values, max_size=6) | JSON


NAMES = [
    "Order Completed",
    "Email Opened",
    "Product List Filtered",
    "Products Searched",
    "Order Refunded",
    "Song Played",
]
NAMES += ["Checkout Started", "Trial Started", "Install Attributed", "Product Reviewed", "Product Viewed", "page_slow"]
PARTS = objects("price quantity sku type value url title referrer email name width height source")
PROPERTIES = objects(
    "products total revenue subtotal discount tax value price quantity filters sorts query email phone campaign "
    "campaign_name extra order_id rating coupon search url traits id",
    JSON | PARTS | st.lists(PARTS, max_size=3),
)
CONTEXT = objects("page campaign device screen traits consent userAgent referrer timezone sessionId", PARTS)
ENVELOPE = "userId anonymousId messageId timestamp originalTimestamp sentAt writeKey context previousId groupId name"
CALL = st.builds(
    lambda envelope, call: {**envelope, **call} if isinstance(envelope, dict) else envelope,
    objects(ENVELOPE),
    st.fixed_dictionaries(
        {"type": st.sampled_from(CALLS), "event": st.sampled_from(NAMES) | JSON},
        optional={"context": CONTEXT, "properties": PROPERTIES, "traits": PROPERTIES},
    ),
)
CHECKER = EventChecker(VOCABULARY, Pseudonymiser(b"key"))


@settings(max_examples=120, deadline=None)
@given(st.lists(CALL, max_size=4), st.dictionaries(st.sampled_from(ENVELOPE.split()), JSON, max_size=3))
def test_any_json_at_all_is_read_and_kept_or_rejected_by_name(items: list[Any], envelope: dict[str, Any]) -> None:
    batch = read("/v1/batch", {**envelope, "batch": items})
    assert len(batch.events) == len(items)
    assert batch.key is None or isinstance(batch.key, str)
    assert batch.sent_at is None or isinstance(batch.sent_at, str)
    for event in batch.events:
        if isinstance(event, SourceReject):
            assert (event.code, event.message, event.raw) != ("", "", b"")
            continue
        assert 1 <= len(event["event_id"]) <= 128
        with suppress(EventRejected):
            assert CHECKER.check(msgspec.json.encode(event), now_ms=RECEIVED_AT).event_id == event["event_id"]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["/v1/track", "/v1/b", "/v1/i"]), st.text(max_size=20))
def test_any_bytes_and_any_header_are_read_or_refused(body: bytes, path: str, header: str) -> None:
    try:
        batch = read(path, body, headers={"authorization": header})
    except SourceRefusal as refusal:
        status = refusal.response.status
    else:
        status = ENDPOINTS[path].answer(SourceAck(accepted=len(batch.events)), request(path)).status
    assert status in (200, 400)


def test_the_source_passes_the_conformance_kit() -> None:
    items = [{"type": "track", **TRACK}, {"type": "page", "anonymousId": "a", "timestamp": "2026-11-21T10:00:00Z"}]
    body = {**TRACK, "groupId": "g", "previousId": "p", "writeKey": "k", "batch": items}
    (source,) = segment.touchtrail_sources(settings=None)
    samples = [
        request(endpoint.path.replace("{key}", "k"), body, method=endpoint.methods[0], path_params={"key": "k"})
        for endpoint in source.endpoints
    ]
    check_source(source, samples, rejects=[msgspec.json.encode(item) for item in items])
