"""Every hook a plugin can implement, with its types. Plugins import them through `touchtrail_collector.api`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pluggy

from touchtrail.events import Event

from .domain.attribution import AttributionModel
from .domain.channel import ChannelRuleSet
from .domain.dataset import Exporter
from .domain.source import Source

hookspec = pluggy.HookspecMarker("touchtrail")
hookimpl = pluggy.HookimplMarker("touchtrail")


@hookspec
def touchtrail_settings() -> type[msgspec.Struct]:
    """Return the struct of the plugin's settings; its table in `touchtrail.toml` is `[plugins."kind.name"]`."""
    raise NotImplementedError


@hookspec
def touchtrail_event_types() -> Iterable[type[Event]]:
    """Return event structs to add to the vocabulary; events of these names are then checked field by field."""
    raise NotImplementedError


@hookspec
def touchtrail_channels(settings: Any) -> ChannelRuleSet:
    """Return channel rules; the rules of all plugins are tried in the order of their priority."""
    raise NotImplementedError


@hookspec
def touchtrail_sources(settings: Any) -> Iterable[Source]:
    """Return sources: endpoints that speak another vendor's protocol, readers of files."""
    raise NotImplementedError


@hookspec
def touchtrail_attribution_models(settings: Any) -> Iterable[AttributionModel]:
    """Return attribution models; each can be named in `touchtrail report attribution --model`."""
    raise NotImplementedError


@hookspec
def touchtrail_exporters(settings: Any) -> Iterable[Exporter]:
    """Return exporters; each can be named in `touchtrail export`."""
    raise NotImplementedError


@hookspec
def touchtrail_on_events_stored(events: Sequence[Mapping[str, Any]], settings: Any) -> None:
    """Be told of events after they were committed and derived. The return value is ignored, a failure is counted."""
    raise NotImplementedError


@hookspec
def touchtrail_export_subject(identifiers: Mapping[str, Sequence[str]], settings: Any) -> Mapping[str, Any]:
    """Return everything the plugin itself keeps about the person with these identifiers. Mandatory if it keeps any."""
    raise NotImplementedError


@hookspec
def touchtrail_erase_subject(identifiers: Mapping[str, Sequence[str]], settings: Any) -> int:
    """Erase everything the plugin itself keeps about the person, and return how many records went."""
    raise NotImplementedError
