"""The demo's scores agree with their definitions, worked out the slow way."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.demo import BASELINE, TrueOrder, channel_distance, identity_score
from touchtrail_collector.demo.desire import Desire
from touchtrail_collector.demo.sending import DAY_MS
from touchtrail_collector.demo.truth import share_revenue, split_amount

groupings = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=14)
amounts = st.dictionaries(st.sampled_from(["Email", "Store", "Direct", "(none)", BASELINE]), st.integers(0, 9_999))
weights = st.dictionaries(st.text(max_size=3), st.floats(0.001, 50), min_size=1, max_size=8)


@given(groupings)
def test_identity_score_equals_counting_all_pairs(pairs: list[tuple[int, int]]) -> None:
    truth = {str(index): person for index, (person, _) in enumerate(pairs)}
    found = {str(index): person for index, (_, person) in enumerate(pairs)}
    score = identity_score(truth, found)
    together = [(a[0] == b[0], a[1] == b[1]) for a, b in combinations(pairs, 2)]
    both = sum(truly and claimed for truly, claimed in together)
    claimed = sum(claimed for _, claimed in together)
    truly = sum(truly for truly, _ in together)
    assert score.precision == (both / claimed if claimed else 1.0)
    assert score.recall == (both / truly if truly else 1.0)
    assert score.split_people == sum(len({f for t, f in pairs if t == p}) > 1 for p in {t for t, _ in pairs})
    assert score.merged_people == sum(len({t for t, f in pairs if f == p}) > 1 for p in {f for _, f in pairs})
    assert (score.true_people, score.found_people) == (len({t for t, _ in pairs}), len({f for _, f in pairs}))


@given(st.dictionaries(st.text(max_size=4), st.integers(0, 6)))
def test_a_perfect_assignment_scores_one_whatever_the_persons_are_called(truth: dict[str, int]) -> None:
    score = identity_score(truth, {event_id: f"person {number}" for event_id, number in truth.items()})
    assert (score.precision, score.recall, score.f1) == (1.0, 1.0, 1.0)
    assert (score.split_people, score.merged_people, score.missing) == (0, 0, 0)


def test_everybody_in_one_person_has_full_recall_and_everybody_alone_has_full_precision() -> None:
    truth = {"a": 1, "b": 1, "c": 2, "d": 2}
    lumped = identity_score(truth, dict.fromkeys(truth, 0))
    assert (lumped.recall, lumped.precision, lumped.merged_people) == (1.0, 2 / 6, 1)
    alone = identity_score(truth, {event_id: event_id for event_id in truth})
    assert (alone.recall, alone.precision, alone.f1, alone.split_people) == (0.0, 1.0, 0.0, 2)


def test_events_of_bots_are_passed_over_and_missing_ones_counted() -> None:
    score = identity_score({"a": 1, "b": 1}, {"a": 9, "bot": 9})
    assert (score.events, score.missing, score.found_people) == (1, 1, 1)


@given(amounts)
def test_the_distance_to_oneself_is_zero(caused: dict[str, int]) -> None:
    assert channel_distance(caused, caused) == pytest.approx(0.0)


@given(amounts, amounts)
def test_the_distance_is_symmetric_and_between_zero_and_one(first: dict[str, int], second: dict[str, int]) -> None:
    distance = channel_distance(first, second)
    assert -1e-9 <= distance <= 1 + 1e-9
    assert distance == pytest.approx(channel_distance(second, first))


def test_the_distance_is_the_share_of_revenue_on_the_wrong_channel() -> None:
    assert channel_distance({"Email": 70, "Store": 30}, {"Email": 50, "Store": 50}) == pytest.approx(0.2)
    assert channel_distance({"Email": 100}, {"Store": 100}) == pytest.approx(1.0)


def test_direct_and_no_touch_count_as_baseline() -> None:
    caused = {BASELINE: 40, "Email": 60}
    assert channel_distance(caused, {"Direct": 30, "(none)": 10, "Email": 60}) == pytest.approx(0.0)
    assert channel_distance(caused, {"Email": 100}) == pytest.approx(0.4)


@given(st.integers(0, 10_000_000), weights)
def test_an_amount_is_split_exactly_and_fairly(amount: int, parts: dict[str, float]) -> None:
    split = split_amount(amount, parts)
    assert sum(split.values()) == amount
    total = sum(parts.values())
    for name, weight in parts.items():
        assert abs(split[name] - amount * weight / total) < 1 + 1e-6


def test_a_tie_goes_to_the_name_that_comes_first() -> None:
    assert split_amount(100, {"b": 1.0, "a": 1.0, "c": 1.0}) == {"b": 34, "a": 33, "c": 33}


@given(st.lists(st.tuples(st.integers(0, 90_000), weights), max_size=6))
def test_shared_revenue_sums_to_the_net_of_all_orders(entries: list[tuple[int, dict[str, float]]]) -> None:
    orders = [
        TrueOrder(
            order_id=str(index),
            person=1,
            placed_at=datetime(2026, 1, 1, tzinfo=UTC),
            state="delivered",
            gross_minor=gross,
            cancelled_minor=gross // 3,
            refunded_minor=gross // 4,
            charged_back_minor=0,
            causes=causes,
        )
        for index, (gross, causes) in enumerate(entries)
    ]
    assert sum(share_revenue(orders).values()) == sum(order.net_minor for order in orders)


def test_a_contact_pulls_half_as_much_after_its_half_life_and_not_at_all_after_the_look_back() -> None:
    desire = Desire(0.02)
    desire.add(0, "Email", 0.1)
    assert desire.causes(0) == {BASELINE: 0.02, "Email": 0.1}
    assert desire.causes(9 * DAY_MS)["Email"] == pytest.approx(0.05)
    assert desire.causes(31 * DAY_MS) == {BASELINE: 0.02}


def test_a_contact_still_to_come_pulls_nothing_and_an_order_ends_every_pull() -> None:
    desire = Desire(0.02)
    desire.add(DAY_MS, "Store", 0.1)
    assert desire.causes(0) == {BASELINE: 0.02}
    desire.satisfy()
    assert desire.causes(2 * DAY_MS) == {BASELINE: 0.02}


def test_annoyance_lowers_the_probability_of_buying() -> None:
    desire = Desire(0.3)
    causes = desire.causes(0)
    assert desire.probability(causes, 0.5) < desire.probability(causes, 1.0) < 1.0
