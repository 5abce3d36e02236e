"""Journeys: one person's whole road with its reasons, however the person is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from seeded_shop import SeededShop, ms
from touchtrail_collector.errors import ReportError


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SeededShop]:
    with SeededShop(tmp_path / "shop.db") as shop:
        shop.person(11, customer_id="c-42", stage="loyalty", orders=1, sessions=1, events=4)
        shop.person(12, stage="awareness", events=9)
        shop.insert(
            "identity_links", person_id=11, kind="anonymous_id", value="a-1", reason="first_seen", linked_at=1, seq=1
        )
        shop.insert(
            "identity_links", person_id=11, kind="customer_id", value="c-42", reason="login", linked_at=2, seq=2
        )
        shop.insert(
            "identity_links",
            person_id=11,
            kind="anonymous_id",
            value="tablet",
            reason="shared_device",
            linked_at=3,
            seq=3,
        )
        shop.insert(
            "identity_links",
            person_id=12,
            kind="anonymous_id",
            value="tablet",
            reason="shared_device",
            linked_at=3,
            seq=3,
        )
        shop.insert(
            "identity_links", person_id=12, kind="loyalty_card", value="11", reason="loyalty_card", linked_at=4, seq=4
        )
        body = '{"properties": {"query": "running shoes"}, "page": {"title": "Search"}}'
        seq = shop.event("product_searched", "2026-01-05", body=body)
        shop.touch(11, "2026-01-05", "Paid Search", seq=seq, name="product_searched", moment="zero")
        shop.signal(11, "2026-01-05", "search_empty", "pain", seq=seq, subject="running shoes")
        shop.touch(11, "2026-01-06", None, "notice", name="order_delivered", stage="retention", creditable=0)
        shop.signal(11, "2026-01-07", "nps", "gain", score=10.0, scale=10.0)
        shop.touch(12, "2026-01-05", "Display", "impression", stage="awareness")
        shop.order(
            "A-1", 11, "2026-01-05", 5_000, coupon_codes='["NEW10"]', changes=(("2026-01-09", "refunded", -1_000),)
        )
        yield shop


@pytest.mark.parametrize("text", ["person:11", "c-42", "customer_id:c-42", "a-1", "A-1", "order_id:A-1", " a-1 "])
def test_a_person_is_found_by_any_identifier(shop: SeededShop, text: str) -> None:
    assert shop.report("journeys", person=text).journey.person_id == 11


def test_a_plain_number_is_a_person_id(shop: SeededShop) -> None:
    assert shop.report("journeys", person="12").journey.person_id == 12


@pytest.mark.parametrize("text", ["11", "tablet"])
def test_what_means_several_people_is_refused_with_ways_to_name_each(shop: SeededShop, text: str) -> None:
    with pytest.raises(ReportError, match=r"person 11.*person 12") as caught:
        shop.report("journeys", person=text)
    assert caught.value.parameter == "person"


@pytest.mark.parametrize("text", ["c-43", "person:99", "customer_id:a-1", "99999999999999999999999"])
def test_an_unknown_person_is_answered_with_how_to_find_one(shop: SeededShop, text: str) -> None:
    with pytest.raises(ReportError, match="touchtrail report journeys"):
        shop.report("journeys", person=text)


def test_the_road_has_steps_with_what_they_were_about_and_how_they_felt(shop: SeededShop) -> None:
    journey = shop.report("journeys", person="c-42").journey
    first, second = journey.steps
    assert (first.name, first.channel, first.moment, first.about, first.source) == (
        "product_searched", "Paid Search", "zero", "running shoes", "web",
    )  # fmt: skip
    assert (first.feeling.kind, first.feeling.polarity) == ("search_empty", "pain")
    assert (second.channel, second.stage, second.creditable, second.feeling) == (None, "retention", False, None)
    assert [(feeling.kind, feeling.score) for feeling in journey.feelings] == [("nps", 10.0)]


def test_the_road_has_orders_with_their_changes_and_links_with_their_reasons(shop: SeededShop) -> None:
    journey = shop.report("journeys", person="c-42").journey
    (order,) = journey.orders
    assert (order.net_minor, order.coupon_codes) == (4_000, ("NEW10",))
    assert [(change.kind, change.amount_minor) for change in order.changes] == [("placed", 5_000), ("refunded", -1_000)]
    assert [(link.value, link.reason) for link in journey.links] == [
        ("a-1", "first_seen"), ("c-42", "login"), ("tablet", "shared_device"),
    ]  # fmt: skip


def test_without_a_person_people_are_listed_by_stages_then_orders(shop: SeededShop) -> None:
    shop.person(13, stage="awareness", orders=3)
    shop.touch(13, "2026-01-05", "Display", "impression", stage="awareness")
    shop.person(14, stage="loyalty", is_bot=1)
    people = shop.report("journeys").people
    assert [(person.person_id, person.stages, person.touchpoints) for person in people] == [
        (11, 2, 2),
        (13, 1, 1),
        (12, 1, 1),
    ]


def test_the_list_is_of_people_seen_in_the_period(shop: SeededShop) -> None:
    shop.db.execute("UPDATE persons SET last_seen = ? WHERE person_id = 12", (ms("2026-01-05"),))
    assert [person.person_id for person in shop.report("journeys", start="2026-02-01").people] == [11]
    assert len(shop.report("journeys", limit="1").people) == 1


def test_a_bot_has_a_road_that_says_so(shop: SeededShop) -> None:
    shop.person(14, is_bot=1)
    journey = shop.report("journeys", person="person:14").journey
    assert journey.is_bot
    assert journey.steps == ()
    assert msgspec.json.encode(journey)
