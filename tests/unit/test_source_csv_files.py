"""Files of touchpoints, orders and costs: what becomes of good rows, and where broken ones are named."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from touchtrail.events import VOCABULARY
from touchtrail_collector.api import FileEvent, FileProblem
from touchtrail_collector.domain.event import EventChecker
from touchtrail_collector.domain.privacy import Pseudonymiser
from touchtrail_collector.testing import check_source
from touchtrail_plugins.sources import csv
from touchtrail_plugins.sources._csv_event_id import REMEMBERED, EventIds
from touchtrail_plugins.sources.csv import read_file, touchtrail_sources

CHECKER = EventChecker(VOCABULARY, Pseudonymiser(b"key"))

TOUCHPOINTS = "occurred_at,event,customer_id,store_id\n2026-11-21T10:00:00Z,store_visited,c-1,S1\n"
ORDERS = "order_id,placed_at,currency,total,customer_id\nA-1,2026-11-21T10:00:00Z,EUR,129.90,c-1\n"
COSTS = "date,source,medium,amount,currency\n2026-11-21,google,cpc,12.50,EUR\n"


def read(text: str | bytes, **options: str) -> list[FileEvent | FileProblem]:
    return list(read_file(io.BytesIO(text.encode() if isinstance(text, str) else text), options))


def events(items: Iterable[FileEvent | FileProblem]) -> list[dict[str, Any]]:
    return [dict(item.event) for item in items if isinstance(item, FileEvent)]


def places(items: Iterable[FileEvent | FileProblem]) -> list[tuple[int, str | None]]:
    return [(item.line, item.column) for item in items if isinstance(item, FileProblem)]


def messages(items: Iterable[FileEvent | FileProblem]) -> str:
    return "\n".join(item.message for item in items if isinstance(item, FileProblem))


def only_event(text: str | bytes, **options: str) -> dict[str, Any]:
    """The file's single event, which the collector would keep."""
    items = read(text, **options)
    assert messages(items) == ""
    (event,) = events(items)
    CHECKER.check(msgspec.json.encode(event), now_ms=0)
    return event


def test_the_source_is_named_csv_and_has_files_only() -> None:
    (source,) = touchtrail_sources(settings=None)
    assert (source.name, source.endpoints, source.read_file) == ("csv", (), read_file)


@pytest.mark.parametrize(
    ("text", "name"), [(TOUCHPOINTS, "store_visited"), (ORDERS, "order_placed"), (COSTS, "ad_spend_reported")]
)
def test_the_header_tells_the_kind_of_file(text: str, name: str) -> None:
    assert only_event(text)["name"] == name


def test_a_touchpoints_columns_go_to_person_campaign_page_and_properties() -> None:
    event = only_event(
        "Occurred At;Event;Customer ID;anonymous_id;email;phone;loyalty_card;source;medium;campaign;url;referrer;"
        "sku;price;currency;shelf\n"
        "21.11.2026 10:00;Product Viewed;c-1;a-1;a@b.example;+49 30 1;L1;google;cpc;autumn;https://s.example/;"
        "https://g.example/;SKU-1;1.129,90 €;eur;left\n",
        time_zone="Europe/Berlin",
    )
    event.pop("event_id")
    assert event == {
        "name": "product_viewed", "occurred_at": "2026-11-21T09:00:00.000Z", "customer_id": "c-1",
        "anonymous_id": "a-1", "identifiers": {"email": "a@b.example", "phone": "+49 30 1", "loyalty_card": "L1"},
        "campaign": {"source": "google", "medium": "cpc", "name": "autumn"},
        "page": {"url": "https://s.example/", "referrer": "https://g.example/"},
        "properties": {"sku": "SKU-1", "price": "1129.90", "currency": "EUR", "extra": {"shelf": "left"}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "cells", "properties"),
    [
        ("event,kind,score", "survey_answered,nps,9", {"kind": "nps", "score": 9}),
        ("event,rating,sku", 'product_reviewed,"4,5",S', {"rating": 4.5, "sku": "S"}),
        ("event,order_id,won", "chargeback_resolved,A-1,ja", {"order_id": "A-1", "won": True}),
        ("event,skus", "comparison_viewed,A | B", {"skus": ["A", "B"]}),
        ("event,medium,starts_on", "media_flight_ran,radio,2026-11-01", {"medium": "radio", "starts_on": "2026-11-01"}),
        ("event,cart_id,lines", 'cart_viewed,1,"[{""sku"":""S""}]"', {"cart_id": "1", "lines": [{"sku": "S"}]}),
        ("event,colour,size", "shoe_fitted,red,42", {"colour": "red", "size": "42"}),
    ],
)
def test_other_columns_are_the_events_properties_in_their_own_types(
    columns: str, cells: str, properties: dict[str, Any]
) -> None:
    event = only_event(f"occurred_at,customer_id,{columns}\n2026-11-21,c-1,{cells}\n")
    assert event["properties"] == properties


