"""The stories are told consistently, and their tables of expectations follow from the definitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import msgspec
import pytest

from touchtrail.events import VOCABULARY, OrderPlaced
from touchtrail_collector.demo import Sending
from touchtrail_collector.demo.stories import STORIES, Step, Story

START = datetime(2026, 8, 31, 17, 45, tzinfo=UTC)
each_story = pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)


def facts_of(story: Story) -> list[Sending]:
    """Each fact once, as it happened; what is no contact is left out."""
    sendings = [sending for sending in story.events(START) if sending.repeat is None]
    contacts = [sending for sending in sendings if sending.event.spec.contact != "none"]
    return sorted(contacts, key=lambda sending: (sending.occurred_at, sending.event_id))


def first(count: int) -> list[Fraction]:
    return [Fraction(place == 0) for place in range(count)]


def last(count: int) -> list[Fraction]:
    return first(count)[::-1]


def linear(count: int) -> list[Fraction]:
    return [Fraction(1, count)] * count


def position(count: int) -> list[Fraction]:
    if count < 3:
        return linear(count)
    return [Fraction(2, 5), *[Fraction(1, 5) / (count - 2)] * (count - 2), Fraction(2, 5)]


def share(amount: int, weights: list[Fraction]) -> list[int]:
    """Largest remainder, ties to the earliest, in exact fractions; below zero the same with the sign turned."""
    exact = [abs(amount) * weight for weight in weights]
    parts = [int(value) for value in exact]
    order = sorted(range(len(parts)), key=lambda place: (parts[place] - exact[place], place))
    for place in order[: abs(amount) - sum(parts)]:
        parts[place] += 1
    return [part if amount >= 0 else -part for part in parts]


MODELS: dict[str, Callable[[int], list[Fraction]]] = {
    "first_touch": first,
    "last_touch": last,
    "linear": linear,
    "position_based": position,
}


def touches_of(story: Story, order_id: str) -> list[Step]:
    """The creditable steps in the look-back window of an order, ends included."""
    timed = list(zip(facts_of(story), story.expected.road, strict=True))
    placed = next(
        fact.occurred_at for fact, _ in timed if isinstance(fact.event, OrderPlaced) and fact.event.order_id == order_id
    )
    window = timedelta(days=story.expected.lookback_days)
    return [step for fact, step in timed if step.creditable and timedelta(0) <= placed - fact.occurred_at <= window]


def credit(touches: list[Step], model: str, amount: int) -> dict[str, int]:
    if model == "last_non_direct":
        known = [step for step in touches if step.channel != "Direct"] or touches
        return {str(known[-1].channel): amount} if amount else {}
    totals: Counter[str] = Counter()
    for step, part in zip(touches, share(amount, MODELS[model](len(touches))), strict=True):
        totals[str(step.channel)] += part
    return {channel: part for channel, part in totals.items() if part}


def tables(story: Story) -> Iterator[tuple[str, str, int, dict[str, int]]]:
    nets = {order.order_id: order.net_minor for order in story.expected.orders}
    for model, orders in story.expected.credit.items():
        for order_id, channels in orders.items():
            yield model, order_id, nets[order_id], dict(channels)
    for change in story.expected.changes:
        for model, channels in change.credit.items():
            yield model, change.order_id, change.amount_minor, dict(channels)


@each_story
def test_the_road_lists_every_contact_in_order_with_the_stage_and_moment_of_the_vocabulary(story: Story) -> None:
    facts = facts_of(story)
    assert [fact.event.spec.name for fact in facts] == [step.event for step in story.expected.road]
    for step in story.expected.road:
        spec = VOCABULARY[step.event].spec
        assert step.moment == spec.moment
        assert step.stage == (spec.stage or "consideration")


@each_story
def test_contacts_told_by_somebody_without_a_device_are_encounters(story: Story) -> None:
    for fact, step in zip(facts_of(story), story.expected.road, strict=True):
        spec = fact.event.spec
        is_told = spec.contact == "visit" and fact.anonymous_id is None
        assert step.contact == ("encounter" if is_told else spec.contact)


@each_story
def test_clicks_impressions_and_encounters_are_creditable_and_notices_never(story: Story) -> None:
    for step in story.expected.road:
        if step.contact != "visit":
            assert step.creditable == (step.contact != "notice")


@each_story
def test_as_many_sessions_as_landings(story: Story) -> None:
    """A session's first event is creditable, or is the landing of a click reported apart."""
    landings = 0
    before: dict[str, datetime] = {}
    for fact, step in zip(facts_of(story), story.expected.road, strict=True):
        if step.contact == "visit" and fact.anonymous_id is not None:
            seen = before.get(fact.anonymous_id)
            landings += seen is None or fact.occurred_at - seen > timedelta(minutes=30)
            before[fact.anonymous_id] = fact.occurred_at
    assert landings == story.expected.sessions


