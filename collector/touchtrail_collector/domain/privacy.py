"""What is never kept in clear: e-mail addresses, phone numbers, the client's address."""

from __future__ import annotations

import re
from hashlib import sha256

import msgspec

from .address import WIDE_SIGNS, find_addresses, may_hold_address, to_plain
from .fact import HIDDEN, PHONE_NAMES, identifies_nobody

# A literal that ends with the text counts too: what is cut off in quarantine, and no second look at each quote.
LITERAL = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
# In here with an at sign that is in no address, or an escape of something else: not worth a call of a function.
PLAIN_LITERAL = (
    rb'"(?:[^"\\@%&\xef]++|%(?!40|25|[Ee][Ff])|&(?!#|commat;|\\)|\\[^u]|(?<![A-Za-z0-9._+~\-\x80-\xff\'"])@'
    rb'|@(?![\w\-\x80-\xff]*[.%\\\xe2\xe3\xef]|\[))*+"'
)
ODD_LITERAL = re.compile(rb'((?:[^"]++|' + PLAIN_LITERAL + rb")*+)(" + LITERAL + rb")?", re.DOTALL)
"""What comes before the next text that may hold an address, and that text."""
PLAIN_ADDRESS = re.compile(rb"[A-Za-z0-9_](?:@|%40)[A-Za-z0-9][A-Za-z0-9\-]*+\.[A-Za-z0-9][\w.\-]*+")
IP_NAMES = frozenset({"ip", "ip_address", "ipaddress", "client_ip", "remote_addr"})
"""What senders call a client's address: it is not kept at all."""
IP_NAMES_RAW = frozenset(name.encode() for name in IP_NAMES)

# The look ahead keeps all names but those of about the right form from being compared with each of ours.
FIRST_LETTERS = "".join(sorted({name[0] for name in PHONE_NAMES | IP_NAMES})).encode()
CLEAR_MEMBER = re.compile(
    rb'"(?=['
    + FIRST_LETTERS
    + rb'][a-z_]{1,14}+")('
    + b"|".join(name.encode() for name in sorted(PHONE_NAMES | IP_NAMES))
    + rb')"(\s*+:\s*+)'
    rb'("[^"\\]*+(?:\\.[^"\\]*+)*+"|-?[0-9][0-9.eE+\-]*+)',
    re.DOTALL | re.IGNORECASE,
)
ID_MEMBER = re.compile(rb'"(event_id|message_?id)"(\s*+:\s*+)("[^"\\]*+(?:\\.[^"\\]*+)*+")', re.DOTALL | re.IGNORECASE)
"""What an event is recognised by, in our form and in others'."""
MOST_IDS = 8
"""So many of these are looked at in a reject; it has one."""
IP_ADDRESS = re.compile(r"[0-9A-Fa-f:]*[.:][0-9A-Fa-f.:]+(?:%\w+)?")
STRING_DECODER = msgspec.json.Decoder(str)

ESCAPED = re.compile(
    r"\\u(00(?:2[3567bdeBDE]|3[\dBb]|4[\dA-Fa-f]|5[\dAaFf]|6[\dA-Fa-f]|7[\dAaEe]|[A-Fa-f][\dA-Fa-f])"
    r"|(?!00|[Dd][89A-Fa-f])[\dA-Fa-f]{4})"
)
"""A letter, digit or sign of an address, escaped as in JSON; half a character is none."""

PREFIX = "hmac:"
HASHED = re.compile(PREFIX + "[0-9a-f]{32}")
CUT_HASH = re.compile(rb"hmac:[0-9a-f]{0,31}\Z")
MARGIN_BYTES = 2_048
"""More than an address has or a member with a phone number: 320 characters (RFC 3696, erratum 1690), six bytes each."""
NO_DIGIT = re.compile("[^0-9]")
PHONE_DIGITS = 5
"""Fewer digits are no phone number: an extension, or a placeholder."""
MAX_CONTACTS = 100
"""E-mail addresses and phone numbers in one event or text: beyond is a list of people, not an event of one."""


def may_name_member(raw: bytes) -> bool:
    """False when no member of a piece of JSON text has a name of `PHONE_NAMES` or `IP_NAMES`; written out likewise."""
    low = raw.lower()
    return (
        b'hone"' in low or b'umber"' in low or b'mobile"' in low or b'"tel' in low or b'fax"' in low
        or b'handy"' in low or b'"ip' in low or b'_ip"' in low or b'_addr"' in low
    )  # fmt: skip


class CrowdedError(Exception):
    """Something names more people than `MAX_CONTACTS` allows."""


