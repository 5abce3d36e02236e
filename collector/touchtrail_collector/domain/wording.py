"""What is wrong with an event, in words for people: which field, what it must be, and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*?)`(?= - at `|$)", re.DOTALL)
MISSING = re.compile(r"^Object missing required field `(?P<name>.*?)`")
PATH = re.compile(r" - at `(?:key` in `)?\$(?P<path>[^`]*)`$")
GOT = re.compile(r"^Expected `(?P<wanted>[^`]*)`, got `(?P<got>[^`]*)`$")
LENGTH = re.compile(r"^Expected `(?P<kind>str|array|object)` of length (?P<sign>>=|<=|==) (?P<n>\d+)$")
BOUND = re.compile(r"^Expected `(?:int|float|decimal)` (?P<sign>>=|<=|>|<) (?P<n>[-\d.e+]+)$")
REGEX = re.compile(r"^Expected `str` matching regex (?P<pattern>'.*')$")

KINDS = {
    "str": "text", "int": "a whole number", "float": "a number", "decimal": "an amount such as 129.90",
    "bool": "true or false", "array": "a list", "object": "an object", "null": "null",
    "datetime": "a time as text, such as 2026-11-21T10:00:00Z", "date": "a day such as 2026-11-21",
}  # fmt: skip
PATTERNS = {
    "'^[A-Z]{3}$'": "a three-letter currency code such as EUR",
    r"'^[A-Za-z_][A-Za-z0-9_]{0,63}\\Z'": "1 to 64 letters, digits or _, and begin with no digit: product_viewed",
    "'^[A-Z]{2}$'": "a two-letter country code such as DE",
}
LONGEST_NAME = 100
"""Characters of a sender's own field name that are repeated in a message."""


class Fault(NamedTuple):
    """What is wrong: a stable code, the dotted path of the field or None, a sentence."""

    code: str
    field: str | None
    message: str


def explain(error: msgspec.ValidationError, prefix: str, known: Iterable[str]) -> Fault:
    """Turn msgspec's message into code, field and a sentence that says what to do.

    Args:
        prefix: where the decoded part stands in the event, `properties` or "".
        known: names of the fields there, for a guess at what was meant.
    """
    text = str(error)
    if unknown := UNKNOWN.match(text):
        at = PATH.search(text, unknown.end())
        name = unknown["name"][:LONGEST_NAME]
        field = f"{prefix}{at['path'] if at else ''}.{name}".lstrip(".")
        own = "; put data of your own into `extra`" if prefix else ""
        return Fault("unknown_field", field, f"there is no field {field}{nearest(name, known)}{own}")
    at = PATH.search(text)
    path = prefix + (at["path"] if at else "")
    what = text[: at.start()] if at else text
    if missing := MISSING.match(what):
        field = f"{path}.{missing['name']}".lstrip(".")
        return Fault("missing_field", field, f"{field} is required")
    field = path.lstrip(".")
    code = "invalid_type" if GOT.match(what) else "invalid_value"
    is_name = at is not None and "key` in" in at[0]
    subject = f"each name in {field}" if is_name else field or "the event"
    return Fault(code, field or None, f"{subject} {in_words(what)}")


def in_words(what: str) -> str:
    """Return msgspec's message without its path as the end of a sentence: `must be …`."""
    for pattern, word in WORDINGS:
        if match := pattern.match(what):
            return word(match)
    return f"is not valid: {what[:1].lower()}{what[1:200]}"


def word_kind(match: re.Match[str]) -> str:
    """Word a value of the wrong kind."""
    wanted = " or ".join(KINDS.get(kind, kind) for kind in match["wanted"].split(" | ") if kind != "null")
    return f"must be {wanted or 'null'}, not {KINDS.get(match['got'], match['got']).removesuffix(' such as 129.90')}"


def word_length(match: re.Match[str]) -> str:
    """Word a text or list that is too short or too long."""
    number = int(match["n"])
    of = "character" if match["kind"] == "str" else "entry" if number == 1 else "entrie"
    of += "" if number == 1 else "s"
    if match["sign"] == ">=" and number == 1:
        return "must not be empty"
    sign = {">=": "at least ", "<=": "at most ", "==": ""}[match["sign"]]
    return f"must have {sign}{number:,} {of}"


def word_bound(match: re.Match[str]) -> str:
    """Word a number that is too small or too large."""
    sign = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}[match["sign"]]
    return f"must be {sign} {match['n'].removesuffix('.0')}"


WORDINGS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (GOT, word_kind),
    (LENGTH, word_length),
    (BOUND, word_bound),
    (REGEX, lambda match: f"must be {PATTERNS.get(match['pattern'], 'of the form the reference gives')}"),
    (
        re.compile("Expected `datetime` with a timezone"),
        lambda _: "needs a time zone: 2026-11-21T10:00:00Z, or +01:00 in the place of Z",
    ),
    (
        re.compile("Invalid RFC3339 encoded datetime"),
        lambda _: "must be a time such as 2026-11-21T10:00:00Z, with day, time and time zone",
    ),
    (re.compile("Invalid decimal string"), lambda _: "must be an amount such as 129.90: digits and one point"),
    (re.compile("Invalid enum value (?P<value>.*)$", re.DOTALL), lambda match: f"cannot be {match['value'][:100]}"),
    (re.compile("Number out of range|Integer value out of range"), lambda _: "is a number that is too large"),
)  # fmt: skip


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean x?` when a known field looks like the unknown one."""
    close = find_nearest(name, known)
    return f", did you mean {close}?" if close else ""


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks like this one: in another spelling (`orderId`), or with a slip; or None."""
    known = sorted(known)
    squashed = {squash(word): word for word in known}
    if squash(name) in squashed:
        return squashed[squash(name)]
    close = difflib.get_close_matches(name.lower()[:LONGEST_NAME], known, n=1)
    return close[0] if close else None


def squash(name: str) -> str:
    """Return a name without what spellings differ in: case, blanks and signs between its words."""
    return re.sub(r"[\W_]+", "", name).lower()