@each_story
def test_credit_tables_follow_from_the_definitions(story: Story) -> None:
    for model, order_id, amount, channels in tables(story):
        assert credit(touches_of(story, order_id), model, amount) == channels, (model, order_id, amount)


@each_story
def test_every_model_has_a_table_for_every_order(story: Story) -> None:
    orders = {order.order_id for order in story.expected.orders}
    assert story.expected.credit.keys() == {*MODELS, "last_non_direct"}
    assert all(table.keys() == orders for table in story.expected.credit.values())


@each_story
def test_order_totals_are_goods_less_discount_plus_shipping(story: Story) -> None:
    gross = {order.order_id: order.gross_minor for order in story.expected.orders}
    for sending in story.events(START):
        event = sending.event
        if isinstance(event, OrderPlaced):
            minor = {
                name: round(100 * float(str(getattr(event, name) or 0))) for name in ("goods", "discount", "shipping")
            }
            assert minor["goods"] - minor["discount"] + minor["shipping"] == gross[event.order_id]


@each_story
def test_signals_are_those_of_the_vocabulary(story: Story) -> None:
    by_spec: dict[str, list[str]] = {"pain": [], "gain": []}
    for fact in facts_of(story):
        polarity = "gain" if fact.event.spec.signal == "scored" else fact.event.spec.signal
        if polarity in by_spec:
            by_spec[polarity].append(getattr(fact.event, "kind", None) or fact.event.spec.name)
    assert (tuple(by_spec["pain"]), tuple(by_spec["gain"])) == (story.expected.pains, story.expected.gains)


@each_story
def test_changes_add_up_to_the_net_on_both_bases(story: Story) -> None:
    for order in story.expected.orders:
        changes = [change for change in story.expected.changes if change.order_id == order.order_id]
        if not changes:
            assert order.net_minor == order.gross_minor
            continue
        assert sum(change.amount_minor for change in changes) == order.net_minor
        for model, orders in story.expected.credit.items():
            total: Counter[str] = Counter()
            for change in changes:
                total.update(change.credit[model])
            assert {channel: part for channel, part in total.items() if part} == orders[order.order_id]


def test_the_credit_of_the_order_that_did_not_stay_is_the_same_as_a_difference_of_what_is_left() -> None:
    story = STORIES["order_that_did_not_stay"]
    left = 0
    for change in story.expected.changes:
        for model, channels in change.credit.items():
            touches = touches_of(story, change.order_id)
            after = Counter(credit(touches, model, left + change.amount_minor))
            after.subtract(credit(touches, model, left))
            assert {channel: part for channel, part in after.items() if part} == channels
        left += change.amount_minor


@each_story
def test_a_story_lasts_as_long_as_it_says_and_does_not_depend_on_the_time_of_day(story: Story) -> None:
    sendings = story.events(START)
    begin = START.replace(hour=0, minute=0)
    assert all(begin <= sending.occurred_at < begin + timedelta(days=story.days) for sending in sendings)
    assert story.events(begin) == sendings
    assert list(sendings) == sorted(sendings, key=lambda sending: sending.arrives_at)


@each_story
def test_every_event_decodes_with_its_own_struct(story: Story) -> None:
    for sending in story.events(START):
        encoded = msgspec.json.encode(sending.event)
        assert msgspec.json.encode(msgspec.json.decode(encoded, type=type(sending.event))) == encoded
