"""E-mail addresses in texts and JSON: whether there may be one, and where each begins and ends."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby
from urllib.parse import unquote

AT_BYTE, PERCENT_BYTE, BACKSLASH_BYTE, WIDE_BYTE, AND_BYTE, SEMICOLON_BYTE = b"@%\\\xef&;"
WIDE_SIGNS = ("＠".encode(), "﹫".encode())
"""The at signs that input methods of East Asian languages write. Source: Unicode, U+FF0F to U+FF20 and U+FE6B."""
ESCAPED_SIGN = re.compile(rb"\\u(?:00(?:4|25|3|6[1-6])|[Ff][Ff]20|[Ff][Ee]6[Bb]|0026(?:#|commat;|\\u0023))|&\\u0023")
"""An at sign escaped as JSON allows it, or what an encoded one is written with: the percent sign, digits, A to F."""
ENTITY_AT = r"&(?:#(?:0{0,5}64|[Xx]0{0,5}40)|commat);"
"""An at sign as a page of HTML may write it. Source: HTML Living Standard, section 13.5."""
ENTITY = re.compile(ENTITY_AT)
ENCODED_SIGN, ENTITY_SIGN = re.compile(rb"%(?:40|25|[Ee][Ff])"), re.compile(rb"&(?:#|commat;)")
INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
"""What is put into words to let them break, or to keep spammers off: nobody sees it, and no address counts it."""
NO_SIGN = dict.fromkeys(map(ord, INVISIBLE))
# `\w` and `isalnum` leave out what stands above, below and around letters: accents that are signs of their own, and
# the vowels of Hindi and Thai. Looked up in the blocks of living scripts only: all of Unicode takes 0.1 s.
MARK_BLOCKS = (range(0x300, 0x3100), range(0xA66F, 0xAC00), range(0xFB1E, 0xFE30))
MARKS = frozenset(
    sign for block in MARK_BLOCKS for sign in map(chr, block) if unicodedata.category(sign) in {"Mn", "Mc"}
)
# As ranges: compiling a pattern that names each mark takes as long as looking them up.
MARK_RUNS = [list(run) for _, run in groupby(enumerate(sorted(MARKS)), lambda place: ord(place[1]) - place[0])]
LETTERS = rf"[\w\-{INVISIBLE}{''.join(f'{run[0][1]}-{run[-1][1]}' for run in MARK_RUNS)}]*+"
ENCODED_AT = r"%(?:25)*(?:40|[Ee][Ff]%(?:25)*(?:[Bb][Cc]%(?:25)*[Aa]0|[Bb]9%(?:25)*[Aa][Bb]))"  # @, ＠ and ﹫
LABEL = rf"{LETTERS}(?:%(?:25)*(?:2[Dd]|[89A-Fa-f][0-9A-Fa-f]){LETTERS})*"
# Source of all but U+2024, which Unicode takes for a full stop (NFKC): RFC 3490, section 3.1, point 1.
WIDE_DOT = (
    r"[Ee]2%(?:25)*80%(?:25)*[Aa]4|[Ee]3%(?:25)*80%(?:25)*82"
    r"|[Ee][Ff]%(?:25)*(?:[Bb][Cc]%(?:25)*8[Ee]|[Bb][Dd]%(?:25)*[Aa]1)"
)
DOT = rf"(?:[.\u2024。．｡]|%(?:25)*(?:2[Ee]|{WIDE_DOT}))"
GAP = rf"[{INVISIBLE}]*+"
DOMAIN = (
    rf"{GAP}(?=[^\W_]|%(?:25)*[89A-Fa-f]){LABEL}(?:{DOT}{GAP}(?=[\w\-%]){LABEL})+"
    r"|\[(?:IPv6:)?[0-9A-Fa-f:.]{2,45}\]"
)
ADDRESS_END = re.compile(rf"(?:[@＠﹫]|{ENCODED_AT}|{ENTITY_AT})(?:{DOMAIN})")
"""An at sign and the domain after it."""

# Fewer signs than RFC 5322 allows: a # or / is far more often what stands before an address than a part of it.
PLAIN_LOCAL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-'~"
LOCAL_SIGNS = MARKS | frozenset("._+-'~\ufffd\u2024．＿＋－" + INVISIBLE)
NO_BEGIN = frozenset(".-'~" + INVISIBLE)
"""With none of these an address begins; a quotation does, a list, and the name of somebody's folder."""
LOCAL_TOKEN = re.compile(r"%(?:25)*[0-9A-Fa-f]{2}|.", re.DOTALL)
LOCAL_CHARS = 64
"""The longest part before the at sign. Source: RFC 5321, section 4.5.3.1.1."""
SEAM = re.compile(r"\s*[:,\]}].*[:,\[{]\s*|\s*[:,]\s*", re.DOTALL)
"""What stands between two strings of a JSON text or two cells of a CSV line: it is in no quotes."""


