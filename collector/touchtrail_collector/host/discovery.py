"""Finds plugins and imports them, each inside a boundary: a broken one becomes a line, never an outage."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from importlib.metadata import Distribution, EntryPoint, entry_points
from itertools import groupby

from touchtrail_collector.settings import suggestion

from .record import PluginRecord, describe

GROUP = "touchtrail"

KIND_HOOKS: dict[str, tuple[str, ...]] = {
    "channel": ("touchtrail_channels",),
    "source": ("touchtrail_sources",),
    "model": ("touchtrail_attribution_models",),
    "exporter": ("touchtrail_exporters",),
    "event": ("touchtrail_event_types",),
    "observer": ("touchtrail_on_events_stored", "touchtrail_export_subject", "touchtrail_erase_subject"),
}
"""What a plugin of each kind is for: it implements at least one of these hooks, and any others it likes."""


def installed() -> list[EntryPoint]:
    """Return the entry points of every installed plugin, in no order that matters."""
    return list(entry_points(group=GROUP))


def discover(found: Iterable[EntryPoint], disabled: Collection[str]) -> list[PluginRecord]:
    """Return one record per entry point, sorted by name; those in use hold their imported plugin.

    Two of the same name are both refused: which one was meant is for a person to say. Disabled ones are not
    imported, so not even their import can do harm.
    """
    records = []
    for plugin_id, group in groupby(sorted(found, key=_sort_key), key=lambda entry: entry.name):
        namesakes = list(group)
        for entry in namesakes:
            record = _record(entry)
            records.append(record)
            if len(namesakes) > 1:
                record.give_up("refused", _duplicate(namesakes))
            elif plugin_id in disabled:
                record.state = "disabled"
            elif check_id(record):
                _import(entry, record)
    return records


def check_id(record: PluginRecord) -> bool:
    """True when the plugin's id is `kind.name` with a kind that exists; else the record says what is wrong."""
    kind, _, name = record.id.partition(".")
    if kind not in KIND_HOOKS:
        hint = suggestion(kind, KIND_HOOKS)
        record.give_up("broken", f"{kind!r} is no kind of plugin{hint}; kinds are {', '.join(KIND_HOOKS)}")
    elif not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        record.give_up("broken", "its entry point must be named `kind.name`, in lower case: `channel.podcast`")
    return record.is_active


def _sort_key(entry: EntryPoint) -> tuple[str, str, str]:
    return entry.name, "" if entry.dist is None else entry.dist.name, entry.value


def _record(entry: EntryPoint) -> PluginRecord:
    dist: Distribution | None = entry.dist
    if dist is None:
        return PluginRecord(entry.name)
    return PluginRecord(entry.name, distribution=dist.name, version=dist.version)


def _duplicate(namesakes: list[EntryPoint]) -> str:
    owners = [entry.value if entry.dist is None else f"{entry.dist.name} {entry.dist.version}" for entry in namesakes]
    return f"the same name is claimed by {' and by '.join(owners)}; uninstall one of them"


def _import(entry: EntryPoint, record: PluginRecord) -> None:
    try:
        record.plugin = entry.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary of a stranger's import
        record.give_up("broken", f"importing {entry.value} failed: {describe(error)}")
