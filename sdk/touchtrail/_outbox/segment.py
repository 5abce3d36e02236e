"""One spool file: how far it was delivered, reading on from there, and thinning it out."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from struct import Struct
from typing import Final
from zlib import crc32

from .record import MAX_RECORD, Record, Scan, scan

_SIGNATURE: Final = b"touchtrail-spool"
_SLOT: Final = Struct("<QI")
HEADER_BYTES: Final = 32
_CHUNK_BYTES: Final = 256 * 1024
_FLAGS: Final = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) if os.name == "posix" else 0


class Segment:
    """A spool file that is read by one process.

    The header holds how far the file was delivered; it is written through a descriptor of its own, because Linux
    appends whatever is written through one opened with ``O_APPEND``.

    Args:
        folder: descriptor of the folder.
        name: the file's name in it.
        size: how many bytes hold finished records; the owner's appends make it grow.
        is_own: whether this process wrote the file and so knows how many events are in it.
    """

    def __init__(self, folder: int, name: str, *, size: int, is_own: bool) -> None:
        self._folder = folder
        self._file = -1
        self.name = name
        self.size = size
        self.is_own = is_own
        self.delivered_to = HEADER_BYTES
        self.appended = 0
        self.settled = 0
        self.thinned_to = -1

    @classmethod
    def create(cls, folder: int, name: str) -> tuple[Segment, int]:
        """Make an empty file; return it with the descriptor to append to."""
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | _FLAGS
        writer = os.open(name, flags, 0o600, dir_fd=folder)
        try:
            _write_whole(writer, _header(HEADER_BYTES))
        except OSError:
            os.close(writer)
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)
            raise
        return cls(folder, name, size=HEADER_BYTES, is_own=True), writer

    @classmethod
    def found(cls, folder: int, name: str) -> Segment:
        """Open a file another process left behind and go on where that one had got."""
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(f"{name} in the spool is no file")
        segment = cls(folder, name, size=facts.st_size, is_own=False)
        header = os.pread(segment._open(), HEADER_BYTES, 0)
        segment.delivered_to = min(_delivered_to(header), max(segment.size, HEADER_BYTES))
        return segment

    def is_done(self) -> bool:
        """Say whether everything in the file was delivered or given up."""
        return self.delivered_to >= self.size

    def read(self, max_events: int, max_bytes: int) -> Scan:
        """Return the next records, as places in the file; nothing is marked as delivered."""
        end = self.size
        for chunk_bytes in (_CHUNK_BYTES, max(MAX_RECORD, max_bytes)):
            length = min(chunk_bytes, end - self.delivered_to)
            data = os.pread(self._open(), length, self.delivered_to)
            # Shorter than it was: somebody cut the file. What is gone is gone, what is there still counts.
            final = self.delivered_to + length == end or len(data) < length
            found = scan(data, final=final, max_records=max_events, max_bytes=max_bytes)
            if len(data) < length and not found.records:
                return Scan([], end - self.delivered_to, 1)
            if found.end or final:
                break
        return found

    def deliver_to(self, place: int) -> None:
        """Remember that everything before the place is done; a restart goes on there."""
        self.delivered_to = place
        os.pwrite(self._open(), _slot(place), len(_SIGNATURE))

    def empty(self) -> None:
        """Cut the file back to its header; only when all is delivered and nobody appends meanwhile."""
        # Cut first: killed in between, the old mark lies behind the end and counts as "from the beginning".
        os.ftruncate(self._open(), HEADER_BYTES)
        self.size = HEADER_BYTES
        self.deliver_to(HEADER_BYTES)

    def thin_out(self, shed_class: int) -> int:
        """Give up the waiting events of the class and the ones below it; return how many there were."""
        data = os.pread(self._open(), max(self.size - self.delivered_to, 0), self.delivered_to)
        records = scan(data, final=True).records
        kept = [record for record in records if record.shed_class > shed_class]
        self.thinned_to = shed_class
        if len(kept) < len(records):
            self._replace_by(data, kept)
        return len(records) - len(kept)

    def delete(self) -> None:
        """Remove the file."""
        self.close()
        with suppress(FileNotFoundError):
            os.unlink(self.name, dir_fd=self._folder)

    def close(self) -> None:
        """Close the reader's descriptor; the file stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _replace_by(self, data: bytes, kept: list[Record]) -> None:
        content = b"".join([_header(HEADER_BYTES), *(data[record.start : record.end] for record in kept)])
        draft = self.name + ".tmp"
        file = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | _FLAGS, 0o600, dir_fd=self._folder)
        try:
            _write_whole(file, content)
            os.replace(draft, self.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError:
            with suppress(OSError):
                os.unlink(draft, dir_fd=self._folder)
            raise
        finally:
            os.close(file)
        self.close()
        self.size, self.delivered_to = len(content), HEADER_BYTES

    def _open(self) -> int:
        if self._file < 0:
            self._file = os.open(self.name, os.O_RDWR | _FLAGS, dir_fd=self._folder)
        return self._file


def _write_whole(file: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]


def _slot(place: int) -> bytes:
    packed = place.to_bytes(8, "little")
    return _SLOT.pack(place, crc32(packed))


def _header(delivered_to: int) -> bytes:
    return (_SIGNATURE + _slot(delivered_to)).ljust(HEADER_BYTES, b"\0")


def _delivered_to(header: bytes) -> int:
    """Return the place in the header; the beginning where header or place are damaged: twice beats never."""
    if len(header) < HEADER_BYTES or not header.startswith(_SIGNATURE):
        return HEADER_BYTES
    place, check = _SLOT.unpack_from(header, len(_SIGNATURE))
    return place if _slot(place) == _SLOT.pack(place, check) and place >= HEADER_BYTES else HEADER_BYTES
