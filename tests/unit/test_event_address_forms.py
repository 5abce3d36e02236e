"""E-mail addresses as people and pages really write them: accents of their own, signs nobody sees, entities of HTML."""

from __future__ import annotations

import time
import unicodedata
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop_events import START_MS, wire_event
from touchtrail.events import VOCABULARY
from touchtrail_collector.domain.address import INVISIBLE, MARKS, may_hold_address
from touchtrail_collector.domain.event import EventChecker
from touchtrail_collector.domain.privacy import HASHED, Pseudonymiser

SECRET = Pseudonymiser(b"secret")
CHECKER = EventChecker(VOCABULARY, SECRET)
PLAIN = SECRET.email("jane@shop.example")


def kept_title(title: str, *, ensure_ascii: bool = False) -> str:
    raw = msgspec.json.encode(wire_event("e", page={"title": title}))
    if ensure_ascii:
        raw = "".join(sign if sign < "\x7f" else f"\\u{ord(sign):04x}" for sign in raw.decode()).encode()
    assert may_hold_address(raw)
    body: dict[str, Any] = msgspec.json.decode(CHECKER.check(raw, now_ms=START_MS).body)
    return str(body["page"]["title"])


SAME = {
    "a zero-width space before the sign": "jane\u200b@shop.example",
    "a zero-width space after it": "jane@\u200bshop.example",
    "in the domain": "jane@shop\u200b.exam\u200bple",
    "after a dot": "jane@shop.\u200bexample",
    "a soft hyphen": "ja\u00adne@sh\u00adop.example",
    "a joiner": "jane\u200d@\u200dshop.example",
    "a word joiner": "jane\u2060@\u2060shop.example",
    "a byte order mark": "jane\ufeff@shop.example",
    "encoded": quote("jane\u200b@\u200bshop\u00ad.example"),
    "a one-dot leader": "jane@shop\u2024example",
    "a one-dot leader, encoded": quote("jane@shop\u2024example"),
    "a decimal entity": "jane&#64;shop.example",
    "a decimal entity with noughts": "jane&#064;shop.example",
    "a hexadecimal entity": "jane&#x40;shop.example",
    "a hexadecimal entity, large": "jane&#X40;shop.example",
    "a named entity": "jane&commat;shop.example",
    "an entity and a zero-width space": "jane\u200b&#64;\u200bshop.example",
}


@pytest.mark.parametrize("text", ["{}", "a {} b", "/?m={}&x=1", "<{}>"])
@pytest.mark.parametrize("address", SAME.values(), ids=SAME)
def test_an_address_is_one_however_it_is_disguised(address: str, text: str) -> None:
    for ensure_ascii in (False, True):
        assert kept_title(text.format(address), ensure_ascii=ensure_ascii) == text.format(PLAIN)
    assert SECRET.email(address) == PLAIN


@pytest.mark.parametrize(
    "escaped", [r"\u0026#64;", r"&\u002364;", r"&#\u00364;", r"\u0026\u002364;", r"\u0026commat;", r"&#64\u003b"]
)
def test_an_entity_whose_signs_are_escaped_in_json_is_one_too(escaped: str) -> None:
    raw = b'{"event_id":"e","name":"page_viewed","anonymous_id":"a","page":{"title":"jane%sshop.example"}}'
    raw = raw.replace(b"%s", escaped.encode())
    assert may_hold_address(raw)
    assert PLAIN in CHECKER.check(raw, now_ms=START_MS).body
    assert PLAIN.encode() in SECRET.scrub_reject(raw)
    assert b"jane" not in SECRET.scrub_reject(raw[:-4])


OTHER_SCRIPTS = {
    "accents of their own": unicodedata.normalize("NFD", "josé@müller.example"),
    "Hindi": "उपयोगकर्ता@उदाहरण.भारत",
    "Thai": "ผู้ใช้@ตัวอย่าง.ไทย",
    "Tamil": "பயனர்@எடுத்துக்காட்டு.இந்தியா",
    "Arabic with vowels": "مُستخدم@مِثال.إختبار",
    "Hebrew with vowels": "שָׁלוֹם@דּוּגמה.ישראל",
    "Myanmar": "သုံးစွဲသူ@ဥပမာ.မြန်မာ",
}


