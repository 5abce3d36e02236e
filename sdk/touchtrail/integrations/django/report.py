"""The boundary between this integration and the shop: what fails in here is counted and logged, never raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .tracking import current_tracking


@contextmanager
def counted(what: str) -> Iterator[None]:
    """Keep what is raised inside the block from the shop, and count it in the client's ``Visits.problems``.

    Args:
        what: what was to be done, as in "could not …".
    """
    try:
        yield
    except Exception as problem:  # noqa: BLE001 - tracking must not take a page of the shop away
        current_tracking().visits.count(what, problem)
