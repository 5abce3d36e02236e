"""`touchtrail backup`: a consistent copy of the database, while the collector runs or not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import load_settings, settings_options

if TYPE_CHECKING:
    from touchtrail_collector.store.sqlite.copy import Contents


@click.command()
@settings_options
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE when it is there.")
def backup(db: Path | None, config: Path | None, file: Path, force: bool) -> None:
    """Write a copy of the database to FILE, while the collector runs or not.

    The copy is the database as it was at one moment. It gets its name only when it is whole and was checked.
    """
    from touchtrail_collector.services.backup import back_up

    from .progress import progress_bar

    settings = load_settings(db, config)
    with progress_bar("copying pages") as progress:
        contents = back_up(Path(settings.store.db), file, force=force, progress=progress)
    click.echo(f"{file}: {describe_contents(contents)}")


def describe_contents(contents: Contents) -> str:
    """Return what is in a database in a few words."""
    events = f"{contents.events:,} {'event' if contents.events == 1 else 'events'}"
    size = f"{contents.size_bytes / 1_000_000:,.1f} MB"
    if contents.last_received is None:
        return f"{size}, {events}"
    at = datetime.fromtimestamp(contents.last_received / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{size}, {events}, the last one received {at} UTC"
