"""Numbers of things, as a sentence says them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return `1 event`, `2 events`, `12,000 events`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def verb(number: int, one: str, many: str) -> str:
    """Return the form of a verb that goes with so many."""
    return one if number == 1 else many
