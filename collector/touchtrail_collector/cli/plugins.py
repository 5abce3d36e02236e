"""`touchtrail plugins`: every plugin with its version, state and last error."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import format_option, load_settings, settings_options

if TYPE_CHECKING:
    from touchtrail_collector.host import PluginHost
    from touchtrail_collector.settings import Settings


@click.command()
@settings_options
@format_option("table", "json")
@click.option("--strict", is_flag=True, help="Exit with 1 when something is wrong.")
def plugins(db: Path | None, config: Path | None, output_format: str, strict: bool) -> None:
    """List every plugin with its state and last error.

    A broken plugin is a line here and not an outage: the others go on. State is active, disabled (by the settings),
    broken (the last error says why), refused (another plugin claims the same name) or failing.
    """
    from touchtrail_collector.errors import PluginError

    host = _load_quietly(load_settings(db, config))
    if output_format == "json":
        _print_json(host)
    else:
        _print_table(host)
    problems = host.problems()
    if strict and problems:
        raise PluginError(None, *problems)


def _load_quietly(settings: Settings) -> PluginHost:
    """Load the plugins without the log lines about broken ones: they stand in the list."""
    from touchtrail_collector.host import PluginHost

    logger = logging.getLogger("touchtrail_collector.host")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return PluginHost.load(settings, strict=False)
    finally:
        logger.setLevel(level)


def _print_json(host: PluginHost) -> None:
    import msgspec

    listing = {"plugins": host.plugins(), "problems": host.problems()}
    click.echo(msgspec.json.format(msgspec.json.encode(listing)))


def _print_table(host: PluginHost) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("plugin", "kind", "version", "distribution", "hooks", "state", "last error"):
        table.add_column(name, overflow="fold")
    for plugin in host.plugins():
        hooks = ", ".join(hook.removeprefix("touchtrail_") for hook in plugin.hooks)
        cells = (plugin.id, plugin.kind, plugin.version, plugin.distribution, hooks, plugin.state, plugin.last_error)
        # As Text: a message may hold [square brackets], which rich would read as markup.
        table.add_row(*(Text(cell or "") for cell in cells))
    console = Console()
    if not console.is_terminal:
        console = Console(width=10_000)  # a file or a pipe has no edge to fold at
    console.print(table)
    listed = {plugin.id for plugin in host.plugins()}
    for problem in host.problems():
        if problem.partition(":")[0] not in listed:
            console.print(Text(problem))
