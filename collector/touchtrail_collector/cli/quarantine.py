"""`touchtrail quarantine`: rejected events, looked at, repaired and replayed."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from .options import format_option, load_settings, settings_options

if TYPE_CHECKING:
    from touchtrail_collector.store.sqlite.rejects import Reject

ALL_STATES = "all"


@click.group()
def quarantine() -> None:
    """Look at rejected events, repair and replay them."""


@quarantine.command("list")
@settings_options
@format_option("table", "json")
@click.option("--code", help="Only rejects with this error code.")
@click.option("--state", type=click.Choice(["open", "replayed", ALL_STATES]), default="open")
@click.option("--limit", default=50, help="At most so many, newest first.")
def list_rejects(
    db: Path | None, config: Path | None, output_format: str, code: str | None, state: str, limit: int
) -> None:
    """List rejects, newest first, with the reason of each."""
    import msgspec

    found = find_rejects(db, config, code=code, state=None if state == ALL_STATES else state, limit=limit)
    if output_format == "json":
        rows = [{**reject._asdict(), "body": reject.body.decode("utf-8", "replace")} for reject in found]
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
        return
    if not found:
        click.echo("Nothing is in quarantine.")
    for reject in found:
        at = datetime.fromtimestamp(reject.received_at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        click.echo(f"{reject.id:>6}  {at}  {reject.source or '-':12}  {reject.code:14}  {reject.message}")


@quarantine.command()
@settings_options
@click.argument("reject_id", metavar="ID", type=int)
def show(db: Path | None, config: Path | None, reject_id: int) -> None:
    """Print one reject as it came, so that it can be repaired in a file."""
    found = find_rejects(db, config, ids=[reject_id], state=None)
    if not found:
        raise click.UsageError(f"There is no reject {reject_id}; `touchtrail quarantine list` shows them.")
    reject = found[0]
    click.echo(f"{reject.code}{f' at {reject.field}' if reject.field else ''}: {reject.message}", err=True)
    click.echo(reject.body.decode("utf-8", "replace"))


@quarantine.command()
@settings_options
@click.argument("reject_ids", metavar="[ID]...", nargs=-1, type=int)
@click.option("--code", help="Only rejects with this error code.")
@click.option("--with", "repaired", type=click.File("r"), metavar="FILE", help="The repaired event in place of ID's.")
def replay(
    db: Path | None,
    config: Path | None,
    reject_ids: tuple[int, ...],
    code: str | None,
    repaired: TextIO | None,
) -> None:
    """Check rejects again and store those that pass: those named, or all open ones."""
    from .operation import run_write

    body = repaired.read() if repaired is not None else None
    arguments = {"ids": list(reject_ids), "code": code, "body": body}
    result = run_write(load_settings(db, config), "replay", arguments)
    for still in result["rejected"]:
        click.echo(f"{still['id']:>6}  {still['code']}: {still['message']}", err=True)
    click.echo(
        f"{result['stored']:,} stored, {result['duplicates']:,} were there already, "
        f"{len(result['rejected']):,} still rejected"
    )
    if result["rejected"]:
        raise click.exceptions.Exit(1)


def find_rejects(
    db: Path | None,
    config: Path | None,
    *,
    ids: list[int] | None = None,
    code: str | None = None,
    state: str | None = "open",
    limit: int = -1,
) -> list[Reject]:
    """Read rejects from the database."""
    from touchtrail_collector.store.sqlite import rejects
    from touchtrail_collector.store.sqlite.reader import open_reader

    with closing(open_reader(Path(load_settings(db, config).store.db))) as reader:
        return rejects.find(reader, ids=ids or [], code=code, state=state, limit=limit)
