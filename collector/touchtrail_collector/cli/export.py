"""`touchtrail export`: a table to a file, through an exporter plugin."""

from __future__ import annotations

from pathlib import Path

import click

from .import_file import read_pairs
from .options import load_settings, settings_options


@click.command()
@settings_options
@click.argument("name")
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), metavar="FILE", help="`-` = stdout.")
@click.option("--table", default="touchpoints", help="What to export; an unknown name lists what there is.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the exporter; repeatable.")
def export(db: Path | None, config: Path | None, name: str, target: Path, table: str, options: tuple[str, ...]) -> None:
    """Write a table to a file.

    NAME is an exporter: `csv`, `jsonl`. The file appears once it is complete.
    """
    from touchtrail_collector.host import PluginHost
    from touchtrail_collector.services.table_export import export_table

    from .progress import progress_bar

    settings = load_settings(db, config)
    with progress_bar(f"writing {target}") as progress:
        rows = export_table(
            settings,
            PluginHost.load(settings),
            name,
            target,
            table=table,
            options=read_pairs(options),
            progress=progress,
        )
    if str(target) != "-":
        click.echo(f"{rows:,} rows of {table} written to {target}")