def test_the_file_may_bring_its_own_event_ids() -> None:
    assert only_event("event_id,occurred_at,event,customer_id\nmy-1,2026-11-21,store_visited,c\n")["event_id"] == "my-1"


def test_one_order_row_tells_everything_that_happened_to_the_order() -> None:
    header = (
        "order_id;placed_at;paid_at;shipped_at;delivered_at;cancelled_at;cancelled_amount;refunded_at;refunded_amount;reason;"
        "currency;total;goods;tax;shipping;discount;coupon_codes;customer_id;email;source;payment_method;carrier;status\n"
    )
    row = (
        "A-1;21.11.2026 10:00;21.11.2026 10:01;22.11.2026;24.11.2026;23.11.2026;30,10;1.12.2026;-99,90;too small;"
        "EUR;129,90;120,00;20,74;4,90;-5,00;AUTUMN|VIP;c-1;a@b.example;google;card;DHL;refunded\n"
    )
    items = read(header + row)
    assert messages(items) == ""
    made = events(items)
    for event in made:
        CHECKER.check(msgspec.json.encode(event), now_ms=0)
        assert (event["customer_id"], event["properties"]["order_id"]) == ("c-1", "A-1")
        assert event["identifiers"] == {"email": "a@b.example"}
    by_name = {event["name"]: event["properties"] for event in made}
    assert list(by_name) == [
        "order_placed", "order_paid", "order_shipped", "order_delivered", "order_cancelled", "order_refunded"
    ]  # fmt: skip
    assert by_name["order_placed"] == {
        "order_id": "A-1", "currency": "EUR", "total": "129.90", "goods": "120.00", "tax": "20.74", "shipping": "4.90",
        "discount": "5.00", "coupon_codes": ["AUTUMN", "VIP"], "payment_method": "card",
        "extra": {"status": "refunded"},
    }  # fmt: skip
    assert by_name["order_paid"]["method"] == "card"
    assert by_name["order_shipped"]["carrier"] == "DHL"
    assert (by_name["order_cancelled"]["amount"], by_name["order_cancelled"]["reason"]) == ("30.10", "too small")
    assert (by_name["order_refunded"]["amount"], by_name["order_refunded"]["currency"]) == ("99.90", "EUR")
    assert made[0]["campaign"] == {"source": "google"}
    assert "campaign" not in made[1]


LINES = (
    "order_id,placed_at,currency,total,sku,name,quantity,unit_price\n"
    "A-1,2026-11-21,EUR,129.90,S1,Shoe,1,99.90\n"
    "A-1,,,,S2,Sock,3,10\n"
    "A-2,2026-11-22,EUR,10,S2,,1,10\n"
)


def test_consecutive_rows_of_one_order_are_its_lines() -> None:
    first, second = read(LINES)
    assert isinstance(first, FileEvent)
    assert isinstance(second, FileEvent)
    assert (first.line, second.line) == (2, 4)
    assert first.event["properties"]["lines"] == [
        {"sku": "S1", "name": "Shoe", "quantity": 1, "unit_price": "99.90"},
        {"sku": "S2", "name": "Sock", "quantity": 3, "unit_price": "10"},
    ]
    assert second.event["properties"]["lines"] == [{"sku": "S2", "quantity": 1, "unit_price": "10"}]


