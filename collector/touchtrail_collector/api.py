"""Everything a plugin may import, in one place; nothing else of the collector is a promise."""

from __future__ import annotations

from touchtrail import events
from touchtrail.events import Amount, Event, EventSpec, Line

from .domain.attribution import AttributionModel, NoParameters, Paths
from .domain.channel import Channel, ChannelRule, ChannelRuleSet, Traffic
from .domain.dataset import Column, Dataset, Exporter
from .domain.source import (
    Endpoint,
    FileEvent,
    FileProblem,
    Source,
    SourceAck,
    SourceEvents,
    SourceRefusal,
    SourceReject,
    SourceRequest,
    SourceResponse,
)
from .hookspecs import hookimpl

__all__ = [
    "Amount",
    "AttributionModel",
    "Channel",
    "ChannelRule",
    "ChannelRuleSet",
    "Column",
    "Dataset",
    "Endpoint",
    "Event",
    "EventSpec",
    "Exporter",
    "FileEvent",
    "FileProblem",
    "Line",
    "NoParameters",
    "Paths",
    "Source",
    "SourceAck",
    "SourceEvents",
    "SourceRefusal",
    "SourceReject",
    "SourceRequest",
    "SourceResponse",
    "Traffic",
    "events",
    "hookimpl",
]
