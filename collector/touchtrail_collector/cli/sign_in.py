"""`touchtrail sign-in`: a link to the dashboard that lets in once."""

from __future__ import annotations

from pathlib import Path

import click

from .options import load_settings, settings_options


@click.command()
@settings_options
@click.option(
    "--url", metavar="ADDRESS", help="What browsers call the collector, behind a proxy: https://collect.shop.example"
)
def sign_in(db: Path | None, config: Path | None, url: str | None) -> None:
    """Print a link that lets in once, alone on stdout.

    The running collector makes it; none else knows it.
    """
    from touchtrail_collector.errors import StoreError

    from .operation import ask_collector, find_collector

    settings = load_settings(db, config)
    base = None if url is None else base_of(url)
    holder = find_collector(settings)
    if holder is None:
        raise StoreError(
            f"no collector runs on {settings.store.db}; `touchtrail serve` starts one and prints such a link"
        )
    token = ask_collector(holder, "issue_link", {})["token"]
    click.echo(f"{base or holder['url']}/sign-in?token={token}")


def base_of(url: str) -> str:
    """Return an address without what comes after the host. Raises: click.UsageError where nobody could sign in."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/")
        is_right = is_right and not (parts.query or parts.fragment or parts.username)
    except ValueError:
        is_right = False
    if not is_right:
        raise click.UsageError("--url is the address of the collector, such as https://collect.shop.example")
    return f"{parts.scheme}://{parts.netloc}"