@pytest.mark.parametrize(
    ("broken", "place"),
    [
        ("A-1,,,,S2,Sock,three,10\n", (3, "quantity")),
        ("A-1,,,,,Sock,3,10\n", (3, "sku")),
        ("A-1,,,99,S2,Sock,3,10\n", (3, "total")),
        ("A-1,,,\n", (3, None)),
    ],
)
def test_an_order_with_a_broken_line_is_left_out_whole(broken: str, place: tuple[int, str | None]) -> None:
    items = read(LINES.replace("A-1,,,,S2,Sock,3,10\n", broken) + "A-3,2026-11-23,EUR,10,S2,,1,10\n")
    assert place in places(items)
    assert "A-1" not in [event["properties"]["order_id"] for event in events(items)]
    assert "A-3" in [event["properties"]["order_id"] for event in events(items)]


def test_a_list_of_refunds_needs_no_column_for_when_the_order_was_placed() -> None:
    event = only_event("order_id,refunded_at,refunded_amount,currency,refund_id\nA-1,2026-12-01,30,EUR,r-1\n")
    assert (event["name"], event["properties"]["refund_id"], event["properties"]["amount"]) == (
        "order_refunded",
        "r-1",
        "30",
    )


def test_an_amount_that_went_back_at_no_time_is_named_unless_it_is_nothing() -> None:
    header = "order_id,placed_at,currency,total,refunded_at,refunded_amount\n"
    assert only_event(header + 'A-1,2026-11-21,EUR,10,,"0,00"\n')["name"] == "order_placed"
    assert places(read(header + "A-1,2026-11-21,EUR,10,,5\n")) == [(2, "refunded_at")]


def test_costs_of_a_day_and_of_a_span_of_days() -> None:
    event = only_event(COSTS)
    assert (event["occurred_at"], event["properties"]) == (
        "2026-11-21T00:00:00.000Z",
        {"starts_on": "2026-11-21", "amount": "12.50", "currency": "EUR", "source": "google", "medium": "cpc"},
    )
    span = only_event(
        "start\tend\tchannel\tcampaign\tamount\timpressions\tclicks\tagency\n"
        "1.11.2026\t30.11.2026\tPaid Social\tautumn\t1.299,90\t12.345\t99\tX\n",
        currency="eur",
    )
    assert span["properties"] == {
        "starts_on": "2026-11-01", "ends_on": "2026-11-30", "channel": "Paid Social", "campaign": "autumn",
        "amount": "1299.90", "currency": "EUR", "impressions": 12345, "clicks": 99, "extra": {"agency": "X"},
    }  # fmt: skip


def test_costs_that_end_before_they_begin_are_named() -> None:
    assert places(read("start,end,amount,currency\n2026-11-02,2026-11-01,5,EUR\n")) == [(2, "end")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order mark"])
def test_delimiters_line_ends_and_byte_order_marks_make_no_difference(
    delimiter: str, line_end: str, start: bytes
) -> None:
    text = TOUCHPOINTS.replace(",", delimiter).replace("\n", line_end).encode()
    options = {"delimiter": "pipe"} if delimiter == "|" else {}
    assert only_event(start + text, **options) == only_event(TOUCHPOINTS)


def test_excels_separator_line_is_understood() -> None:
    assert only_event("sep=;\n" + TOUCHPOINTS.replace(",", ";")) == only_event(TOUCHPOINTS)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "latin-1"])
def test_another_encoding_is_read_when_it_is_named(encoding: str) -> None:
    text = TOUCHPOINTS.replace("S1", "Köln")
    assert only_event(text.encode(encoding), encoding=encoding)["properties"] == {"store_id": "Köln"}


