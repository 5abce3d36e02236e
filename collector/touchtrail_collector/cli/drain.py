"""`touchtrail drain`: deliver what a stopped program left in its spool."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--url", envvar="TOUCHTRAIL_URL", required=True, help="The collector's address; else TOUCHTRAIL_URL.")
@click.option("--key", envvar="TOUCHTRAIL_KEY", required=True, help="The write key the program used.")
@click.option(
    "--spool-dir",
    envvar="TOUCHTRAIL_SPOOL_DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The program's spool_dir; else the SDK's default folder.",
)
@click.option("--timeout", "timeout_s", type=float, default=60.0, help="Give up after so many seconds.")
def drain(url: str, key: str, spool_dir: Path | None, timeout_s: float) -> None:
    """Deliver what a stopped program left in its spool.

    The spool belongs to one collector address and key: give those the program used. What running programs still hold
    is theirs to deliver.
    """
    from touchtrail import Client
    from touchtrail_collector.errors import StoreError

    client = Client(url, key=key, spool_dir=spool_dir)
    try:
        is_empty = client.flush(timeout_s=timeout_s)
        health = client.health()
    finally:
        client.close(timeout_s=0)
    click.echo(
        f"{health.delivered:,} events delivered, {health.duplicates:,} were there already, {health.rejected:,} rejected"
    )
    if not is_empty:
        reason = health.last_error or f"not done after {timeout_s:.0f} s"
        raise StoreError(f"{health.spooled_bytes:,} bytes are still in the spool: {reason}")
