"""Work on large bodies: done in slices, and of all that there is at a time only one, so that small requests pass by."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Final, TypeVar

Result = TypeVar("Result")

LARGE_BYTES: Final = 262_144
"""A body that is larger waits for its turn before its first slice, which holds its decoding as a whole."""


class SlowLane:
    """Lets work in slices be done one at a time.

    Slices of twenty bodies in one turn of the loop would be twenty times as long as one, and a small request takes
    several turns.

    Args:
        loop: the event loop it is for.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._turn = asyncio.Lock()

    async def run(self, work: Generator[None, None, Result], size: int = 0) -> Result:
        """Do work that gives way after each slice, and return what comes of it.

        Args:
            size: of the body, in bytes; what is small and done within its first slice waits for nobody.
        """
        if size <= LARGE_BYTES:
            try:
                next(work)
            except StopIteration as ended:
                result: Result = ended.value
                return result
        async with self._turn:
            while True:
                await asyncio.sleep(0)
                try:
                    next(work)
                except StopIteration as ended:
                    result = ended.value
                    break
        return result
