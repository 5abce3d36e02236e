"""A damaged event among good ones: whatever is wrong inside its brackets, all others are read as they are."""

from __future__ import annotations

from itertools import pairwise
from time import process_time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop_events import wire_event
from touchtrail.events import VOCABULARY
from touchtrail_collector.domain.batch import BodyUnreadable, read_batch, take_apart
from touchtrail_collector.domain.event import EventChecker
from touchtrail_collector.domain.mend import escape_halves, mend_json
from touchtrail_collector.domain.privacy import HASHED, Pseudonymiser
from touchtrail_collector.domain.wire_time import read_clock
from touchtrail_collector.services.ingest import Ingest, Prepared

NOW = 1_790_000_000_000
SECRET = Pseudonymiser(b"secret")
INGEST = Ingest(EventChecker(VOCABULARY, SECRET), SECRET)


def prepare(body: bytes) -> Prepared:
    return INGEST.prepare(body, source_id=1, now_ms=NOW)


def good(event_id: str, **properties: Any) -> bytes:
    return msgspec.json.encode(wire_event(event_id, "own_thing", properties=properties))


DAMAGE = {
    "deep": (b'{"event_id":"x","properties":{"a":' + b"[" * 1_000 + b"]" * 1_000 + b"}}", "too_deep"),
    "deeper": (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "too_large"),
    "a control character": (b'{"event_id":"x","name":"own","anonymous_id":"a\x01"}', "invalid_json"),
    "a line break in a text": (b'{"event_id":"x","name":"own","anonymous_id":"a\nb"}', "invalid_json"),
    "a bad escape": (rb'{"event_id":"x","name":"own","anonymous_id":"\x41"}', "invalid_json"),
    "half an escape": (rb'{"event_id":"x","name":"own","anonymous_id":"\u12"}', "invalid_json"),
    "a number with a zero before it": (
        b'{"event_id":"x","name":"own","anonymous_id":"a","properties":{"n":01}}',
        "invalid_json",
    ),
    "a word": (b'{"event_id":undefined}', "invalid_json"),
    "single quotes": (b"{'event_id':'x'}", "invalid_json"),
    "no colon": (b'{"event_id" "x"}', "invalid_json"),
    "a comma too many": (b'{"event_id":"x",}', "invalid_json"),
    "something after it": (good("x") + b" x", "invalid_json"),
    "two in one": (good("x") + good("y"), "invalid_json"),
    "the wrong bracket": (b'{"event_id":"x","properties":{"a":[1}}{]}', "invalid_json"),
    "a bracket in a text with a bad escape": (rb'{"event_id":"}]\q,{[","name":"own"}', "invalid_json"),
    "a quote in a text with a bad escape": (rb'{"event_id":"\"}\q\\","name":"own"}', "invalid_json"),
    "bytes that are no text": (b'{"event_id":"x","name":"own","anonymous_id":"\xff\x01"}', "invalid_json"),
    "a comment": (b'{/* ours */"event_id":"x"}', "invalid_json"),
}


@pytest.mark.parametrize("form", ["batch", "array", "spaced"])
@pytest.mark.parametrize(("piece", "code"), DAMAGE.values(), ids=DAMAGE)
def test_an_event_that_is_no_json_is_rejected_by_itself(piece: bytes, code: str, form: str) -> None:
    events = [good("1"), piece, good("2", note='}],{["\\" schön')]
    wrap = {
        "batch": b'{"sent_at":"2026-11-21T10:00:00Z","events":[' + b",".join(events) + b'],"later":{"events":[1]}}',
        "array": b"[" + b",".join(events) + b"]",
        "spaced": b' {\n "note" : "events" , "\\u0065vents" : [ ' + b" ,\n ".join(events) + b" ] }\n",
    }
    found = prepare(wrap[form])
    assert [row.event_id for row in found.events] == ["1", "2"]
    assert [(reject.index, reject.code) for reject in found.rejected] == [(1, code)]
    (row,) = found.reject_rows
    assert row.body == piece[:65_536]
    assert found.events[0].sent_at == (1_795_255_200_000 if form == "batch" else None)