def test_bytes_that_are_not_utf_8_are_named_and_the_other_rows_go_on() -> None:
    text = TOUCHPOINTS.encode() + b"2026-11-21,store_visited,c-2,K\xf6ln\n2026-11-21,store_visited,c-3,S\n"
    items = read(text)
    assert places(items) == [(3, "store_id")]
    assert "encoding=cp1252" in messages(items)
    assert [event["customer_id"] for event in events(items)] == ["c-1", "c-3"]
    (problem,) = (item for item in items if isinstance(item, FileProblem))
    assert problem.raw == b"2026-11-21,store_visited,c-2,K\xf6ln\n"


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        ("yesterday,store_visited,c,", "occurred_at", "expected a time such as"),
        (",store_visited,c,", "occurred_at", "the cell is empty; expected a time"),
        ("2026-11-21,,c,", "event", "expected an event's name"),
        ("2026-11-21,store/visited,c,", "event", "expected a name of letters"),
        ("2026-11-21,store_visited,c,\0", "store_id", "NUL"),
        ("2026-11-21,store_visited,c," + "x" * 40_000, "store_id", "the limit is 32768"),
        ("2026-11-21,store_visited,c", None, "the row has 3 cells, the header has 4"),
        ("2026-11-21,store_visited,c,S,more", None, "the row has 5 cells, the header has 4"),
        ('2026-11-21,store_visited,"c,S', "customer_id", "not closed"),
        ('2026-11-21,store_visited,"c"d,S', "customer_id", "after the closing quote"),
        ("x" * 200_000, None, "more than 131072 characters"),
    ],
)
def test_a_broken_row_is_named_with_line_and_column_and_the_others_go_on(
    row: str, column: str | None, expected: str
) -> None:
    items = read(f"{TOUCHPOINTS}{row}\n2026-11-21,store_visited,c-9,S9\n")
    assert places(items) == [(3, column)]
    assert expected in messages(items)
    assert [event["customer_id"] for event in events(items)] == ["c-1", "c-9"]


def test_a_quoted_cell_may_hold_delimiters_quotes_and_line_ends() -> None:
    items = read(
        'occurred_at,event,customer_id,note\n2026-11-21,shoe_fitted,c,"a, ""b""\nc"\n2026-11-21,shoe_fitted,d,\nx\n'
    )
    assert events(items)[0]["properties"] == {"note": 'a, "b"\nc'}
    assert [item.line for item in items] == [2, 4, 5]


def test_a_forgotten_quote_costs_one_row_of_many() -> None:
    rows = [f"2026-11-21,store_visited,c-{number},S" for number in range(500)]
    rows[100] = '2026-11-21,store_visited,"c-100,S'
    items = read("occurred_at,event,customer_id,store_id\n" + "\n".join(rows))
    assert places(items) == [(102, "customer_id")]
    assert len(events(items)) == 499


def test_blank_rows_and_blank_cells_at_the_end_are_no_mistakes() -> None:
    items = read(TOUCHPOINTS + "\n,,,\n   \n2026-11-21,store_visited,c-2,S2,,\n")
    assert messages(items) == ""
    assert len(events(items)) == 2


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("", {}, "the file is empty"),
        ("\n\n", {}, "the file is empty"),
        ("PK\x03\x04\0\0", {}, "saved as CSV"),
        ("x" * 200_000, {}, "too long for a header"),
        ("occurred_at,event,Event\n", {}, "two columns named Event"),
        ("occurred_at,customer_id\n", {}, "as a file of touchpoints the header lacks event; its columns are"),
        ("date,medium\n", {}, "as a file of costs the header lacks amount"),
        ("order_id,total\n", {}, "as a file of orders the header lacks placed_at or paid_at"),
        ("foo,bar\n", {"kind": "costs"}, "as a file of costs the header lacks date or start, amount"),
        (COSTS, {"kind": "cost"}, "option kind: expected one of touchpoints, orders, costs"),
        (COSTS, {"colour": "red"}, "there is no option colour; the options are kind,"),
        (COSTS, {"encoding": "zlib"}, "there is no encoding"),
        (COSTS, {"encoding": "\0"}, "there is no encoding"),
        (COSTS, {"delimiter": ",,"}, "option delimiter"),
        (COSTS, {"decimal": "dot"}, "option decimal"),
        (COSTS, {"time_zone": "Mars/Olympus"}, "option time_zone"),
        (COSTS, {"time_zone": "../etc"}, "option time_zone"),
        (COSTS, {"currency": "euro"}, "option currency"),
    ],
)  # fmt: skip
def test_a_file_or_option_that_cannot_be_used_is_one_problem_at_line_1(
    text: str, options: dict[str, str], expected: str
) -> None:
    (problem,) = read(text, **options)
    assert isinstance(problem, FileProblem)
    assert problem.line == 1
    assert expected in problem.message


def ids(text: str, **options: str) -> list[str]:
    return [event["event_id"] for event in events(read(text, **options))]


def test_a_file_imported_again_gives_the_same_ids_and_a_longer_one_adds_to_them() -> None:
    longer = TOUCHPOINTS + "2026-11-22,store_visited,c-2,S1\n"
    assert ids(TOUCHPOINTS) == ids(TOUCHPOINTS) == ids(longer)[:1]
    assert len(set(ids(longer))) == 2


