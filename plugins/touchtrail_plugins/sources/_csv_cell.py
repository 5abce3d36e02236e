"""What stands in a cell: amounts, numbers, times and days in the ways people write them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, tzinfo
from typing import Literal

Decimal = Literal["auto", "point", "comma"]

GERMAN_TIME = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?:[ ,T]+(\d{1,2}):(\d\d)(?::(\d\d))?(?: Uhr)?)?")
BLANK_GROUP = re.compile(r"(?<=\d)[\s'’](?=\d{3}(?!\d))")
MONEY_SIGN = re.compile(r"^(?:[€$£¥]|[A-Z]{3})\s*|\s*(?:[€$£¥]|[A-Z]{3})$")
NUMBER = re.compile(r"([+-]?)([\d.,]*\d[\d.,]*)(-?)", re.ASCII)
PARTED = re.compile(r"\d{1,3}([.,])\d{3}(?:\1\d{3})*", re.ASCII)
WHOLE = re.compile(r"(\d{1,15})(?:[.,]0+)?", re.ASCII)
FLAGS = {"1": True, "true": True, "yes": True, "ja": True, "y": True, "j": True, "wahr": True, "x": True} | {
    "0": False, "false": False, "no": False, "nein": False, "n": False, "falsch": False,
}  # fmt: skip


class CellError(ValueError):
    """A cell does not hold what its column needs; the message says what was expected."""


def to_amount(text: str, decimal: Decimal = "auto") -> str:
    """Return an amount as decimal text with a point: `1.299,90 €` becomes `1299.90`.

    Args:
        decimal: which sign is the decimal one; ``auto`` = told by the amount itself.

    Raises: CellError, also for `1.299`, which can be read both ways.
    """
    bare = BLANK_GROUP.sub("", MONEY_SIGN.sub("", text.strip()))
    match = NUMBER.fullmatch(bare)
    if match is None:
        raise CellError(f"expected an amount such as 129.90 or 129,90, not {shown(text)}")
    sign, digits, trailing = match.groups()
    mark = {"point": ".", "comma": ","}.get(decimal) or decimal_mark(digits, text)
    group = "," if mark == "." else "."
    whole, point, fraction = digits.partition(mark)
    is_parted = group not in whole or re.fullmatch(rf"\d{{1,3}}(\{group}\d{{3}})+", whole)
    if not is_parted or (point and not fraction.isdigit()):
        wanted = "129.90" if mark == "." else "129,90"
        raise CellError(f"expected an amount such as {wanted}, not {shown(text)}")
    number = whole.replace(group, "").lstrip("0") or "0"
    minus = "-" if "-" in (sign, trailing) else ""
    return f"{minus}{number}.{fraction}" if point else f"{minus}{number}"


def decimal_mark(digits: str, text: str) -> str:
    """Return which of point and comma is the decimal sign.

    Raises: CellError, when either could be.
    """
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        return "." if digits.rindex(".") > digits.rindex(",") else ","
    if points + commas != 1:  # several of one kind part the thousands
        return "," if points else "."
    whole, fraction = re.split(r"[.,]", digits)
    if len(fraction) == 3 and 1 <= len(whole) <= 3 and not whole.startswith("0"):
        ways = f"{whole}{fraction} or {whole} and a fraction"
        raise CellError(f"{shown(text)} can mean {ways}: say --option decimal=point or --option decimal=comma")
    return "." if points else ","


def to_size(text: str, decimal: Decimal = "auto") -> str:
    """Return an amount that is taken without its sign: exports write refunds and discounts either way."""
    return to_amount(text, decimal).lstrip("-")


def to_number(text: str, decimal: Decimal = "auto") -> float:
    """Return a number such as a rating. Raises: CellError."""
    try:
        return float(to_amount(text, decimal))
    except CellError:
        raise CellError(f"expected a number, not {shown(text)}") from None


def to_count(text: str) -> int:
    """Return a whole number, thousands parted or not: `1.299` can only be 1299. Raises: CellError."""
    bare = BLANK_GROUP.sub("", text)
    if PARTED.fullmatch(bare):
        bare = re.sub(r"[.,]", "", bare)
    match = WHOLE.fullmatch(bare)
    if match is None:
        raise CellError(f"expected a whole number of 0 or more, not {shown(text)}")
    return int(match[1])


def to_flag(text: str) -> bool:
    """Return yes or no. Raises: CellError."""
    flag = FLAGS.get(text.lower())
    if flag is None:
        raise CellError(f"expected true or false, not {shown(text)}")
    return flag


def to_currency(text: str) -> str:
    """Return a currency's code. Raises: CellError."""
    code = text.upper()
    if re.fullmatch("[A-Z]{3}", code) is None:
        raise CellError(f"expected a currency's ISO 4217 code such as EUR, not {shown(text)}")
    return code


def to_moment(text: str, zone: tzinfo = UTC) -> str:
    """Return a point in time in RFC 3339, UTC; a day without a time is its midnight.

    Args:
        zone: the time zone of what names none itself.

    Raises: CellError.
    """
    try:
        at = parse_time(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=zone)
        return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise CellError(
            f"expected a time such as 2026-11-21T10:00:00Z, 2026-11-21 10:00 or 21.11.2026 10:00, not {shown(text)}"
        ) from None


def to_day(text: str) -> str:
    """Return a day, `2026-11-21`; a time beside it is left out. Raises: CellError."""
    try:
        return parse_time(text).date().isoformat()
    except ValueError:
        raise CellError(f"expected a day such as 2026-11-21 or 21.11.2026, not {shown(text)}") from None


def parse_time(text: str) -> datetime:
    """Return the time a text names, without a zone where it names none. Raises: ValueError."""
    match = GERMAN_TIME.fullmatch(text)
    if match is None:
        return datetime.fromisoformat(text)
    day, month, year, hour, minute, second = (int(part or 0) for part in match.groups())
    return datetime.combine(date(year, month, day), datetime.min.time()).replace(
        hour=hour, minute=minute, second=second
    )


def shown(text: str) -> str:
    """Return a cell's text for a message, shortened."""
    return repr(text if len(text) <= 40 else text[:37] + "…")
