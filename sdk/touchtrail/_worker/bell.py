"""A bell that wakes one waiting thread, whatever a signal handler throws into whoever rings it."""

from __future__ import annotations

import threading


class Bell:
    """Rung by any thread, heard by one; rings until it is heard, and however often it was rung, it is heard once.

    A lock that is held is a silent bell. Ringing it and hearing it are single calls into C. ``threading.Event`` and
    ``Condition`` take their inner lock in Python: an exception that a signal handler raises in that moment leaves the
    lock taken for good, and every thread that rings or waits hangs (seen with Python 3.13, once in 100 runs of 12,000
    interrupted calls).
    """

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        """Wake who waits, or else who waits next; never blocks."""
        try:
            self._silence.release()
        except RuntimeError:
            # It rings already.
            return

    def hear(self, timeout_s: float) -> bool:
        """Wait until it rings, and silence it; False when it did not ring within the time."""
        return self._silence.acquire(timeout=min(max(timeout_s, 0.0), threading.TIMEOUT_MAX))

    def silence(self) -> None:
        """Forget that it rang."""
        self._silence.acquire(blocking=False)
