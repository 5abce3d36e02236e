"""Where events wait for delivery: append-only files that survive a kill, memory where there is no disk."""

from __future__ import annotations

from .base import Batch, Limits, Loss, Mark
from .disk import DiskOutbox
from .fallback import Outbox
from .memory import MemoryOutbox

__all__ = ["Batch", "DiskOutbox", "Limits", "Loss", "Mark", "MemoryOutbox", "Outbox"]