@pytest.mark.parametrize("address", OTHER_SCRIPTS.values(), ids=OTHER_SCRIPTS)
def test_signs_above_and_below_letters_are_a_part_of_an_address(address: str) -> None:
    for written in (address, quote(address)):
        assert kept_title(f"a {written} b") == f"a {SECRET.email(address)} b"
    assert HASHED.fullmatch(kept_title(address, ensure_ascii=True))
    assert SECRET.email(address) == SECRET.email(unicodedata.normalize("NFC", address))
    cut = b'{"title":"' + msgspec.json.encode(address)[1:-1]
    assert SECRET.scrub_reject(cut) == b'{"title":"' + SECRET.email(address).encode()


def test_escaped_accents_in_what_is_no_json_leave_no_part_of_the_address() -> None:
    raw = rb'{"title":"jose\u0301.m\u00fcller@shop.example'
    assert SECRET.scrub_reject(raw) == b'{"title":"' + SECRET.email("josé.müller@shop.example").encode()


def test_a_tilde_ends_an_address_and_begins_a_folder() -> None:
    assert kept_title("jane~@shop.example") == SECRET.email("jane~@shop.example")
    assert kept_title("/~jane@shop.example") == f"/~{PLAIN}"


@pytest.mark.parametrize("sign", "!/=#*|")
def test_what_stands_before_other_signs_is_no_part_of_an_address(sign: str) -> None:
    """As the reference says: `mail=jane@…` is far more frequent than an address with such a sign."""
    assert SECRET.scrub_text(f"a{sign}jane@shop.example") == f"a{sign}{PLAIN}"


@pytest.mark.parametrize(
    "text",
    ["\u200b@jane.doe", "\u00ad\u200d@jane.doe", "a\u200b@\u200bb", "a@b.\u200b", "~@jane.doe", "jane @ shop.example",
     "jane\n@shop.example", "a&#64;b", "&#64;jane.doe", "a&#65;shop.example", "a&amp;shop.example", "/?a=1&comma=b.c",
     "a@\u0301.b"],
)  # fmt: skip
def test_what_only_looks_like_an_address_stays(text: str) -> None:
    assert SECRET.scrub_text(text) == text


def test_ordinary_text_with_entities_and_ampersands_need_not_be_looked_at() -> None:
    for text in ("/?a=1&b=2&c=3&comma=4", "Tom &amp; Jerry", "a # b & c", "100 %; 20 %", "#top", "&nbsp;"):
        assert not may_hold_address(msgspec.json.encode({"title": text}))


@settings(deadline=None)
@given(
    st.text(
        st.sampled_from("ab.~@&#64;%40\u0301\u200b\u00ad\u2024 \"'/é") | st.sampled_from(sorted(MARKS)), max_size=40
    )
)
def test_scrubbing_twice_is_scrubbing_once(text: str) -> None:
    once = SECRET.scrub_text(text)
    assert SECRET.scrub_text(once) == once


HOSTILE = {
    "accents": "a" + "\u0301" * 60_000 + "@",
    "accents and signs": "a\u0301@" * 20_000,
    "nothing to be seen": "a@" + INVISIBLE * 10_000,
    "nothing to be seen between signs": "a\u200b@\u200b" * 15_000,
    "dots of nothing": "a@b" + ".\u200b" * 30_000,
    "an entity without an end": "a&#" + "0" * 60_000 + "64;b.c",
    "entities": "a&#64;" * 10_000,
    "entities that are nearly some": "a&#0000" * 9_000 + "&commat" * 9_000,
    "tildes": "~" * 60_000 + "@b.c",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_disguise_takes_longer_than_its_length_says(text: str) -> None:
    """Twice the text may take twice as long, not four times; measured coarsely, as the square would take minutes."""
    raw = msgspec.json.encode(text)
    started = time.process_time()
    SECRET.scrub_reject(raw)
    SECRET.scrub_reject(raw[:-1])
    assert time.process_time() - started < 2
