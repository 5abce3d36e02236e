"""What quarantine keeps of an event that is too long: nothing that identifies, wherever the cut goes through."""

from __future__ import annotations

import time

import msgspec
import pytest

from shop_events import START_MS, wire_event
from touchtrail.events import VOCABULARY
from touchtrail_collector.domain.event import EventChecker
from touchtrail_collector.domain.fact import HIDDEN
from touchtrail_collector.domain.privacy import Pseudonymiser
from touchtrail_collector.services.ingest import QUARANTINE_BODY_BYTES, Ingest

SECRET = Pseudonymiser(b"secret")
INGEST = Ingest(EventChecker(VOCABULARY, SECRET), SECRET)
ADDRESS = "anna.secret@mailserver.shop.example"
LIMIT = 5_000


def rejected_body(title: str) -> bytes:
    raw = msgspec.json.encode([wire_event("e", page={"title": title})])
    (row,) = INGEST.prepare(raw, source_id=1, now_ms=START_MS).reject_rows
    assert (row.code, row.body is not None) == ("too_large", True)
    return row.body or b""


def test_an_address_that_the_limit_cuts_is_not_kept() -> None:
    start = msgspec.json.encode(wire_event("e", page={"title": ""})).index(b'""') + 1
    for shown in range(1, len(ADDRESS) + 1):
        padding = "x" * (QUARANTINE_BODY_BYTES - start - shown - 1)
        body = rejected_body(f"{padding} {ADDRESS}{' y' * 5_000}")
        assert QUARANTINE_BODY_BYTES - 40 < len(body) <= QUARANTINE_BODY_BYTES
        assert b"anna" not in body
        assert b"mailserver" not in body


@pytest.mark.parametrize(
    "secret",
    [ADDRESS, "anna.secret%2540mailserver.example", '\\"anna secret\\"@mailserver.example',
     "\u0301".join("anna") + "@mailserver.example", "anna.secret&#64;mailserver.example",
     '","phone":"+49 171 1234567","x":"'],
    ids=["plain", "encoded", "quoted", "with accents", "an entity", "a phone number"],
)  # fmt: skip
@pytest.mark.parametrize("after", [" y" * 3_000, ""], ids=["long", "short"])
def test_wherever_a_secret_is_cut_nothing_of_it_stays(secret: str, after: str) -> None:
    raw_secret = secret.encode()
    for shown in range(1, len(raw_secret) + 1):
        begin = b'{"a":"'
        raw = begin + b"x" * (LIMIT - len(begin) - shown - 1) + b" " + raw_secret + after.encode() + b'"}'
        kept = SECRET.scrub_cut(raw, LIMIT)
        assert LIMIT - 60 < len(kept) <= max(LIMIT, len(raw))
        for part in (b"anna", b"mailserver", b"1234", b"secret"):
            assert part not in kept


def test_of_a_hash_that_is_cut_no_part_is_kept() -> None:
    whole = SECRET.email(ADDRESS).encode()
    for shown in range(len(whole) + 1):
        raw = b"x" * (LIMIT - shown - 1) + b" " + ADDRESS.encode() + b" y" * 3_000
        kept = SECRET.scrub_cut(raw, LIMIT).rstrip()
        if shown == len(whole):
            assert kept.endswith(b"x " + whole)
        else:
            assert kept.rstrip(b" :hmac").endswith(b"x")


def test_what_shrinks_below_the_limit_ends_before_what_was_cut_off() -> None:
    addresses = [f"{'a' * 40}{number}@{'b' * 200}.shop.example " for number in range(60)]
    raw = " ".join(addresses).encode()
    for end in range(LIMIT + 2_049, LIMIT + 2_400, 7):  # the last one is whole only by chance
        kept = SECRET.scrub_cut(raw[:end], LIMIT)
        assert b"aaaa" not in kept
        assert b"bbbb" not in kept


def test_what_is_short_enough_is_kept_whole() -> None:
    raw = msgspec.json.encode(wire_event("e", page={"title": f"a {ADDRESS}"}))
    assert SECRET.scrub_cut(raw, len(raw)) == SECRET.scrub_reject(raw)
    assert ADDRESS.encode() not in SECRET.scrub_cut(raw, len(raw))


def test_a_long_crowd_is_hidden() -> None:
    raw = b" ".join(b"anna%d@mailserver.example" % number for number in range(2_000))
    assert SECRET.scrub_cut(raw, LIMIT) == HIDDEN.encode()


def test_an_address_in_the_name_of_a_reject_is_not_cut_before_it_is_hashed() -> None:
    name = f"{'x' * 40} {ADDRESS}"
    raw = msgspec.json.encode([wire_event("e", name)])
    (row,) = INGEST.prepare(raw, source_id=1, now_ms=START_MS).reject_rows
    assert row.name == f"{'x' * 40} {SECRET.email(ADDRESS)}"[:64]


@pytest.mark.parametrize("unit", ["a@", "anna@mailserver", '\\"', "phone", "a\u0301@\u200b", "&#64;"])
def test_five_megabytes_take_no_longer_than_the_part_that_is_kept(unit: str) -> None:
    title = unit * (5_000_000 // len(unit.encode()))
    raw = b'{"event_id":"e","name":"' + title.encode() + b'"}'
    started = time.process_time()
    SECRET.scrub_cut(raw, QUARANTINE_BODY_BYTES)
    INGEST.prepare(b"[" + raw + b"]", source_id=1, now_ms=START_MS)
    assert time.process_time() - started < 2
