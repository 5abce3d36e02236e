"""The simulated shop that knows the truth, and the four stories."""

from __future__ import annotations

from .sending import Sending
from .simulation import Simulation, simulate
from .truth import BASELINE, Counts, IdentityScore, TrueOrder, Truth, channel_distance, identity_score

__all__ = [
    "BASELINE",
    "Counts",
    "IdentityScore",
    "Sending",
    "Simulation",
    "TrueOrder",
    "Truth",
    "channel_distance",
    "identity_score",
    "simulate",
]
