"""Batches at the edge: takes a request's bytes apart into events, the good from the damaged."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

import msgspec

from .mend import escape_halves, mend_piece
from .wire_time import Time, read_clock
from .wording import PATH, in_words

MAX_BATCH = 2_500
MANY_COMMAS = 250_000
"""A body with more is looked through before it is taken apart; with more objects and arrays than the next, refused."""
MANY_BRACKETS = 100_000
STRIDE = 2_000
STRIDE_BYTES = 65_536
"""After so many marks or bytes others get a turn: about a millisecond."""


class Batch(msgspec.Struct, kw_only=True):
    """A request's body. Unknown members are ignored: they carry no event."""

    events: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    sent_at: Time | None = None


class ReadBatch(msgspec.Struct, kw_only=True):
    """The same as it is read: a clock that shows no time costs the sender the correction of its clock, no event."""

    events: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    sent_at: msgspec.Raw = msgspec.Raw(b"null")


class Parts(NamedTuple):
    """What a body consists of: the bytes of each event, and the sender's clock in UTC milliseconds, if it told it."""

    events: list[msgspec.Raw] | list[bytes]
    sent_ms: int | None


Result = TypeVar("Result")
Reading = Generator[None, None, Parts]
"""A body that is being taken apart: gives way now and then, returns what it consists of."""


class BodyUnreadable(Exception):
    """A request's body is not a batch of events; nothing of it is kept.

    Attributes:
        field: the member at fault, or None.
    """

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


BATCH_DECODER = msgspec.json.Decoder(ReadBatch)
LIST_DECODER = msgspec.json.Decoder(list[msgspec.Raw])
RAW_DECODER = msgspec.json.Decoder(msgspec.Raw)
STRING_DECODER = msgspec.json.Decoder(str)
# RecursionError on depth and UnicodeDecodeError on bad UTF-8 are no DecodeErrors (reliability.md).
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def drain(work: Generator[None, None, Result]) -> Result:
    """Do at once what gives way now and then."""
    while True:
        try:
            next(work)
        except StopIteration as ended:
            result: Result = ended.value
            return result


def read_batch(body: bytes, limit: int = MAX_BATCH, keep_id: Callable[[str], str] = escape_halves) -> Parts:
    """Do what `take_apart` does without giving way."""
    return drain(take_apart(body, limit, keep_id))


