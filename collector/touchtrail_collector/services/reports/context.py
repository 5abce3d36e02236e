"""What reports are made from: derived data, attribution models, the shop's time zone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec

from touchtrail.events import VOCABULARY, Event

from ...domain.attribution import AttributionModel
from ...host import PluginHost
from ...settings import AttributionSettings, QuarantineSettings, Settings
from ...store.engine import Query
from ...store.sqlite.current_reader import open_current_reader
from ...store.sqlite.queries import SqliteQuery
from ...store.sqlite.reader import open_reader
from ..derivation_rules import DerivationRules, rules_of


class ReportContext(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a report needs besides its parameters.

    Args:
        models: attribution models by name, in the order reports show them.
        own_rules: what a process with the caller's plugins and settings would derive by, to be held against what the
            data was derived by; None = not known.
        event_types: the vocabulary with what plugins add to it, by event name; other names are custom.
        time_zone, attribution: used where the parameters say nothing.
        quarantine: its limits, to say how full it is.
    """

    query: Query
    models: Mapping[str, AttributionModel] = {}
    own_rules: DerivationRules | None = None
    event_types: Mapping[str, type[Event]] = msgspec.field(default_factory=lambda: VOCABULARY)
    time_zone: str = "UTC"
    attribution: AttributionSettings = AttributionSettings()
    quarantine: QuarantineSettings = QuarantineSettings()


@contextmanager
def open_report_context(
    settings: Settings, *, host: PluginHost | None = None, deadline_s: float | None = None
) -> Iterator[ReportContext]:
    """Open the database of these settings for reports.

    Args:
        host: the plugins at hand; None = the installed ones.
        deadline_s: a query that runs longer than this after the opening is interrupted.

    Raises: DatabaseMissing; PluginError where the settings are strict.
    """
    host = host or PluginHost.load(settings)
    # Whoever has a deadline serves the file, and brought it up to date.
    db = settings.store.db
    reader = open_current_reader(db) if deadline_s is None else open_reader(db, deadline_s=deadline_s)
    try:
        yield ReportContext(
            query=SqliteQuery(reader),
            models=host.attribution_models(),
            own_rules=rules_of(host, settings),
            event_types=host.event_types(),
            time_zone=settings.shop.time_zone,
            attribution=settings.attribution,
            quarantine=settings.quarantine,
        )
    finally:
        reader.close()
