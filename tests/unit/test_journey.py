"""One person's road: sessions and their channel, what may be credited, stages, feelings."""

from __future__ import annotations

from typing import Any

import pytest

from shop_events import Facts, in_order, small_rules
from touchtrail_collector.domain.fact import Fact
from touchtrail_collector.domain.journey import Road, derive_road, judge
from touchtrail_collector.domain.person import DeriveRules, derive_cluster

RULES = small_rules()
GOOGLE = "https://www.google.com/"
SHOP = "https://shop.example"


def road(*events: tuple[str, float, dict[str, Any]]) -> Road:
    """Derive a road of one device's events; times in minutes."""
    facts = Facts()
    return derive_road(
        in_order([facts(name, at, **({"anonymous_id": "a"} | members)) for name, at, members in events]), RULES
    )


def view(at: float, url: str = "/", referrer: str | None = None, **members: Any) -> tuple[str, float, dict[str, Any]]:
    return ("page_viewed", at, {"page": {"url": SHOP + url, "referrer": referrer}} | members)


def sessions(found: Road) -> list[tuple[str, int]]:
    return [(session.channel.name, session.events) for session in found.sessions]


def credited(found: Road) -> list[tuple[str, str | None]]:
    return [(t.name, t.channel.name if t.channel else None) for t in found.touchpoints if t.creditable]


TAGGED = "/?utm_source=news&utm_medium=email&utm_campaign=may"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([view(0), view(30)], [("Direct", 2)], id="thirty minutes are one visit"),
        pytest.param([view(0), view(30.001)], [("Direct", 1), ("Direct", 1)], id="a moment more are two"),
        pytest.param([view(0), view(25), view(50)], [("Direct", 3)], id="each event prolongs it"),
        pytest.param([view(0, referrer=GOOGLE), view(1, TAGGED)], [("Search", 1), ("Email", 1)], id="a campaign begins another"),
        pytest.param([view(0, TAGGED), view(1, TAGGED)], [("Email", 2)], id="the same campaign does not"),
        pytest.param([view(0, TAGGED), view(1, TAGGED + "2")], [("Email", 1), ("Email", 1)], id="another campaign does"),
        pytest.param([view(0), view(1, referrer=GOOGLE)], [("Direct", 1), ("Search", 1)], id="a foreign referrer does"),
        pytest.param([view(0, referrer=GOOGLE), view(1, referrer=GOOGLE)], [("Search", 2)], id="the same referrer does not"),
        pytest.param([view(0, referrer=GOOGLE), view(1, referrer=SHOP + "/p")], [("Search", 2)], id="the shop itself is no origin"),
        pytest.param(
            [view(0, referrer=GOOGLE), view(1, referrer="https://pay.example/ok")], [("Search", 2)], id="nor is the payment page"
        ),
        pytest.param(
            [view(0, TAGGED), view(90, referrer="https://pay.example/ok")], [("Email", 1), ("Email", 1)],
            id="paying slowly keeps the channel",
        ),
        pytest.param(
            [("product_viewed", 0, {"sku": "S"}), view(1, TAGGED)], [("Email", 2)],
            id="an event before the first page takes that page's origin",
        ),
        pytest.param(
            [view(0, TAGGED), view(1, anonymous_id="b")], [("Email", 1), ("Direct", 1)], id="each device has its own"
        ),
        pytest.param(
            [view(0, anonymous_id=None, customer_id="c"), view(1, anonymous_id=None, customer_id="c")], [("Direct", 2)],
            id="a customer without a device id has one too",
        ),
    ],
)  # fmt: skip
def test_where_a_session_begins_and_its_channel(events: list[Any], expected: list[tuple[str, int]]) -> None:
    assert sessions(road(*events)) == expected


def test_a_session_earns_once_and_only_where_it_came_from_somewhere() -> None:
    found = road(view(0, TAGGED), view(1), view(90, referrer="https://pay.example/ok"), view(200))
    assert credited(found) == [("page_viewed", "Email"), ("page_viewed", "Direct")]
    assert [touchpoint.creditable for touchpoint in found.touchpoints] == [True, False, False, True]


@pytest.mark.parametrize(
    ("landing_at", "expected"),
    [
        (2, [("email_clicked", "Email")]),
        (30, [("email_clicked", "Email")]),
        (31, [("email_clicked", "Email"), ("page_viewed", "Email")]),
    ],
)
def test_a_click_and_its_landing_are_one_touch(landing_at: float, expected: list[tuple[str, str]]) -> None:
    click = ("email_clicked", 0, {"campaign": {"medium": "email", "name": "may"}})
    assert credited(road(click, view(landing_at, TAGGED))) == expected


def test_a_click_of_another_channel_takes_nothing_from_a_landing() -> None:
    click = ("ad_click", 0, {"campaign": {"medium": "cpc"}})
    assert credited(road(click, view(1, TAGGED))) == [("ad_click", "Paid"), ("page_viewed", "Email")]


def test_impressions_and_encounters_count_notices_and_machines_do_not() -> None:
    found = road(
        ("ad_impression", 0, {"campaign": {"medium": "banner"}}),
        ("email_opened", 1, {"campaign": {"medium": "email"}}),
        ("email_opened", 2, {"campaign": {"medium": "email"}, "machine": True}),
        ("store_visited", 3, {}),
        ("order_shipped", 4, {"order_id": "1"}),
        ("email_bounced", 5, {}),
    )
    assert [(t.name, t.contact) for t in found.touchpoints] == [
        ("ad_impression", "impression"), ("email_opened", "impression"), ("email_opened", "notice"),
        ("store_visited", "encounter"), ("order_shipped", "notice"),
    ]  # fmt: skip
    assert [name for name, _ in credited(found)] == ["ad_impression", "email_opened", "store_visited"]
    assert found.touchpoints[-1].channel is None