def may_hold_address(raw: bytes) -> bool:
    """False when there is no at sign in a piece of JSON text: plain, wide, percent-encoded, escaped, or of HTML.

    Written out, because every event passes here: a loop over the signs took as long as decoding the event, and looking
    for one byte takes a tenth of looking for several.
    """
    if AT_BYTE in raw or (WIDE_BYTE in raw and (WIDE_SIGNS[0] in raw or WIDE_SIGNS[1] in raw)):
        return True
    if PERCENT_BYTE in raw and ENCODED_SIGN.search(raw) is not None:
        return True
    if AND_BYTE in raw and SEMICOLON_BYTE in raw and ENTITY_SIGN.search(raw) is not None:
        return True
    return BACKSLASH_BYTE in raw and b"\\u" in raw and ESCAPED_SIGN.search(raw) is not None


def find_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each address in a text, percent-encoded ones too.

    Looks left and right of each at sign instead of matching from every letter on: the time it takes grows with
    the text, not with its square.
    """
    done = 0
    for match in ADDRESS_END.finditer(text):
        at = match.start()
        start = start_of_local(text, done, at)
        if start < at:
            yield start, (done := match.end())


def start_of_local(text: str, begin: int, end: int) -> int:
    """Return where the part of an address starts that ends at the at sign ``end``; ``end`` when there is none."""
    low = max(begin, end - LOCAL_CHARS)
    start = low + len(text[low:end].rstrip(PLAIN_LOCAL))
    before = text[start - 1] if start > low else "%" if start > begin else " "
    # Nearly always plain letters; the rest is read sign by sign, which takes ten times as long.
    if before == "%" or before > "\x7f" or (before == '"' and start == end):
        start = start_of_odd_local(text, begin, end)
    while start < end and text[start] in NO_BEGIN:
        start += 1
    return start


def start_of_odd_local(text: str, begin: int, end: int) -> int:
    """Return the same where the part may be percent-encoded, of other scripts' letters, or in quotes."""
    tokens = LOCAL_TOKEN.findall(text, max(begin, end - 4 * LOCAL_CHARS), end)[-LOCAL_CHARS - 2 :]
    start = end
    if tokens and unquote_all(tokens[-1]) == '"':
        length, is_seam = length_of_quoted(tokens)
        if length or is_seam:
            return end - length
        start -= len(tokens.pop())
    bare = start
    for token in reversed(tokens[-LOCAL_CHARS:]):
        sign = unquote_all(token)
        if not (sign.isalnum() or sign in LOCAL_SIGNS):
            break
        start -= len(token)
    return start if start < bare else end


def length_of_quoted(tokens: list[str]) -> tuple[int, bool]:
    r"""Return how many characters the quoted part has with which tokens end, `"quoted local"`; 0 when there is none.

    Quotes that are escaped belong to ones that are: in a text that is itself part of JSON, both are written `\"`.

    Returns: the length, and True where what seems to be in quotes stands between two texts that are.

    Source: RFC 5321, section 4.1.2, Quoted-string.
    """
    signs = [unquote_all(token) for token in tokens]
    last = len(signs) - 1
    is_escaped = last > 0 and signs[last - 1] == "\\"
    for place in range(last - 1, -1, -1):
        if signs[place] == '"' and (place > 0 and signs[place - 1] == "\\") == is_escaped:
            inside = "".join(signs[place + 1 : last])
            is_seam = not inside.strip("\\ ") or SEAM.fullmatch(inside) is not None
            return (0 if is_seam else sum(map(len, tokens[place:]))), is_seam
    return 0, False


def unquote_all(text: str) -> str:
    """Return a text with its percent escapes undone, those that were escaped again too."""
    for _ in range(4):
        if "%" not in text:
            break
        text = unquote(text)
    return text


def to_plain(address: str) -> str:
    """Return an address as it is compared: without escapes and what nobody sees, small, wide signs as plain ones."""
    address = ENTITY.sub("@", unquote_all(address))
    if not address.isascii():
        address = unicodedata.normalize("NFKC", address.translate(NO_SIGN)).replace("。", ".")
    return address.strip().lower()
