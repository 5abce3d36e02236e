"""Who is who: persons are told apart by what their events name, whatever arrived first, and with the reason of each link."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop_events import Facts, in_order
from touchtrail_collector.domain.fact import Fact
from touchtrail_collector.domain.identity import PersonFacts, find_hubs, resolve
from touchtrail_collector.services.cluster import Clusters, keys_of, node_key


def persons(facts: Sequence[Fact]) -> list[list[str]]:
    """Return the events of each person, sorted, as ids."""
    return sorted(sorted(fact.event_id for fact in person.facts) for person in everybody(facts))


def everybody(facts: Sequence[Fact]) -> list[PersonFacts]:
    """Gather events into clusters, as the projector does, and tell the persons of each apart."""
    hubs = find_hubs(facts)
    hub_keys = {node_key(1, node) for node in hubs}
    clusters, known = Clusters(), dict[str, int]()
    places = {fact.seq: clusters.place(fact.seq, keys_of(fact, hub_keys), known) for fact in facts}
    gathered: dict[int, list[Fact]] = {}
    for fact in in_order(facts):
        gathered.setdefault(clusters.find(places[fact.seq]), []).append(fact)
    return [person for cluster in gathered.values() for person in resolve(cluster, hubs)]


def seen(*events: tuple[str, dict[str, Any]]) -> list[list[str]]:
    """Derive events one minute apart, in every order of arrival (up to 24), and return what all orders agree on."""
    results = []
    for arrival in list(permutations(enumerate(events)))[:24]:
        facts = Facts()
        arrived = [facts(name, at, event_id=f"{at}", **members) for at, (name, members) in arrival]
        results.append(persons(arrived))
    assert all(result == results[0] for result in results)
    return results[0]


def view(**members: Any) -> tuple[str, dict[str, Any]]:
    return ("page_viewed", members)


def mail(address: str) -> dict[str, Any]:
    return {"identifiers": {"email": f"hmac:{address}"}}


def test_a_device_is_one_person() -> None:
    assert seen(view(anonymous_id="a"), view(anonymous_id="a"), view(anonymous_id="b")) == [["0", "1"], ["2"]]


def test_a_login_joins_what_the_device_did_before() -> None:
    assert seen(view(anonymous_id="a"), view(anonymous_id="a", customer_id="c")) == [["0", "1"]]


def test_two_devices_with_one_login_are_one_person() -> None:
    assert seen(
        view(anonymous_id="a"),
        view(anonymous_id="a", customer_id="c"),
        view(anonymous_id="b"),
        view(anonymous_id="b", customer_id="c"),
    ) == [["0", "1", "2", "3"]]


@pytest.mark.parametrize("kind", ["email", "phone", "loyalty_card"])
def test_a_lasting_identifier_joins_devices(kind: str) -> None:
    link = {"identifiers": {kind: "x"}}
    assert seen(view(anonymous_id="a", **link), view(anonymous_id="b", **link)) == [["0", "1"]]


@pytest.mark.parametrize("kind", ["order_id", "receipt_code", "click_id"])
def test_a_number_seen_on_two_devices_joins_them(kind: str) -> None:
    link = {"identifiers": {kind: "x"}}
    assert seen(view(anonymous_id="a", **link), view(anonymous_id="b", **link)) == [["0", "1"]]


def test_an_order_told_by_the_till_belongs_to_whom_the_shop_knows_it_of() -> None:
    assert seen(
        ("order_placed", {"anonymous_id": "a", "order_id": "7"}),
        ("order_shipped", {"order_id": "7"}),
        ("order_refunded", {"customer_id": "c", "order_id": "7"}),
    ) == [["0", "1", "2"]]


def test_two_customers_on_one_device_stay_two() -> None:
    """What happens without a login belongs to whoever was there last; before the first login to the first one."""
    assert seen(
        view(anonymous_id="a"),
        view(anonymous_id="a", customer_id="c"),
        view(anonymous_id="a"),
        view(anonymous_id="a", customer_id="d"),
    ) == [["0", "1", "2"], ["3"]]
    assert seen(
        view(anonymous_id="a", customer_id="c"), view(anonymous_id="a", customer_id="d"), view(anonymous_id="a"), view(anonymous_id="b", customer_id="d"),
    ) == [["0"], ["1", "2", "3"]]  # fmt: skip


def test_a_late_login_splits_what_was_one_person() -> None:
    facts = Facts()
    early = [facts("page_viewed", 0, anonymous_id="a", customer_id="c"), facts("page_viewed", 10, anonymous_id="a")]
    assert persons(early) == [["e00001", "e00002"]]
    late = facts("page_viewed", 5, anonymous_id="a", customer_id="d")
    assert persons([*early, late]) == [["e00001"], ["e00002", "e00003"]]


def test_a_voucher_links_who_uses_it_to_whom_it_was_given() -> None:
    assert seen(
        ("voucher_received", {"customer_id": "c", "coupon_code": "THANKS-1"}),
        ("coupon_applied", {"anonymous_id": "a", "coupon_code": "thanks-1"}),
        view(anonymous_id="a"),
    ) == [["0", "1", "2"]]


def test_a_voucher_nobody_was_given_links_nobody() -> None:
    assert seen(
        ("coupon_applied", {"anonymous_id": "a", "coupon_code": "X"}),
        ("coupon_applied", {"anonymous_id": "b", "coupon_code": "X"}),
    ) == [["0"], ["1"]]


def test_a_voucher_never_makes_one_of_two_who_are_known() -> None:
    assert seen(
        ("voucher_received", {"customer_id": "c", "coupon_code": "X"}),
        ("coupon_applied", {"customer_id": "d", "coupon_code": "X"}),
        ("coupon_applied", {"anonymous_id": "a", "coupon_code": "X"}),
    ) == [["0"], ["1"], ["2"]]


def test_vouchers_link_in_a_chain() -> None:
    assert seen(
        ("voucher_received", {"customer_id": "c", "coupon_code": "P"}),
        ("coupon_applied", {"anonymous_id": "b", "coupon_code": "P"}),
        ("voucher_received", {"anonymous_id": "b", "coupon_code": "Q"}),
        ("coupon_applied", {"anonymous_id": "a", "coupon_code": "Q"}),
    ) == [["0", "1", "2", "3"]]


def test_a_public_code_is_a_hub() -> None:
    facts = Facts()
    given = [facts("voucher_received", n, anonymous_id=f"a{n}", coupon_code="SUMMER") for n in range(200)]
    assert find_hubs(given) == {("coupon", "SUMMER")}
    assert len(persons(given)) == 200


@pytest.mark.parametrize(("holders", "is_hub"), [(3, False), (4, True)])
def test_a_code_of_more_than_three_is_public(holders: int, is_hub: bool) -> None:
    facts = Facts()
    used = [facts("coupon_applied", n, anonymous_id=f"a{n}", coupon_code="X") for n in range(holders)]
    assert bool(find_hubs(used)) == is_hub


@pytest.mark.parametrize(("holders", "is_hub"), [(50, False), (51, True)])
@pytest.mark.parametrize("kind", ["phone", "email", "order_id", "anonymous_id"])
def test_an_identifier_of_more_than_fifty_identifies_nobody(kind: str, holders: int, is_hub: bool) -> None:
    facts = Facts()
    named: dict[str, Any] = {"anonymous_id": "till"} if kind == "anonymous_id" else {"identifiers": {kind: "till"}}
    events = [facts("page_viewed", n, customer_id=f"c{n}", **named) for n in range(holders)]
    assert bool(find_hubs(events)) == is_hub
    if is_hub:
        assert len(persons(events)) == holders


def test_a_customer_with_many_devices_is_no_hub() -> None:
    facts = Facts()
    events = [facts("page_viewed", n, anonymous_id=f"a{n}", customer_id="c") for n in range(200)]
    assert find_hubs(events) == set()
    assert len(persons(events)) == 1


def test_every_link_says_why() -> None:
    facts = Facts()
    (person,) = resolve(
        in_order(
            [
                facts("page_viewed", 0, anonymous_id="a"),
                facts("customer_signed_in", 1, anonymous_id="a", customer_id="c", **mail("m")),
                facts("order_placed", 2, anonymous_id="b", customer_id="c", order_id="7"),
                facts("order_shipped", 3, identifiers={"loyalty_card": "L"}, order_id="7"),
            ]
        )
    )
    assert [(link.kind, link.value, link.reason, link.seq) for link in person.links] == [
        ("anonymous", "a", "first_seen", 1),
        ("customer", "c", "login", 2),
        ("email", "hmac:m", "email", 2),
        ("anonymous", "b", "same_event", 3),
        ("order", "7", "order", 3),
        ("loyalty_card", "L", "loyalty_card", 4),
    ]


def test_a_shared_device_says_so_to_both() -> None:
    facts = Facts()
    both = resolve(
        [
            facts("page_viewed", 0, anonymous_id="a", customer_id="c"),
            facts("page_viewed", 1, anonymous_id="a", customer_id="d"),
        ]
    )
    assert [[link.reason for link in person.links if link.kind == "anonymous"] for person in both] == [
        ["shared_device"]
    ] * 2


MEMBERS = st.fixed_dictionaries({}, optional={
    "anonymous_id": st.sampled_from(["a", "b", "c", "null"]),
    "customer_id": st.sampled_from(["x", "y", "z"]),
    "identifiers": st.dictionaries(
        st.sampled_from(["email", "click_id", "receipt_code", "loyalty_card"]), st.sampled_from(["1", "2"]), max_size=2
    ),
    "order_id": st.sampled_from(["7", "8"]),
    "coupon_code": st.sampled_from(["P", "Q", "R"]),
})  # fmt: skip
EVENTS = st.lists(
    st.tuples(st.sampled_from(["page_viewed", "voucher_received", "coupon_applied"]), st.integers(0, 5), MEMBERS),
    max_size=9,
)


def arrive(events: Iterable[tuple[int, tuple[str, int, dict[str, Any]]]]) -> list[Fact]:
    facts = Facts()
    return [facts(name, at, event_id=f"{number}", **members) for number, (name, at, members) in events]


@settings(deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nobody(events: list[tuple[str, int, dict[str, Any]]], random: Any) -> None:
    numbered = list(enumerate(events))
    first = persons(arrive(numbered))
    random.shuffle(numbered)
    assert persons(arrive(numbered)) == first
    assert sorted(event for person in first for event in person) == sorted(str(number) for number in range(len(events)))


@settings(deadline=None)
@given(EVENTS)
def test_one_customer_is_never_two_people(events: list[tuple[str, int, dict[str, Any]]]) -> None:
    facts = arrive(enumerate(events))
    owner: dict[str, int] = {}
    for number, person in enumerate(everybody(facts)):
        for fact in person.facts:
            if fact.body.customer_id is not None:
                assert owner.setdefault(fact.body.customer_id, number) == number


def test_a_cluster_of_thousands_takes_no_square_of_time() -> None:
    """Five thousand events of a family with shared devices and vouchers; the square would take minutes."""
    facts = Facts()
    events = [
        facts(
            "coupon_applied", n, anonymous_id=f"a{n % 40}", customer_id=f"c{n % 7}" if n % 5 == 0 else None,
            coupon_code=f"V{n % 11}", order_id=f"o{n % 900}" if n % 3 == 0 else None,
        )
        for n in range(5000)
    ]  # fmt: skip
    started = time.process_time()
    assert sum(len(person.facts) for person in everybody(events)) == 5000
    assert time.process_time() - started < 5
