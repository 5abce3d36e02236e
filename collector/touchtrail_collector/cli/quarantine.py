"""`touchtrail quarantine`: rejected events, looked at, repaired, replayed or dismissed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from .options import format_option, load_settings, settings_options

if TYPE_CHECKING:
    from touchtrail_collector.settings import Settings
    from touchtrail_collector.store.sqlite.reader import Reader
    from touchtrail_collector.store.sqlite.rejects import Chosen, State

F = TypeVar("F", bound=Callable[..., Any])

TOGETHER = 500
"""So many rejects are handed to a running collector at a time, so that the bar moves."""
AGO = re.compile(r"(\d{1,5})([hdw])")
HOURS = {"h": 1, "d": 24, "w": 168}


class Since(click.ParamType[int]):
    """A day, a time, or how long ago, as UTC milliseconds."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the time."""
        if isinstance(value, int):
            return value
        ago = AGO.fullmatch(value)
        try:
            if ago is not None:
                at = datetime.now(UTC) - timedelta(hours=int(ago[1]) * HOURS[ago[2]])
            else:
                at = datetime.fromisoformat(value)
                at = at if at.tzinfo else at.replace(tzinfo=UTC)
            return round(at.timestamp() * 1000)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no day (2026-11-21), time, or span such as 12h, 7d, 2w", param, ctx)


def choosing_options(command: F) -> F:
    """Give a command the options that say which rejects are meant."""
    for option in (
        click.option(
            "--since", "since_ms", type=Since(), metavar="WHEN", help="Came on this day or later; or 12h, 7d."
        ),
        click.option("--source", help="Only of this sender."),
        click.option("--name", help="Only events of this name."),
        click.option("--field", help="Only with this field at fault."),
        click.option("--code", help="Only with this code."),
    ):
        command = option(command)
    return command


@click.group()
def quarantine() -> None:
    """Look at rejected events, repair and replay them."""


@quarantine.command("list")
@settings_options
@format_option("table", "json")
@click.option("--json", "output_format", flag_value="json", help="The same as --format json.")
@choosing_options
@click.option("--state", type=click.Choice(["open", "replayed", "dismissed", "all"]), default="open")
@click.option("--each", is_flag=True, help="One line per reject, newest first, instead of groups.")
@click.option("--limit", default=50, help="At most so many lines.")
def list_rejects(
    db: Path | None, config: Path | None, output_format: str, state: str, each: bool, limit: int, **choice: Any
) -> None:
    """List rejected events in groups that are alike, each with an example and what to do."""
    from .quarantine_view import list_each, list_groups

    chosen = choose(choice, state=None if state == "all" else state)
    settings = load_settings(db, config)
    with closing(open_database(settings)) as reader:
        as_json = output_format == "json"
        if each:
            click.echo(list_each(settings, reader, chosen, limit=limit, as_json=as_json))
        else:
            click.echo(list_groups(settings, reader, chosen, limit=limit, as_json=as_json))


@quarantine.command()
@settings_options
@click.argument("reject_id", metavar="ID", type=int)
@click.option("--json", "as_json", is_flag=True, help="Everything that is known of it, as JSON.")
@click.option("--raw", is_flag=True, help="Only what came, byte for byte: `> event.json` gives a file to repair.")
def show(db: Path | None, config: Path | None, reject_id: int, as_json: bool, raw: bool) -> None:
    """Show one reject: what came, with the field at fault marked, why it was rejected and what to do."""
    from touchtrail_collector.store.sqlite import rejects

    from .quarantine_view import show_one

    settings = load_settings(db, config)
    with closing(open_database(settings)) as reader:
        found = rejects.find(reader, rejects.Chosen(ids=[reject_id], state=None))
    if not found:
        raise click.UsageError(f"There is no reject {reject_id}; `touchtrail quarantine list` shows them.")
    if raw:
        click.echo(found[0].body)
    else:
        click.echo(show_one(settings, found[0], as_json=as_json))


@quarantine.command()
@settings_options
@click.argument("reject_ids", metavar="[ID]...", nargs=-1, type=int)
@choosing_options
@click.option("--rename", multiple=True, metavar="OLD=NEW", help="Rename a field in all of them; may be repeated.")
@click.option(
    "--set", "set_", multiple=True, metavar="FIELD=VALUE", help="Set a field in all of them; may be repeated."
)
@click.option("--drop", multiple=True, metavar="FIELD", help="Drop a field in all of them; may be repeated.")
@click.option("--with", "repaired", type=click.File("r"), metavar="FILE", help="The repaired event in place of ID's.")
@click.option("--edit", is_flag=True, help="Repair the one reject ID in $EDITOR.")
@click.option("--dry-run", is_flag=True, help="Only say what would become of them.")
def replay(
    db: Path | None,
    config: Path | None,
    *,
    reject_ids: tuple[int, ...],
    rename: tuple[str, ...],
    set_: tuple[str, ...],
    drop: tuple[str, ...],
    repaired: TextIO | None,
    edit: bool,
    dry_run: bool,
    **choice: Any,
) -> None:
    """Check rejects again and store those that pass: those named or chosen, or all open ones."""
    settings = load_settings(db, config)
    body = repaired.read() if repaired is not None else None
    if edit:
        body = edit_one(settings, reject_ids)
    arguments = {
        **choice,
        "rename": read_pairs(rename, "--rename"),
        "set": {field: read_value(text) for field, text in read_pairs(set_, "--set").items()},
        "drop": list(drop),
        "body": body,
        "dry_run": dry_run,
    }
    result = replay_in_parts(settings, arguments, reject_ids)
    tell_result(result, dry_run=dry_run)
    if result["rejected"]:
        raise click.exceptions.Exit(1)


