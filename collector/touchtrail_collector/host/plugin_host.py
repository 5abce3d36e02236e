"""The plugin host: one typed method per hook, for all plugins together."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Any

from msgspec.structs import replace

from touchtrail.events import VOCABULARY
from touchtrail_collector.api import (
    AttributionModel,
    ChannelRule,
    Endpoint,
    Event,
    Exporter,
    Source,
    SourceEvents,
    SourceRefusal,
    SourceResponse,
)
from touchtrail_collector.domain.channel import ChannelClassifier
from touchtrail_collector.errors import PluginError
from touchtrail_collector.settings import Settings, suggestion

from .contribution import Contribution, collect, refuse_conflicts
from .discovery import check_id, discover, installed
from .record import PluginInfo, PluginRecord, describe
from .registration import plugin_manager, read_plugin_settings, register

log = logging.getLogger(__name__)


class PluginHost:
    """Every plugin of one collector. Made by `load` or, with plugins at hand, by `of`.

    What it hands out is checked, belongs to plugins in use only, and is timed and counted when it is called: a
    model, source or exporter that fails raises `PluginError` naming its plugin.
    """

    def __init__(self, records: Iterable[PluginRecord], settings: Settings, *, strict: bool | None = None) -> None:
        self._records = tuple(records)
        self._setting_problems = tuple(_unclaimed(settings, [record.id for record in self._records]))
        contributions = self._start(settings)
        self._classifier = self._make_classifier(contributions)
        self._sources = {item.name: _guarded_source(c.owner, item) for c in contributions for item in c.sources}
        self._models = {item.name: _guarded_model(c.owner, item) for c in contributions for item in c.models}
        self._exporters = {item.name: _guarded_exporter(c.owner, item) for c in contributions for item in c.exporters}
        self._event_types = VOCABULARY | {kind.spec.name: kind for c in contributions for kind in c.event_types}
        problems = self.problems()
        if problems and (settings.plugins.strict if strict is None else strict):
            raise PluginError(None, *problems)
        for problem in problems:
            log.warning("plugin %s", problem)

    @classmethod
    def load(
        cls, settings: Settings, *, entry_points: Iterable[EntryPoint] | None = None, strict: bool | None = None
    ) -> PluginHost:
        """Find, import and start the installed plugins.

        Args:
            entry_points: take these instead of the installed ones.
            strict: True makes any problem an error; None = as ``settings.plugins.strict`` says.

        Raises:
            PluginError: when strict, with every problem of every plugin.
        """
        found = installed() if entry_points is None else entry_points
        return cls(discover(found, settings.plugins.disabled), settings, strict=strict)

    @classmethod
    def of(
        cls, plugins: Mapping[str, object], *, settings: Settings | None = None, strict: bool | None = None
    ) -> PluginHost:
        """Start these plugins, modules or objects by id, and no installed ones: for tests and for embedding."""
        settings = settings or Settings()
        records = []
        for plugin_id, plugin in sorted(plugins.items()):
            record = PluginRecord(plugin_id)
            records.append(record)
            if plugin_id in settings.plugins.disabled:
                record.state = "disabled"
            elif check_id(record):
                record.plugin = plugin
        return cls(records, settings, strict=strict)

    def channel_classifier(self) -> ChannelClassifier:
        """Return the classifier over the channel rules of all plugins; always the same one, it keeps a cache."""
        return self._classifier

    def sources(self) -> Mapping[str, Source]:
        """Return the sources by name. `SourceRefusal`, and `ValueError` and `OSError` from files, pass as they are."""
        return self._sources

    def attribution_models(self) -> Mapping[str, AttributionModel]:
        """Return the attribution models by name."""
        return self._models

    def exporters(self) -> Mapping[str, Exporter]:
        """Return the exporters by name. `ValueError` (an unknown option) and `OSError` pass as they are."""
        return self._exporters

    def event_types(self) -> Mapping[str, type[Event]]:
        """Return the standard vocabulary and what plugins add to it, by event name."""
        return self._event_types

    def notify_events_stored(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Tell observing plugins of events that were committed and derived; never raises.

        A plugin that fails ten times in a row is `failing` from then on and is not told any more.
        """
        for record in self._in_use():
            if "touchtrail_on_events_stored" in record.hooks:
                record.tell(record.hooks["touchtrail_on_events_stored"], events=events, settings=record.settings)

    def export_subject(self, identifiers: Mapping[str, Sequence[str]]) -> Mapping[str, Mapping[str, Any]]:
        """Return what plugins keep about the person, by plugin id.

        Raises:
            PluginError: after all were asked, when one failed: an incomplete copy must not pass for a whole one.
        """
        return self._ask_all("touchtrail_export_subject", Mapping, identifiers)

    def erase_subject(self, identifiers: Mapping[str, Sequence[str]]) -> Mapping[str, int]:
        """Have plugins erase what they keep about the person; return how many records went, by plugin id.

        Raises:
            PluginError: after all were asked, when one failed: the erasure is not finished and must be repeated.
        """
        return self._ask_all("touchtrail_erase_subject", int, identifiers)

    def plugins(self) -> tuple[PluginInfo, ...]:
        """Return every plugin, used or not, sorted by id."""
        return tuple(record.info() for record in self._records)

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong now, one line each: plugins that cannot be used, settings that name none."""
        own = (f"{record.id}: {problem}" for record in self._records for problem in record.problems)
        return (*own, *self._setting_problems)

    def _start(self, settings: Settings) -> list[Contribution]:
        manager = plugin_manager()
        # Step by step over all plugins, so that the order in which they were found cannot matter.
        for record in self._in_use():
            register(manager, record)
        for record in self._in_use():
            read_plugin_settings(record, settings)
        collected = [collect(record) for record in self._in_use()]
        return refuse_conflicts(contribution for contribution in collected if contribution is not None)

    def _in_use(self) -> list[PluginRecord]:
        return [record for record in self._records if record.is_active]

    def _make_classifier(self, contributions: Iterable[Contribution]) -> ChannelClassifier:
        rule_sets = {c.channels.name: (c.owner, c.channels) for c in contributions if c.channels is not None}
        logged: set[tuple[str, str]] = set()

        def on_failure(owner: str, rule: ChannelRule, error: Exception) -> None:
            # Counted, never switched off: the channels of a rebuild must not depend on when a rule last failed.
            record = rule_sets[owner][0]
            record.count(0.0, error)
            if (owner, rule.name) not in logged:
                logged.add((owner, rule.name))
                log.warning("plugin %s: channel rule %s failed: %s", record.id, rule.name, describe(error))

        return ChannelClassifier((rule_set for _, rule_set in rule_sets.values()), on_failure)

    def _ask_all(self, hook: str, kind: type, identifiers: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        failures = []
        for record in self._records:
            # A plugin that fails as an observer still holds its data: it is asked as well.
            if hook not in record.hooks or record.state not in ("active", "failing"):
                continue
            try:
                answer = record.call(record.hooks[hook], identifiers=identifiers, settings=record.settings)
            except Exception as error:  # noqa: BLE001 - the boundary of this hook; all failures are raised below
                failures.append(f"{record.id}: {hook} failed: {describe(error)}")
                continue
            if isinstance(answer, kind):
                answers[record.id] = answer
            else:
                failures.append(f"{record.id}: {hook} must return {kind.__name__}, not {type(answer).__name__}")
        if failures:
            raise PluginError(None, *failures)
        return answers


def _unclaimed(settings: Settings, known: Sequence[str]) -> Iterable[str]:
    for plugin_id in settings.plugins.tables:
        if plugin_id not in known:
            yield f'[plugins."{plugin_id}"] names no installed plugin{suggestion(plugin_id, known)}'
    for plugin_id in settings.plugins.disabled:
        if plugin_id not in known:
            yield f"[plugins] disabled names {plugin_id}, which is not installed{suggestion(plugin_id, known)}"


def _guarded_model(owner: PluginRecord, model: AttributionModel) -> AttributionModel:
    return replace(model, credit=owner.guarded(f"model {model.name}", model.credit))


def _guarded_exporter(owner: PluginRecord, exporter: Exporter) -> Exporter:
    write = owner.guarded(f"exporter {exporter.name}", exporter.write, returns=int, passing=(ValueError, OSError))
    return replace(exporter, write=write)


def _guarded_source(owner: PluginRecord, source: Source) -> Source:
    what = f"source {source.name}"
    read_file = source.read_file
    if read_file is not None:
        read_file = owner.guarded_iterator(what, read_file, passing=(ValueError, OSError))
    endpoints = tuple(_guarded_endpoint(owner, f"{what}, {endpoint.path}", endpoint) for endpoint in source.endpoints)
    read_reject = source.read_reject
    if read_reject is not None:
        read_reject = owner.guarded(what, read_reject)
    return replace(source, endpoints=endpoints, read_file=read_file, read_reject=read_reject)


def _guarded_endpoint(owner: PluginRecord, what: str, endpoint: Endpoint) -> Endpoint:
    read = owner.guarded(what, endpoint.read, returns=SourceEvents, passing=(SourceRefusal,))
    find_key = endpoint.find_key if endpoint.find_key is None else owner.guarded(what, endpoint.find_key)
    answer = owner.guarded(what, endpoint.answer, returns=SourceResponse)
    return replace(endpoint, read=read, answer=answer, find_key=find_key)
