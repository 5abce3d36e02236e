"""Survey figures against published examples and the laws intervals obey."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.services.reports.survey import nps_interval, student_t, summarise_surveys, wilson
from touchtrail_collector.store.questions import SurveyRow


def test_wilson_agrees_with_the_textbook() -> None:
    # 10 of 20: Brown, Cai and DasGupta, Statistical Science 16 (2001): 0.299 to 0.701.
    interval = wilson(10, 20)
    assert (round(interval.low, 3), round(interval.high, 3)) == (0.299, 0.701)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_holds_the_share_and_stays_within_nought_and_one(successes: int, more: int) -> None:
    n = successes + more
    interval = wilson(successes, n)
    assert 0.0 <= interval.low <= successes / n <= interval.high <= 1.0


def test_wilson_knows_nothing_from_nothing() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (10, 2.2281), (30, 2.0423), (120, 1.9799)],
)
def test_student_t_agrees_with_the_tables(degrees: int, expected: float) -> None:
    assert student_t(degrees) == pytest.approx(expected, rel=2e-3)


def test_nps_interval_is_the_adjusted_wald_interval() -> None:
    # 10 promoters, 5 detractors of 20: up 10.75/23, down 5.75/23, s^2 = .467 + .25 - .2174^2 = .6701,
    # half = 1.96 sqrt(.6701 / 23).
    interval = nps_interval(10, 5, 20)
    assert (round(interval.low, 1), round(interval.high, 1)) == (-11.7, 55.2)


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_nps_interval_stays_on_its_scale_and_mirrors(promoters: int, passives: int, detractors: int) -> None:
    n = promoters + passives + detractors
    interval, mirrored = nps_interval(promoters, detractors, n), nps_interval(detractors, promoters, n)
    assert -100 <= interval.low < interval.high <= 100
    assert interval.low == pytest.approx(-mirrored.high)


def test_each_kind_has_its_own_score() -> None:
    answers = [
        SurveyRow("nps", 10.0, 10.0, 3), SurveyRow("nps", 10.0, 8.0, 1), SurveyRow("nps", 10.0, 6.0, 1),
        SurveyRow("csat", 5.0, 4.0, 1), SurveyRow("csat", 5.0, 3.0, 1),
        SurveyRow("ces", 7.0, 5.0, 1), SurveyRow("ces", 7.0, 4.0, 1),
    ]  # fmt: skip
    (ces, csat, nps), left_out = summarise_surveys(answers)
    assert (nps.n, nps.score, nps.best_share) == (5, 40.0, 0.6)
    assert (csat.score, csat.mean) == (0.5, 3.5)
    assert (ces.score, ces.best_share) == (4.5, 0.5)
    # t with one degree of freedom, standard error one half: wider than the scale.
    assert ces.interval is not None
    assert (ces.interval.low, ces.interval.high) == (0.0, 7.0)
    assert left_out == 0


def test_one_answer_has_a_mean_but_no_interval_of_it() -> None:
    (ces,), _ = summarise_surveys([SurveyRow("ces", 7.0, 5.0, 1)])
    assert (ces.score, ces.interval) == (5.0, None)


def test_scales_are_kept_apart_and_impossible_answers_are_counted() -> None:
    answers = [
        SurveyRow("csat", 5.0, 5.0, 1), SurveyRow("csat", 10.0, 7.0, 1), SurveyRow("csat", 5.0, 6.0, 2),
        SurveyRow("nps", 5.0, 5.0, 3),
    ]  # fmt: skip
    results, left_out = summarise_surveys(answers)
    assert [(result.scale, result.score) for result in results] == [(5.0, 1.0), (10.0, 0.0)]
    assert left_out == 5
