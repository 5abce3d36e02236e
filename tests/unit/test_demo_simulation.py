"""The simulated shop is deterministic, consistent with itself, and shows every kind of event."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest

from touchtrail.events import STAGES, VOCABULARY, OrderCancelled, OrderPlaced, OrderRefunded
from touchtrail_collector.demo import BASELINE, Simulation, simulate
from touchtrail_collector.demo.catalogue import SHARED_COUPONS
from touchtrail_collector.demo.people import CLOCK_OFFSETS_S

END = date(2026, 10, 31)


@pytest.fixture(scope="module")
def year() -> Simulation:
    return simulate(seed=2026, people=3_000, days=365, end=END)


@pytest.fixture(scope="module")
def small() -> Simulation:
    return simulate(seed=7, people=150, days=120, end=END)


def test_the_same_seed_gives_the_same_sendings(small: Simulation) -> None:
    again = simulate(seed=7, people=150, days=120, end=END)
    assert again.sendings == small.sendings
    assert again.truth == small.truth


def test_another_seed_gives_another_year(small: Simulation) -> None:
    assert simulate(seed=8, people=150, days=120, end=END).sendings != small.sendings


def test_a_year_has_enough_events_to_be_worth_reporting_and_few_enough_for_a_demo(year: Simulation) -> None:
    assert 60_000 <= len(year) <= 90_000
    assert len(set(year.truth.person_of.values())) > 0.98 * year.people


def test_every_event_of_the_vocabulary_happens(year: Simulation) -> None:
    names = {sending.event.spec.name for sending in year}
    # Losses are what a client tells of itself, and the demo's client has none.
    assert names >= VOCABULARY.keys() - {"events_lost"}
    assert {sending.event.spec.stage for sending in year} >= set(STAGES)


def test_a_few_events_have_names_nobody_declared(year: Simulation) -> None:
    unknown = Counter(sending.event.spec.name for sending in year if sending.event.spec.name not in VOCABULARY)
    assert unknown.keys() == {"size_advisor_used", "gift_wrap_chosen"}


def test_every_event_decodes_with_its_own_struct(small: Simulation) -> None:
    for sending in small:
        encoded = msgspec.json.encode(sending.event)
        assert msgspec.json.encode(msgspec.json.decode(encoded, type=type(sending.event))) == encoded


def test_event_ids_are_uuid7_of_the_senders_clock(small: Simulation) -> None:
    for sending in small:
        event_id = UUID(sending.event_id)
        assert event_id.version == 7
        assert datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC) == sending.occurred_at


def test_an_event_id_comes_twice_only_when_the_same_event_is_sent_again(year: Simulation) -> None:
    first: dict[str, msgspec.Struct] = {}
    repeats = 0
    for sending in sorted(year, key=lambda sending: sending.repeat == "event"):
        if sending.repeat == "event":
            repeats += 1
            plain = msgspec.structs.replace(first[sending.event_id], arrives_at=sending.arrives_at, repeat="event")
            assert plain == sending
        else:
            assert sending.event_id not in first
            first[sending.event_id] = sending
    assert repeats == year.truth.counts.repeated_events > 500


def test_sendings_come_in_the_order_of_arrival_which_is_not_that_of_happening(year: Simulation) -> None:
    arrivals = [sending.arrives_at for sending in year]
    assert arrivals == sorted(arrivals)
    happened = [sending.occurred_at for sending in year]
    assert happened != sorted(happened)


def test_late_is_what_arrives_more_than_an_hour_after_it_happened(small: Simulation) -> None:
    for sending in small:
        if sending.repeat != "event":
            real = sending.occurred_at - timedelta(seconds=sending.clock_offset_s)
            assert sending.is_late == (sending.arrives_at - real > timedelta(hours=1))


def test_the_truth_knows_when_it_happened_where_the_clock_was_wrong(year: Simulation) -> None:
    wrong = [sending for sending in year if sending.clock_offset_s and sending.repeat != "event"]
    assert {sending.clock_offset_s for sending in wrong} == set(CLOCK_OFFSETS_S)
    assert len(wrong) == len(year.truth.real_time) == year.truth.counts.wrong_clock
    for sending in wrong:
        real = year.truth.real_time[sending.event_id]
        assert sending.occurred_at - real == timedelta(seconds=sending.clock_offset_s)


def test_nothing_happens_outside_the_simulated_days(small: Simulation) -> None:
    begin = datetime(2026, 11, 1, tzinfo=UTC) - timedelta(days=small.days)
    for sending in small:
        real = sending.occurred_at - timedelta(seconds=sending.clock_offset_s)
        assert begin - timedelta(minutes=1) <= real < datetime(2026, 11, 1, tzinfo=UTC)


def test_every_event_of_a_person_carries_an_id(year: Simulation) -> None:
    for sending in year:
        has_id = bool(sending.anonymous_id or sending.customer_id or sending.identifiers)
        assert has_id == (sending.event_id in year.truth.person_of or sending.is_bot)


def test_bots_look_at_pages_and_never_buy(year: Simulation) -> None:
    bots = [sending for sending in year if sending.is_bot and sending.repeat is None]
    assert len(bots) == year.truth.counts.bots > 1_000
    assert {sending.event.spec.name for sending in bots} == {"page_viewed"}
    assert all(sending.device is not None and sending.device.user_agent for sending in bots)


def test_the_amounts_reported_give_the_truths_ledger(year: Simulation) -> None:
    """Worked out anew from first reports only: what is left falls by each amount, or to zero when none is named."""
    left: dict[str, int] = {}
    disputed: dict[str, int] = {}
    facts = {sending.event_id: sending for sending in year if sending.repeat is None}
    for sending in sorted(facts.values(), key=lambda sending: (sending.occurred_at, sending.event_id)):
        event = sending.event
        if isinstance(event, OrderPlaced):
            left[event.order_id] = int(Decimal(str(event.total)) * 100)
        elif isinstance(event, OrderRefunded | OrderCancelled):
            amount = left[event.order_id] if event.amount is None else int(Decimal(str(event.amount)) * 100)
            assert amount <= left[event.order_id]
            left[event.order_id] -= amount
        elif event.spec.name == "chargeback_opened":
            disputed[event.order_id] = left[event.order_id]  # type: ignore[attr-defined]
            left[event.order_id] = 0  # type: ignore[attr-defined]
        elif event.spec.name == "chargeback_resolved" and event.won:  # type: ignore[attr-defined]
            left[event.order_id] += disputed.pop(event.order_id)  # type: ignore[attr-defined]
    assert left == {order_id: order.net_minor for order_id, order in year.truth.orders.items()}


def test_order_totals_are_goods_less_discount_plus_shipping(year: Simulation) -> None:
    for sending in year:
        event = sending.event
        if isinstance(event, OrderPlaced):
            total, goods, discount, shipping = (
                Decimal(str(value)) for value in (event.total, event.goods, event.discount, event.shipping)
            )
            assert total == goods - discount + shipping
            assert goods == sum(line.quantity * Decimal(str(line.unit_price)) for line in event.lines or [])


def test_orders_that_are_gone_say_so_and_the_others_keep_something(year: Simulation) -> None:
    states = Counter(order.state for order in year.truth.orders.values())
    assert states.keys() == {"paid", "shipped", "delivered", "cancelled", "returned", "refunded", "charged_back"}
    for order in year.truth.orders.values():
        is_gone = order.state in {"cancelled", "returned", "refunded", "charged_back"}
        assert (order.net_minor == 0) == is_gone
        assert order.net_minor >= 0


def test_caused_revenue_sums_to_net_revenue_and_has_a_baseline(year: Simulation) -> None:
    truth = year.truth
    assert sum(truth.caused_revenue.values()) == truth.net_revenue_minor > 0
    assert 0.15 < truth.caused_revenue[BASELINE] / truth.net_revenue_minor < 0.45
    assert "Direct" not in truth.caused_revenue
    assert len(truth.caused_revenue) > 15


def test_several_reports_tell_of_one_order(year: Simulation) -> None:
    reports = Counter(s.event.order_id for s in year if isinstance(s.event, OrderPlaced) and s.repeat != "event")
    assert reports.keys() == year.truth.orders.keys()
    assert set(reports.values()) == {1, 2, 3}


def test_public_coupon_codes_have_many_owners_and_vouchers_one(year: Simulation) -> None:
    codes = {value: people for (kind, value), people in year.truth.owners.items() if kind == "coupon_code"}
    assert all(len(codes[code]) > 20 for code in SHARED_COUPONS)
    vouchers = [people for code, people in codes.items() if code.startswith("GW-")]
    assert vouchers
    assert all(len(people) == 1 for people in vouchers)


def test_some_devices_are_shared_and_some_people_have_several_ids(year: Simulation) -> None:
    devices = {value: people for (kind, value), people in year.truth.owners.items() if kind == "anonymous_id"}
    shared = [people for people in devices.values() if len(people) == 2]
    assert len(shared) > 30
    ids = Counter(person for people in devices.values() for person in people)
    assert sum(count > 1 for count in ids.values()) > 500


def test_customer_numbers_mail_addresses_and_cards_belong_to_one_person(year: Simulation) -> None:
    for (kind, _), people in year.truth.owners.items():
        if kind in {"customer_id", "email", "phone", "loyalty_card", "order_id", "receipt_code", "click_id"}:
            assert len(people) == 1


def test_the_way_back_from_a_payment_page_is_no_touch(year: Simulation) -> None:
    back = [s for s in year if s.page is not None and s.page.referrer == "https://www.paypal.com/"]
    assert back
    assert not any(sending.event_id in year.truth.touch_channel for sending in back)
