"""Hostile bodies through the real door, ours and the plugins': never a 5xx, the rest of a batch is kept, faults named."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from in_process_http import Application
from shop_events import wire_event
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.settings import Settings, StoreSettings

GOOD = msgspec.json.encode(wire_event("good"))
PATHS = ["/v1/events", "/v1/events/validate", "/v1/batch", "/v1/track", "/v1/identify", "/v1/page"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """A collector with every installed plugin; at the end, all that was sent is in its database or named in it."""
    settings = Settings(store=StoreSettings(db=tmp_path_factory.mktemp("hostile") / "shop.db"))
    collector = Collector(settings, PluginHost.load(settings), starts_projector=False)
    key = collector.store.create_key(source="web")
    collector.reload_keys()
    yield Application(collector, key)
    with collector.store.reading() as reader:
        counts = dict(reader.execute("SELECT name, sum(n) FROM counters GROUP BY name"))
        (stored,) = reader.execute("SELECT count(*) FROM events").fetchone()
        (times,) = reader.execute("SELECT coalesce(sum(times), 0) FROM quarantine").fetchone()
    collector.close()
    assert stored == counts.get("accepted", 0)
    assert times == sum(n for name, n in counts.items() if name.startswith("rejected:"))
    print(f"{stored} stored, {times} rejected, {counts.get('duplicate', 0)} twice")


def event(members: bytes, properties: bytes = b"{}") -> bytes:
    return b'{"event_id":"odd","name":"own_thing","anonymous_id":"a","properties":' + properties + members + b"}"


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


ODD: dict[str, tuple[bytes, str, str | None]] = {
    "depth": (event(b"", b'{"a":' + nested(16) + b"}"), "too_deep", None),
    "depth of thousands": (event(b"", b'{"a":' + nested(900) + b"}"), "too_deep", None),
    "depth beyond all readers": (event(b"", b'{"a":' + nested(5_000) + b"}"), "too_deep", None),
    "a control character": (event(b',"page":{"title":"a\x01b"}'), "invalid_json", None),
    "a bad escape": (event(b',"page":{"title":"\\x}]"}'), "invalid_json", None),
    "a crowd": (event(b"", json.dumps({"p": "a@b.example " * 101}).encode()), "too_large", "properties.p"),
    "too many properties": (event(b"", json.dumps({f"p{n}": n for n in range(65)}).encode()), "too_large", "properties"),
    "too large": (event(b"", b'{"a":"' + b"x" * 65_536 + b'"}'), "too_large", None),
    "an id too long": (event(b"").replace(b'"odd"', b'"' + b"i" * 129 + b'"'), "invalid_value", "event_id"),
    "a name too long": (event(b"").replace(b"own_thing", b"n" * 65), "invalid_value", "name"),
    "a number beyond floats": (event(b"", b'{"n":1e400}'), "invalid_value", "properties[...]"),
    "NaN": (event(b',"occurred_at":NaN'), "invalid_value", "occurred_at"),
    "the year 10000": (event(b',"occurred_at":"10000-01-01T00:00:00Z"'), "invalid_value", "occurred_at"),
    "the year 0": (event(b',"occurred_at":"0000-01-01T00:00:00Z"'), "invalid_value", "occurred_at"),
    "a time beyond all clocks": (event(b',"occurred_at":"9999-12-31T23:59:59-23:59"'), "invalid_value", "occurred_at"),
    "a batch in a batch": (b'{"events":[' + GOOD + b"]}", "unknown_field", "events"),
    "a list in a batch": (b"[" + GOOD + b"]", "invalid_type", None),
    "null": (b"null", "invalid_type", None),
    "text": (b'"own_thing"', "invalid_type", None),
    "a long name of a field": (event(b',"' + b"f" * 60_000 + b'":1'), "unknown_field", "f" * 100),
    "an amount with a hostile exponent": (
        b'{"event_id":"o","name":"order_placed","anonymous_id":"a",'
        b'"properties":{"order_id":"1","currency":"EUR","total":"1e999999999"}}', "invalid_value", "properties.total",
    ),
    "a tiny amount": (
        b'{"event_id":"o","name":"order_placed","anonymous_id":"a",'
        b'"properties":{"order_id":"1","currency":"EUR","total":"-1e-999999999"}}', "invalid_value", "properties.total",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("odd", "code", "field"), ODD.values(), ids=ODD)
def test_one_hostile_event_is_named_and_the_rest_of_its_batch_is_kept(
    app: Application, odd: bytes, code: str, field: str | None
) -> None:
    answer = app.post(b"[" + GOOD + b"," + odd + b"," + GOOD + b"]")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["accepted"] + told["duplicates"] == 2
    (rejected,) = told["rejected"]
    assert (rejected["index"], rejected["code"], rejected["field"]) == (1, code, field)
    assert len(rejected["message"]) < 400


KEPT: dict[str, bytes] = {
    "integers beyond 64 bits": event(b"", b'{"n":' + b"9" * 200 + b',"m":-9223372036854775809}'),
    "NUL": event(b"", b'{"n":"a\\u0000b","\\u0000":1}'),
    "half an emoji": event(b',"page":{"title":"\\ud83d"}'),
    "the same key twice": event(b',"anonymous_id":"b","anonymous_id":"c"', b'{"n":1,"n":2}'),
    "NaN as a value": event(b"", b'{"n":NaN,"m":-Infinity}'),
    "a very small number": event(b"", b'{"n":1e-400}'),
    "an empty name": event(b"", b'{"":1}'),
    "a user agent of pages": event(b',"device":{"user_agent":"' + b"u" * 5_000 + b'"}'),
    "a title of pages": event(b',"page":{"title":"' + b"t" * 30_000 + b'"}'),
    "a leap second": event(b',"occurred_at":"2016-12-31T23:59:60Z"'),
    "half an emoji in an id": event(b"").replace(b'"odd"', b'"odd-half\\ud83d"'),
    "a smiley": event(b"", '{"😀":"😀"}'.encode()),
}


@pytest.mark.parametrize("odd", KEPT.values(), ids=KEPT)
def test_what_is_only_odd_is_kept_and_derived(app: Application, odd: bytes) -> None:
    odd = odd.replace(b'"odd"', b'"odd-%d"' % list(KEPT.values()).index(odd))
    answer = app.post(b'{"events":[' + odd + b"]}")
    assert answer.json()["accepted"] == 1, answer.text
    app.collector.projector.catch_up()
    with app.collector.store.reading() as reader:
        (body,) = reader.execute("SELECT body FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    assert len(json.loads(body).get("device", {}).get("user_agent", "")) <= 512


WHOLE: dict[str, tuple[bytes, dict[str, str]]] = {
    "nothing": (b"", {}),
    "blanks": (b" \n", {}),
    "a number": (b"1", {}),
    "a text": (b'"x"', {}),
    "null": (b"null", {}),
    "true": (b"true", {}),
    "NUL": (b"\0", {}),
    "a byte order mark alone": (b"\xef\xbb\xbf", {}),
    "UTF-16": (GOOD.decode().encode("utf-16"), {}),
    "UTF-32": (GOOD.decode().encode("utf-32"), {}),
    "no UTF-8": (GOOD.replace(b"good", b"\xff\xfe"), {}),
    "overlong UTF-8": (GOOD.replace(b"good", b"\xc0\x80"), {}),
    "cut off": (GOOD[:-5], {}),
    "two events without a comma": (GOOD + GOOD, {}),
    "lists of lists": (nested(100_000), {}),
    "objects in objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, {}),
    "a batch that is a text": (b'{"events":"x"}', {}),
    "a batch of a batch": (b'{"batch":{"batch":[]}}', {}),
    "too many": (b"[" + b"1," * 2_600 + b"1]", {}),
    "too many calls": (b'{"batch":[' + b"1," * 2_600 + b"1]}", {}),
    "too large": (b" " * 5_000_001, {}),
    "a bomb": (gzip.compress(b"\0" * 20_000_000), {}),
    "a bomb of deflate": (zlib.compress(b"\0" * 20_000_000), {"content_encoding": "deflate"}),
    "a bomb in a bomb": (gzip.compress(gzip.compress(b"\0" * 20_000_000)), {}),
    "a thousand members": (gzip.compress(b"[]") * 1_000, {}),
    "something after the end": (gzip.compress(b"[]") + b"\0\0garbage", {}),
    "a member cut off": (gzip.compress(GOOD)[:-6], {}),
    "only a head": (b"\x1f\x8b", {}),
    "a wrong sum": (gzip.compress(GOOD)[:-8] + b"\0" * 8, {}),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x00", {"content_encoding": "zstd"}),
    "brotli": (b"\x0b\x02\x80[]\x03", {"content_encoding": "br"}),
    "gzip twice": (gzip.compress(gzip.compress(GOOD)), {"content_encoding": "gzip, gzip"}),
    "an encoding of signs": (GOOD, {"content_encoding": "%;{}"}),
    "deflate without its head": (zlib.compress(GOOD, wbits=-15), {"content_encoding": "deflate"}),
}  # fmt: skip
UNSUPPORTED = {"zstd", "brotli", "gzip twice", "an encoding of signs"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("case", WHOLE)
def test_a_hostile_body_is_refused_or_counted_and_never_a_fault_of_ours(app: Application, path: str, case: str) -> None:
    body, headers = WHOLE[case]
    answer = app.post(body, path, **headers)
    assert answer.status_code in (200, 400, 401, 413, 415), answer.text
    assert answer.headers["content-type"].startswith("application/json")
    if answer.status_code == 200:
        told = answer.json()
        assert told.get("rejected") or told.get("success"), told
    else:
        assert answer.json()["code"]
        assert answer.json()["message"]
    if case in UNSUPPORTED and not body.startswith(b"\x1f\x8b"):
        assert answer.status_code == 415


def test_a_byte_order_mark_is_passed_over(app: Application) -> None:
    answer = app.post(b"\xef\xbb\xbf" + event(b"").replace(b'"odd"', b'"bom"'))
    assert answer.json()["accepted"] == 1


BYTES = st.sampled_from(
    [GOOD, b"[" + GOOD + b"," + GOOD + b"]", event(b"", b'{"a":[1,{"b":"c\\u00e4"}]}'), gzip.compress(GOOD),
     b'{"batch":[{"type":"track","event":"X","anonymousId":"a","properties":{"a":1}}]}']
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Bytes of a good body with a few of them changed, cut, doubled or put in."""
    body = bytearray(draw(BYTES))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(body)))
        bit = draw(
            st.sampled_from(
                [b"", b"\0", b'"', b"{", b"[", b"}", b"\\ud800", b"\xff", b"1e999", b":", b",", b"\x1f\x8b"]
            )
        )
        end = place + draw(st.integers(0, 4))
        body[place:end] = bit
    return bytes(body)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(mutated() | st.binary(max_size=60), min_size=10, max_size=10))
def test_mutated_bodies_are_never_a_fault_of_ours(app: Application, bodies: list[bytes]) -> None:
    headers = {"authorization": f"Bearer {app.key}"}
    requests = [
        ("POST", path, {"content": body, "headers": headers}) for body in bodies for path in ("/v1/events", "/v1/batch")
    ]
    for answer in app.ask_all(requests):
        assert answer.status_code in (200, 400, 401, 413), answer.text
        assert isinstance(answer.json(), dict)


def test_bombs_take_little_memory(app: Application) -> None:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(squeezer.compress(b"\0" * 1_000_000) for _ in range(300)) + squeezer.flush()
    members = gzip.compress(b" " * 40_000) * 99
    app.post(bomb)
    tracemalloc.start()
    try:
        statuses = {app.post(body).status_code for body in (bomb, members, gzip.compress(bomb))}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert statuses == {413, 400}
    # What may be unpacked, once more as one piece, and once as text for a second look.
    assert peak < 25_000_000
