"""`touchtrail plugins`: every plugin with its version, state and last error."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import format_option, load_settings, settings_options

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from touchtrail_collector.host import PluginHost, PluginInfo
    from touchtrail_collector.settings import Settings

WIDE = 120
"""Columns from which the whole list fits beside one another."""


@click.command()
@settings_options
@format_option("table", "json")
@click.option("--strict", is_flag=True, help="Exit with 1 when something is wrong.")
def plugins(db: Path | None, config: Path | None, output_format: str, strict: bool) -> None:
    """List every plugin with its state and last error.

    A broken plugin is a line here and not an outage: the others go on. State is active, disabled (by the settings),
    broken (the last error says why), refused (another plugin claims the same name) or failing. While a collector runs
    on the database, the list is the collector's own.
    """
    from touchtrail_collector.errors import PluginError

    from .operation import find_collector

    settings = load_settings(db, config)
    holder = find_collector(settings)
    host = load_quietly(settings)
    found, problems = list(host.plugins()), list(host.problems())
    if holder is not None:
        found, problems = ask_plugins(holder)
        problems += [f"{line}: restart the collector" for line in tell_differences(host.plugins(), found)]
    if output_format == "json":
        _print_json(found, problems, holder)
    else:
        _print_table(found, problems, holder)
    if strict and problems:
        raise PluginError(None, *problems)


def ask_plugins(holder: Mapping[str, Any]) -> tuple[list[PluginInfo], list[str]]:
    """Return the running collector's plugins and problems: how they fared with events is known there alone."""
    import msgspec

    from touchtrail_collector.host import PluginInfo

    from .operation import ask_collector

    answer = ask_collector(holder, "plugins", {})
    return msgspec.convert(answer["plugins"], list[PluginInfo]), list(answer["problems"])


def tell_differences(
    own: Iterable[PluginInfo], theirs: Iterable[PluginInfo], hooks: Collection[str] | None = None
) -> list[str]:
    """Return a line for each plugin that was installed, replaced or removed after the collector was started.

    Args:
        own: the plugins that are installed now. theirs: those of the collector.
        hooks: only of plugins with one of these hooks; None = of all.
    """
    own_by_id, their_by_id = {plugin.id: plugin for plugin in own}, {plugin.id: plugin for plugin in theirs}
    lines = []
    for plugin_id in sorted(own_by_id.keys() | their_by_id.keys()):
        here, there = own_by_id.get(plugin_id), their_by_id.get(plugin_id)
        used = {hook for plugin in (here, there) if plugin is not None for hook in plugin.hooks}
        if hooks is not None and used.isdisjoint(hooks):
            continue
        if here is None:
            lines.append(f"{plugin_id} was removed after the collector was started")
        elif there is None:
            lines.append(f"{plugin_id} was installed after the collector was started")
        elif (here.distribution, here.version) != (there.distribution, there.version):
            lines.append(f"{plugin_id} is {here.version} now, and was {there.version} when the collector was started")
    return lines


def load_quietly(settings: Settings) -> PluginHost:
    """Load the plugins without the log lines about broken ones: they stand in the list."""
    from touchtrail_collector.host import PluginHost

    logger = logging.getLogger("touchtrail_collector.host")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return PluginHost.load(settings, strict=False)
    finally:
        logger.setLevel(level)


def _print_json(found: list[PluginInfo], problems: list[str], holder: Mapping[str, Any] | None) -> None:
    import msgspec

    collector = None if holder is None else {"pid": holder.get("pid"), "url": holder["url"]}
    listing = {"collector": collector, "plugins": found, "problems": problems}
    click.echo(msgspec.json.format(msgspec.json.encode(listing)))


def _print_table(found: list[PluginInfo], problems: list[str], holder: Mapping[str, Any] | None) -> None:
    from .rendering import open_console

    console = open_console()
    if holder is None:
        console.print("Plugins as this command finds them; no collector is running on this database.")
    else:
        console.print(f"Plugins of the running collector, process {holder.get('pid')} at {holder['url']}")
    console.print(plugin_table(found, console.width))
    listed = {plugin.id for plugin in found}
    for problem in problems:
        if problem.partition(":")[0] not in listed:
            console.print(problem)


def plugin_table(found: Iterable[PluginInfo], width: int) -> RichTable:
    """Return the list as a table; a narrow one leaves out what the id says as well, and the distribution."""
    from rich.table import Table
    from rich.text import Text

    names = ["plugin", "kind", "version", "distribution", "hooks", "state", "last error"]
    if width < WIDE:
        names = ["plugin", "version", "hooks", "state", "last error"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name in ("plugin", "version", "state"))
    for plugin in found:
        cells = {
            "plugin": plugin.id,
            "kind": plugin.kind,
            "version": plugin.version,
            "distribution": plugin.distribution,
            "hooks": ", ".join(hook.removeprefix("touchtrail_") for hook in plugin.hooks),
            "state": plugin.state,
            "last error": plugin.last_error,
        }
        # As Text: a message may hold [square brackets], which rich would read as markup.
        table.add_row(*(Text(cells[name] or "") for name in names))
    return table
