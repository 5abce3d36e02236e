"""Opens what reports are made from: the one place where settings, plugins and the database meet for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..host import PluginHost
from ..settings import Settings
from ..store.sqlite.queries import SqliteQuery
from ..store.sqlite.reader import open_reader
from .reports.context import ReportContext


@contextmanager
def open_report_context(settings: Settings, host: PluginHost) -> Iterator[ReportContext]:
    """Give a report context over a connection that cannot write and is closed at the end.

    Raises: DatabaseMissing, DatabaseTooNew.
    """
    reader = open_reader(Path(settings.store.db), deadline_s=settings.store.report_deadline_s)
    try:
        yield ReportContext(
            query=SqliteQuery(reader),
            models=host.attribution_models(),
            channel_rule_sets=host.channel_classifier().rule_set_names,
            event_types=host.event_types(),
            time_zone=settings.shop.time_zone,
            attribution=settings.attribution,
        )
    finally:
        reader.close()
