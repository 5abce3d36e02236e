"""Experience signals that can happen at any stage, and consent."""

from __future__ import annotations

from .base import Count, Event, EventSpec


class PageSlow(Event, frozen=True):
    """A page took too long."""

    spec = EventSpec("page_slow", None, "visit", signal="pain")

    duration_ms: Count
    metric: str | None = None


class ScriptFailed(Event, frozen=True):
    """A script of the page failed."""

    spec = EventSpec("script_failed", None, "visit", signal="pain")

    message: str | None = None
    where: str | None = None


class RageClicked(Event, frozen=True):
    """The person clicked the same spot again and again."""

    spec = EventSpec("rage_clicked", None, "visit", signal="pain")

    element: str | None = None
    clicks: Count | None = None


class SearchEmpty(Event, frozen=True):
    """The shop's own search found nothing."""

    spec = EventSpec("search_empty", None, "visit", signal="pain")

    query: str


class ConsentGiven(Event, frozen=True):
    """The person agreed to purposes; the envelope's ``consent`` carries the new state."""

    spec = EventSpec("consent_given", None, "none")

    purposes: list[str] | None = None
    version: str | None = None


class ConsentWithdrawn(Event, frozen=True):
    """The person withdrew consent; the envelope's ``consent`` carries the new state."""

    spec = EventSpec("consent_withdrawn", None, "none")

    purposes: list[str] | None = None
    version: str | None = None
