"""`touchtrail keys`: write keys for senders, read tokens for reports, and what a sender may do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .options import format_option, load_settings, settings_options

if TYPE_CHECKING:
    from touchtrail_collector.store.sqlite.keys import KeyRow

F = TypeVar("F", bound=Callable[..., Any])


def sender_options(function: F) -> F:
    """Add what a sender may do; the command gets ``origins``, ``any_origin`` and ``mode``, see `sender_of`."""
    origin = click.option(
        "--origin", "origins", multiple=True, metavar="ORIGIN",
        help="Only pages of https://shop.example may send in its name; may be repeated.",
    )  # fmt: skip
    anything = click.option("--any-origin", is_flag=True, help="Any page may: the default.")
    mode = click.option(
        "--mode", type=click.Choice(["full", "consent_required"]),
        help="What is kept: everything, or only events of people who agreed to analytics.",
    )  # fmt: skip
    return origin(anything(mode(function)))


def sender_of(origins: tuple[str, ...], any_origin: bool, mode: str | None) -> dict[str, Any]:
    """Return the options as an operation takes them: what was not said stays as it is."""
    if origins and any_origin:
        raise click.UsageError("Give either --origin or --any-origin.")
    return {"origins": list(origins) if origins or any_origin else None, "mode": mode}


@click.group()
def keys() -> None:
    """Create, list, rotate and revoke write keys and read tokens."""


@keys.command()
@settings_options
@click.option("--source", metavar="NAME", help="The sender the key is for: web, app, till, newsletter …")
@click.option("--shop", metavar="NAME", help="The shop the sender belongs to; the settings' own unless told otherwise.")
@click.option("--read", "is_read", is_flag=True, help="Make a read token for reports instead.")
@sender_options
def create(
    db: Path | None,
    config: Path | None,
    source: str | None,
    shop: str | None,
    is_read: bool,
    origins: tuple[str, ...],
    any_origin: bool,
    mode: str | None,
) -> None:
    """Print a new key, alone on stdout. It is not kept in clear and cannot be shown again."""
    from .operation import run_write

    if is_read == (source is not None):
        raise click.UsageError("Give either --source NAME for a write key, or --read for a read token.")
    sender = sender_of(origins, any_origin, mode)
    if is_read and any(value is not None for value in sender.values()):
        raise click.UsageError("--origin, --any-origin and --mode belong to a sender; a read token has none.")
    result = run_write(load_settings(db, config), "create_key", {"source": source, "shop": shop, **sender})
    click.echo(result["key"])


@keys.command("set")
@settings_options
@click.option("--source", required=True, metavar="NAME", help="The sender.")
@sender_options
def set_sender(
    db: Path | None, config: Path | None, source: str, origins: tuple[str, ...], any_origin: bool, mode: str | None
) -> None:
    """Change what a sender may do, for all its keys and at once."""
    from .operation import run_write

    sender = sender_of(origins, any_origin, mode)
    if all(value is None for value in sender.values()):
        raise click.UsageError("Give --origin, --any-origin or --mode.")
    run_write(load_settings(db, config), "set_sender", {"source": source, **sender})
    click.echo(f"changed {source}")


@keys.command()
@settings_options
@click.argument("key")
@click.option(
    "--grace-hours", type=click.FloatRange(0, 8760), default=168.0, metavar="N",
    help="How long the old key is good beside the new one; a week unless told otherwise, 0 = no longer.",
)  # fmt: skip
def rotate(db: Path | None, config: Path | None, key: str, grace_hours: float) -> None:
    """Print a new key in the place of KEY, given whole or by its first eight characters."""
    from .operation import run_write

    result = run_write(load_settings(db, config), "rotate_key", {"key": key, "grace_hours": grace_hours})
    click.echo(result["key"])
    ends = datetime.fromtimestamp(result["replaced_until_ms"] / 1000, UTC)
    click.echo(f"{result['replaced']}… is good until {ends:%Y-%m-%d %H:%M} UTC", err=True)


@keys.command()
@settings_options
@click.argument("key")
def revoke(db: Path | None, config: Path | None, key: str) -> None:
    """Revoke a KEY, given whole or by its first eight characters."""
    from .operation import run_write

    result = run_write(load_settings(db, config), "revoke_key", {"key": key})
    click.echo(f"revoked {result['revoked']}…")


@keys.command("list")
@settings_options
@format_option("table", "json")
def list_keys(db: Path | None, config: Path | None, output_format: str) -> None:
    """List every key by its first characters, with its sender, state and last use."""
    import time
    from contextlib import closing

    import msgspec

    from touchtrail_collector.store.sqlite import keys as stored
    from touchtrail_collector.store.sqlite.current_reader import open_current_reader

    with closing(open_current_reader(Path(load_settings(db, config).store.db))) as reader:
        rows = stored.list_keys(reader)
    if output_format == "json":
        click.echo(msgspec.json.format(msgspec.json.encode([row._asdict() for row in rows])))
        return
    if not rows:
        click.echo("There are no keys yet; `touchtrail keys create --source web` makes one.")
    for row in rows:
        click.echo(line_of(row, time.time_ns() // 1_000_000))


def line_of(row: KeyRow, now_ms: int) -> str:
    """Return a key as one line."""
    owner = f"{row.shop}/{row.source}" if row.source else "reports"
    used = "never used" if row.last_used_at is None else f"used {as_minute(row.last_used_at)}"
    may = "" if row.mode is None else f"  {row.mode}, {' '.join(row.origins) or 'any origin'}"
    made = f"made {as_minute(row.created_at)[:10]}"
    return f"{row.hint}…  {row.kind:5}  {owner:24}  {made}  {used:21}  {state_of(row, now_ms)}{may}"


def state_of(row: KeyRow, now_ms: int) -> str:
    """Return whether a key lets anybody in."""
    if row.revoked_at is not None:
        return f"revoked {as_minute(row.revoked_at)[:10]}"
    if row.expires_at is None:
        return "valid"
    return f"{'rotated, ended' if row.expires_at <= now_ms else 'rotated, valid until'} {as_minute(row.expires_at)}"


def as_minute(at_ms: int) -> str:
    """Return a time in UTC, to the minute."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