def test_what_is_told_of_a_customer_without_a_page_is_no_session() -> None:
    found = road(
        ("product_viewed", 0, {"anonymous_id": None, "customer_id": "c", "sku": "S"}),
        ("order_placed", 1, {"anonymous_id": None, "customer_id": "c", "order_id": "1", "currency": "EUR"}),
    )
    assert found.sessions == []
    assert [(t.name, t.contact) for t in found.touchpoints] == [
        ("product_viewed", "encounter"),
        ("order_placed", "notice"),
    ]


def test_what_has_no_stage_takes_that_of_its_surroundings_and_own_events_take_none() -> None:
    found = road(
        ("own_thing", 0, {}),
        ("page_slow", 1, {"page": {"url": SHOP}}),
        ("cart_item_added", 2, {"sku": "S"}),
        ("page_slow", 3, {}),
        ("own_thing", 4, {}),
    )
    stages = [(t.name, t.stage) for t in found.touchpoints]
    assert ("own_thing", None) == stages[0] == stages[-1]
    assert ("cart_item_added", "purchase") in stages
    assert dict(stages).get("page_slow", "purchase") == "purchase"
    assert [signal.stage for signal in found.signals] == [None, "purchase"]


@pytest.mark.parametrize(
    ("name", "properties", "expected"),
    [
        ("coupon_denied", {"coupon_code": "X"}, ("coupon_denied", "pain", None, None, "X")),
        ("order_delivered", {"order_id": "7"}, ("order_delivered", "gain", None, None, "7")),
        ("survey_answered", {"kind": "nps", "score": 6}, ("nps", "pain", 6.0, 10.0, None)),
        ("survey_answered", {"kind": "nps", "score": 8}, ("nps", "neutral", 8.0, 10.0, None)),
        ("survey_answered", {"kind": "ces", "score": 5}, ("ces", "gain", 5.0, 7.0, None)),
        ("product_reviewed", {"rating": 4.5, "sku": "S"}, ("product_reviewed", "gain", 4.5, 5.0, "S")),
        ("feedback_given", {"score": 3, "scale": 10}, ("feedback_given", "pain", 3.0, 10.0, None)),
    ],
)
def test_a_feeling_has_polarity_score_and_what_it_is_about(
    name: str, properties: dict[str, Any], expected: Any
) -> None:
    (signal,) = road((name, 0, properties)).signals
    assert (signal.kind, signal.polarity, signal.score, signal.scale, signal.subject) == expected


def test_an_answer_without_a_score_is_no_feeling() -> None:
    assert road(("feedback_given", 0, {}), ("product_reviewed", 1, {"rating": None})).signals == []


@pytest.mark.parametrize(
    ("kind", "scale", "gains", "pains"),
    [
        ("nps", 10, range(9, 11), range(7)),
        ("csat", 5, range(4, 6), range(1, 3)),
        ("ces", 7, range(5, 8), range(1, 4)),
        ("stars", 5, range(4, 6), range(1, 3)),
    ],
)
def test_where_pleasure_begins_and_pain_ends(kind: str, scale: int, gains: range, pains: range) -> None:
    told = {score: judge(kind, score, scale) for score in range(scale + 1)}
    assert [score for score in told if told[score] == "gain"] == list(gains)
    assert [score for score in told if told[score] == "pain" and score in pains] == list(pains)
    assert all(told[score] == "neutral" for score in range(1, scale + 1) if score not in gains and score not in pains)


def derive(facts: list[Fact]) -> Any:
    rules = DeriveRules(journey=RULES, currencies={1: "EUR"}, is_bot=lambda agent: "bot" in agent)
    return derive_cluster(facts, rules)


def test_an_order_told_three_times_stands_on_the_road_once() -> None:
    facts = Facts()
    told = {"customer_id": "c", "order_id": "1", "currency": "EUR", "total": "10"}
    (person,) = derive([facts("order_placed", at, source=source, **told) for source, at in ((1, 0), (2, 1), (3, 2))])
    assert [touchpoint.name for touchpoint in person.road.touchpoints] == ["order_placed"]
    assert person.orders[0].reports == 3


def test_a_person_knows_customer_stage_traits_and_whether_it_is_a_robot() -> None:
    facts = Facts()
    (person,) = derive(
        [
            facts("customer_identified", 2, customer_id="c", anonymous_id="a", traits={"tier": "gold"}),
            facts("customer_identified", 1, customer_id="c", traits={"tier": "tin", "segment": "jogger"}),
            facts("product_reviewed", 3, customer_id="c", rating=5),
            facts("page_viewed", 4, anonymous_id="a", device={"user_agent": "a bot"}),
        ]
    )
    assert (person.customer_id, person.stage, person.events, person.is_bot) == ("c", "loyalty", 4, True)
    assert person.traits == {"tier": "gold", "segment": "jogger"}


def test_who_orders_is_no_robot() -> None:
    facts = Facts()
    (person,) = derive(
        [facts("order_placed", anonymous_id="a", order_id="1", currency="EUR", device={"user_agent": "a bot"})]
    )
    assert not person.is_bot


def test_an_order_belongs_to_whoever_told_of_it_first() -> None:
    facts = Facts()
    people = derive(
        [
            facts("order_placed", 1, anonymous_id="a", customer_id="c", order_id="1", currency="EUR", total="10"),
            facts("order_placed", 9, anonymous_id="a", customer_id="d", order_id="2", currency="EUR", total="20"),
        ]
    )
    assert [(person.customer_id, [order.order_id for order in person.orders]) for person in people] == [
        ("c", ["1"]),
        ("d", ["2"]),
    ]
