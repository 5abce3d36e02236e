"""Bounds how many different property names of their own a sender's events may have: the rest goes under `_overflow`.

A sender that makes a name of what should be a value (`clicked_4711`) would else make every list of names endless.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

MAX_NAMES = 1_000
OVERFLOW = "_overflow"


class NameFit:
    """What one request's events may be called by, beside what is known of their sender.

    Args:
        source_id: the sender.
        known: its names so far; belongs to the caller and is only read.

    Attributes:
        fresh: names this request brought, in order, none of them beyond the limit.
    """

    __slots__ = ("_known", "_limit", "fresh", "source_id")

    def __init__(self, source_id: int, known: set[str], limit: int = MAX_NAMES) -> None:
        self.source_id = source_id
        self._known = known
        self._limit = limit
        self.fresh: dict[str, None] = {}

    def find_superfluous(self, properties: Mapping[str, Any]) -> list[str]:
        """Return the names there is no room for; the others are known from now on."""
        superfluous = []
        # Nearly always empty: one look at each name is all it costs.
        for name in [name for name in properties if name not in self._known]:
            if name in self.fresh or name == OVERFLOW:
                continue
            if len(self._known) + len(self.fresh) < self._limit:
                self.fresh[name] = None
            else:
                superfluous.append(name)
        return superfluous


def move_to_overflow(raw: bytes, holder: str, names: list[str]) -> bytes:
    """Return an event whose superfluous properties stand under `_overflow`, where they are kept but in no list.

    Args:
        holder: where they are now, `properties` or `extra` for the member of that name inside the properties.
    """
    event: Any = msgspec.json.decode(raw)
    properties = event["properties"] if holder == "properties" else event["properties"][holder]
    moved = {name: properties.pop(name) for name in names}
    kept = properties.get(OVERFLOW)
    properties[OVERFLOW] = moved | kept if isinstance(kept, dict) else moved | ({OVERFLOW: kept} if kept else {})
    return msgspec.json.encode(event)
