"""What is never kept in clear: e-mail addresses, phone numbers, the client's address."""

from __future__ import annotations

import hashlib
import hmac
import re

EMAIL = re.compile(rb"[A-Za-z0-9._+'\-\x80-\xff]+(?:@|%(?:25)?40)[A-Za-z0-9\-\x80-\xff]+(?:\.[A-Za-z0-9\-\x80-\xff]+)+")
AT_SIGNS = (b"@", b"%40", b"%2540", b"\\u0040")
PREFIX = "hmac:"


class Pseudonymiser:
    """Replaces what identifies a person outside the shop by a keyed hash.

    An e-mail address can be guessed, so a plain hash of it is as good as the address; a hash keyed with a secret of
    this database is not (reliability.md, "Facts that bind us").

    Args:
        key: the database's own secret; the same address gives the same hash as long as the key is kept.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def email(self, address: str) -> str:
        """Return the hash of an address; case and surrounding blanks do not count."""
        return self._hash("email", address.strip().lower())

    def phone(self, number: str) -> str:
        """Return the hash of a phone number; only its digits count, and `+49` is the same as `0049`."""
        number = number.strip()
        digits = re.sub(r"\D", "", number)
        if number.startswith("00"):
            digits = digits[2:]
        return self._hash("phone", digits)

    def identifier(self, kind: str, value: str) -> str:
        """Return the identifier as it is kept: hashed for e-mail and phone, as it came for every other kind."""
        if value.startswith(PREFIX):
            return value
        if kind == "email":
            return self.email(value)
        return self.phone(value) if kind == "phone" else value

    def scrub(self, raw: bytes) -> bytes:
        """Replace every e-mail address in a piece of JSON text by its hash."""
        if not any(sign in raw for sign in AT_SIGNS):
            return raw
        return EMAIL.sub(self._replace, raw)

    def _replace(self, match: re.Match[bytes]) -> bytes:
        address = re.sub(rb"%(?:25)?40", b"@", match[0])
        return self.email(address.decode("utf-8", "replace")).encode()

    def _hash(self, kind: str, value: str) -> str:
        digest = hmac.new(self._key, f"{kind}:{value}".encode("utf-8", "replace"), hashlib.sha256)
        return PREFIX + digest.hexdigest()[:32]
