"""Which protocol the server speaks with: a guarded one, on the fastest parser there is."""

from __future__ import annotations

import asyncio

from .connections import Door
from .guard import GuardedConnection


def guarded_protocol(door: Door) -> type[asyncio.Protocol]:
    """Return the protocol to serve with: on httptools where it is installed, else on h11."""
    try:
        from .protocol_httptools import GuardedHttpTools
    except ModuleNotFoundError:
        from .protocol_h11 import GuardedH11

        return with_door(GuardedH11, door)
    return with_door(GuardedHttpTools, door)


def with_door(protocol: type[GuardedConnection], door: Door) -> type[asyncio.Protocol]:
    """Return a protocol whose connections all come through this door; uvicorn makes them and knows of none."""
    return type(protocol.__name__, (protocol,), {"door": door})