TEXT = st.text(st.sampled_from('ab"\\{}[],:é \n\x00'), max_size=8)
VALUE = st.recursive(
    st.none() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
BREAKS = st.sampled_from([b"\x01", b"\\q", b"\\u00g0", b"\x1f", b"\\x7d", b"\\u{7d}"])


@st.composite
def broken_event(draw: st.DrawFn) -> bytes:
    """An event with something no JSON text may hold, inside one of its texts, at any place between two characters."""
    event = wire_event("bad", "own_thing", properties={"first": draw(VALUE), "": draw(VALUE), "last": draw(TEXT)})
    mark = "\ue000"
    texts: list[tuple[Any, Any]] = []

    def visit(value: Any, holder: Any, key: Any) -> None:
        if isinstance(value, str):
            texts.append((holder, key))
        elif isinstance(value, dict | list):
            for inner_key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
                visit(inner, value, inner_key)

    visit(event, None, None)
    holder, key = draw(st.sampled_from(texts))
    place = draw(st.integers(0, len(holder[key])))
    holder[key] = holder[key][:place] + mark + holder[key][place:]
    raw = msgspec.json.encode(event).replace(mark.encode(), draw(BREAKS))
    return raw.replace(b":", b" : ") if draw(st.booleans()) and b'":"' not in raw else raw


@settings(max_examples=400, deadline=None)
@given(
    st.lists(VALUE, min_size=1, max_size=5), broken_event(), st.data(), st.booleans(),
)  # fmt: skip
def test_whatever_is_wrong_inside_one_event_all_others_are_kept(
    values: list[Any], bad: bytes, data: st.DataObject, is_array: bool
) -> None:
    events = [good(f"g{number}", value=value) for number, value in enumerate(values)]
    place = data.draw(st.integers(0, len(events)))
    body = b",".join([*events[:place], bad, *events[place:]])
    found = prepare(b"[" + body + b"]" if is_array else b'{"events":[' + body + b"]}")
    assert [row.event_id for row in found.events] == [f"g{number}" for number in range(len(values))]
    kept = [msgspec.json.decode(row.body)["properties"]["value"] for row in found.events]
    assert kept == values
    assert [(reject.index, reject.code) for reject in found.rejected] == [(place, "invalid_json")]
    assert found.reject_rows[0].body == bad


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40) | st.text(st.sampled_from('[]{},:"\\ a1'), max_size=40).map(str.encode))
def test_no_body_is_read_in_two_ways(body: bytes) -> None:
    """What is JSON is never split by brackets; what is not gives pieces that stand in it in their order, or none."""
    try:
        parts = read_batch(body)
    except BodyUnreadable:
        return
    place = 0
    for piece in parts.events:
        raw = bytes(piece)
        if raw in body:  # else it was mended
            place = body.index(raw, place) + len(raw)


BROKEN: dict[str, bytes] = {
    "cut off in an event": b'{"events":[' + good("1") + b',{"event_id":"\x01',
    "cut off between events": b'{"events":[' + good("1") + b",",
    "cut off at the end": b'{"events":[{"a":\x01}]',
    "a bracket too many": b'{"events":[{"a":\x01}]]}',
    "a brace too many": b'{"events":[{"a":\x01}]}}',
    "something after it": b'{"events":[{"a":\x01}]} x',
    "the wrong bracket at the end": b'{"events":[{"a":\x01}}}',
    "nothing between two commas": b"[" + good("1") + b",," + good("2") + b"]",
    "a comma at the end": b"[" + good("1") + b",]",
    "a text that does not end": b'{"events":[{"a":"\x01}]}',
    "no events": b'{"event":[{"a":"\x01"}]}',
    "no name": b'{"events":[{"a":"\x01"}], 5}',
    "a name that is none": b'{"events":[{"a":"\x01"}], "\\q": 5}',
    "no JSON at all": b"a=1&b=2",
}  # fmt: skip


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_a_batch_that_is_itself_damaged_stays_unreadable(body: bytes) -> None:
    with pytest.raises(BodyUnreadable) as caught:
        prepare(body)
    assert caught.value.code == "invalid_json"


def test_bytes_that_are_no_text_are_said_to_be_that() -> None:
    (reject,) = prepare(b'{"events":[{"event_id":"x","name":"own","anonymous_id":"\xff"}]}').rejected
    assert reject.message == "the event is not JSON: it is not UTF-8 text"


def test_too_many_events_are_too_many_whatever_is_wrong_with_one() -> None:
    for body in (b"[" + b"{}," * 2_500 + b"\x01]", b'{"events":[' + b"{}," * 2_500 + b'{"a":"\x01"}]}'):
        with pytest.raises(BodyUnreadable) as caught:
            prepare(body)
        assert caught.value.code == "batch_too_large"
    assert len(prepare(b"[" + b"{}," * 2_499 + b"\x01]").rejected) == 2_500


HEAPS = {
    "brackets in a row": b"[" * 2_400_000 + b"]" * 2_400_000,
    "brackets in turn": b'{"a":[' * 500_000 + b"\x01" + b"]}" * 500_000,
    "texts": b'[["",' + b'"",' * 1_600_000 + b"\x01]]",
    "quotes with escapes": b'["' + rb"\"" * 2_400_000 + b'\x01"]',
    "one long text": b'["' + b"x" * 4_800_000 + b'\x01"]',
    "good ones and a bad one": b"[" + b",".join(good(str(n), note="x" * 1_800) for n in range(2_400)) + b",\x01]",
}


@pytest.mark.parametrize("body", HEAPS.values(), ids=HEAPS)
def test_a_large_damaged_body_is_taken_apart_in_turns(body: bytes) -> None:
    """No turn takes a fifth of the whole, or all of them are short; measured coarsely, as others use the machine."""
    turns = [process_time()]
    taking = take_apart(body, 2_500, SECRET.event_id)
    try:
        while True:
            next(taking)
            turns.append(process_time())
    except (StopIteration, BodyUnreadable):
        turns.append(process_time())
    longest = max(after - before for before, after in pairwise(turns))
    print(f"{len(turns) - 1} turns in {turns[-1] - turns[0]:.3f} s, the longest {longest * 1e3:.1f} ms")
    assert turns[-1] - turns[0] < 8
    assert longest < 0.5


