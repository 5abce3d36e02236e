"""How commits went: counted by the writer, read by whoever watches."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

from ..store.sqlite.figures import failure_reason

COMMIT_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
GROUP_REQUESTS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class Histogram:
    """Counts values by the bucket they fall into. One thread adds, any may look.

    Args:
        bounds: the buckets' upper bounds, in order; a last one without bound is added.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    def read(self) -> tuple[list[int], float]:
        """Return the count of each bucket, not added up, and the sum of all values."""
        return list(self._counts), self._sum


class CommitTally:
    """How long commits took, how many requests shared one, and what could not be written, since the start."""

    def __init__(self) -> None:
        self.seconds = Histogram(COMMIT_SECONDS)
        self.requests = Histogram(GROUP_REQUESTS)
        self._failures: Counter[str] = Counter()

    def add(self, seconds: float, requests: int) -> None:
        """Count a commit; called in the writer's thread (`Writer`'s ``on_commit``)."""
        self.seconds.add(seconds)
        self.requests.add(requests)

    def fail(self, error: BaseException) -> None:
        """Count a request or another job that could not be written; called in the writer's thread."""
        reason = failure_reason(error)
        if reason is not None:
            self._failures[reason] += 1

    def failures(self) -> dict[str, int]:
        """Return how many requests and other jobs could not be written so far, by reason."""
        return dict(self._failures)
