"""One event as it stands in a spool file, and how a reader finds it again among damaged bytes.

Layout, little-endian: magic (4) · payload length (4) · taken at, epoch seconds (4) · class (1) · payload · CRC-32
of all before it (4).
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812 - a class, whatever its name
from typing import Final, NamedTuple
from zlib import crc32

# 0xFE and 0xFF never occur in UTF-8, so no payload can hold the magic.
MAGIC: Final = b"\xfeTT\xff"
MAX_PAYLOAD: Final = 1_048_576
_HEAD: Final = Struct("<4sIIB")
_CRC: Final = Struct("<I")
_TIMES: Final = 2**32
MAX_RECORD: Final = _HEAD.size + MAX_PAYLOAD + _CRC.size
_pack_head = _HEAD.pack
_unpack_head = _HEAD.unpack_from
_pack_crc = _CRC.pack


class Record(NamedTuple):
    """One event read back; ``start`` and ``end`` are its place in the bytes that were scanned."""

    start: int
    end: int
    shed_class: int
    taken_s: int
    payload: bytes


class Scan(NamedTuple):
    """What a stretch of bytes held.

    Args:
        end: how far the bytes were used; what comes after may be the beginning of a record.
        gaps: stretches of damaged bytes that were skipped.
    """

    records: list[Record]
    end: int
    gaps: int


def pack(payload: bytes, shed_class: int, taken_s: float) -> bytes:
    """Return the event as one record; a time of day before 1970 or after 2106 becomes the nearest there is."""
    try:
        body = _pack_head(MAGIC, len(payload), int(taken_s), shed_class) + payload
    except (StructError, ValueError, OverflowError):
        body = _pack_head(MAGIC, len(payload), 0 if taken_s < 0 else _TIMES - 1, shed_class) + payload
    return body + _pack_crc(crc32(body))


def scan(data: bytes, *, final: bool, max_records: int = 2**62, max_bytes: int = 2**62) -> Scan:
    """Read the records in the bytes, stepping over damage to the next valid one.

    Args:
        final: no more bytes follow; otherwise a record that is cut off at the end is left for the next scan.
        max_records: stop after so many.
        max_bytes: stop before the payloads exceed this; the first record is read in any case.
    """
    records: list[Record] = []
    place = gaps = taken_bytes = 0
    damaged = False
    while place < len(data) and len(records) < max_records:
        record, is_cut_off = _read(data, place)
        if record is not None:
            taken_bytes += len(record.payload)
            if records and taken_bytes > max_bytes:
                break
            records.append(record)
            place, damaged = record.end, False
            continue
        if is_cut_off and not final:
            break
        gaps += not damaged
        damaged = True
        place = _next_magic(data, place + 1, final)
    return Scan(records, place, gaps)


def _read(data: bytes, place: int) -> tuple[Record | None, bool]:
    """Return the record at the place, or whether the bytes end too early to tell."""
    if place + _HEAD.size > len(data):
        return None, MAGIC.startswith(data[place : place + 4])
    magic, length, taken_s, shed_class = _unpack_head(data, place)
    if magic != MAGIC or length > MAX_PAYLOAD:
        return None, False
    start = place + _HEAD.size
    end = start + length
    if end + _CRC.size > len(data):
        return None, True
    if crc32(memoryview(data)[place:end]) != _CRC.unpack_from(data, end)[0]:
        return None, False
    return Record(place, end + _CRC.size, shed_class, taken_s, data[start:end]), False


def _next_magic(data: bytes, place: int, final: bool) -> int:
    found = data.find(MAGIC, place)
    if found >= 0:
        return found
    # The magic itself may be cut in two where the bytes end.
    return len(data) if final else max(place, len(data) - len(MAGIC) + 1)
