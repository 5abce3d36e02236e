"""What an operator watches of a running collector: counted where it happens, put together when somebody asks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..errors import StoreError
from ..host import PluginInfo
from ..store.sqlite.figures import Figures, read_figures
from ..store.sqlite.store import now_ms
from .collector import Collector

DEADLINE_S = 2.0
"""For the questions to the database: whoever watches must not become what slows it down."""


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