def test_equal_rows_are_events_of_their_own() -> None:
    row = "2026-11-21T10:00:00Z,store_visited,c-1,S1\n"
    first, second, third = ids(TOUCHPOINTS + row + row)
    assert len({first, second, third}) == 3
    assert ids(TOUCHPOINTS + row) == [first, second]


def test_ids_do_not_depend_on_how_the_file_is_written() -> None:
    other = "store_id;customer_id;event;occurred_at\nS1;c-1;Store Visited;21.11.2026 11:00\n"
    assert ids(other, time_zone="Europe/Berlin") == ids(TOUCHPOINTS)


def test_an_order_keeps_its_id_when_its_row_tells_more_later() -> None:
    header = "order_id,placed_at,currency,total,refunded_at,state\n"
    before = ids(header + "A-1,2026-11-21,EUR,10,,open\n")
    after = ids(header + "A-1,2026-11-21,EUR,10,2026-12-01,refunded\n")
    assert after[:1] == before
    assert len(after) == 2


def test_repetitions_are_counted_in_bounded_memory() -> None:
    given_ids = EventIds("touchpoints")
    first = given_ids.next_of({"n": -1})
    for number in range(REMEMBERED):
        given_ids.next_of({"n": number})
    assert given_ids.next_of({"n": -1}) == first
    assert given_ids.next_of({"n": -1}) == f"{first}:2"


class Rows(io.RawIOBase):
    """A file that makes its rows while it is read."""

    def __init__(self, count: int) -> None:
        self._rows = self._make(count)
        self._rest = b""

    @staticmethod
    def _make(count: int) -> Iterator[bytes]:
        yield b"order_id,placed_at,currency,total,sku,quantity,unit_price\n"
        for number in range(count):
            yield b"A-%d,2026-11-21,EUR,10,S,1,10\n" % number

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._rest or next(self._rows, b"")
        size = min(len(data), len(buffer))
        buffer[:size] = data[:size]
        self._rest = data[size:]
        return size


def test_memory_does_not_grow_with_the_file() -> None:
    def peak(count: int) -> int:
        with io.BufferedReader(Rows(count)) as file:
            tracemalloc.start()
            assert sum(1 for _ in read_file(file, {})) == count
            size = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return size

    peak(10)
    assert peak(5_000) < peak(500) + 100_000


def test_the_file_is_left_open_to_whoever_opened_it() -> None:
    for text in (TOUCHPOINTS, "", "foo\n"):
        file = io.BytesIO(text.encode())
        for _ in read_file(file, {}):
            break
        list(read_file(file, {}))
        assert not file.closed


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([TOUCHPOINTS, ORDERS, COSTS, LINES, ""]),
    st.lists(
        st.text(alphabet='A-1,;"\n\t2026.x\0ä\r', max_size=40).map(str.encode) | st.binary(max_size=40), max_size=8
    ),
    st.sampled_from(["utf-8", "cp1252", "utf-16", "shift_jis", "utf-32", "cp037"]),
)
def test_any_bytes_are_events_or_problems_with_a_line(start: str, tail: list[bytes], encoding: str) -> None:
    items = read(start.encode(encoding) + b"\n".join(tail), encoding=encoding)
    assert all(item.line >= 1 for item in items)
    for event in events(items):
        assert msgspec.json.decode(msgspec.json.encode(event))["event_id"]


def test_every_column_and_option_is_documented() -> None:
    text = Path(csv.__file__).with_name("README.md").read_text(encoding="utf-8")
    section = text[text.index("## `source.csv`") :]
    names = {name for kind in csv.KINDS.values() for name in kind.known} | set(csv.OPTIONS)
    assert {name for name in names if f"`{name}`" not in section} == set()


def test_the_source_passes_the_conformance_kit() -> None:
    (source,) = touchtrail_sources(settings=None)
    check_source(
        source, [text.encode() for text in (TOUCHPOINTS, COSTS, "order_id,refunded_at,customer_id\nA,2026-11-21,c\n")]
    )
    check_source(source, [ORDERS.encode(), LINES.encode()], file_options={"decimal": "point"})
