"""What is never kept in clear: addresses anywhere in an event, in every way of writing them; phone numbers; the IP."""

from __future__ import annotations

import hashlib
import hmac
import re
import string
import time
from typing import Any
from urllib.parse import quote, unquote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop_events import START_MS, wire_event
from touchtrail.events import VOCABULARY
from touchtrail_collector.domain.address import may_hold_address
from touchtrail_collector.domain.event import EventChecker, EventRejected
from touchtrail_collector.domain.fact import HIDDEN, identifies_nobody
from touchtrail_collector.domain.privacy import HASHED, MAX_CONTACTS, Pseudonymiser
from touchtrail_collector.services.ingest import Ingest

SECRET = Pseudonymiser(b"secret")
CHECKER = EventChecker(VOCABULARY, SECRET)
ADDRESS = "jane.doe+shop@example.co.uk"
HASH = SECRET.email(ADDRESS)


def kept(event: dict[str, Any] | bytes) -> dict[str, Any]:
    raw = event if isinstance(event, bytes) else msgspec.json.encode(event)
    return msgspec.json.decode(CHECKER.check(raw, now_ms=START_MS).body)


WAYS = {
    "plain": ADDRESS,
    "in capitals": ADDRESS.upper(),
    "percent": quote(ADDRESS),
    "percent twice": quote(quote(ADDRESS)),
    "percent three times": quote(quote(quote(ADDRESS))),
    "percent in small letters": ADDRESS.replace("@", "%40").replace("+", "%2b"),
}


@pytest.mark.parametrize("address", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    "text", ["{}", "https://shop.example/?email={}&page=2", "Hello\n{}\n", "'{}'", "a <{}>, b", "x={}."]
)
def test_an_address_in_a_text_becomes_its_hash_and_the_rest_stays(text: str, address: str) -> None:
    page = kept(wire_event("e", page={"title": text.format(address)}))["page"]
    assert page["title"] == text.format(HASH)


@pytest.mark.parametrize(
    "escaped",
    [
        r"jane.doe+shop\u0040example.co.uk",
        r"jane.doe+shop%\u0034\u0030example.co.uk",
        r"\u006aane.doe+shop@example.co.uk",
    ],
)
def test_escapes_of_json_hide_no_address(escaped: str) -> None:
    raw = b'{"event_id":"e","name":"page_viewed","anonymous_id":"a","page":{"title":"' + escaped.encode() + b'"}}'
    assert kept(raw)["page"]["title"] == HASH


def test_an_address_is_found_wherever_an_event_has_room_for_one() -> None:
    event = wire_event(
        "e", "own_thing", anonymous_id=ADDRESS, customer_id=ADDRESS.upper(), session_id=ADDRESS,
        page={"url": f"https://shop.example/?e={ADDRESS}", "referrer": f"https://mail.example/{quote(ADDRESS)}"},
        campaign={"content": ADDRESS, "click_ids": {"own": ADDRESS}},
        identifiers={"email": ADDRESS, "own": ADDRESS},
        properties={ADDRESS: ADDRESS, "list": [{"deep": ADDRESS}]},
    )  # fmt: skip
    checked = CHECKER.check(msgspec.json.encode(event), now_ms=START_MS)
    assert "jane" not in checked.body.lower()
    assert checked.anonymous_id == checked.customer_id == HASH
    assert kept(event)["identifiers"] == {"email": HASH, "own": HASH}
    assert kept(event)["properties"] == {HASH: HASH, "list": [{"deep": HASH}]}


LOCAL = st.text(string.ascii_letters + string.digits + "._+-äöß", min_size=1, max_size=20).filter(
    lambda t: t[0] not in ".-"
)
DOMAIN = st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}(\.[a-z]{2,6}){1,2}", fullmatch=True)
AROUND = st.text(string.printable + "☂@%", max_size=12)


@settings(deadline=None)
@given(local=LOCAL, domain=DOMAIN, before=AROUND, after=AROUND, times=st.integers(0, 2))
def test_no_address_is_left_in_any_text(local: str, domain: str, before: str, after: str, times: int) -> None:
    address = f"{local}@{domain}"
    for _ in range(times):
        address = quote(address)
    body = CHECKER.check(
        msgspec.json.encode(wire_event("e", page={"title": f"{before} {address} {after}"})), now_ms=START_MS
    ).body
    title = msgspec.json.decode(body)["page"]["title"]
    for _ in range(4):
        assert f"{local}@{domain}".lower() not in title.lower()
        title = unquote(title)


