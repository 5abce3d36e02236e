"""Survey figures with their uncertainty: NPS, CSAT, CES, and the intervals they come with."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from ...domain.journey import USUAL_SCALES
from ...store.questions import SurveyRow

Z = 1.959963984540054
"""The normal distribution's 97.5 % point: all intervals are 95 %."""


class Interval(msgspec.Struct, frozen=True):
    """A 95 % interval."""

    low: float
    high: float


class SurveyResult(msgspec.Struct, frozen=True, kw_only=True):
    """Answers to one kind of question on one scale.

    Args:
        kind: `nps`, `csat` or `ces`.
        scale: the highest possible answer.
        n: answers.
        score: NPS: percentage of 9 and 10 minus percentage of 0 to 6, -100 to 100. CSAT: share of the best
            answers, 0 to 1 (4 and 5 of 5; on another scale: at least four fifths of it). CES: mean answer.
        interval: of ``score``: adjusted Wald for NPS, Wilson for shares, Student's t for means; None with fewer
            than two answers of a mean.
        mean: mean answer.
        best_share: share of the best answers: NPS 9 and 10, CSAT as above, CES 5 to 7 of 7 (at least five
            sevenths of another scale).
        best_interval: Wilson interval of ``best_share``.
    """

    kind: str
    scale: float
    n: int
    score: float
    interval: Interval | None
    mean: float
    best_share: float
    best_interval: Interval


def wilson(successes: int, n: int) -> Interval:
    """Return the Wilson score interval of a share; (0, 1) when nothing was counted.

    Source: E. B. Wilson, JASA 22 (1927), 209-212.
    """
    if n == 0:
        return Interval(0.0, 1.0)
    share, spread = successes / n, Z * Z / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    low = 0.0 if successes == 0 else middle - half
    return Interval(low, 1.0 if successes == n else middle + half)


def nps_interval(promoters: int, detractors: int, n: int) -> Interval:
    """Return the adjusted Wald interval (3, T) of a net promoter score, -100 to 100.

    Three answers are added before the variance is taken: 3/4 promoters, 3/4 detractors, 3/2 passives.

    Source: B. Rocks, "Interval Estimation for the Net Promoter Score", The American Statistician 70 (2016), 365-372.
    """
    total = n + 3
    up, down = (promoters + 0.75) / total, (detractors + 0.75) / total
    half = Z * math.sqrt((up + down - (up - down) ** 2) / total)
    return Interval(max(-100.0, 100 * (up - down - half)), min(100.0, 100 * (up - down + half)))


def student_t(degrees: int) -> float:
    """Return the 97.5 % point of Student's t distribution; within 0.2 % from three degrees of freedom on.

    Source: Abramowitz and Stegun, 26.7.5; closed forms for one and two degrees.
    """
    if degrees == 1:
        return math.tan(math.pi * 0.475)
    if degrees == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    z, v = Z, float(degrees)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )


def summarise_surveys(answers: Iterable[SurveyRow]) -> tuple[tuple[SurveyResult, ...], int]:
    """Return one result per kind and scale, and how many answers no scale allows.

    NPS is defined on 0 to 10 only: answers on another scale are left out rather than stretched.
    """
    groups: dict[tuple[str, float], list[tuple[float, int]]] = {}
    left_out = 0
    for answer in answers:
        scale = answer.scale or USUAL_SCALES[answer.kind]
        allowed = 0 <= answer.score <= scale and (answer.kind != "nps" or scale == 10)
        if allowed:
            groups.setdefault((answer.kind, scale), []).append((answer.score, answer.n))
        else:
            left_out += answer.n
    return tuple(_summarise(kind, scale, scores) for (kind, scale), scores in sorted(groups.items())), left_out


def _summarise(kind: str, scale: float, scores: list[tuple[float, int]]) -> SurveyResult:
    n = sum(count for _, count in scores)
    mean = sum(score * count for score, count in scores) / n
    # 1e-9: four fifths of 5 must be 4 in floats too.
    threshold = {"nps": 9.0, "csat": 0.8 * scale, "ces": 5 / 7 * scale}[kind] - 1e-9
    best = sum(count for score, count in scores if score >= threshold)
    score: float
    interval: Interval | None
    if kind == "nps":
        detractors = sum(count for answer, count in scores if answer <= 6)
        score, interval = 100 * (best - detractors) / n, nps_interval(best, detractors, n)
    elif kind == "csat":
        score, interval = best / n, wilson(best, n)
    else:
        score, interval = mean, _mean_interval(scores, n, mean, scale)
    return SurveyResult(
        kind=kind,
        scale=scale,
        n=n,
        score=score,
        interval=interval,
        mean=mean,
        best_share=best / n,
        best_interval=wilson(best, n),
    )


def _mean_interval(scores: list[tuple[float, int]], n: int, mean: float, scale: float) -> Interval | None:
    if n < 2:
        return None
    variance = sum(count * (score - mean) ** 2 for score, count in scores) / (n - 1)
    half = student_t(n - 1) * math.sqrt(variance / n)
    return Interval(max(0.0, mean - half), min(scale, mean + half))
