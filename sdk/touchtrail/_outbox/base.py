"""What every outbox gives and takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

Loss = Callable[[str, int], None]
"""Is told a reason and how many events were given up for it."""


class Batch(NamedTuple):
    """Events that go out together; they stay in their outbox until it is told ``settle``.

    Args:
        payloads: the encoded events, oldest first; at least one.
        place: where they stand; only the outbox that made the batch reads it.
    """

    payloads: list[bytes]
    place: Any


class Mark(NamedTuple):
    """How many events had been taken on disk and in memory at one moment."""

    disk: int
    memory: int


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much an outbox may hold.

    Args:
        max_bytes: over all files of the spool folder, or in memory.
        segment_bytes: size at which a file is finished.
        max_age_s: an event that waited longer is given up.
    """

    max_bytes: int
    segment_bytes: int
    max_age_s: float
