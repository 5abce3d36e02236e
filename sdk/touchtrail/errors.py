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
from itertools import pairwise
from types import FrameType, TracebackType
from typing import Final

BY_DESIGN: Final = frozenset({"disabled", "no_visitor"})
"""Reasons for which an event is not taken although nothing is wrong: neither logged nor reported nor raised."""

# inspect.CO_VARARGS, without importing inspect.
_TAKES_MORE: Final = 0x04


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


def is_thrown_in(problem: BaseException) -> bool:
    """Say whether a signal handler raised the exception, at whatever moment of ours it came.

    A limit of time that a shop sets itself (``signal.alarm``, Celery's soft time limit) must reach it. The interpreter
    gives a handler the frame it interrupted: nothing else below our frames is ever given one of them.

    Source:
        Python documentation, ``signal.signal``: "the handler is called with two arguments: the signal number and the
        current stack frame".
    """
    entry: TracebackType | None = problem.__traceback__
    interrupted: FrameType | None = None
    while entry is not None:
        frame = entry.tb_frame
        if interrupted is not None and _was_given(frame, interrupted):
            return True
        interrupted, entry = frame, entry.tb_next
    return False


def _was_given(frame: FrameType, interrupted: FrameType) -> bool:
    """Say whether the frame's function was given a number and then the other frame, as handlers are."""
    code, held = frame.f_code, frame.f_locals
    given = [held.get(name) for name in code.co_varnames[: code.co_argcount]]
    if code.co_flags & _TAKES_MORE:
        more = held.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount])
        # The name may stand for anything by now: to go through that would run code of the shop's.
        given += more if type(more) is tuple else ()
    # In this order, and no ``isinstance``: that would ask values of the shop's what they are.
    return any(value is interrupted and issubclass(type(number), int) for number, value in pairwise(given))
