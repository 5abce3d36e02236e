"""How a check says no."""

from __future__ import annotations

import re


class Verdict:
    """Fails in the name of one subject, `exporter 'csv'`. Not bare asserts: those vanish under `python -O`."""

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def require(self, holds: bool, problem: str) -> None:
        """Raise AssertionError unless ``holds``."""
        if not holds:
            raise AssertionError(f"{self._subject}: {problem}")

    def require_name(self, name: object) -> None:
        """Raise AssertionError unless the name can stand in settings, on the command line and in file names."""
        self.require(
            isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", name) is not None,
            "its name must be lower-case letters, digits, _ and -, beginning with a letter",
        )