@pytest.mark.parametrize(
    "sent_at",
    ['"now"', "5", "null", '"2026-11-21T10:00:00"', "NaN", '"\\ud800"', '"\x01"', '"\\q"', '"9999-12-31T23:59:59Z"',
     "[1]", '{"a":1}', '"0000-00-00T00:00:00Z"'],
)  # fmt: skip
def test_a_clock_that_shows_no_time_costs_no_event(sent_at: str) -> None:
    for body in (b'{"sent_at":%b,"events":[%b]}', b'{"events":[%b],"sent_at":%b}'):
        parts = (sent_at.encode(), good("1")) if body.startswith(b'{"sent') else (good("1"), sent_at.encode())
        found = prepare(body % parts)
        assert [(row.event_id, row.sent_at) for row in found.events] == [("1", None)]
        assert found.rejected == []


def test_two_ids_with_different_halves_of_characters_stay_two() -> None:
    events = [
        b'{"event_id":"sur%b","name":"own","anonymous_id":"a","page":{"title":"cut \\ud83d"}}' % half
        for half in (rb"\ud800", rb"\ud801", rb"\udc00", rb"\ufffd", rb"%D800", rb"\ud83d\udE00", b"")
    ]
    first, again = (prepare(b"[" + b",".join(events) + b"]") for _ in range(2))
    ids = [row.event_id for row in first.events]
    assert len(ids) == len(set(ids)) == len(events)
    assert ids == [row.event_id for row in again.events]
    assert all(HASHED.fullmatch(one) for one in ids[:3])
    assert ids[3:] == ["sur\ufffd", "sur%D800", "sur😀", "sur"]
    assert msgspec.json.decode(first.events[0].body)["page"] == {"title": "cut \ufffd"}


@pytest.mark.parametrize(
    "body", [b'{"batch":[{"messageId":"m%b"}]}', b'{"messageId":"m%b"}', b'[{"message_id":"m%b"}]']
)
def test_so_do_those_of_other_forms(body: bytes) -> None:
    mended = {mend_json(body % half) for half in (rb"\ud800", rb"\ud801", rb"\udfff")}
    assert len(mended) == 3
    assert None not in mended


@given(st.text(st.characters(codec=None) | st.sampled_from("\ud800\udfff"), max_size=8), st.text(max_size=8))
def test_escaped_halves_are_text_and_others_stay(odd: str, plain: str) -> None:
    assert escape_halves(odd).encode("utf-8", "strict") is not None
    assert escape_halves(plain) == plain


LEAPS = {
    "2026-06-30T23:59:60Z": 1_782_863_999_999,
    "2016-12-31T23:59:60Z": 1_483_228_799_999,
    "2016-12-31T23:59:60.75Z": 1_483_228_799_999,
    "2017-01-01T00:59:60+01:00": 1_483_228_799_999,
    "1990-12-31t15:59:60-08:00": None,  # before 2000, by day and by second
}


@pytest.mark.parametrize(("text", "expected"), LEAPS.items())
def test_a_leap_second_is_the_end_of_the_second_before_it(text: str, expected: int | None) -> None:
    raw = msgspec.json.encode(wire_event("e", occurred_at=text))
    found = prepare(b'{"sent_at":"' + text.encode() + b'","events":[' + raw + b"]}")
    assert read_clock(b'"' + text.encode() + b'"') == expected
    if expected is None:
        assert found.rejected[0].field == "occurred_at"
        return
    assert [(row.occurred_at, row.sent_at) for row in found.events] == [(expected, expected)]
    assert ":60" not in found.events[0].body


@pytest.mark.parametrize(
    "text",
    ["2026-06-30T12:30:60Z", "2026-06-29T23:59:60Z", "2016-12-31T23:59:60", "2016-12-31T23:59:61Z",
     "2016-12-31T23:59:60+01:00", "2016-13-31T23:59:60Z", "9999-12-31T23:59:60Z"],
)  # fmt: skip
def test_a_second_that_no_clock_has_is_still_refused(text: str) -> None:
    found = prepare(msgspec.json.encode([wire_event("e", occurred_at=text)]))
    assert [(reject.code, reject.field) for reject in found.rejected] == [("invalid_value", "occurred_at")]
    assert read_clock(b'"' + text.encode() + b'"') is None


def test_a_leap_second_elsewhere_in_an_event_stays_text() -> None:
    event = wire_event("e", occurred_at="2016-12-31T23:59:60Z", page={"title": "2016-12-31T23:59:60Z"})
    (row,) = prepare(msgspec.json.encode(event)).events
    assert msgspec.json.decode(row.body)["page"] == {"title": "2016-12-31T23:59:60Z"}
