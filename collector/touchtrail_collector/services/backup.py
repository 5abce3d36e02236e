"""Backup while the collector runs, and restore without bringing back what was erased."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ..errors import DatabaseMissing, StoreError, StoreUnavailable, UsageError
from ..store.sqlite.carry_over import CarriedOver, Knowledge
from ..store.sqlite.copy import Contents, check_schema, checked_reader, copy_database, describe
from ..store.sqlite.database import FileLock
from ..store.sqlite.glance import untouched
from ..store.sqlite.own_file import own_name
from ..store.sqlite.reader import Unreadable
from ..store.sqlite.restore import OtherDatabase, learn_from, prepare_copy, swap
from ..store.sqlite.whole_file import companions, partial_file, put_in_place

Progress = Callable[[int, int], None]


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore did.

    Args:
        contents: what the restored database has.
        replaced: where the file that was there is kept; None = there was none.
        migrated: the migrations the copy lacked.
        carried: what was carried over from the replaced file; None = there was none, or nothing could be.
    """

    contents: Contents
    replaced: Path | None
    migrated: list[str]
    carried: CarriedOver | None


def back_up(database: Path, target: Path, *, force: bool = False, progress: Progress | None = None) -> Contents:
    """Write a checked copy of a database to a file, whether or not a collector runs.

    Args:
        force: replace the file when it is there.
        progress: told pages done and pages in all.

    Returns: what the copy has.

    Raises: UsageError when the file is there; DatabaseMissing, StoreError.
    """
    database = own_name(database)
    for own in (database, *companions(database), FileLock(database).path):
        if target.absolute() == own.absolute() or (target.exists() and own.exists() and target.samefile(own)):
            raise UsageError(f"{target} belongs to the database itself; name another file")
    refuse_overwriting(target, force)
    if not target.parent.is_dir():
        raise StoreError(f"there is no folder {target.parent}; make it, or name another file")
    with untouched(database), partial_file(target) as partial:
        copy_database(database, partial, progress)
        contents = check_copy(partial, database)
        refuse_overwriting(target, force)
        put_in_place(partial, target)
    return contents


def check_copy(copy: Path, database: Path) -> Contents:
    """Return what a copy has. Raises StoreError where it shows that the database itself is damaged."""
    try:
        with checked_reader(copy) as reader:
            return describe(reader, copy)
    except Unreadable as error:
        fault = error.fault.partition(": ")[2] or error.fault
        raise StoreError(
            f"{database} is damaged, and no copy of it is kept: {fault}; keep the backups you have, "
            "`touchtrail doctor` says what to do"
        ) from None


def refuse_overwriting(target: Path, force: bool) -> None:
    """Raise UsageError for a file that is there already, unless it may be replaced."""
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise UsageError(f"{target} is no plain file; name another one")
    if target.exists() and not force:
        raise UsageError(f"{target} is there already; name another file, or replace it with --force")


def restore(backup: Path, database: Path, *, force: bool = False, progress: Progress | None = None) -> Restored:
    """Put a backup in a database's place, while no collector runs; the file that was there is kept beside it.

    What was erased since the backup stays erased; senders, their keys and the password are today's. What is derived may
    be older than the rules: the caller has it derived anew.

    Args:
        force: also where the current file is damaged or of another database, so that nothing can be carried over.

    Raises: DatabaseLocked while a collector runs; DatabaseTooNew; StoreError for a backup that is missing or damaged,
        and for a current file of which nothing can be carried over, unless ``force``.
    """
    if database.exists() and backup.exists() and backup.samefile(database):
        raise UsageError(f"{backup} is the database itself; name the backup")
    with untouched(backup):
        return restore_checked(
            backup, own_name(database), force, progress
        )  # a link stays one, and leads to the new file


def restore_checked(backup: Path, database: Path, force: bool, progress: Progress | None) -> Restored:
    """Check a backup, then put it in the place of a file under its own name. Raises as `restore` does."""
    migrated = check_backup(backup)
    lock = FileLock(database)
    lock.acquire()
    try:
        with partial_file(database) as partial:
            copy_database(backup, partial, progress)
            known = learn_if_possible(database, partial, force) if database.exists() else None
            carried = prepare_copy(partial, known)
            with checked_reader(partial) as reader:
                contents = describe(reader, partial)
            replaced = swap(partial, database, day=datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"))
    finally:
        lock.release()
    return Restored(contents=contents, replaced=replaced, migrated=migrated, carried=carried)


def check_backup(backup: Path) -> list[str]:
    """Return the migrations a backup lacks. Raises DatabaseTooNew; StoreError for a file that cannot be restored."""
    try:
        with checked_reader(backup) as reader:
            return check_schema(reader)
    except DatabaseMissing:
        raise StoreError(f"there is no backup {backup}; name a file that `touchtrail backup` made") from None
    except Unreadable as error:
        raise StoreError(f"the backup cannot be restored: {error.fault}; name another backup") from None


def learn_if_possible(database: Path, copy: Path, force: bool) -> Knowledge | None:
    """Return what the current file knows; None where nothing can be learnt and somebody said that this is all right.

    Raises: StoreUnavailable while somebody reads the file; StoreError.
    """
    try:
        return learn_from(database, copy)
    except StoreUnavailable:
        raise
    except StoreError as error:
        if force:
            return None
        if isinstance(error, OtherDatabase):
            advice = "name the one that the backup is of with --db, or replace this one with --force"
        else:
            # Another name does not help: what was erased is known in this file alone, and would come back there too.
            advice = (
                "what was erased or revoked since the backup is known there only, and would come back. Restore with "
                "--force, then erase and revoke again what you know of"
            )
        raise StoreError(f"{error}; {advice}") from None
