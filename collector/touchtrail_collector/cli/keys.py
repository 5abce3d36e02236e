"""`touchtrail keys`: write keys for senders, read tokens for reports."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from .options import format_option, load_settings, settings_options


@click.group()
def keys() -> None:
    """Create, list and revoke write keys and read tokens."""


@keys.command()
@settings_options
@click.option("--source", metavar="NAME", help="The sender the key is for: web, app, till, newsletter …")
@click.option("--shop", metavar="NAME", help="The shop the sender belongs to; the settings' own unless told otherwise.")
@click.option("--read", "is_read", is_flag=True, help="Make a read token for reports instead.")
def create(db: Path | None, config: Path | None, source: str | None, shop: str | None, is_read: bool) -> None:
    """Print a new key, alone on stdout. It is not kept in clear and cannot be shown again."""
    from .operation import run_write

    if is_read == (source is not None):
        raise click.UsageError("Give either --source NAME for a write key, or --read for a read token.")
    result = run_write(load_settings(db, config), "create_key", {"source": source, "shop": shop})
    click.echo(result["key"])


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
    """List every key by its first characters."""
    import msgspec

    from touchtrail_collector.store.sqlite import keys as stored
    from touchtrail_collector.store.sqlite.reader import open_reader

    reader = open_reader(Path(load_settings(db, config).store.db))
    try:
        rows = stored.list_keys(reader)
    finally:
        reader.close()
    if output_format == "json":
        click.echo(msgspec.json.format(msgspec.json.encode([row._asdict() for row in rows])))
        return
    if not rows:
        click.echo("There are no keys yet; `touchtrail keys create --source web` makes one.")
    for row in rows:
        state = "valid" if row.revoked_at is None else f"revoked {as_day(row.revoked_at)}"
        owner = f"{row.shop}/{row.source}" if row.source else "reports"
        click.echo(f"{row.hint}…  {row.kind:5}  {owner:24}  made {as_day(row.created_at)}  {state}")


def as_day(at_ms: int) -> str:
    """Return the UTC day of a time."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")
