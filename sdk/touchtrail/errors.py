"""What the SDK can raise.

TouchtrailError
├── OptionsError      a client was built with options that cannot work
├── EventRefusedError      an event cannot be taken (raised only with ``Options(strict=True)``)
├── TransportError    the collector could not be reached (a transport tells its client; never raised to the shop)
└── MoneyError        an amount of money that cannot be
    └── CurrencyError     not a currency of ISO 4217, or two currencies in one sum
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

BY_DESIGN: Final = frozenset({"disabled", "no_visitor"})
"""Reasons for which an event is not taken although nothing is wrong: neither logged nor reported nor raised."""


class TouchtrailError(Exception):
    """Root of everything the SDK raises."""


class OptionsError(TouchtrailError):
    """Options that cannot work, all problems at once.

    Args:
        problems: one sentence per problem, each beginning with the option's name.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class EventRefusedError(TouchtrailError):
    """An event that ``track`` did not take.

    Args:
        reason: a stable word, also the key in ``Client.health().refused``.
        message: what is wrong and what to do; never holds the event's values.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class TransportError(TouchtrailError):
    """The collector could not be reached, or the answer broke off."""


class MoneyError(TouchtrailError):
    """An amount of money that cannot be: not finite, too many decimals, weights that cannot share it."""


class CurrencyError(MoneyError):
    """A code that is no currency of ISO 4217, or amounts of two currencies in one operation."""