@settings(deadline=None)
@given(st.text(max_size=60).filter(lambda text: not re.search(r"\w(@|%(25)*40)\w", text)))
def test_a_text_without_an_address_stays_as_it_is(text: str) -> None:
    assert kept(wire_event("e", page={"title": text}))["page"]["title"] == text


@pytest.mark.parametrize(
    "number", ["+49 171 1234567", "0049-171-1234567", "+49 (171) 12 34 567", " 00491711234567 ", "49.171.1234567"]
)
def test_one_phone_number_has_one_hash_however_it_is_written(number: str) -> None:
    assert kept(wire_event("e", identifiers={"phone": number}))["identifiers"]["phone"] == SECRET.phone("+491711234567")


@pytest.mark.parametrize("kind", ["email", "phone"])
@pytest.mark.parametrize("value", ["", "null", "undefined", " NONE ", "0"])
def test_what_stands_in_an_addresss_place_identifies_nobody(kind: str, value: str) -> None:
    assert kept(wire_event("e", identifiers={kind: value}))["identifiers"] == {kind: ""}


def test_what_is_hashed_already_stays_and_what_only_looks_so_does_not() -> None:
    for value in (HASH, SECRET.phone("+491711234567")):
        assert kept(wire_event("e", identifiers={"phone": value}))["identifiers"]["phone"] == value
    sly = kept(wire_event("e", identifiers={"phone": "hmac:+491711234567"}))["identifiers"]["phone"]
    assert HASHED.fullmatch(sly)


def test_the_ip_goes_and_a_user_agent_is_cut() -> None:
    device = kept(wire_event("e", device={"ip": "192.0.2.1", "user_agent": "x" * 600, "kind": "mobile"}))["device"]
    assert device == {"user_agent": "x" * 512, "kind": "mobile"}


def test_hashes_depend_on_the_databases_secret() -> None:
    assert Pseudonymiser(b"another").email(ADDRESS) != HASH


def test_quarantine_keeps_no_address_number_or_ip_either() -> None:
    ingest = Ingest(CHECKER, SECRET)
    event = wire_event(
        "e", colour=ADDRESS, identifiers={"phone": "+49 171 1234567", "email": ADDRESS}, device={"ip": "192.0.2.1"}
    )
    cut = b'{"events":[' + msgspec.json.encode(event) + b"]}"
    (row,) = ingest.prepare(cut, source_id=1, now_ms=1).reject_rows
    assert b"jane" not in row.body
    assert b"1234567" not in row.body
    assert b"192.0.2.1" not in row.body
    with pytest.raises(EventRejected) as again:
        CHECKER.check(row.body, now_ms=START_MS)
    assert again.value.field == "colour"


def test_a_quarantined_body_need_not_be_json() -> None:
    for raw in (
        b"email=" + quote(ADDRESS).encode(),
        b'{"mail":"jane.doe+shop@example.co.uk',
        b"\xff jane.doe+shop@example.co.uk \xff",
    ):
        scrubbed = SECRET.scrub_reject(raw)
        assert b"jane" not in scrubbed
        assert HASH.encode() in scrubbed


