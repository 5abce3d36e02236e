"""Amounts of money, currencies and quantities: what no field's type can say of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from msgspec.structs import FieldInfo

from touchtrail.errors import CurrencyError
from touchtrail.money import exponent

from .wording import Fault

MAX_AMOUNT = Decimal(10) ** 12
PLAIN_CHARS = 12
OUT_OF_BOUNDS = f"must be between 0 and {MAX_AMOUNT:f}"
AMOUNT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
"""An amount as text: what the SDK takes, so that nothing it took is rejected here."""
MAX_QUANTITY = 1_000_000
"""Pieces of one line; what is beyond is a mistake, and must not make a sum that no column holds."""

MoneyCheck = Callable[[Any], Fault | None]


def money_check(fields: Iterable[FieldInfo], path: str = "properties") -> MoneyCheck | None:
    """Return what checks the money of a struct with these fields, its currency and its lines; None where none is.

    What it checks has its amounts as they were written (`as_written`), or as Decimals where that is not known.
    One function with loops of its own: every event passes it, and a function for each field took twice the time.
    """
    types = {field.name: repr(field.type) for field in fields}
    amounts = [name for name, text in types.items() if "Decimal" in text]
    lines = [name for name, text in types.items() if "Line" in text and "list" in text]
    has_currency = "currency" in types

    def check(properties: Any) -> Fault | None:
        for name in amounts:
            amount = getattr(properties, name)
            if amount is not None and not is_plain_amount(amount) and (problem := find_problem(amount)):
                hint = "; money going back is order_refunded" if problem == OUT_OF_BOUNDS else ""
                return Fault("invalid_value", f"{path}.{name}", f"{path}.{name} {problem}{hint}")
        for name in lines:
            if fault := check_lines(getattr(properties, name) or (), f"{path}.{name}"):
                return fault
        if not has_currency or (currency := properties.currency) is None:
            return None
        return check_currency(currency, f"{path}.currency")

    return check if amounts or lines or has_currency else None


def check_lines(lines: Iterable[Any], path: str) -> Fault | None:
    """Check the prices and quantities of order lines."""
    for number, line in enumerate(lines):
        price = line.unit_price
        if price is not None and not is_plain_amount(price) and (problem := find_problem(price)):
            field = f"{path}[{number}].unit_price"
            return Fault("invalid_value", field, f"{field} {problem}")
        if line.quantity > MAX_QUANTITY:
            field = f"{path}[{number}].quantity"
            return Fault("invalid_value", field, f"{field} must be between 0 and {MAX_QUANTITY}")
    return None


def is_plain_amount(amount: Any) -> bool:
    """True for digits with one point or none, few enough to be in bounds: nearly every amount there is."""
    return (
        type(amount) is str
        and len(amount) <= PLAIN_CHARS
        and amount.isascii()
        and amount.replace(".", "", 1).isdecimal()
    )


def find_problem(amount: str | float | Decimal) -> str | None:
    """Return what is wrong with an amount, as the end of a sentence; None for one that is neither odd nor absurd."""
    if isinstance(amount, str):
        if AMOUNT.fullmatch(amount) is None:
            return "must be an amount such as 129.90: digits and one point"
        amount = Decimal(amount)
    # To compare a Decimal that is NaN would raise; a float may be compared, and an integer have any size.
    is_finite = not isinstance(amount, Decimal) or amount.is_finite()
    return None if is_finite and 0 <= amount <= MAX_AMOUNT else OUT_OF_BOUNDS


def check_currency(currency: str | None, path: str) -> Fault | None:
    """Amounts in a currency nobody knows the minor unit of would count as nothing."""
    if currency is None:
        return None
    try:
        exponent(currency)
    except CurrencyError as error:
        return Fault("invalid_value", path, str(error))
    return None
