"""`touchtrail rebuild`: derive everything anew from the log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import load_settings, settings_options

if TYPE_CHECKING:
    from touchtrail_collector.settings import Settings

DERIVING_HOOKS = frozenset({"touchtrail_channels", "touchtrail_event_types"})
"""The hooks of plugins that decide what is derived."""


@click.command()
@settings_options
def rebuild(db: Path | None, config: Path | None) -> None:
    """Derive everything anew from the log.

    That is persons, journeys, channels, orders. The log itself is not touched. A running collector does the work
    when there is one, with the plugins it was started with.
    """
    from .operation import find_collector, run_write
    from .progress import progress_bar

    settings = load_settings(db, config)
    holder = find_collector(settings)
    if holder is not None:
        refuse_old_rules(settings, holder)
    with progress_bar("deriving") as progress:
        result = run_write(settings, "rebuild", {}, progress=progress)
    click.echo(f"{result['events']:,} {'event' if result['events'] == 1 else 'events'} derived anew")


def refuse_old_rules(settings: Settings, holder: Mapping[str, Any]) -> None:
    """Raise an error when the collector would derive without a plugin that was installed since it was started."""
    from .plugins import ask_plugins, load_quietly, tell_differences

    theirs, _ = ask_plugins(holder)
    differences = tell_differences(load_quietly(settings).plugins(), theirs, DERIVING_HOOKS)
    if differences:
        raise click.ClickException(
            f"restart the collector first, it then derives everything anew by itself: {'; '.join(differences)}"
        )
