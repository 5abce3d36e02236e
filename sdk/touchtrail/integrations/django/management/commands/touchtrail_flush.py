"""`manage.py touchtrail_flush`: deliver what waits in the shop's spool."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from touchtrail.integrations.django import client


class Command(BaseCommand):  # type: ignore[misc] # Django has no types
    """Delivers what stopped processes left; what running ones still hold is theirs to deliver."""

    help = "Deliver the events that wait in the spool, and say how many there were."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare ``--timeout``."""
        parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="give up after so many seconds")

    def handle(self, *, timeout: float, **_: Any) -> None:
        """Deliver; exit code 1 when the collector did not acknowledge everything."""
        sender = client()
        if sender.options.disabled:
            raise CommandError("tracking is disabled here: nothing was delivered")
        is_done = sender.flush(timeout_s=timeout)
        health = sender.health()
        self.stdout.write(
            f"{health.delivered:,} events delivered, {health.duplicates:,} were there already, "
            f"{health.rejected:,} rejected"
        )
        if not is_done:
            reason = health.last_error or f"not done after {timeout:g} s"
            raise CommandError(f"{health.spooled_bytes:,} bytes are still in the spool: {reason}")
