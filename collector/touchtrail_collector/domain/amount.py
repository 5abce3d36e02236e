"""Amounts of money, currencies and quantities: what no field's type can say of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from msgspec.structs import FieldInfo

from touchtrail.errors import CurrencyError
from touchtrail.events import Line
from touchtrail.money import exponent

from .wording import Fault

ZERO = Decimal(0)
MAX_AMOUNT = Decimal(10) ** 12
MAX_QUANTITY = 1_000_000
"""Pieces of one line; what is beyond is a mistake, and must not make a sum that no column holds."""

MoneyCheck = Callable[[Any], Fault | None]


def money_check(fields: Iterable[FieldInfo], path: str = "properties") -> MoneyCheck | None:
    """Return what checks the money of a struct with these fields, its currency and its lines; None where none is.

    One function with loops of its own: every event passes it, and a function for each field took twice the time.
    """
    types = {field.name: repr(field.type) for field in fields}
    amounts = [name for name, text in types.items() if "Decimal" in text]
    lines = [name for name, text in types.items() if "Line" in text and "list" in text]
    has_currency = "currency" in types

    def check(properties: Any) -> Fault | None:
        for name in amounts:
            amount = getattr(properties, name)
            # Finite first: to compare with NaN raises.
            if amount is not None and not (amount.is_finite() and ZERO <= amount <= MAX_AMOUNT):
                hint = "; money going back is order_refunded"
                return out_of_bounds(f"{path}.{name}", f"{MAX_AMOUNT:f}{hint}")
        for name in lines:
            if fault := check_lines(getattr(properties, name) or (), f"{path}.{name}"):
                return fault
        return check_currency(properties.currency, f"{path}.currency") if has_currency else None

    return check if amounts or lines or has_currency else None


def check_lines(lines: Iterable[Line], path: str) -> Fault | None:
    """Check the prices and quantities of order lines."""
    for number, line in enumerate(lines):
        price: Any = line.unit_price
        if price is not None and not (price.is_finite() and ZERO <= price <= MAX_AMOUNT):
            return out_of_bounds(f"{path}[{number}].unit_price", f"{MAX_AMOUNT:f}")
        if line.quantity > MAX_QUANTITY:
            return out_of_bounds(f"{path}[{number}].quantity", f"{MAX_QUANTITY}")
    return None


def check_currency(currency: str | None, path: str) -> Fault | None:
    """Amounts in a currency nobody knows the minor unit of would count as nothing."""
    if currency is None:
        return None
    try:
        exponent(currency)
    except CurrencyError as error:
        return Fault("invalid_value", path, str(error))
    return None


def out_of_bounds(field: str, most: str) -> Fault:
    """Say that a value is less than nothing, or more than there is."""
    return Fault("invalid_value", field, f"{field} must be between 0 and {most}")
