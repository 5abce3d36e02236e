"""Plugins as objects, for tests of the host: one of each kind, right unless told otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from touchtrail_collector.api import (
    AttributionModel,
    Channel,
    ChannelRule,
    ChannelRuleSet,
    Endpoint,
    Exporter,
    SourceEvents,
    SourceResponse,
    hookimpl,
)
from touchtrail_collector.host import PluginHost, PluginInfo

PODCAST = Channel(name="Podcast", medium="earned")


def info(host: PluginHost, plugin_id: str) -> PluginInfo:
    (found,) = (plugin for plugin in host.plugins() if plugin.id == plugin_id)
    return found


def rule(name: str = "podcast", channel: Channel = PODCAST, priority: int = 10, source: str = "podcast") -> ChannelRule:
    return ChannelRule(name=name, channel=channel, matches=lambda traffic: traffic.source == source, priority=priority)


class Channels:
    """A plugin with one rule set."""

    def __init__(self, *rules: Any, name: str = "podcast", **others: Any) -> None:
        self.rule_set = ChannelRuleSet(name=name, version="1", rules=rules or (rule(),), **others)

    @hookimpl
    def touchtrail_channels(self) -> ChannelRuleSet:
        return self.rule_set


class Models:
    """A plugin with models."""

    def __init__(self, *models: Any) -> None:
        self.models = models

    @hookimpl
    def touchtrail_attribution_models(self) -> tuple[Any, ...]:
        return self.models


class Sources:
    """A plugin with sources."""

    def __init__(self, *sources: Any) -> None:
        self.sources = sources

    @hookimpl
    def touchtrail_sources(self) -> tuple[Any, ...]:
        return self.sources


class Exporters:
    """A plugin with exporters."""

    def __init__(self, *exporters: Any) -> None:
        self.exporters = exporters

    @hookimpl
    def touchtrail_exporters(self) -> tuple[Any, ...]:
        return self.exporters


class EventTypes:
    """A plugin with event types."""

    def __init__(self, *kinds: Any) -> None:
        self.kinds = kinds

    @hookimpl
    def touchtrail_event_types(self) -> tuple[Any, ...]:
        return self.kinds


def even(paths: Any, parameters: Any) -> Any:
    return np.ones(len(paths.channel_codes))


def model(name: str = "even", **changes: Any) -> AttributionModel:
    return AttributionModel(**{"name": name, "version": 1, "credit": even, **changes})


def endpoint(path: str = "/v9/track", **changes: Any) -> Endpoint:
    fields = {
        "path": path,
        "read": lambda request: SourceEvents(key="k", events=()),
        "answer": lambda *_: SourceResponse(),
        "unauthorized": SourceResponse(status=401),
    }
    return Endpoint(**{**fields, **changes})


def exporter(name: str = "lines", **changes: Any) -> Exporter:
    return Exporter(**{"name": name, "suffix": ".txt", "write": lambda dataset, file, options: 0, **changes})
