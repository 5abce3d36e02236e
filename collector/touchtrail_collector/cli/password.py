"""`touchtrail password`: the dashboard's password, which nobody needs to have."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .options import load_settings, settings_options


@click.group()
def password() -> None:
    """Set or remove the dashboard's password."""


@password.command("set")
@settings_options
def set_password(db: Path | None, config: Path | None) -> None:
    """Set the password, or change it. Everybody is signed out.

    It is asked for twice; where stdin is no terminal, its first line is the password. Only an argon2id hash of it is
    kept and handed on.
    """
    from touchtrail_collector.services.password import hash_password

    from .operation import run_write

    settings = load_settings(db, config)
    result = run_write(settings, "set_password", {"password_hash": hash_password(read_password())})
    click.echo(f"the password is {'changed' if result['was_set'] else 'set'}; everybody is signed out")


@password.command()
@settings_options
def remove(db: Path | None, config: Path | None) -> None:
    """Remove the password: only links let in then. Everybody is signed out."""
    from .operation import run_write

    result = run_write(load_settings(db, config), "set_password", {"password_hash": None})
    if result["was_set"]:
        click.echo("the password is removed; everybody is signed out, `touchtrail sign-in` lets in")
    else:
        click.echo("there was no password; everybody is signed out")


def read_password() -> str:
    """Return what is typed, unseen and twice, or the first line of a stdin that is no terminal."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")
