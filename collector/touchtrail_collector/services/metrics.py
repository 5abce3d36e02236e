"""What an operator watches of a running collector: counted where it happens, put together when somebody asks."""

from __future__ import annotations

import shutil
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from ..errors import StoreError
from ..host import PluginInfo
from ..store.sqlite.figures import Figures, failure_reason, read_figures
from ..store.sqlite.store import now_ms

if TYPE_CHECKING:
    from .collector import Collector

COMMIT_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
GROUP_REQUESTS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)

DEADLINE_S = 2.0
"""For the questions to the database: whoever watches must not become what slows it down."""


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


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """A collector at one moment.

    Args:
        figures: None where the database could not be read.
        lag_s: how long the first event that is not derived yet has been waiting.
        disk_free_bytes: what this user may still write where the database is; None where that cannot be told.
    """

    is_ready: bool
    figures: Figures | None
    lag_s: float
    is_projector_failing: bool
    backlog: int
    database_bytes: int
    wal_bytes: int
    disk_free_bytes: int | None
    plugins: Sequence[PluginInfo]


def take_health(collector: Collector) -> Health:
    """Look at a running collector. Reads the database: not for the event loop."""
    database = collector.store.path
    try:
        figures: Figures | None = read_figures(database, deadline_s=DEADLINE_S)
    except StoreError:
        figures = None
    since = None if figures is None else figures.waiting_since
    return Health(
        is_ready=collector.is_ready,
        figures=figures,
        lag_s=0.0 if since is None else max(now_ms() - since, 0) / 1000,
        is_projector_failing=collector.projector.failure is not None,
        backlog=collector.store.writer.backlog,
        database_bytes=size_of(database),
        wal_bytes=size_of(database.with_name(database.name + "-wal")),
        disk_free_bytes=free_bytes(database.parent),
        plugins=collector.host.plugins(),
    )


def size_of(path: Path) -> int:
    """Return a file's size in bytes; 0 where it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def free_bytes(folder: Path) -> int | None:
    """Return how many bytes this user may still write to a folder's disk."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
