"""What ``Options(strict=True)`` adds: an encoded event is read and checked as the collector will.

What costs next to nothing, lengths and types around the properties, is checked for every client when it encodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from ._envelope import TOO_MANY, Kind
from ._limits import LARGEST_AMOUNT, MOST_PIECES, MOST_PROPERTIES, NEWEST, OLDEST
from .errors import CurrencyError, EventRefusedError
from .events import Event, Line
from .money import exponent


class _Read(msgspec.Struct):
    occurred_at: str
    properties: msgspec.Raw = msgspec.Raw(b"{}")


_decoder = msgspec.json.Decoder(_Read)


def check_as_collector(payload: bytes, kind: Kind) -> None:
    """Check what only a look at the encoded event shows.

    Raises:
        EventRefusedError: with the field that is wrong.
    """
    read = _decoder.decode(payload)
    if not OLDEST <= read.occurred_at <= NEWEST:
        raise EventRefusedError("bad_time", "occurred_at must lie between 2000 and 2100: look at the clock")
    if kind.struct is None:
        return
    try:
        properties = msgspec.json.decode(read.properties, type=kind.struct)
    except msgspec.ValidationError as problem:
        raise EventRefusedError("invalid", f"{kind.name}: {problem}") from None
    if properties.extra is not None and len(properties.extra) > MOST_PROPERTIES:
        raise EventRefusedError("too_large", TOO_MANY)
    for fault in _faults(properties):
        raise EventRefusedError("invalid", f"{kind.name}: {fault}")


def _faults(properties: Event) -> Iterator[str]:
    """Yield what is wrong with money, currency and lines, which a type cannot say."""
    for name, value in msgspec.structs.asdict(properties).items():
        if isinstance(value, Decimal):
            yield from _amount_faults(name, value)
        elif name == "currency" and value is not None:
            yield from _currency_faults(value)
        elif isinstance(value, list):
            for place, line in enumerate(value):
                if isinstance(line, Line):
                    yield from _line_faults(f"{name}[{place}]", line)


def _line_faults(where: str, line: Line) -> Iterator[str]:
    if line.unit_price is not None:
        yield from _amount_faults(f"{where}.unit_price", line.unit_price)
    if line.quantity > MOST_PIECES:
        yield f"{where}.quantity must be between 0 and {MOST_PIECES}"


def _amount_faults(where: str, amount: Any) -> Iterator[str]:
    if not (amount.is_finite() and 0 <= amount <= LARGEST_AMOUNT):
        yield f"{where} must be between 0 and {LARGEST_AMOUNT:f}; money going back is order_refunded"


def _currency_faults(currency: str) -> Iterator[str]:
    try:
        exponent(currency)
    except CurrencyError:
        yield "currency is no code of ISO 4217, such as EUR"
