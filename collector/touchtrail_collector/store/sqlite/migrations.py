"""Numbered changes of the file's shape, applied in order, each in its own transaction."""

from __future__ import annotations

import secrets
from importlib import resources

from sqlite_utils import Database, Migrations

MIGRATIONS = Migrations("touchtrail")


def read_sql(name: str) -> str:
    """Return the text of `sql/<name>.sql`."""
    return resources.files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def run_script(db: Database, name: str) -> None:
    """Run a file of statements inside the caller's transaction (`executescript` would commit it)."""
    statement = ""
    for line in read_sql(name).splitlines():
        if line.lstrip().startswith("--"):
            continue
        statement += line + "\n"
        if line.rstrip().endswith(";"):
            db.execute(statement)
            statement = ""


@MIGRATIONS()
def m001_log(db: Database) -> None:
    run_script(db, "log_schema")
    db.table("shops").insert({"shop_id": 1, "name": "default", "currency": "EUR"})
    db.table("meta").insert_all(
        [
            {"name": "hash_key", "value": secrets.token_hex(32)},
            {"name": "derived_seq", "value": "0"},
        ]
    )


@MIGRATIONS()
def m002_derived(db: Database) -> None:
    run_script(db, "derived_schema")


@MIGRATIONS()
def m003_seen(db: Database) -> None:
    run_script(db, "seen_schema")


@MIGRATIONS()
def m004_access(db: Database) -> None:
    run_script(db, "access_schema")


@MIGRATIONS()
def m005_quarantine(db: Database) -> None:
    run_script(db, "quarantine_schema")


@MIGRATIONS()
def m006_quarantine_shares(db: Database) -> None:
    run_script(db, "quarantine_shares_schema")


KNOWN = tuple(migration.name for migration in MIGRATIONS._migrations)
