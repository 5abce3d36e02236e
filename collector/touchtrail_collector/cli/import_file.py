"""`touchtrail import`: files through source plugins."""

from __future__ import annotations

from pathlib import Path

import click

from .options import load_settings, settings_options


@click.command("import")
@settings_options
@click.argument("reader", metavar="SOURCE")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--source", "sender", metavar="NAME", help="Book the events under this sender; else import-SOURCE.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the reader; repeatable.")
def import_file(
    db: Path | None, config: Path | None, reader: str, file: Path, sender: str | None, options: tuple[str, ...]
) -> None:
    """Read events from a file.

        SOURCE is a source plugin that reads files: `csv`. Importing the same file twice stores nothing twice. Lines
    that cannot be read are listed and kept in quarantine;
    the others are taken.
    """
    from .operation import run_write
    from .progress import progress_bar

    arguments = {"reader": reader, "path": str(file.absolute()), "source": sender, "options": read_pairs(options)}
    with progress_bar(f"reading {file.name}") as progress:
        result = run_write(load_settings(db, config), "import_file", arguments, progress=progress)
    for problem in result["problems"]:
        column = f", column {problem['column']}" if problem["column"] else ""
        click.echo(f"{file}: line {problem['line']}{column}: {problem['message']}", err=True)
    hidden = result["rejected"] - len(result["problems"])
    if hidden > 0:
        click.echo(f"… and {hidden} more; `touchtrail quarantine list` shows them", err=True)
    click.echo(
        f"{result['accepted']:,} events stored, {result['duplicates']:,} were there already, "
        f"{result['rejected']:,} rejected"
    )
    if result["rejected"] and not result["accepted"] and not result["duplicates"]:
        raise click.exceptions.Exit(1)


def read_pairs(options: tuple[str, ...]) -> dict[str, str]:
    """Return `name=value` texts as a dict."""
    pairs = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise click.UsageError(f"--option {option!r} must be NAME=VALUE")
        pairs[name] = value
    return pairs
