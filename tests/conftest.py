"""What every test finds as it was at the start, whatever ran before it in the same process."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def heard() -> None:
    """Have warnings heard: a worker of Celery in this process lets only errors through from then on."""
    logging.root.setLevel(logging.WARNING)
