"""Segment's loosely typed values, made into what the vocabulary asks for.

Each function returns None for what says nothing, and what it cannot convert as it came: the collector then names the
field that is at fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

from ._field_kinds import Kind

MOST_DIGITS = 15
"""An amount with more digits before the point is no money; reckoning keeps its hands off it."""

MILLISECONDS_FROM = 100_000_000_000
"""A number of seconds this large would lie after the year 5000: it counts milliseconds."""

ISO_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)")
SLOPPY_TIME = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)(?:[T ](\d\d?):(\d\d?)(?::(\d\d?))?(?:\.(\d{1,6})\d*)?)?\s*(Z|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)


def to_text(value: Any) -> Any:
    """Return text and numbers as text."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    # str() refuses an int of more than 4,300 digits, and nobody's id is that long.
    return str(value) if isinstance(value, int) and value.bit_length() <= 128 else value


def to_decimal(value: Any) -> Decimal | None:
    """Return an amount to reckon with, or None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int) and value.bit_length() > 64:
        return None
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and abs(amount.adjusted()) <= MOST_DIGITS else None


def to_amount(value: Any) -> Any:
    """Return an amount as it came, text without the blanks around it."""
    return value.strip() or None if isinstance(value, str) else value


def to_count(value: Any) -> Any:
    """Return a whole number written as text or with a point as an integer."""
    if isinstance(value, float | str):
        amount = to_decimal(value)
        return int(amount) if amount is not None and amount == amount.to_integral_value() else value or None
    return value


def to_number(value: Any) -> Any:
    """Return a number written as text as a number: Segment's `rating` is a string."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value or None
    return number if isfinite(number) else value


def to_currency(value: Any) -> Any:
    """Return a currency code in upper case: Segment's own example says `usd`."""
    return value.strip().upper() or None if isinstance(value, str) else value


def to_texts(value: Any) -> Any:
    """Return one text or several as a list."""
    if isinstance(value, list):
        return [to_text(item) for item in value if item is not None and item != ""] or None
    text = to_text(value)
    return [text] if isinstance(text, str) else text


def to_time(value: Any) -> Any:
    """Return a point in time in RFC 3339. What has no offset is UTC; a number is seconds or milliseconds since 1970.

    Source: segment-docs `src/connections/spec/common.md`, "Timestamps", asks for ISO 8601; the examples of the HTTP
    API's page hold `2015-2-02T00:30:12.984Z`.
    """
    if isinstance(value, str):
        return value if ISO_TIME.fullmatch(value) else _from_sloppy(value.strip())
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            at = datetime.fromtimestamp(value / 1000 if abs(value) >= MILLISECONDS_FROM else value, UTC)
        except (OverflowError, ValueError, OSError):
            return value
        return _rfc3339(at)
    return value


def _from_sloppy(text: str) -> str | None:
    match = SLOPPY_TIME.fullmatch(text)
    if match is None:
        return text or None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    microsecond = int((match[7] or "0").ljust(6, "0"))
    try:
        at = datetime(year, month, day, hour, minute, second, microsecond, UTC)
    except ValueError:
        return text
    offset = (match[8] or "Z").upper()
    return _rfc3339(at).removesuffix("Z") + offset


def _rfc3339(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_it_came(value: Any) -> Any:
    """Return the value itself."""
    return value


CONVERT: Mapping[Kind, Callable[[Any], Any]] = {
    "amount": to_amount,
    "count": to_count,
    "currency": to_currency,
    "flag": as_it_came,
    "lines": as_it_came,  # _segment_properties has an order line's own fields
    "number": to_number,
    "other": as_it_came,
    "text": to_text,
    "texts": to_texts,
}
