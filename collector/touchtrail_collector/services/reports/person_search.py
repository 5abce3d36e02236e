"""Finds the person somebody means by an id, an identifier or an order number."""

from __future__ import annotations

from ...errors import ReportError
from ...store.engine import Query
from ...store.journey_questions import Candidates, Profile

_SHOWN = 5


def find_person(query: Query, shop_id: int, text: str) -> int:
    """Return the person's id.

    Args:
        text: a person id, or the value of an identifier of any kind, or an order number; with `kind:` before it,
            only that kind is meant (`person:17`, `customer_id:c-42`, `order_id:A-1`).

    Raises: ReportError when nobody is found, or several people are.
    """
    text = text.strip()
    found = _exact(query, shop_id, text) or _any_kind(query, shop_id, text)
    if not found:
        raise ReportError(
            f"nobody is known by {text!r}; give a person id, customer id, anonymous id or order number,"
            " or run `touchtrail report journeys` for a list of people",
            parameter="person",
        )
    if len({person_id for person_id, _ in found}) > 1:
        ways = ", ".join(f"{way} (person {person_id})" for person_id, way in sorted(set(found))[:_SHOWN])
        raise ReportError(f"{text!r} means more than one person: {ways}; name one as person:ID", parameter="person")
    return found[0][0]


def _exact(query: Query, shop_id: int, text: str) -> list[tuple[int, str]]:
    """Read ``text`` as `kind:value`."""
    kind, colon, value = text.partition(":")
    if not colon:
        return []
    if kind == "person":
        return _by_id(query, shop_id, value)
    rows = query.ask(Candidates(shop_id=shop_id, value=value))
    return [(row.person_id, f"{row.kind}:{row.value}") for row in rows if row.kind == kind]


def _any_kind(query: Query, shop_id: int, text: str) -> list[tuple[int, str]]:
    rows = query.ask(Candidates(shop_id=shop_id, value=text))
    return [(row.person_id, f"{row.kind}:{row.value}") for row in rows] + _by_id(query, shop_id, text)


def _by_id(query: Query, shop_id: int, text: str) -> list[tuple[int, str]]:
    # 18 digits fit SQLite's integers.
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        return []
    rows = query.ask(Profile(shop_id=shop_id, person_id=int(text)))
    return [(row.person_id, f"person:{row.person_id}") for row in rows]
