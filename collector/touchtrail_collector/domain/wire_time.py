"""Times as they stand on the wire: RFC 3339, leap seconds included, and as the UTC milliseconds they become."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

Time = Annotated[datetime, msgspec.Meta(tz=True)]
TIME_DECODER = msgspec.json.Decoder(Time)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
OLDEST_MS = 946_684_800_000  # 2000-01-01: an earlier time is a broken clock, not a memory
NEWEST_MS = 4_102_444_800_000  # 2100-01-01

LEAP = rb'"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:)60(?:\.\d+)?([Zz]|[+-]\d\d:?\d\d)"'
LEAP_TIME = re.compile(LEAP)
LEAP_MEMBER = re.compile(rb'("occurred_at"\s*+:\s*+)' + LEAP)


def to_ms(at: datetime) -> int:
    """Return a time as UTC milliseconds."""
    return (at - EPOCH) // MILLISECOND


def read_time(raw: bytes | msgspec.Raw) -> datetime | None:
    """Return the time that a piece of JSON text is, in any form an event's may have; None for anything else."""
    raw = bytes(raw)
    try:
        return TIME_DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        leap = LEAP_TIME.fullmatch(raw.strip())
    return leap and read_leap(leap[1], leap[2])


def read_clock(raw: bytes | msgspec.Raw) -> int | None:
    """Return a sender's clock in UTC milliseconds; None when it told no time, or one that no clock shows."""
    raw = bytes(raw)
    at = None if raw == b"null" else read_time(raw)
    at_ms = None if at is None else to_ms(at)
    return at_ms if at_ms is not None and OLDEST_MS <= at_ms <= NEWEST_MS else None


def read_leap(before: bytes, zone: bytes) -> datetime | None:
    """Return the last millisecond before a leap second; None where there can be none.

    Its day and month stay what they are, which the next second would change. Leap seconds come at the end of a month,
    in UTC.

    Source: RFC 3339, section 5.7 and appendix D; ITU-R TF.460-6, annex 1, 2.1.
    """
    try:
        at = TIME_DECODER.decode(b'"' + before + b"59.999" + zone + b'"')
        following = (at + MILLISECOND).astimezone(UTC)
    except (msgspec.DecodeError, OverflowError):
        return None
    return at if (following.day, following.hour, following.minute) == (1, 0, 0) else None


def replace_leap(raw: bytes) -> bytes:
    """Return an event with the leap second it happened in as `read_leap` reads it; the same where it is none."""

    def replace(match: re.Match[bytes]) -> bytes:
        at = read_leap(match[2], match[3])
        return match[0] if at is None else match[1] + b'"' + match[2] + b"59.999" + match[3] + b'"'

    return LEAP_MEMBER.sub(replace, raw)
