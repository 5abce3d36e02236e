"""Where events wait for delivery: append-only files that survive a kill, memory where there is no disk."""

from __future__ import annotations

from .base import REPORT, Batch, Clocks, Limits, Loss, Mark
from .disk import DiskOutbox
from .fallback import Outbox, build_outbox
from .memory import MemoryOutbox
from .siblings import Siblings
from .spool import spool_folder

__all__ = [
    "REPORT",
    "Batch",
    "Clocks",
    "DiskOutbox",
    "Limits",
    "Loss",
    "Mark",
    "MemoryOutbox",
    "Outbox",
    "Siblings",
    "build_outbox",
    "spool_folder",
]
