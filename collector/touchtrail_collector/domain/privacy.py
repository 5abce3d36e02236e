"""What is never kept in clear: e-mail addresses, phone numbers, the client's address."""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import unquote

import msgspec

from .fact import PHONE_NAMES, identifies_nobody

AT_SIGN = re.compile(r"@|%(?:25)*40")
AT_BYTE, PERCENT_BYTE, BACKSLASH_BYTE = b"@%\\"
# Fewer signs than RFC 5322 allows: a # or / is far more often what stands before an address than a part of it.
LOCAL_SIGNS = frozenset("._+-'\ufffd")
LOCAL_TOKEN = re.compile(r"%(?:25)*[0-9A-Fa-f]{2}|.", re.DOTALL)
LOCAL_CHARS = 64
"""The longest part before the at sign. Source: RFC 5321, section 4.5.3.1.1."""
DOMAIN = re.compile(r"[^\W_](?:[\w\-]|%(?:25)*2[Dd])*(?:(?:\.|%(?:25)*2[Ee])[\w\-]+)+")

# A literal that ends with the text counts too: what is cut off in quarantine, and no second look at each quote.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
IP_NAMES = frozenset({"ip", "ip_address", "ipaddress", "client_ip", "remote_addr"})
"""What senders call a client's address: it is not kept at all."""

CLEAR_MEMBER = re.compile(
    rb'"(' + "|".join(sorted(PHONE_NAMES | IP_NAMES)).encode() + rb')"(\s*+:\s*+)'
    rb'("[^"\\]*+(?:\\.[^"\\]*+)*+"|-?[0-9][0-9.eE+\-]*+)',
    re.DOTALL | re.IGNORECASE,
)
IP_ADDRESS = re.compile(r"[0-9A-Fa-f:]*[.:][0-9A-Fa-f.:]+(?:%\w+)?")
STRING_DECODER = msgspec.json.Decoder(str)

PREFIX = "hmac:"
HASHED = re.compile(PREFIX + "[0-9a-f]{32}")
PHONE_DIGITS = 5
"""Fewer digits are no phone number: an extension, or a placeholder."""


def may_hold_address(raw: bytes) -> bool:
    """False when there is no at sign in a piece of JSON text: as itself, percent-encoded once or more, or escaped.

    Written out, because every event passes here: a loop over the signs took as long as decoding the event, and looking
    for one byte takes a tenth of looking for several.
    """
    if AT_BYTE in raw or (PERCENT_BYTE in raw and (b"%40" in raw or b"%25" in raw)):
        return True
    return BACKSLASH_BYTE in raw and (b"\\u004" in raw or b"\\u0025" in raw or b"\\u003" in raw)


