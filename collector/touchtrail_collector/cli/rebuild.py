"""`touchtrail rebuild`: derive everything anew from the log."""

from __future__ import annotations

from pathlib import Path

import click

from .options import load_settings, settings_options


@click.command()
@settings_options
def rebuild(db: Path | None, config: Path | None) -> None:
    """Derive everything anew from the log.

        That is persons, journeys, channels, orders. The log itself is not touched. A running collector does the work
    when there is one.
    """
    from .operation import run_write
    from .progress import progress_bar

    with progress_bar("deriving") as progress:
        result = run_write(load_settings(db, config), "rebuild", {}, progress=progress)
    click.echo(f"{result['events']:,} events derived anew")