HOSTILE = {
    "letters without an end": b'"' + b"a" * 60_000 + b'@"',
    "signs in a row": b'"' + b"a@" * 30_000 + b'"',
    "nearly addresses": b'"' + b"a.b@" * 15_000 + b'"',
    "quotes that never close": b'"' + b'\\"' * 30_000 + b"@",
    "percent signs": b'"' + b"%2540" * 12_000 + b'"',
    "one endless domain": b'"a@' + b"a." * 30_000 + b'"',
    "members without values": b'"phone":' * 7_000 + b"@",
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_no_text_takes_longer_than_its_length_says(raw: bytes) -> None:
    """Twice the text may take twice as long, not four times; measured coarsely, as the square would take minutes."""
    started = time.process_time()
    SECRET.scrub_reject(raw)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("name", ["phone", "Mobile", "telephone", "phone_number", "tel"])
def test_a_phone_number_is_hashed_whatever_its_sender_calls_it_and_wherever_it_stands(name: str) -> None:
    hashed = SECRET.phone("+49 170 7654321")
    named = kept(wire_event("e", identifiers={name: "+49 170 7654321"}))
    assert named["identifiers"] == {name: hashed}
    traits = {"traits": {name: "0049 170/7654321", "plan": "gold"}}
    assert kept(wire_event("e", "customer_identified", properties=traits))["properties"] == {
        "traits": {name: hashed, "plan": "gold"}
    }
    deep = {"billing": [{name: 491707654321}]}
    assert kept(wire_event("e", "own_thing", properties=deep))["properties"] == {"billing": [{name: hashed}]}


def test_a_clients_address_is_not_kept_under_any_of_its_names() -> None:
    event = wire_event(
        "e",
        "own_thing",
        identifiers={"ip": "203.0.113.99", "loyalty_card": "7"},
        properties={"client_ip": "203.0.113.99"},
    )
    body = kept(event)
    assert body["identifiers"] == {"loyalty_card": "7"}
    assert body["properties"] == {"client_ip": None}


def test_a_device_of_kind_phone_and_an_agent_that_names_one_stay_as_they_are() -> None:
    device = {"kind": "phone", "user_agent": "Mozilla/5.0 (iPhone; like Mac OS X) Mobile/15E148"}
    assert kept(wire_event("e", device=device))["device"] == device


ODD_ADDRESSES = {
    "quoted": '"quoted local"@b8.example',
    "quoted with a quote": r'"a\"b c"@b8.example',
    "quoted and encoded": quote('"quoted local"@b8.example'),
    "a quote that does not begin": 'local"@b8.example',
    "full width": "local＠b7.example",
    "all of it full width": "ｌｏｃａｌ＠ｂ７．ｅｘａｍｐｌｅ",
    "small": "local﹫b7.example",
    "an ideographic stop": "local@b7。example",
    "full width, encoded": quote("local＠b7．example"),
    "full width, encoded twice": quote(quote("local﹫b7。example")),
    "full width, small letters": quote("local＠b7.example").lower(),
    "another script": "δοκιμή@παράδειγμα.δοκιμή",
    "another script, encoded": quote("δοκιμή@παράδειγμα.δοκιμή"),
    "a number for a domain": "local@[192.0.2.1]",
    "a long number for a domain": "local@[IPv6:2001:db8::1]",
}


@pytest.mark.parametrize("text", ["{}", "a {} b", "https://shop.example/?m={}&x=1", "({})"])
@pytest.mark.parametrize("address", ODD_ADDRESSES.values(), ids=ODD_ADDRESSES)
def test_an_address_in_a_rare_form_is_not_kept_either(address: str, text: str) -> None:
    event = wire_event("e", page={"title": text.format(address)}, properties={"extra": {"m": address}})
    for ensure_ascii in (False, True):
        raw = msgspec.json.encode(event)
        if ensure_ascii:
            raw = re.sub(r"[^\x00-\x7f]", lambda sign: f"\\u{ord(sign[0]):04x}", raw.decode()).encode()
        assert may_hold_address(raw)
        title = kept(raw)["page"]["title"]
        begin, _, end = text.partition("{}")
        assert HASHED.fullmatch(title.removeprefix(begin).removesuffix(end))
        assert b"local" not in SECRET.scrub_reject(raw)
        assert b"local" not in SECRET.scrub_reject(raw[:-3])


def test_one_address_has_one_hash_however_wide_its_letters() -> None:
    plain = SECRET.email("local@b7.example")
    for odd in ("ｌｏｃａｌ＠ｂ７．ｅｘａｍｐｌｅ", "LOCAL﹫b7。example", quote("local＠b7.example")):
        assert SECRET.scrub_text(odd) == plain


@pytest.mark.parametrize(
    "text",
    ['{"handle":"@jane.doe"}', '["a","@jane.doe"]', '{"n":1,"@jane.doe":[2]}', '"a","@jane.doe"', "@jane.doe",
     "\u2013@jane.doe", "12＠", "a@b", 'say "@jane.doe"', "1 @ 2.50", "％40"],
)  # fmt: skip
def test_what_is_no_address_stays(text: str) -> None:
    assert SECRET.scrub_text(text) == text
    assert kept(wire_event("e", page={"title": text}))["page"]["title"] == text


def test_the_hash_is_the_standards() -> None:
    """HMAC-SHA-256, also for a key longer than a block."""
    for key in (b"", b"k", b"k" * 64, b"k" * 65, b"k" * 200):
        expected = hmac.new(key, b"email:a@b.example", hashlib.sha256).hexdigest()[:32]
        assert Pseudonymiser(key).email(" A@b.example") == f"hmac:{expected}"


IDS = [
    "evt-A@x.example", "evt-a@x.example", "evt-a%40x.example", "evt-a%2540x.example", "EVT-a@x.example", "evt-a@x.example ",
    " evt-a@x.example", "evt-a＠x.example", "evt-b evt-a@x.example", "a@x.example evt-b", "evt-a@x.example\n",
]  # fmt: skip


def test_ids_that_hold_an_address_stay_as_different_as_they_came() -> None:
    found = [CHECKER.check(msgspec.json.encode(wire_event(one)), now_ms=START_MS) for one in IDS]
    assert len({event.event_id for event in found}) == len(IDS)
    for event in found:
        assert HASHED.fullmatch(event.event_id)
        assert msgspec.json.decode(event.body)["event_id"] == event.event_id
    escaped = msgspec.json.encode(wire_event(IDS[0])).replace(b"@", b"\\u0040")
    assert CHECKER.check(escaped, now_ms=START_MS).event_id == found[0].event_id


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_two_ids_are_never_kept_as_one(one: str, other: str) -> None:
    ids = [one, other, f"{one}@x.example", f"{other}@x.example", f"{one.swapcase()}@x.example"]
    assert len({SECRET.event_id(given) for given in ids}) == len(set(ids))


@pytest.mark.parametrize("member", ["event_id", "messageId", "message_id"])
def test_a_reject_is_recognised_by_what_its_event_would_have_been(member: str) -> None:
    for one in IDS:
        raw = msgspec.json.encode({member: one, "name": "page_viewed", "anonymous_id": "a"})
        expected = SECRET.event_id(one)
        assert msgspec.json.decode(SECRET.scrub_reject(raw))[member] == expected
        assert msgspec.json.decode(SECRET.hide_reject(raw))[member] == expected
        assert SECRET.event_id(expected) == expected


def test_the_sender_is_told_its_own_id() -> None:
    order = wire_event(ADDRESS, "order_placed", properties={"order_id": "1", "currency": "EUR", "total": "-1"})
    found = Ingest(CHECKER, SECRET).prepare(msgspec.json.encode([order]), source_id=1, now_ms=START_MS)
    assert found.rejected[0].id == ADDRESS
    assert b"jane" not in (found.reject_rows[0].body or b"")


def crowd(count: int, form: str) -> dict[str, Any]:
    texts = [form.format(number) for number in range(count)]
    return wire_event("e", "own_thing", properties={"few": "a@b.example", "people": texts})


FORMS = {
    "plain": "p{}@b.example", "encoded": "p{}%40b.example", "wide": "p{}＠b.example", "quoted": '"p {}"@b.example',
    "with a backslash": "\\ p{}@b.example",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_event_may_name_some_people_and_no_crowd(form: str) -> None:
    assert len(set(kept(crowd(MAX_CONTACTS - 1, form))["properties"]["people"])) == MAX_CONTACTS - 1
    raw = msgspec.json.encode(crowd(MAX_CONTACTS, form))
    with pytest.raises(EventRejected) as caught:
        CHECKER.check(raw, now_ms=START_MS)
    assert (caught.value.code, caught.value.field) == ("too_large", "properties.people")
    hidden = msgspec.json.decode(SECRET.scrub_reject(raw))
    assert hidden["properties"] == {"few": HIDDEN, "people": [HIDDEN] * MAX_CONTACTS}
    assert kept(hidden)["event_id"] == "e"
    assert identifies_nobody(HIDDEN)


def test_numbers_count_too_and_none_of_a_crowd_is_kept_in_clear() -> None:
    people = [{"phone": f"0170 {number:07}", "ip": "192.0.2.1"} for number in range(MAX_CONTACTS)]
    raw = msgspec.json.encode(wire_event("e", "own_thing", properties={"people": people}))
    with pytest.raises(EventRejected) as caught:
        CHECKER.check(raw, now_ms=START_MS)
    assert (caught.value.code, caught.value.field) == ("too_large", "properties.people")
    kept_raw = SECRET.scrub_reject(raw)
    assert msgspec.json.decode(kept_raw)["properties"]["people"] == [{"phone": HIDDEN, "ip": HIDDEN}] * MAX_CONTACTS
    identifiers = {f"email {number}": f"{number}@b.example" for number in range(MAX_CONTACTS + 1)}
    with pytest.raises(EventRejected) as caught:
        CHECKER.check(msgspec.json.encode(wire_event("e", identifiers=identifiers)), now_ms=START_MS)
    assert caught.value.field == "identifiers"


@pytest.mark.parametrize("cut", [0, 1, 3, 40])
@pytest.mark.parametrize(
    "raw",
    [
        msgspec.json.encode(crowd(300, "secret{}@b.example")),
        b"&".join(b"m=secret%d%%40b.example" % number for number in range(300)),
        b'{"a":"\\x' + b' secret@b.example' * 300 + b'"}',
        b'{"' + b'secret\\u0040b.example ' * 300 + b'":1}',
        b'{"\xff' + b'secret@b.example ' * 300 + b'":1}',
    ],
    ids=["JSON", "a form", "a bad escape", "an escaped sign", "no UTF-8"],
)  # fmt: skip
def test_of_a_crowd_nothing_is_kept_whatever_its_form(raw: bytes, cut: int) -> None:
    raw = raw[: len(raw) - cut]
    assert b"secret" in raw
    assert b"secret" not in SECRET.scrub_reject(raw)
    assert rb"\u" in raw or "secret" not in SECRET.scrub_text(raw.decode("latin-1"))


@pytest.mark.parametrize(
    "raw",
    [rb'{"a":"\x jane\u0040b.example"}', rb'{"a":"\q \u006aane%4\u0030b.example"}', b'{"a":"\xff jane@b.example"}',
     b'{"a":"\x01 jane@b.example","b":"@shop.example"}'],
)  # fmt: skip
def test_one_address_in_what_is_no_json_is_hashed(raw: bytes) -> None:
    scrubbed = SECRET.scrub_reject(raw)
    assert b"jane" not in scrubbed
    assert SECRET.email("jane@b.example").encode() in scrubbed
    assert (b'"@shop.example"' in scrubbed) is (b"shop" in raw)


COSTLY = {
    "the same address": "a@b.co " * 265,
    "different ones": " ".join(f"{n}@b.co" for n in range(180)),
    "encoded": "a%40b.co " * 200,
    "numbers": [{"phone": "123456"}] * 90,
    "signs": "@" * 1_800,
    "nearly addresses": ["-@b.c"] * 200,
}


@pytest.mark.parametrize("extra", [{}, {"colour": 1}], ids=["good", "rejected"])
@pytest.mark.parametrize("value", COSTLY.values(), ids=COSTLY)
def test_addresses_cost_an_event_little(value: Any, extra: dict[str, int]) -> None:
    """Compared with the same event without them: measured in the same run, as the machine is not ours alone."""
    costly = [msgspec.json.encode(wire_event(f"e{n}", "own_thing", properties={"v": value}) | extra) for n in range(60)]
    plain = [re.sub(rb"[@%]", b"x", raw).replace(b"phone", b"thing") for raw in costly]
    ingest = Ingest(CHECKER, SECRET)
    times: dict[bool, float] = {}
    for is_costly, events in ((False, plain), (True, costly)):
        body = b"[" + b",".join(events) + b"]"
        best = 9.0
        for _ in range(3):
            started = time.process_time()
            found = ingest.prepare(body, source_id=1, now_ms=START_MS)
            best = min(best, time.process_time() - started)
        assert len(found.events) + len(found.rejected) == 60
        times[is_costly] = best / 60
    print(f"{times[True] * 1e6:.0f} us instead of {times[False] * 1e6:.0f}")
    # About 0.2 ms more here; without a bound 1.5 to 2.5 ms.
    assert times[True] - times[False] < 0.002