@quarantine.command()
@settings_options
@click.argument("reject_ids", metavar="[ID]...", nargs=-1, type=int)
@choosing_options
@click.option("--all", "everything", is_flag=True, help="All open ones.")
def dismiss(db: Path | None, config: Path | None, reject_ids: tuple[int, ...], everything: bool, **choice: Any) -> None:
    """Put rejects aside that will never be replayed; they go first when room is needed."""
    mark(load_settings(db, config), reject_ids, choice, everything, "dismissed")


@quarantine.command()
@settings_options
@click.argument("reject_ids", metavar="[ID]...", nargs=-1, type=int)
@choosing_options
@click.option("--all", "everything", is_flag=True, help="All dismissed ones.")
def reopen(db: Path | None, config: Path | None, reject_ids: tuple[int, ...], everything: bool, **choice: Any) -> None:
    """Open dismissed rejects again."""
    mark(load_settings(db, config), reject_ids, choice, everything, "open")


def choose(choice: Mapping[str, Any], *, ids: tuple[int, ...] = (), state: Any = "open") -> Chosen:
    """Return which rejects the options mean."""
    from touchtrail_collector.store.sqlite.rejects import Chosen

    return Chosen(ids=ids, state=state, **choice)


def open_database(settings: Settings) -> Reader:
    """Open the database for reading; a running collector is not disturbed."""
    from touchtrail_collector.store.sqlite.current_reader import open_current_reader

    return open_current_reader(Path(settings.store.db))


def mark(settings: Settings, ids: tuple[int, ...], choice: Mapping[str, Any], everything: bool, state: State) -> None:
    """Dismiss or reopen the rejects that are meant, and say how many those were."""
    from .operation import run_write

    if not (everything or ids or any(value is not None for value in choice.values())):
        raise click.UsageError("Say which: name numbers, choose by --code, --field …, or give --all.")
    changed = run_write(settings, "mark_rejects", {"ids": list(ids), "state": state, **choice})["changed"]
    click.echo(f"{changed:,} {'opened again' if state == 'open' else 'dismissed'}")


def edit_one(settings: Settings, ids: tuple[int, ...]) -> str:
    """Let the user repair one reject in an editor and return what it has become."""
    from touchtrail_collector.store.sqlite import rejects

    from .quarantine_view import pretty

    if len(ids) != 1:
        raise click.UsageError("--edit repairs one reject; name its number.")
    with closing(open_database(settings)) as reader:
        found = rejects.find(reader, rejects.Chosen(ids=ids, state=None))
    if not found:
        raise click.UsageError(f"There is no reject {ids[0]}; `touchtrail quarantine list` shows them.")
    edited = click.edit(pretty(found[0].body), extension=".json")
    if edited is None:
        raise click.ClickException("nothing was changed, so nothing was replayed")
    return edited


def replay_in_parts(settings: Settings, arguments: Mapping[str, Any], ids: tuple[int, ...]) -> dict[str, Any]:
    """Have rejects replayed and return what became of them; a bar on stderr shows how far it is."""
    from .operation import ask_collector, find_collector, run_here
    from .progress import progress_bar

    holder = find_collector(settings)
    with progress_bar("Replaying") as progress:
        if holder is None:
            return run_here(settings, "replay", {**arguments, "ids": list(ids)}, progress)
        if arguments["body"] is not None or not ids:
            ids = ids or find_open(settings, arguments)
        result: dict[str, Any] = {"stored": 0, "duplicates": 0, "rejected": 0, "named": []}
        for start in range(0, len(ids), TOGETHER):
            part = {**arguments, "ids": list(ids[start : start + TOGETHER])}
            for name, value in ask_collector(holder, "replay", part).items():
                result[name] += value
            progress(min(start + TOGETHER, len(ids)), len(ids))
        return result


def find_open(settings: Settings, arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the numbers of the open rejects that are meant."""
    from touchtrail_collector.store.sqlite import rejects

    choice = {name: arguments[name] for name in ("code", "field", "name", "source", "since_ms")}
    with closing(open_database(settings)) as reader:
        return tuple(rejects.find_ids(reader, choose(choice)))


def tell_result(result: Mapping[str, Any], *, dry_run: bool) -> None:
    """Print what became of the rejects, those that did not pass first, on stderr."""
    from .terminal import printable

    for still in result["named"]:
        click.echo(printable(f"{still['id']:>6}  {still['code']}: {still['message']}"), err=True)
    if result["rejected"] > len(result["named"]):
        click.echo(f"        … and {result['rejected'] - len(result['named']):,} more", err=True)
    stored, again, rejected = (f"{result[name]:,}" for name in ("stored", "duplicates", "rejected"))
    if dry_run:
        click.echo(f"{stored} would be stored, {again} are there already, {rejected} would still be rejected")
    else:
        click.echo(f"{stored} stored, {again} were there already, {rejected} still rejected")


def read_pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """Return `FIELD=VALUE` texts as pairs."""
    pairs = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not (name and sign and (value or option == "--set")):
            raise click.UsageError(f"{option} takes two names with = between them, not {text!r}.")
        pairs[name] = value
    return pairs


def read_value(text: str) -> Any:
    """Return what is set: JSON where it is JSON (`3`, `true`, `"3"`), else the text."""
    import msgspec

    try:
        return msgspec.json.decode(text.encode("utf-8", "surrogateescape"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text
