"""Who may be connected and for how long: a share for each address, and one clock that finds the slow ones."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, Protocol

from ..settings import ServerSettings
from .refusal_log import RefusalLog

LOOKS_PER_DEADLINE = 10
SHORTEST_LOOK_S, LONGEST_LOOK_S = 0.02, 0.5
LINGER_S = 2.0
"""How long a sender that was cut off may take to hear of it; closing at once would throw the answer away unread."""

DOOR_STATE: Final = "touchtrail_door"
"""Under this name a request's ASGI `state` leads to the door its connection came through."""

Reason = Literal[
    "silent", "idle", "slow_headers", "slow_body", "late_body", "slow_reader", "large_headers", "large_body",
    "half_body", "malformed", "crowded", "stopping",
]  # fmt: skip
"""Why a connection was ended by us (collector/README.md, `GET /metrics`)."""


class DoorTally:
    """Counts connections, and requests that were answered before the application saw them whole.

    Everything happens in the event loop's thread; any thread may look.
    """

    def __init__(self) -> None:
        self.came = 0
        self._cut: Counter[str] = Counter()
        self._answers: Counter[int] = Counter()

    def cut(self, reason: Reason) -> None:
        """Count a connection that is ended."""
        self._cut[reason] += 1

    def answer(self, status: int) -> None:
        """Count an answer that the application knows nothing of."""
        self._answers[status] += 1

    def cuts(self) -> dict[str, int]:
        """Return how many connections were ended so far, by reason."""
        return dict(self._cut)

    def answers(self) -> dict[int, int]:
        """Return how many answers were given so far, by status."""
        return dict(self._answers)


class Watched(Protocol):
    """A connection as the door sees it.

    Attributes:
        address: of the other end; "" where there is none.
        waits_since: when what it waits for now began, by the loop's clock.
    """

    address: str
    waits_since: float

    @property
    def is_idle(self) -> bool:
        """True while nothing is under way: between two requests, or before the first byte."""
        ...

    @property
    def is_sending(self) -> bool:
        """True while a request is coming in."""
        ...

    def look(self, now: float) -> None:
        """Cut the connection off when it is past its deadline."""
        ...

    def make_room(self) -> None:
        """Go: somebody else needs the place."""
        ...

    def abort(self) -> None:
        """Go at once, without a word."""
        ...


class Door:
    """Lets connections in up to a limit, and looks at all of them a few times per deadline.

    One timer for all costs less than one per request, which would be set and cancelled thousands of times a second.

    When the house is full, a newcomer takes the place of the connection that has idled longest; where none idles, of
    one that is still sending from the address that has the most, if that is more than the newcomer's own: whoever
    holds every place cannot keep others out. Otherwise the newcomer is refused.

    Args:
        settings: limits and deadlines.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.tally = DoorTally()
        self.refusals = RefusalLog()
        shortest_s = min(settings.headers_timeout_s, settings.body_timeout_s, settings.answer_timeout_s)
        self._interval_s = min(max(shortest_s / LOOKS_PER_DEADLINE, SHORTEST_LOOK_S), LONGEST_LOOK_S)
        self._inside: dict[Watched, None] = {}
        self._leaving: dict[Watched, None] = {}
        self._by_address: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many connections are let in."""
        return len(self._inside)

    def admit(self, newcomer: Watched, loop: asyncio.AbstractEventLoop) -> bool:
        """Let a connection in, if need be in another's place; False when there is none."""
        self.tally.came += 1
        if len(self._inside) >= self.settings.connection_limit:
            loser = self._find_loser(newcomer.address)
            if loser is None:
                return False
            loser.make_room()
            self._forget(loser)
        self._inside[newcomer] = None
        self._by_address[newcomer.address] += 1
        self._set_timer(loop)
        return True

    def show_out(self, connection: Watched, loop: asyncio.AbstractEventLoop) -> None:
        """Count a connection no longer, but watch it until it is gone; where too many hang about, it goes at once."""
        self._forget(connection)
        if len(self._leaving) >= self.settings.connection_limit:
            connection.abort()
            return
        self._leaving[connection] = None
        self._set_timer(loop)

    def left(self, connection: Watched) -> None:
        """Forget a connection that is gone."""
        self._forget(connection)
        self._leaving.pop(connection, None)

    def _forget(self, connection: Watched) -> None:
        if connection in self._inside:
            del self._inside[connection]
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def _find_loser(self, address: str) -> Watched | None:
        idle = _longest(connection for connection in self._inside if connection.is_idle)
        if idle is not None:
            return idle
        crowd, most = self._by_address.most_common(1)[0]
        # Less than two apart, the two would take each other's place in turn.
        if most <= self._by_address[address] + 1:
            return None
        return _longest(it for it in self._inside if it.address == crowd and it.is_sending)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None:
            self._timer = loop.call_later(self._interval_s, self._look_around, loop)

    def _look_around(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for connection in [*self._inside, *self._leaving]:
            connection.look(now)
        if self._inside or self._leaving:
            self._set_timer(loop)


def _longest(connections: Iterable[Watched]) -> Watched | None:
    return min(connections, key=lambda connection: connection.waits_since, default=None)
