"""Mends what is nearly JSON: halves of characters, and numbers that JSON does not know."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

MEND_BYTES = 1_000_000
MEND_EVENT_BYTES = 65_536
ID_NAMES = frozenset({"event_id", "messageId", "message_id"})
LISTS_OF_EVENTS = ("events", "batch")
HALF = re.compile("[\ud800-\udfff]")


def escape_halves(event_id: str) -> str:
    """Return an id with its halves of characters written out, so that two different ones stay different."""
    return HALF.sub(lambda half: f"%{ord(half[0]):04X}", event_id)


def mend_piece(piece: bytes, keep_id: Callable[[str], str]) -> bytes | None:
    """Return one event mended; None where it cannot be, or is larger than an event may be anyway."""
    return mend_json(piece, keep_id) if len(piece) <= MEND_EVENT_BYTES else None


def mend_json(body: bytes, keep_id: Callable[[str], str] = escape_halves) -> bytes | None:
    """Return a body without what Python's reader lets pass and JSON does not know; None when that is not its fault.

    Half a surrogate becomes U+FFFD (browsers send it when a title is cut inside an emoji), but in an id, which must
    stay another than all others, what ``keep_id`` makes of it. NaN and Infinity become text, which only the event
    they stand in is rejected for. Not for large bodies: Python's reader makes ten times as much of them, and who
    sends half a surrogate sends little.
    """
    if len(body) > MEND_BYTES:
        return None
    try:
        value = json.loads(body.decode(), parse_constant=str)
        keep_ids(value, keep_id)
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def keep_ids(value: Any, keep_id: Callable[[str], str]) -> None:
    """Replace the ids with half a character in them, of one event or of all in a batch."""
    holder = value if isinstance(value, dict) else {"": value}
    lists = [holder[name] for name in ("", *LISTS_OF_EVENTS) if isinstance(holder.get(name), list)]
    for item in (value, *(item for events in lists for item in events)):
        for name in ID_NAMES & item.keys() if isinstance(item, dict) else ():
            if isinstance(item[name], str) and HALF.search(item[name]):
                item[name] = keep_id(item[name])
