"""The dashboard's password: optional, one for all, kept as an argon2id hash.

Source: RFC 9106, section 4, second recommended option (64 MiB, three passes, four lanes), the library's default.
"""

from __future__ import annotations

import threading
import unicodedata
from contextlib import suppress
from functools import partial
from typing import Final

from ..errors import StoreUnavailable, UsageError
from ..store.sqlite import password as stored
from ..store.sqlite.store import SqliteStore

SHORTEST: Final = 12
LONGEST: Final = 1024
"""Characters; nobody types more, and hashing more costs."""


class Password:
    """The password of one database.

    Args:
        store: keeps the hash.
    """

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._changing = threading.Lock()
        with store.reading() as reader:
            self._hash = stored.load_hash(reader)

    @property
    def is_set(self) -> bool:
        """True where there is one."""
        return self._hash is not None

    def put(self, password_hash: str | None) -> bool:
        """Keep a hash in the place of what was there, None = no password; return whether there was one.

        Raises: UsageError when it is no argon2id hash.
        """
        if password_hash is not None:
            check_hash(password_hash)
        with self._changing:
            was_set = self.is_set
            self._store.write(partial(stored.save_hash, password_hash=password_hash))
            self._hash = password_hash
        return was_set

    def verify(self, password: str) -> bool:
        """Return whether this is the password. Takes a tenth of a second or two and 64 MiB, right or wrong.

        What is kept of the right one is made anew where it was made with other parameters than today's: only now is
        the password at hand.
        """
        from argon2 import PasswordHasher
        from argon2.exceptions import VerificationError

        kept = self._hash
        if kept is None or len(password) > LONGEST:
            return False
        hasher = PasswordHasher()
        try:
            hasher.verify(kept, normal_form(password))
        except VerificationError:
            return False
        if hasher.check_needs_rehash(kept):
            self._replace(kept, hasher.hash(normal_form(password)))
        return True

    def _replace(self, kept: str, password_hash: str) -> None:
        """Keep another hash of the same password, unless the password was changed meanwhile.

        Nobody waits for the disk. Where it is full the old hash stays in the file, and the first sign-in after the next
        start tries again.
        """
        with self._changing:
            if self._hash != kept:
                return
            self._hash = password_hash
            with suppress(StoreUnavailable):
                self._store.begin_write(partial(stored.replace_hash, kept=kept, password_hash=password_hash))


def hash_password(password: str) -> str:
    """Return what is kept of a password. Raises: UsageError for one that is too short to be any good."""
    from argon2 import PasswordHasher

    if not SHORTEST <= len(password) <= LONGEST:
        raise UsageError(f"a password has {SHORTEST} to {LONGEST:,} characters; several words in a row are good")
    if len(set(password)) < SHORTEST // 3:
        raise UsageError("this password is the same few characters over and over; take several words in a row")
    return PasswordHasher().hash(normal_form(password))


def normal_form(password: str) -> bytes:
    """Return a password as it is hashed: keyboards write the same letter in several ways (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def check_hash(password_hash: str) -> None:
    """Hold a text to the form of an argon2id hash. Raises: UsageError."""
    from argon2 import Type, extract_parameters
    from argon2.exceptions import InvalidHashError

    try:
        is_right = extract_parameters(password_hash).type is Type.ID
    except (InvalidHashError, ValueError):
        is_right = False
    if not is_right:
        raise UsageError("what is to be kept of the password is no argon2id hash")
