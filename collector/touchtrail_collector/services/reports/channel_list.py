"""Channels as reports use them: a list in a fixed order, and codes that index it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...domain.channel import UNASSIGNED, Channel
from ...store.engine import Query
from ...store.questions import Channels


class ChannelList:
    """Every channel of the derived data, by name in code point order.

    Contacts whose channel the table does not hold count as `Unassigned`, which is always in the list.
    """

    def __init__(self, query: Query) -> None:
        rows = query.ask(Channels())
        known = {
            row.name: Channel(
                name=row.name,
                medium=row.medium,  # type: ignore[arg-type]
                online=bool(row.online),
                is_direct=bool(row.is_direct),
            )
            for row in rows
        }
        known.setdefault(UNASSIGNED.name, UNASSIGNED)
        self.channels: tuple[Channel, ...] = tuple(known[name] for name in sorted(known))
        places = {channel.name: place for place, channel in enumerate(self.channels)}
        unknown = places[UNASSIGNED.name]
        self._code_of = np.full(max((row.channel_id for row in rows), default=0) + 1, unknown, np.int32)
        for row in rows:
            self._code_of[row.channel_id] = places[row.name]
        self._unknown = unknown

    def __len__(self) -> int:
        return len(self.channels)

    def codes(self, channel_ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the place in ``channels`` of each id."""
        known = (channel_ids >= 0) & (channel_ids < len(self._code_of))
        return np.where(known, self._code_of[np.where(known, channel_ids, 0)], np.int32(self._unknown))

    def code(self, channel_id: int) -> int:
        """Return the place in ``channels`` of one id."""
        return int(self.codes(np.array([channel_id], np.int64))[0])
