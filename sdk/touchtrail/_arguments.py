"""The keyword arguments that several methods share, for type checkers: a misspelt name is found before it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict

from .context import Campaign, Consent, Device, Page


class ContextFacts(TypedDict, total=False):
    """What is known of who is being served; the fields of ``Context``."""

    anonymous_id: str | None
    customer_id: str | None
    session_id: str | None
    page: Page | None
    campaign: Campaign | None
    device: Device | None
    consent: Consent | None
    identifiers: Mapping[str, str] | None


class Occasion(TypedDict, total=False):
    """What an event without a place carries."""

    occurred_at: datetime | None
    event_id: str | None


class Facts(ContextFacts, Occasion, total=False):
    """What every event may carry beside its own fields; the same names as in ``Client.track``."""


class GivenOptions(TypedDict, total=False):
    """The fields of ``Options`` beside the address and the key."""

    disabled: bool
    strict: bool
    memory_only: bool
    spool_dir: str | os.PathLike[str] | None
    max_spool_bytes: int
    max_spool_age_s: float
    segment_bytes: int
    max_memory_bytes: int
    max_event_bytes: int
    batch_events: int
    batch_bytes: int
    gzip_above_bytes: int
    linger_s: float
    connect_timeout_s: float
    timeout_s: float
    backoff_min_s: float
    backoff_max_s: float
    retry_after_max_s: float
    close_timeout_s: float


class AllOptions(GivenOptions, total=False):
    """Every field of ``Options``."""

    url: str
    key: str
