"""The causal model: what contacts add to the wish to buy, and how that fades."""

from __future__ import annotations

import math

from .sending import DAY_MS
from .traffic import EFFECT_HALF_LIFE_DAYS, EFFECT_LOOKBACK_DAYS
from .truth import BASELINE


class Desire:
    """One person's wish to buy: a baseline plus what each contact since the last order added.

    The wish at a moment is ``baseline + sum(effect * 2 ** (-age / half life))`` over the contacts of the last 30 days;
    at an occasion the person buys with probability ``1 - exp(-wish * mood)``. Because the parts add up to a Poisson
    rate, each part's share of the sum is the probability that it is the one that led to the order.

    Source: additive hazard, Zhang, Wei & Ren 2014, "Multi-Touch Attribution in Online Advertising with Survival
    Theory".
    """

    def __init__(self, baseline: float) -> None:
        self.baseline = baseline
        self._contacts: list[tuple[int, str, float]] = []

    def add(self, at_ms: int, channel: str, effect: float) -> None:
        """Note a contact that has an effect; contacts come in time order."""
        if effect:
            self._contacts.append((at_ms, channel, effect))

    def causes(self, at_ms: int) -> dict[str, float]:
        """Return how much each channel contributes at a moment, the baseline first; not normalised."""
        parts = {BASELINE: self.baseline}
        for then_ms, channel, effect in self._contacts:
            age_days = (at_ms - then_ms) / DAY_MS
            if 0 <= age_days <= EFFECT_LOOKBACK_DAYS:
                parts[channel] = parts.get(channel, 0.0) + effect * 2.0 ** (-age_days / EFFECT_HALF_LIFE_DAYS)
        return parts

    def probability(self, causes: dict[str, float], mood: float) -> float:
        """Return the probability of buying now; ``mood`` below 1 says that something annoyed the person."""
        return 1.0 - math.exp(-sum(causes.values()) * mood)

    def satisfy(self) -> None:
        """Forget what led to an order: it cannot lead to the next one as well."""
        self._contacts.clear()
