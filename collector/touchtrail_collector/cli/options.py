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


def load_settings(db: Path | None, config: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of this run.

    Args:
        overrides: what other flags said, by full name: `{"server.port": 0}`; None values count as not said.

    Raises:
        SettingsError: every problem of every place.
    """
    from touchtrail_collector.settings import Settings

    return Settings.load(config=config, db=db, overrides=overrides)