def take_apart(body: bytes, limit: int, keep_id: Callable[[str], str]) -> Reading:
    """Split a body into its events' bytes: a batch object, an array, or a single event.

    One event that is no JSON makes the whole body none. Then the events are told apart by their brackets, and what
    is wrong with one is left to whoever reads it.

    Args:
        limit: how many events there may be.
        keep_id: makes something that can be kept of an id with half a character in it.

    Raises: BodyUnreadable, also for more than ``limit`` events.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body.strip():
        raise BodyUnreadable("invalid_json", "the body is empty")
    if (yield from has_too_many(body, limit)):
        raise BodyUnreadable("batch_too_large", f"the batch is too large; send at most {limit} events in one request")
    try:
        parts = split_batch(body)
    except BodyUnreadable as unreadable:
        if unreadable.code != "invalid_json":
            raise
        parts = yield from split_damaged(body, limit, keep_id, unreadable)
    if len(parts.events) > limit:
        message = f"the batch has {len(parts.events)} events; send at most {limit} in one request"
        raise BodyUnreadable("batch_too_large", message)
    return parts


def has_too_many(body: bytes, limit: int) -> Generator[None, None, bool]:
    """True for a batch of so many things that taking it apart would fill the memory; False is no promise.

    Five million bytes hold two million events, `{},{},…`, of which each costs sixty bytes before it is looked at.
    """
    if body.count(b",") < MANY_COMMAS:
        return False
    if body.count(b"{") + body.count(b"[") > MANY_BRACKETS:
        return True
    top = 1 if body.lstrip()[:1] == b"[" else 2
    depth = found = place = passed = 0
    while (match := (TO_MARK_OR_COMMA if depth == top else TO_MARK).match(body, place)) and match.end() > place:
        mark, place = match[1], match.end()
        passed += 1
        if not mark or not passed % STRIDE:
            yield
        if mark == b",":
            found += 1
            if found >= limit:
                return True
        elif mark[:1] in OPENING:
            depth += len(mark)
        else:
            depth -= len(mark)
    return False


def split_batch(body: bytes) -> Parts:
    """Split a body that is JSON. Raises: BodyUnreadable."""
    try:
        if body.lstrip()[:1] == b"[":
            return Parts(LIST_DECODER.decode(body), None)
        batch = BATCH_DECODER.decode(body)
    except msgspec.ValidationError as error:
        at = PATH.search(text := str(error))
        field = at["path"].lstrip(".") or None if at else None
        wrong = f"{field or 'it'} {in_words(text[: at.start()] if at else text)}"
        raise BodyUnreadable("invalid_batch", f"the body is no batch of events: {wrong}", field) from None
    except DECODE_ERRORS as error:
        raise BodyUnreadable("invalid_json", f"the body is not JSON: {describe(error)}") from None
    if batch.events is msgspec.UNSET:
        return Parts([msgspec.Raw(body)], read_clock(batch.sent_at))
    return Parts(batch.events, read_clock(batch.sent_at))


def split_damaged(body: bytes, limit: int, keep_id: Callable[[str], str], unreadable: BodyUnreadable) -> Reading:
    """Split a body that is no JSON by brackets, commas and quotes alone, and mend of its events what can be mended.

    Raises: BodyUnreadable, as given, where the batch itself is damaged, and not only events in it.
    """
    outer = yield from split_commas(body, len(body) - len(body.lstrip()), limit)
    if outer is None or body[outer.end :].strip():
        raise unreadable
    if outer.mark == b"[":
        return Parts((yield from mend_pieces(body, outer.spans, keep_id)), None)
    members = read_members(body, outer.spans)
    if members is None:
        raise unreadable
    if "events" not in members:  # a single event, or nothing that has any
        if (mended := mend_piece(body, keep_id)) is None:
            raise unreadable
        return split_batch(mended)
    begin, end = members["events"]
    events = yield from split_commas(body, begin, limit)
    if events is None or (events.mark, events.end) != (b"[", end):
        raise unreadable
    sent_at = slice(*members.get("sent_at", (0, 0)))
    return Parts((yield from mend_pieces(body, events.spans, keep_id)), read_clock(body[sent_at]))


class Split(NamedTuple):
    """What stands between an object's or array's brackets: its mark, where each part is, and where it ends."""

    mark: bytes
    spans: list[tuple[int, int]]
    end: int


def split_commas(body: bytes, start: int, limit: int) -> Generator[None, None, Split | None]:
    """Find the parts of the object or array that begins at ``start``; None where it does not end, or a part is empty.

    Which bracket closes which is not looked at inside a part: whoever decodes it says so.

    Raises: BodyUnreadable for more than ``limit`` parts.
    """
    opening = body[start : start + 1]
    if opening not in (b"[", b"{"):
        return None
    spans: list[tuple[int, int]] = []
    begin = place = start + 1
    depth = passed = 0
    while match := (TO_MARK if depth else TO_MARK_OR_COMMA).match(body, place):
        marks, at, place = match[1], match.start(1), match.end()
        passed += 1
        if not marks or not passed % STRIDE:
            yield
            if place == match.start():
                return None
        if marks == b",":
            spans.append((begin, at))
            begin = place
            if len(spans) >= limit:
                raise BodyUnreadable(
                    "batch_too_large", f"the batch is too large; send at most {limit} events in one request"
                )
        elif marks[:1] in OPENING:
            depth += len(marks)
        elif len(marks) <= depth:
            depth -= len(marks)
        elif marks[:1] == CLOSING[opening]:
            end = at + depth
            if spans or body[begin:end].strip():
                spans.append((begin, end))
            is_whole = all(body[first:last].strip() for first, last in spans)
            return Split(opening, spans, end + 1) if is_whole else None
        else:
            return None
    return None


def read_members(body: bytes, spans: list[tuple[int, int]]) -> dict[str, tuple[int, int]] | None:
    """Return where the value of each member of an object is; None where one has no name."""
    members = {}
    for begin, end in spans:
        name = MEMBER_NAME.match(body, begin, end)
        if name is None:
            return None
        try:
            members[STRING_DECODER.decode(name[1])] = (name.end(), begin + len(body[begin:end].rstrip()))
        except DECODE_ERRORS:
            return None
    return members


def mend_pieces(
    body: bytes, spans: list[tuple[int, int]], keep_id: Callable[[str], str]
) -> Generator[None, None, list[bytes]]:
    """Return the bytes of each event, mended where they can be; gives way now and then."""
    pieces = []
    passed = 0
    for begin, end in spans:
        piece = body[begin:end].strip()
        try:
            RAW_DECODER.decode(piece)
        except DECODE_ERRORS:
            passed += 10 * len(piece)  # so much longer it takes
            piece = mend_piece(piece, keep_id) or piece
        pieces.append(piece)
        passed += len(piece)
        if passed > STRIDE_BYTES:
            passed = 0
            yield
    return pieces


def describe(error: BaseException) -> str:
    """Return a decode error in one short line."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return str(error)[:200]


CLOSING = {b"[": b"]", b"{": b"}"}
OPENING = frozenset(CLOSING)
# Possessive, and a text that does not end matches nothing: no body makes it look twice at the same byte.
TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
MEMBER_NAME = re.compile(rb"\s*+(" + TEXT + rb")\s*+:\s*+", re.DOTALL)
# In strides, which bounds how long one match takes, with brackets in a row as one mark.
TO_MARK = re.compile(rb'(?:[^"\[\]{}]++|' + TEXT + rb"){0,2000}+(\[++|\{++|\]++|\}++|)", re.DOTALL)
TO_MARK_OR_COMMA = re.compile(rb'(?:[^",\[\]{}]++|' + TEXT + rb"){0,2000}+(\[++|\{++|\]++|\}++|,|)", re.DOTALL)
