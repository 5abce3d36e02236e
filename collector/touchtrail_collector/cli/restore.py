"""`touchtrail restore`: a backup in the database's place, without what was erased since."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .backup import describe_contents
from .options import load_settings, settings_options

if TYPE_CHECKING:
    from touchtrail_collector.services.backup import Restored
    from touchtrail_collector.settings import Settings
    from touchtrail_collector.store.sqlite.carry_over import CarriedOver

    from .progress import Progress


@click.command()
@settings_options
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Also where nothing can be carried over from the current database.")
def restore(db: Path | None, config: Path | None, file: Path, force: bool) -> None:
    """Put the backup FILE in the database's place. No collector may run on it.

    FILE is checked first and stays as it is. The file it replaces is kept beside it under a dated name. What was erased
    since the backup stays erased; senders, their keys and the password are today's.
    """
    from touchtrail_collector.services.backup import restore as restore_backup

    from .progress import progress_bar

    settings = load_settings(db, config)
    database = Path(settings.store.db)
    with progress_bar("copying pages") as progress:
        restored = restore_backup(file, database, force=force, progress=progress)
    with progress_bar("deriving") as progress:
        derive(settings, progress)
    for line in tell(restored, database):
        click.echo(line)


def derive(settings: Settings, progress: Progress) -> None:
    """Derive what the backup had not derived yet, or everything where the rules are others now."""
    from touchtrail_collector.host import PluginHost
    from touchtrail_collector.services.collector import Collector

    collector = Collector(settings, PluginHost.load(settings), starts_projector=False)
    try:
        collector.projector.catch_up(progress)
    finally:
        collector.close()


def tell(restored: Restored, database: Path) -> list[str]:
    """Return what was done, a line each."""
    lines = [f"{database}: {describe_contents(restored.contents)}"]
    if restored.replaced is not None:
        lines.append(f"the replaced file is kept as {restored.replaced}; delete it when you do not need it any more")
    carried = restored.carried
    if carried is not None:
        lines += tell_carried(carried)
    if restored.replaced is not None and carried is None:
        lines.append("nothing was carried over: what was erased since the backup is there again")
    return lines


def tell_carried(carried: CarriedOver) -> list[str]:
    """Return what was carried over from the replaced file, a line each."""
    from touchtrail_collector.services.number import counted, verb

    def told(number: int, noun: str, one: str, many: str) -> list[str]:
        return [f"{counted(number, noun)} {verb(number, one, many)}"] if number else []

    left_out = (
        f"erased, {carried.events_left_out:,} of them {verb(carried.events_left_out, 'was', 'were')} in the backup"
    )
    gone = "gone from quarantine since the backup"
    ended = "revoked or rotated since the backup"
    return [
        *told(carried.ids_erased, "erased event", f"stays {left_out}", f"stay {left_out}"),
        *told(carried.rejects_left_out, "reject", f"that is {gone} stays gone", f"that are {gone} stay gone"),
        *told(carried.keys_ended, "key", f"that was {ended} stays so", f"that were {ended} stay so"),
        *told(carried.keys_added, "key", "that was made since is kept", "that were made since are kept"),
        *told(carried.senders_changed, "sender", "keeps today's mode and origins", "keep today's mode and origins"),
    ]