class Pseudonymiser:
    """Replaces what identifies a person outside the shop by a keyed hash.

    An e-mail address can be guessed, so a plain hash of it is as good as the address; a hash keyed with a secret of
    this database is not (reliability.md, "Facts that bind us").

    Args:
        key: the database's own secret; the same address gives the same hash as long as the key is kept.
    """

    def __init__(self, key: bytes) -> None:
        # HMAC-SHA-256 with what does not change worked out once: a third of what `hmac` takes for so short texts.
        # Source: RFC 2104, sections 2 and 4.
        block = (key if len(key) <= 64 else sha256(key).digest()).ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def email(self, address: str) -> str:
        """Return the hash of an address; case, escapes, wide letters and surrounding blanks do not count."""
        return self._hash("email", to_plain(address))

    def phone(self, number: str) -> str:
        """Return the hash of a phone number; only its digits count, and `+49` is the same as `0049`."""
        return self._hash("phone", digits_of(number))

    def event_id(self, event_id: str) -> str:
        """Return an event's id as it is kept: hashed whole and to the letter where it holds an address.

        Two ids are never kept as one: an event would be taken for the repetition of another. So are ids with half a
        character in them, which no database can hold.
        """
        try:
            is_clear = not any(find_addresses(event_id)) and event_id.encode() is not None
        except UnicodeEncodeError:
            is_clear = False
        return event_id if is_clear else self._hash("event_id", event_id)

    def scrub_text(self, text: str) -> str:
        """Replace every e-mail address in a text by its hash, percent-encoded ones too; too many hide all of it."""
        try:
            return Scrub(self).scrub_text(text)
        except CrowdedError:
            return HIDDEN

    def scrub_reject(self, raw: bytes) -> bytes:
        """Take all that identifies out of an event that is kept for repair; it may be no JSON at all.

        Of a crowded one, each text with an address is replaced as a whole, by a word that identifies nobody.
        """
        try:
            return Scrub(self).scrub_reject(raw)
        except CrowdedError:
            return self.hide_reject(raw)

    def scrub_cut(self, raw: bytes, limit_bytes: int) -> bytes:
        """Do so for what may be too long to be kept, and return its beginning.

        What the cut goes through, as an address or a number, would not be recognised. So more is looked at than is
        kept, and what stands at the end of that is not kept.
        """
        clean = self.scrub_reject(raw[: limit_bytes + MARGIN_BYTES])
        if len(raw) <= limit_bytes:
            return clean
        if len(raw) > limit_bytes + MARGIN_BYTES:
            clean = clean[:-MARGIN_BYTES] or HIDDEN.encode()
        # Nobody could tell whose a part of a hash is, so that it would stay when the person is erased.
        return CUT_HASH.sub(b"", clean[:limit_bytes])

    def hide_reject(self, raw: bytes) -> bytes:
        """Do so for what is known to be crowded."""
        raw = self.hash_ids(raw)
        raw = CLEAR_MEMBER.sub(rb'"\1"\2"' + HIDDEN.encode() + b'"', raw)
        raw = ODD_LITERAL.sub(hide_literal, raw)
        # What still stands outside of texts is no JSON, and nobody could repair it.
        return HIDDEN.encode() if may_hold_address(raw) else raw

    def hash_ids(self, raw: bytes) -> bytes:
        """Replace the ids of an event, its own and those it has in other forms, as `event_id` does."""
        return ID_MEMBER.sub(self._hash_id, raw, count=MOST_IDS) if may_hold_address(raw) else raw

    def _hash_id(self, match: re.Match[bytes]) -> bytes:
        try:
            event_id = STRING_DECODER.decode(match[3])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return match[0]
        kept = self.event_id(event_id)
        return match[0] if kept is event_id else literal_member(match[1], match[2], kept)

    def _hash(self, kind: str, value: str) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        # Halves of characters are passed on as they are: replaced by a sign, different texts would be one.
        inner.update(f"{kind}:{value}".encode("utf-8", "surrogatepass"))
        outer.update(inner.digest())
        return PREFIX + outer.hexdigest()[:32]


