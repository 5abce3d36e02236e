"""Tells the log of what came and was no HTTP: enough to find whoever sends it, and no more."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from .errors import HttpError
from .limits import TokenBuckets
from .server_log import shortened

logger = logging.getLogger("touchtrail_collector.web")

NETWORK_BURST: Final = 3
NETWORK_PER_S: Final = 1 / 600
ALL_BURST: Final = 20
ALL_PER_S: Final = 1 / 60
"""Lines about one network, and about all together. Anybody on the bound address can cause as many as they like, which
must not fill the disk; `/metrics` counts each."""


class RefusalLog:
    """Writes a line for a request that was refused before it was read, and leaves out what is too many.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._networks = TokenBuckets(NETWORK_PER_S, NETWORK_BURST, clock=clock)
        self._all = TokenBuckets(ALL_PER_S, ALL_BURST, clock=clock)
        self._left_out = 0

    def tell(self, client: tuple[str, int] | None, error: HttpError) -> None:
        """Log what was answered to whom; None = an address there is not."""
        network = shortened(f"{client[0]}:{client[1]}") if client else "-"
        # The network's own first: one that sends on and on takes nothing from the others.
        if self._networks.take(network) or self._all.take(""):
            self._left_out += 1
            return
        more = f" ({self._left_out} more were not logged)" if self._left_out else ""
        logger.warning("refused unread, from %s: %d %s: %s%s", network, error.status, error.body.code, error, more)
        self._left_out = 0