def may_name_member(raw: bytes) -> bool:
    """False when no member of a piece of JSON text has a name of `PHONE_NAMES` or `IP_NAMES`; written out likewise."""
    low = raw.lower()
    return (
        b'hone"' in low or b'umber"' in low or b'mobile"' in low or b'"tel' in low or b'fax"' in low
        or b'handy"' in low or b'"ip' in low or b'_ip"' in low or b'_addr"' in low
    )  # fmt: skip


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
        return self._hash("phone", digits_of(number))

    def identifier(self, kind: str, value: str) -> str:
        """Return the identifier as it is kept: hashed for e-mail and phone, as it came for every other kind.

        What broken trackers send in the place of an address or number becomes "", which identifies nobody: its hash
        would make one person of everybody.
        """
        is_phone = kind.lower() in PHONE_NAMES
        if not (kind == "email" or is_phone) or HASHED.fullmatch(value):
            return value
        if identifies_nobody(value):
            return ""
        if kind == "email":
            return self.email(value)
        return self.phone(value) if len(digits_of(value)) >= PHONE_DIGITS else ""

    def scrub(self, raw: bytes) -> bytes:
        """Replace every e-mail address in the strings of a piece of JSON text by its hash; the rest stays as it is."""
        if not may_hold_address(raw):
            return raw
        return STRING.sub(self._scrub_string, raw)

    def scrub_members(self, raw: bytes) -> bytes:
        """Hash phone numbers and remove clients' addresses, told by the names of their members, at any depth."""
        if not may_name_member(raw):
            return raw
        return CLEAR_MEMBER.sub(self._scrub_member, raw)

    def scrub_reject(self, raw: bytes) -> bytes:
        """Do the same for a body that may be no JSON at all; phone numbers and addresses of clients go as well."""
        raw = self.scrub(self.scrub_members(raw))
        if not may_hold_address(raw):
            return raw
        return self.scrub_text(raw.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def scrub_text(self, text: str) -> str:
        """Replace every e-mail address in a text by its hash, percent-encoded ones too.

        Looks left and right of each at sign instead of matching from every letter on: the time it takes grows with
        the text, not with its square.
        """
        parts: list[str] = []
        done = 0
        for sign in AT_SIGN.finditer(text):
            domain = DOMAIN.match(text, sign.end())
            if domain is None or sign.start() < done:
                continue
            start = start_of_local(text, done, sign.start())
            if start < sign.start():
                parts.extend((text[done:start], self.email(unquote_all(text[start : domain.end()]))))
                done = domain.end()
        return "".join((*parts, text[done:])) if parts else text

    def _scrub_string(self, match: re.Match[bytes]) -> bytes:
        literal = match[0]
        if not may_hold_address(literal):
            return literal
        try:
            text = STRING_DECODER.decode(literal)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return literal  # no JSON: whoever decodes the whole says so
        clean = self.scrub_text(text)
        return literal if clean is text else msgspec.json.encode(clean)

    def _scrub_member(self, match: re.Match[bytes]) -> bytes:
        name, colon, literal = match[1], match[2], match[3]
        try:
            text = STRING_DECODER.decode(literal) if literal[:1] == b'"' else literal.decode()
        except (msgspec.DecodeError, UnicodeDecodeError):
            return literal_member(name, colon, "")
        if name.decode().lower() in IP_NAMES:
            return literal_member(name, colon, None) if IP_ADDRESS.fullmatch(text.strip()) else match[0]
        # "TEL": "see below" is no number and stays.
        is_number = len(digits_of(text)) >= PHONE_DIGITS and not HASHED.fullmatch(text)
        return literal_member(name, colon, self.phone(text)) if is_number else match[0]

    def _hash(self, kind: str, value: str) -> str:
        digest = hmac.new(self._key, f"{kind}:{value}".encode("utf-8", "replace"), hashlib.sha256)
        return PREFIX + digest.hexdigest()[:32]


def literal_member(name: bytes, colon: bytes, value: str | None) -> bytes:
    """Return a member of an object as JSON text."""
    return b'"' + name + b'"' + colon + msgspec.json.encode(value)


def digits_of(number: str) -> str:
    """Return a phone number's digits, without the 00 that stands for a plus."""
    number = number.strip()
    digits = re.sub(r"[^0-9]", "", number)
    return digits[2:] if number.startswith("00") else digits


def start_of_local(text: str, begin: int, end: int) -> int:
    """Return where the part of an address starts that ends at the at sign ``end``; ``end`` when there is none."""
    tokens = LOCAL_TOKEN.findall(text, max(begin, end - 4 * LOCAL_CHARS), end)
    start = end
    for token in reversed(tokens[-LOCAL_CHARS:]):
        sign = unquote_all(token)
        if not (sign.isalnum() or sign in LOCAL_SIGNS):
            break
        start -= len(token)
    while start < end and text[start] in ".-'":  # an address begins with none of these; a quotation does
        start += 1
    return start


def unquote_all(text: str) -> str:
    """Return a text with its percent escapes undone, those that were escaped again too."""
    for _ in range(4):
        if "%" not in text:
            break
        text = unquote(text)
    return text
