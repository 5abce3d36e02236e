"""Makes sure that the file behind a name is a database of ours, and open for writing in one process only.

The lock beside a database (`FileLock`) keeps others out by name. Two names may lead to one file, though: SQLite keeps
the write-ahead log beside the name by which it was opened, so two processes that came by different names would not see
each other and destroy the file. Hence links are followed before anything else, a file with two names of its own (hard
links) is refused, and a second lock lies on the file itself, whatever it is called: it was mounted at two places, or
moved while it was open.

Source: sqlite.org/howtocorrupt.html, 2.4 "Multiple links to the same file" and 2.5 "Unlinking or renaming".
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
import sys
from contextlib import closing
from errno import EACCES, EAGAIN
from pathlib import Path

from ...errors import DatabaseLocked, StoreError

LOCKED_BYTE = 1 << 62
"""Far beyond any database; SQLite's own locks lie at 1 GB (sqlite.org/lockingv3.html)."""

MIGRATIONS_TABLE = "_sqlite_migrations"


def own_name(path: Path) -> Path:
    """Return the one name that a database's companions stand beside: absolute, all links followed."""
    return Path(os.path.realpath(path))


def claim_file(path: Path, *, creates: bool) -> int | None:
    """Keep every other process from claiming the file, by whatever name; return the descriptor that holds the claim.

    It is to be closed after the last connection: closing any descriptor of a file ends the locks that SQLite has on it.

    Args:
        path: its own name, see `own_name`.
        creates: make the file when it is not there, for this user alone; else None is returned.

    Raises: DatabaseLocked; StoreError for a file that cannot be opened for writing or has several names.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if creates else 0), 0o600)
    except OSError as error:
        if not creates and isinstance(error, FileNotFoundError | PermissionError):
            return None
        raise StoreError(f"{path} cannot be opened for writing: {error.strerror}") from None
    try:
        names = os.fstat(fd).st_nlink
        if names > 1:
            raise StoreError(
                f"{path} is one of {names} names of the same file (hard links), and its write-ahead log belongs to one "
                f"of them only: remove the name that is not used (`find / -samefile {path}` lists them) and try again"
            )
        if not lock_byte(fd):
            raise DatabaseLocked(path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def lock_byte(fd: int) -> bool:
    """Lock one byte far behind the end of a file; False when somebody else has it.

    Source: fcntl(2), "Open file description locks": unlike others they are not lost when the process closes another
    descriptor of the file, as SQLite does. File systems and systems without them have the lock beside the file.
    """
    if sys.platform != "linux":
        return True
    wanted = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, LOCKED_BYTE, 1, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        return error.errno not in (EACCES, EAGAIN)
    return True


def refuse_foreign(path: Path) -> None:
    """Raise StoreError for a database that another program made; it is not changed in the least.

    An empty file is nobody's yet. What cannot be read, and what has another name, is left to whoever opens it for
    writing and says so: SQLite makes a log beside a name though it only reads.
    """
    if not path.is_file() or not path.stat().st_size or path.stat().st_nlink > 1:
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as reader:
            if is_ours(reader) or is_nobodys(reader):
                return
    except sqlite3.Error:
        return
    raise StoreError(f"{path} is the database of another program; name another file with --db")


def is_ours(reader: sqlite3.Connection) -> bool:
    """Say whether touchtrail made the tables of a database."""
    if not reader.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (MIGRATIONS_TABLE,)).fetchone():
        return False
    found = reader.execute(f"SELECT 1 FROM {MIGRATIONS_TABLE} WHERE migration_set = 'touchtrail'")
    return found.fetchone() is not None


def holds_ours(path: Path) -> bool:
    """Say whether a file is a database of ours; what stands in a log beside it does not count.

    Nothing is made beside it; nobody may write to it meanwhile.
    """
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as reader:
            return is_ours(reader)
    except sqlite3.Error:
        return False


def is_nobodys(reader: sqlite3.Connection) -> bool:
    """Say whether a database has no tables yet, at most the empty one that a start of ours makes first of all."""
    (application,) = reader.execute("PRAGMA application_id").fetchone()
    tables = {name for (name,) in reader.execute("SELECT tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")}
    if application or tables - {MIGRATIONS_TABLE}:
        return False
    return not tables or reader.execute(f"SELECT 1 FROM {MIGRATIONS_TABLE}").fetchone() is None


def refuse_name_without_log(path: Path) -> None:
    """Raise StoreError where the newest events may stand in a log beside another name of the same file.

    To be asked before SQLite opens it, which makes a log of its own there.

    Source: sqlite.org/fileformat.html, 1.3.3: the file itself says at offset 19 whether it has a write-ahead log.
    """
    name = own_name(path)
    if name.stat().st_nlink == 1 or name.with_name(f"{name.name}-wal").exists():
        return
    with name.open("rb") as file:
        if file.read(20)[19:] != b"\x02":
            return
    raise StoreError(
        f"{path} has another name (hard link), and what was written last may stand beside that one: use that name "
        f"(`find / -samefile {name}` lists them)"
    )
