"""Facts: whose clock counts, and which identifiers identify somebody."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop_events import Facts
from touchtrail_collector.domain.fact import BODY_DECODER, NOT_AN_ID, corrected_time, nodes_of, order_id_of, read_nodes

RECEIVED = 1_800_000_000_000


@pytest.mark.parametrize(
    ("occurred", "sent", "expected"),
    [
        pytest.param(-60_000, None, -60_000, id="no sent_at: as told"),
        pytest.param(-60_000, -4_999, -60_000, id="clocks agree: as told"),
        pytest.param(-7_260_000, -7_200_000, -60_000, id="two hours behind: moved forward"),
        pytest.param(7_140_000, 7_200_000, -60_000, id="two hours ahead: moved back"),
        pytest.param(60_000, 0, 0, id="after its receipt: no event is"),
    ],
)
def test_a_wrong_clock_is_corrected_by_what_it_was_wrong(occurred: int, sent: int | None, expected: int) -> None:
    sent_at = None if sent is None else RECEIVED + sent
    assert corrected_time(RECEIVED + occurred, sent_at, RECEIVED) == RECEIVED + expected


@pytest.mark.parametrize("garbage", sorted(NOT_AN_ID - {""}))
@pytest.mark.parametrize("write", [str, str.upper, lambda text: f" {text} "])
def test_placeholders_identify_nobody(garbage: str, write: object) -> None:
    value = write(garbage)  # type: ignore[operator]
    fact = Facts()("page_viewed", anonymous_id=value, customer_id=value, identifiers={"email": value}, order_id=value)
    assert fact.nodes == []
    assert order_id_of(fact.body.properties) is None


def test_a_placeholder_beside_an_id_leaves_the_id() -> None:
    assert Facts()("page_viewed", anonymous_id="a-1", customer_id="null").nodes == [("anonymous", "a-1")]


def test_a_coupon_code_is_one_however_it_is_typed_and_wherever_it_stands() -> None:
    facts = Facts()
    ways = [
        facts("coupon_applied", coupon_code=" save10 "),
        facts("order_placed", coupon_codes=["Save10"]),
        facts("order_placed", identifiers={"coupon_code": "SAVE10"}),
    ]
    assert [fact.nodes for fact in ways] == [[("coupon", "SAVE10")]] * 3


def test_a_text_is_no_id_and_a_heap_of_codes_no_customers() -> None:
    facts = Facts()
    assert facts("order_paid", order_id="o" * 257).nodes == []
    assert len(facts("order_placed", coupon_codes=[f"C{n}" for n in range(10_000)]).nodes) == 20


ID = st.text(max_size=5) | st.sampled_from(["null", "a-1"])
ANY = ID | st.integers() | st.none() | st.lists(ID, max_size=3)


@settings(deadline=None)
@given(
    st.fixed_dictionaries({}, optional={
        "anonymous_id": ID | st.none(), "customer_id": ID, "identifiers": st.dictionaries(ID, ID, max_size=3),
        "properties": st.dictionaries(st.sampled_from(["order_id", "coupon_code", "coupon_codes", "sku"]), ANY),
    })
)  # fmt: skip
def test_reading_the_identifiers_alone_gives_those_of_the_whole_event(event: dict[str, object]) -> None:
    body = msgspec.json.encode(event)
    assert read_nodes(body.decode()) == nodes_of(BODY_DECODER.decode(body))
