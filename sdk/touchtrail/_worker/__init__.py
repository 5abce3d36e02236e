"""Background delivery: batches from the outbox to the collector, at least once, every loss counted with its reason."""

from __future__ import annotations

from .sender import Sender
from .tally import Health, Tally
from .worker import Worker

__all__ = ["Health", "Sender", "Tally", "Worker"]
