"""What came back over the wire, and what it says of the events."""

from __future__ import annotations

from math import isfinite
from typing import Final

import msgspec

from .lazy import importing

# Dates before and after this are no clock's but a fault's: 2020 to 2200.
_FIRST_DATE_S: Final = 1_577_836_800
_LAST_DATE_S: Final = 7_258_118_400


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came back over the wire.

    Args:
        retry_after: the header as it stood there.
        date: the header as it stood there.
    """

    status: int
    body: bytes = b""
    retry_after: str | None = None
    date: str | None = None


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a batch the collector refused."""

    index: int
    id: str | None = None
    code: str = "rejected"
    field: str | None = None
    message: str = ""


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """The collector's word on every event of a batch."""

    accepted: int
    duplicates: int = 0
    rejected: list[Reject] = []


def read_ack(reply: Reply, events: int) -> Ack | None:
    """Return the collector's word on each of the batch's events; None when the answer does not give it.

    A proxy or a captive portal may answer 200 to anything: only an answer that adds up to the batch counts.
    """
    try:
        ack = _ack_decoder.decode(reply.body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    places = {reject.index for reject in ack.rejected}
    is_sound = len(places) == len(ack.rejected) and all(0 <= place < events for place in places)
    counted = ack.accepted + ack.duplicates + len(places)
    return ack if is_sound and counted == events and min(ack.accepted, ack.duplicates) >= 0 else None


def retry_after_s(text: str | None, longest_s: float, now_s: float) -> float:
    """Return how long the collector asks us to wait: seconds or an HTTP date; 0 for nonsense.

    Args:
        longest_s: a longer wait is cut to this.
        now_s: epoch seconds as the collector has them, for dates.

    Source:
        RFC 9110, section 10.2.3.
    """
    if not text:
        return 0.0
    try:
        wait_s = float(text)
    except ValueError:
        date_s = _date_s(text)
        if date_s is None:
            return 0.0
        wait_s = date_s - now_s
    return min(wait_s, longest_s) if isfinite(wait_s) and wait_s > 0 else 0.0


def read_date(text: str | None) -> float | None:
    """Return a ``Date`` header as epoch seconds; None for nonsense, and for dates no working clock shows.

    Source:
        RFC 9110, section 6.6.1.
    """
    date_s = _date_s(text) if text else None
    return date_s if date_s is not None and _FIRST_DATE_S <= date_s <= _LAST_DATE_S else None


def _date_s(text: str) -> float | None:
    with importing:
        from email.utils import parsedate_to_datetime
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


_ack_decoder = msgspec.json.Decoder(Ack)
