"""`touchtrail drain`: deliver what a stopped program left in its spool."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from .options import check_key, check_url

if TYPE_CHECKING:
    from touchtrail import Client

    from .progress import Progress

_LOOK_EVERY_S: Final = 0.3
_DEAD_LETTERS: Final = ("dead-letters.jsonl.1", "dead-letters.jsonl")


@click.command()
@click.option("--url", envvar="TOUCHTRAIL_URL", required=True, help="The collector's address; else TOUCHTRAIL_URL.")
@click.option("--key", envvar="TOUCHTRAIL_KEY", required=True, help="The write key the program used.")
@click.option(
    "--spool-dir",
    envvar="TOUCHTRAIL_SPOOL_DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The program's spool_dir; else the SDK's default folder.",
)
@click.option(
    "--spool",
    "spools",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Deliver what waits in this folder, whichever address and key it was for; may be repeated.",
)
@click.option(
    "--timeout", "timeout_s", type=float, default=10.0, help="Give up when nothing was delivered for so many seconds."
)
def drain(url: str, key: str, spool_dir: Path | None, spools: Sequence[Path], timeout_s: float) -> None:
    """Deliver what a stopped program left in its spool.

    A spool folder belongs to one collector address and key: give those the program used. After a change of address or
    key, `--spool FOLDER` sends what an old folder holds to the collector and source given here. What running programs
    still hold is theirs to deliver.
    """
    from .progress import progress_bar

    check_url(url)
    check_key(key)
    for spool in spools:
        _require_one_sender(spool)
    folders: Sequence[Path | None] = spools or [None]
    clients = [client_for(folder, url, key, spool_dir) for folder in folders]
    try:
        with progress_bar("delivering") as progress:
            problems = [problem for client in clients if (problem := empty(client, timeout_s, progress))]
        others = [other for client in clients for other in client.health().other_spools.items()]
    finally:
        for client in clients:
            client.close(timeout_s=0)
    _tell(clients)
    _tell_of_others(() if spools else others)
    _finish(problems, has_found=any(map(_has_found, clients)), has_others=bool(others) and not spools)


def _require_one_sender(spool: Path) -> None:
    """Raise UsageError for a program's whole spool_dir: its folders belong to senders that must not be mixed up."""
    inside = sorted(folder for folder in spool.iterdir() if folder.is_dir() and any(folder.glob("*.seg")))
    if inside and not any(spool.glob("*.seg")):
        names = ", ".join(map(str, inside))
        raise click.UsageError(f"{spool} holds one folder per address and key; name the one to deliver: {names}")


def client_for(folder: Path | None, url: str, key: str, spool_dir: Path | None) -> Client:
    """Return a client that delivers from the folder; None = the one of this address and key."""
    from touchtrail import Client

    class FolderClient(Client):
        """Delivers from one folder, whichever address and key its name stands for."""

        def _spool_folder(self) -> str:
            return super()._spool_folder() if folder is None else os.path.abspath(folder)

    return FolderClient(url, key=key, spool_dir=spool_dir)


def empty(client: Client, timeout_s: float, progress: Progress) -> str | None:
    """Deliver everything; return what is wrong when that does not work."""
    total = left = _file_bytes(client)
    moved_at = time.monotonic()
    while not client.flush(timeout_s=_LOOK_EVERY_S):
        health, before = client.health(), left
        left = _file_bytes(client)
        progress(max(total - left, 0), total)
        if health.state == "paused":
            return _advice(client)
        if left < before:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > timeout_s:
            return _advice(client)
    return None


def _advice(client: Client) -> str:
    health = client.health()
    left = f"{_file_bytes(client):,} bytes are still in {client._spool_folder()}"
    if health.state == "paused":
        what = "give --url and --key of a source that exists (`touchtrail keys list`); for the events of an old key"
        return f"{left}: {health.last_error}; {what}, add --spool with this folder"
    reason = health.last_error or "nothing was delivered for a while"
    return f"{left}: {reason}; start the collector (`touchtrail serve`) or correct --url, then drain again"


def _file_bytes(client: Client) -> int:
    sizes = []
    for file in _files(client, ".seg"):
        try:
            sizes.append(file.stat().st_size)
        except FileNotFoundError:
            continue
    return sum(sizes)


def _files(client: Client, suffix: str) -> list[Path]:
    folder = Path(client._spool_folder())
    return [file for file in folder.iterdir() if file.name.endswith(suffix)] if folder.is_dir() else []


def _has_found(client: Client) -> bool:
    health = client.health()
    return any((health.delivered, health.duplicates, health.rejected, health.dropped, _files(client, ".seg")))


def _tell(clients: Iterable[Client]) -> None:
    from touchtrail_collector.services.number import counted, verb

    for client in clients:
        health = client.health()
        click.echo(
            f"{counted(health.delivered, 'event')} delivered, {health.duplicates:,} were there already, "
            f"{health.rejected:,} rejected{_counts(', given up: ', health.dropped)}"
        )
        if letters := _dead_letters(client):
            where = os.path.join(client._spool_folder(), _DEAD_LETTERS[-1])
            stands = verb(letters.total(), "stands", "stand")
            click.echo(f"{counted(letters.total(), 'rejected event')} {stands} in {where}{_counts(': ', letters)}")
        if damaged := _files(client, ".bad"):
            files = f"{counted(len(damaged), 'file')} that cannot be read {verb(len(damaged), 'lies', 'lie')}"
            click.echo(f"{files} beside it, named ….bad")


def _counts(before: str, counts: dict[str, int]) -> str:
    return before + ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())) if counts else ""


def _dead_letters(client: Client) -> Counter[str]:
    """Return how many rejected events stand in the folder, by code; also those of earlier runs."""
    import msgspec

    codes: Counter[str] = Counter()
    for name in _DEAD_LETTERS:
        path = Path(client._spool_folder(), name)
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            try:
                letter: Any = msgspec.json.decode(line)
                codes[str(letter["code"])] += 1
            except (msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError):
                codes["unreadable"] += 1
    return codes


def _tell_of_others(others: Iterable[tuple[str, int]]) -> None:
    for folder, waiting_bytes in others:
        click.echo(
            f"{waiting_bytes:,} bytes wait for another address or key in {folder}: give those with --url and --key, or "
            f"send them here with --spool {folder}"
        )


def _finish(problems: Sequence[str], *, has_found: bool, has_others: bool) -> None:
    from touchtrail_collector.errors import StoreError

    if problems:
        raise StoreError("; ".join(problems))
    if not has_found and has_others:
        raise StoreError(
            "nothing waits for this address and key, but elsewhere: give --url and --key as the program had them"
        )