class Scrub:
    """Replaces what identifies people in one event or text; never in two, as it counts what it finds.

    Each method raises CrowdedError for more than ``most`` addresses and numbers, all calls together.
    """

    __slots__ = ("_left", "_met", "_pseudonymiser")

    def __init__(self, pseudonymiser: Pseudonymiser, most: int = MAX_CONTACTS) -> None:
        self._pseudonymiser = pseudonymiser
        self._left = most
        self._met: dict[str, str] = {}

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
            return self._email(value)
        self._count()
        return self._pseudonymiser.phone(value) if len(digits_of(value)) >= PHONE_DIGITS else ""

    def scrub(self, raw: bytes) -> bytes:
        """Replace every e-mail address in the strings of a piece of JSON text by its hash; the rest stays as it is."""
        if is_crowded(raw, self._left):
            raise CrowdedError
        return ODD_LITERAL.sub(self._scrub_literal, raw) if may_hold_address(raw) else raw

    def scrub_members(self, raw: bytes) -> bytes:
        """Hash phone numbers and remove clients' addresses, told by the names of their members, at any depth."""
        return CLEAR_MEMBER.sub(self._scrub_member, raw) if may_name_member(raw) else raw

    def scrub_reject(self, raw: bytes) -> bytes:
        """Do both for what may be no JSON at all."""
        raw = self.scrub(self.scrub_members(self._pseudonymiser.hash_ids(raw)))
        if not may_hold_address(raw) or is_json(raw):
            return raw
        text = ESCAPED.sub(lambda match: chr(int(match[1], 16)), raw.decode("utf-8", "surrogateescape"))
        return self.scrub_text(text).encode("utf-8", "surrogateescape")

    def scrub_text(self, text: str) -> str:
        """Replace every e-mail address in a text by its hash, percent-encoded ones too."""
        parts: list[str] = []
        done = 0
        for start, end in find_addresses(text):
            parts.extend((text[done:start], self._email(text[start:end])))
            done = end
        return "".join((*parts, text[done:])) if parts else text

    def _email(self, address: str) -> str:
        self._count()
        met = self._met.get(address)
        if met is None:
            met = self._met[address] = self._pseudonymiser.email(address)
        return met

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise CrowdedError

    def _scrub_literal(self, match: re.Match[bytes]) -> bytes:
        literal = match[2]
        if literal is None or not may_hold_address(literal):
            return match[0]
        try:
            text = STRING_DECODER.decode(literal)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return match[0]  # no JSON: whoever decodes the whole says so
        clean = self.scrub_text(text)
        return match[0] if clean is text else match[1] + msgspec.json.encode(clean)

    def _scrub_member(self, match: re.Match[bytes]) -> bytes:
        self._count()
        name, colon, literal = match.groups()
        try:
            text = STRING_DECODER.decode(literal) if literal[:1] == b'"' else literal.decode()
        except (msgspec.DecodeError, UnicodeDecodeError):
            return literal_member(name, colon, "")
        if name.lower() in IP_NAMES_RAW:
            return literal_member(name, colon, None) if IP_ADDRESS.fullmatch(text.strip()) else match[0]
        # "TEL": "see below" is no number and stays.
        if len(digits_of(text)) < PHONE_DIGITS or HASHED.fullmatch(text):
            return match[0]
        return literal_member(name, colon, self._pseudonymiser.phone(text))


def is_crowded(raw: bytes, most: int) -> bool:
    """True where a glance shows that a piece of JSON text holds more addresses than ``most``; False is no promise."""
    if raw.count(b"@") + raw.count(b"%40") <= most or b"\\" in raw:  # what is escaped may look like what it is not
        return False
    return len(PLAIN_ADDRESS.findall(raw)) > most


def hide_literal(match: re.Match[bytes]) -> bytes:
    """Return what was matched with its text replaced where it may hold an address."""
    literal = match[2]
    if literal is None or not may_hold_address(literal):
        return match[0]
    return match[1] + b'"' + HIDDEN.encode() + b'"'


def is_json(raw: bytes) -> bool:
    """True for JSON text; what it means is not looked at."""
    try:
        raw.decode()  # what is only passed over is not looked at for this
        msgspec.json.decode(raw, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def count_contacts(raw: bytes) -> int:
    """Return about how many addresses and numbers a piece of JSON text holds; enough to find where most are."""
    signs = sum(map(raw.count, (b"@", b"%40", b"\\u0040", b"&#", b"&commat;", *WIDE_SIGNS)))
    return signs + len(CLEAR_MEMBER.findall(raw))


def literal_member(name: bytes, colon: bytes, value: str | None) -> bytes:
    """Return a member of an object as JSON text."""
    return b'"' + name + b'"' + colon + msgspec.json.encode(value)


def digits_of(number: str) -> str:
    """Return a phone number's digits, without the 00 that stands for a plus."""
    number = number.strip()
    digits = number if number.isascii() and number.isdecimal() else NO_DIGIT.sub("", number)
    return digits[2:] if number.startswith("00") else digits
