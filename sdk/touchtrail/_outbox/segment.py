"""One spool file: how far it was delivered, reading on from there, and thinning it out."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from errno import ENOSPC
from struct import Struct
from typing import Final
from zlib import crc32

from .own import close_quietly, is_at_mark, let_owner_in, new_mark
from .record import MAX_RECORD, Record, Scan, scan

_SIGNATURE: Final = b"touchtrail-spool"
_SLOT: Final = Struct("<QI")
_WAIT: Final = Struct("<HH")
_WAIT_AT: Final = len(_SIGNATURE) + _SLOT.size
HEADER_BYTES: Final = 32
SET_ASIDE: Final = ".bad"
"""What is put behind the name of a file that cannot be read any more."""
DRAFT: Final = ".tmp"
WAIT_UNIT_S: Final = 300
"""What the header counts the waiting time in."""
_CHUNK_BYTES: Final = 256 * 1024
_FLAGS: Final = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) if os.name == "posix" else 0


class Segment:
    """A spool file that is read by one process.

    Its header holds how far the file was delivered and how long it has waited for a collector that was out of reach,
    as far as living processes saw it: no clock that is wrong makes an event old. The header is written through a
    descriptor of its own, because Linux appends whatever is written through one opened with ``O_APPEND``.

    Args:
        folder: descriptor of the folder.
        name: the file's name in it.
        size: how many bytes hold finished records; the owner's appends make it grow.
        is_own: whether this process wrote the file and so knows how many events are in it.
        since_s: steady seconds from which on the file's newest event is known to wait.

    Attributes:
        writer: descriptor to append through, with ``pwrite``; -1 = nothing more is appended.
        mark: where both descriptors stand, by which each is known to be ours still.
    """

    def __init__(self, folder: int, name: str, *, size: int, is_own: bool, since_s: float) -> None:
        self._folder = folder
        self._file = -1
        self.writer = -1
        self.mark = new_mark()
        self.name = name
        self.owner = name.rpartition("-")[0]
        self.size = size
        self.is_own = is_own
        self.delivered_to = HEADER_BYTES
        self.appended = 0
        self.settled = 0
        self.thinned_to = -1
        self.since_s = since_s
        self.waited_before_s = 0
        self.noted_s = 0.0
        self.faults = 0
        self.again_at_s = 0.0

    @classmethod
    def create(cls, folder: int, name: str, since_s: float) -> Segment:
        """Make an empty file, to be appended to through ``writer``."""
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | _FLAGS
        segment = cls(folder, name, size=HEADER_BYTES, is_own=True, since_s=since_s)
        segment.writer = os.open(name, flags, 0o600, dir_fd=folder)
        try:
            let_owner_in(segment.writer)
            os.lseek(segment.writer, segment.mark, os.SEEK_SET)
            if os.pwrite(segment.writer, _header(HEADER_BYTES), 0) != HEADER_BYTES:
                raise OSError(ENOSPC, "the disk took only a part of a header")
            # Opened now: should somebody unlink or replace the file, its events can still be read.
            segment._open()
        except BaseException:
            segment.close()
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)
            raise
        return segment

    @classmethod
    def found(cls, folder: int, name: str, since_s: float) -> Segment:
        """Look at a file another process left behind, to go on where that one had got."""
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(f"{name} in the spool is no file")
        segment = cls(folder, name, size=facts.st_size, is_own=False, since_s=since_s)
        try:
            header = os.pread(segment._open(), HEADER_BYTES, 0)
        finally:
            # Reopened when its turn comes: a thousand files left behind must not take all descriptors of the shop.
            segment.close()
        segment.delivered_to = min(_delivered_to(header), max(segment.size, HEADER_BYTES))
        segment.waited_before_s = segment.noted_s = _waited_s(header)
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

    def deliver_to(self, place: int) -> OSError | None:
        """Remember that everything before the place is done; a restart goes on there.

        Returns:
            Why only this process remembers it: the header could not be written. The next call writes it again.
        """
        self.delivered_to = place
        if self._folder < 0:
            return None
        try:
            os.pwrite(self._open(), _slot(place), len(_SIGNATURE))
        except OSError as problem:
            return problem
        return None

    def waited_s(self, now_s: float) -> float:
        """Return how long the file's newest event has waited while some process looked after it.

        Args:
            now_s: steady seconds.
        """
        return self.waited_before_s + max(now_s - self.since_s, 0.0)

    def note_waited(self, waited_s: float) -> None:
        """Write into the file how long it has waited, for the process that takes it over."""
        was_open = self._file >= 0
        units = min(int(waited_s / WAIT_UNIT_S), 0xFFFF)
        try:
            os.pwrite(self._open(), _WAIT.pack(units, units ^ 0xFFFF), _WAIT_AT)
            self.noted_s = waited_s
        finally:
            if not was_open:
                self.close_reader()

    def empty(self) -> OSError | None:
        """Cut the file back to its header; only when all is delivered and nobody appends meanwhile."""
        # Cut first: killed in between, the old mark lies behind the end and counts as "from the beginning".
        os.ftruncate(self._open(), HEADER_BYTES)
        self.size = HEADER_BYTES
        return self.deliver_to(HEADER_BYTES)

    def thin_out(self, shed_class: int) -> int:
        """Give up the waiting events of the class and the ones below it; return how many there were."""
        data = os.pread(self._open(), max(self.size - self.delivered_to, 0), self.delivered_to)
        records = scan(data, final=True).records
        kept = [record for record in records if record.shed_class > shed_class]
        self.thinned_to = shed_class
        if len(kept) < len(records):
            self._replace_by(data, kept)
        return len(records) - len(kept)

    def is_whole(self) -> bool:
        """Say whether the file that is appended to is still there, and as long as it was made."""
        facts = os.fstat(self.writer)
        return self.has_writer() and facts.st_nlink > 0 and facts.st_size >= self.size

    def is_gone(self) -> bool:
        """Say whether somebody removed the file, so that what waits in it ends with this process."""
        try:
            os.stat(self.name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return self.is_own
        return False

    def has_writer(self) -> bool:
        """Say whether ``writer`` still means this file: somebody may have closed it and opened another."""
        return is_at_mark(self.writer, self.mark)

    def cut_back(self) -> bool:
        """Cut off what was written of a record that is not taken; False where that cannot be done."""
        try:
            if self.has_writer():
                os.ftruncate(self.writer, self.size)
                return True
        except OSError:
            pass
        return False

    def leave(self) -> None:
        """Write no more to the file, because its lock is gone: whoever adopts it goes on. The reader stays open."""
        self._folder = -1
        self.close_writer()

    def delete(self) -> None:
        """Remove the file."""
        self.close()
        with suppress(FileNotFoundError):
            os.unlink(self.name, dir_fd=self._folder)

    def set_aside(self) -> None:
        """Rename the file, for a person to look at, so that nobody reads it again."""
        self.close()
        os.replace(self.name, self.name + SET_ASIDE, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def close(self) -> None:
        """Close the descriptors; the file stays."""
        self.close_writer()
        self.close_reader()

    def close_writer(self) -> None:
        """Append no more."""
        file, self.writer = self.writer, -1
        self._close(file)

    def close_reader(self) -> None:
        """Give the reader's descriptor back; reading again opens it again."""
        file, self._file = self._file, -1
        self._close(file)

    def _close(self, file: int) -> None:
        if is_at_mark(file, self.mark):
            close_quietly(file)

    def _replace_by(self, data: bytes, kept: list[Record]) -> None:
        content = b"".join([_header(HEADER_BYTES), *(data[record.start : record.end] for record in kept)])
        draft = self.name + DRAFT
        file = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | _FLAGS, 0o600, dir_fd=self._folder)
        try:
            let_owner_in(file)
            _write_whole(file, content)
            os.replace(draft, self.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError:
            with suppress(OSError):
                os.unlink(draft, dir_fd=self._folder)
            raise
        finally:
            os.close(file)
        self.close_reader()
        self.size, self.delivered_to, self.noted_s = len(content), HEADER_BYTES, 0.0

    def _open(self) -> int:
        if not is_at_mark(self._file, self.mark):
            self._file = os.open(self.name, os.O_RDWR | _FLAGS, dir_fd=self._folder)
            os.lseek(self._file, self.mark, os.SEEK_SET)
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


def _waited_s(header: bytes) -> int:
    """Return how long the file had waited; 0 where that is damaged or was never written."""
    if len(header) < HEADER_BYTES:
        return 0
    units, check = _WAIT.unpack_from(header, _WAIT_AT)
    return units * WAIT_UNIT_S if units ^ check == 0xFFFF else 0
