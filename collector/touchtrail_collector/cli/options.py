"""Options that several commands share, and the settings they lead to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from touchtrail_collector.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(function: F) -> F:
    """Add `--db FILE` and `--config FILE`; the command gets them as ``db`` and ``config``, see `load_settings`."""
    path = click.Path(dir_okay=False, path_type=Path)
    config = click.option("--config", type=path, metavar="FILE", help="Settings file; else touchtrail.toml beside it.")
    db = click.option("--db", type=path, metavar="FILE", help="Database; else TOUCHTRAIL_DB, else touchtrail.db.")
    return db(config(function))


def format_option(*formats: str) -> Callable[[F], F]:
    """Add `--format` with these choices, the first is the default; the command gets it as ``output_format``."""
    return click.option(
        "--format", "output_format", type=click.Choice(formats), default=formats[0], help="How to print it."
    )


def check_url(url: str) -> None:
    """Raise click.UsageError for what is no address of a collector."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise click.UsageError(
            f"{url!r} is no address of a collector; write it as `touchtrail serve` prints it: http://127.0.0.1:8377"
        )


def check_key(key: str) -> None:
    """Raise click.UsageError for what cannot be a write key: it would not even fit into a header."""
    if not (key.isascii() and key.isprintable()):
        raise click.UsageError(
            "--key holds signs that no write key has; copy it as `touchtrail keys create` printed it"
        )


def load_settings(db: Path | None, config: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of this run.

    Args:
        overrides: what other flags said, by full name: `{"server.port": 0}`; None values count as not said.

    Raises:
        SettingsError: every problem of every place.
    """
    from touchtrail_collector.settings import Settings

    return Settings.load(config=config, db=db, overrides=overrides)
