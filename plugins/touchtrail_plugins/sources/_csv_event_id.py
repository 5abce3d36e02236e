"""Ids for events that come without one: the same row gives the same id, in whichever file and place it stands."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

REMEMBERED = 65_536
"""Events whose repetitions are counted; of those further apart the later one counts as the same (constant memory)."""


class EventIds:
    """Gives ids by content: the kind of file, the event, and the how manyth of its like it is.

    So a file imported twice stores nothing twice, and a longer version of it adds the new rows only. The id is made
    from the event, not from the row's text: neither the delimiter nor the order of the columns matters.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind.encode()
        self._seen: OrderedDict[str, int] = OrderedDict()

    def of(self, content: Mapping[str, Any]) -> str:
        """Return the one id of this content, for facts that cannot happen twice."""
        body = msgspec.json.encode(content, order="deterministic")
        return "csv:" + hashlib.blake2b(body, digest_size=20, key=self._kind).hexdigest()

    def next_of(self, content: Mapping[str, Any]) -> str:
        """Return the next id for this content: two equal rows are two events."""
        event_id = self.of(content)
        occurrence = self._seen.pop(event_id, 0) + 1
        self._seen[event_id] = occurrence
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return event_id if occurrence == 1 else f"{event_id}:{occurrence}"
