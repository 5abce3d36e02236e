"""What a disk may hold when the power goes: a recorded log is replayed up to a moment, and what no sync had promised
is lost in many ways.

The disk is a hostile one, within what a file system may do: of the writes since a file's last sync any may be missing,
whole or by sectors, in any order; a file may have any size it had since; a name that was made or removed since the
folder's last sync may be there or not. A sync that reported an error promises nothing, and what it should have
written may be lost although a later one succeeds.

Source: Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014); Rebello et al., "Can Applications Recover
from fsync Failures?" (USENIX ATC 2020).
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec

from syscall_log import Call

SECTOR = 512
PAGE = 4_096
LOSSES = (
    "nothing lost", "all lost", "second half lost", "torn in a sector's place", "torn in a page's place", "reordered",
    "sectors at random", "growth lost", "only the size kept", "old blocks instead of data",
)  # fmt: skip
"""Ways to lose what no sync has promised; the first is what a killed process leaves."""

TRIES = 3
"""Many states are the same as another: so many times more are tried than are wanted."""


class Change(msgspec.Struct):
    """A write, or with ``data`` None a truncation to ``offset``, that may be on the disk or not.

    Args:
        is_given_up: a sync about it failed: the system thinks it is written, and no later sync is about it.
    """

    offset: int
    data: bytes | None
    ended: int
    is_given_up: bool = False


class File(msgspec.Struct):
    """A file: what is surely on the disk, and what is not."""

    durable: bytearray
    pending: list[Change]


class Naming(msgspec.Struct):
    """A name that was made (``file``) or removed (None) since the folder's last sync."""

    name: str
    file: int | None
    ended: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the disk may hold.

    Args:
        moment: how many calls of the log had begun.
        during: see `Disk.doing`.
        files: contents by name.
        said: what the process had written to its standard output.
    """

    moment: int
    during: str
    loss: str
    files: dict[str, bytes]
    said: str


class Disk:
    """The folder's files at a moment of the log."""

    def __init__(self) -> None:
        self.files: dict[int, File] = {}
        self.names: dict[str, int] = {}
        self.pending_names: list[Naming] = []
        self.said = b""

    def begin(self, call: Call) -> None:
        """A call begins: what it changes may be on the disk from now on."""
        if call.kind == "create":
            self.files[call.file] = File(bytearray(), [])
            self.pending_names.append(Naming(call.name, call.file, call.ended))
        elif call.kind == "unlink":
            self.pending_names.append(Naming(call.name, None, call.ended))
        elif call.kind == "write":
            self.files[call.file].pending.append(Change(call.offset, call.data, call.ended))
        elif call.kind == "truncate":
            self.files[call.file].pending.append(Change(call.offset, None, call.ended))
        elif call.kind == "said":
            self.said += call.data

    def end(self, call: Call) -> None:
        """A call ends: a sync has kept what was done before it began."""
        if call.kind == "sync_folder" and not call.failed:
            for naming in self.pending_names:
                if naming.ended < call.began:
                    rename(self.names, naming)
            self.pending_names = [naming for naming in self.pending_names if naming.ended > call.began]
        elif call.kind == "sync":
            end_sync(self.files[call.file], call)

    def doing(self) -> str:
        """Say what a power loss would interrupt now; "rest" = all that was written is surely on the disk."""
        if self.pending_names:
            return "names"
        unsure = {name: self.files[file].pending for name, file in self.names.items() if self.files[file].pending}
        if any(change.data is None for pending in unsure.values() for change in pending):
            return "sizes"
        if any(not name.endswith("-wal") for name in unsure):
            return "checkpoint"
        return "commit" if unsure else "rest"

    def lose(self, loss: str, chance: random.Random) -> dict[str, bytes]:
        """Return what may be on the disk after a power loss now."""
        names = dict(self.names)
        for naming in self.pending_names:
            if loss == LOSSES[0] or (loss != LOSSES[1] and chance.random() < 0.5):
                rename(names, naming)
        return {name: bytes(lose(self.files[file], loss, chance)) for name, file in names.items()}


def end_sync(file: File, call: Call) -> None:
    """Keep what was done before the sync began; where it failed, only the size is sure to be kept one day."""
    if call.failed:
        for change in file.pending:
            change.is_given_up = change.data is not None
        return
    left: list[Change] = []
    for change in file.pending:
        if change.is_given_up or change.ended > call.began:
            left.append(change)
        else:
            apply(file.durable, change)
            left = [piece for older in left for piece in uncovered(older, change)]
    file.pending = left


def uncovered(older: Change, newer: Change) -> list[Change]:
    """Return what is left of an older write under a newer change."""
    if older.data is None or not older.is_given_up:
        return [older]
    start, end = older.offset, older.offset + len(older.data)
    covered_from = newer.offset
    covered_to = end if newer.data is None else newer.offset + len(newer.data)
    pieces = [(start, min(end, covered_from)), (max(start, covered_to), end)]
    return [
        msgspec.structs.replace(older, offset=first, data=older.data[first - start : last - start])
        for first, last in pieces
        if first < last
    ]


def rename(names: dict[str, int], naming: Naming) -> None:
    """Make or remove a name."""
    if naming.file is None:
        names.pop(naming.name, None)
    else:
        names[naming.name] = naming.file


def apply(content: bytearray, change: Change) -> None:
    """Do a change; what lies between the end and a write beyond it is zeros."""
    if change.data is None:
        del content[change.offset :]
        content.extend(bytes(change.offset - len(content)))
        return
    content.extend(bytes(max(change.offset - len(content), 0)))
    content[change.offset : change.offset + len(change.data)] = change.data


def after(file: File, changes: Sequence[Change]) -> bytearray:
    """Return a file with only these of its unsure changes."""
    content = bytearray(file.durable)
    for change in changes:
        apply(content, change)
    return content


def lose(file: File, loss: str, chance: random.Random) -> bytearray:
    """Return one thing a file may hold after a power loss; all of them are as likely on a bad day."""
    pending = file.pending
    match loss:
        case "nothing lost":
            return after(file, pending)
        case "all lost":
            return after(file, [])
        case "second half lost":
            return after(file, pending[: len(pending) // 2])
        case "torn in a sector's place":
            return torn(file, SECTOR, chance)
        case "torn in a page's place":
            return torn(file, PAGE, chance)
        case "reordered":
            return after(file, [change for change in pending if chance.random() < 0.5])
        case "sectors at random":
            return by_sectors(file, chance)
        case "growth lost":
            return after(file, pending)[: len(file.durable)]
        case "only the size kept":
            return resized(file, bytes)
        case "old blocks instead of data":
            return resized(file, chance.randbytes)
    raise AssertionError(loss)


def torn(file: File, border: int, chance: random.Random) -> bytearray:
    """Lose everything from the middle of one write on."""
    if not file.pending:
        return after(file, [])
    last = chance.randrange(len(file.pending))
    change = file.pending[last]
    if change.data is None:
        return after(file, file.pending[:last])
    end = change.offset + len(change.data)
    borders = range(-(-(change.offset + 1) // border) * border, end, border)
    cut = chance.choice(borders) if borders else change.offset
    part = msgspec.structs.replace(change, data=change.data[: cut - change.offset])
    return after(file, [*file.pending[:last], part])


def by_sectors(file: File, chance: random.Random) -> bytearray:
    """Give each sector a moment of its own at which it was last written to the disk, and the size another."""
    sure: dict[int, int] = defaultdict(lambda: chance.randint(0, len(file.pending)))
    content = bytearray(file.durable)
    for number, change in enumerate(file.pending):
        if change.data is None:
            if number < sure[-1]:
                apply(content, change)
            continue
        start, end = change.offset, change.offset + len(change.data)
        while start < end:
            stop = min((start // SECTOR + 1) * SECTOR, end)
            if number < sure[start // SECTOR]:
                data = change.data[start - change.offset : stop - change.offset]
                apply(content, msgspec.structs.replace(change, offset=start, data=data))
            start = stop
    return content


def resized(file: File, filling: Callable[[int], bytes]) -> bytearray:
    """Keep only the size that the changes make; what is new holds zeros, or what lay on the disk before."""
    size = len(after(file, file.pending))
    content = file.durable[:size]
    content.extend(filling(size - len(content)))
    return content


def replayed(calls: Sequence[Call]) -> Iterator[tuple[int, Disk]]:
    """Yield the disk after each beginning and end of a call, with a number for the moment; it is one object."""
    disk = Disk()
    yield 0, disk
    marks = sorted(
        [(call.began, 0, number, call) for number, call in enumerate(calls)]
        + [(call.ended, 1, number, call) for number, call in enumerate(calls)],
        key=lambda mark: mark[:3],
    )
    for moment, (_, is_end, _, call) in enumerate(marks, 1):
        (disk.end if is_end else disk.begin)(call)
        yield moment, disk


def choose_states(calls: Sequence[Call], count: int, seed: int) -> Iterator[State]:
    """Yield so many different states in the order of the log, spread over what they interrupt and how they lose it."""
    chance = random.Random(seed)
    moments: dict[str, list[int]] = defaultdict(list)
    for moment, disk in replayed(calls):
        moments[disk.doing()].append(moment)
    tried: set[tuple[int, str]] = set()
    for number in range(TRIES * count):
        kind = sorted(moments)[number % len(moments)]
        loss = LOSSES[number // len(moments) % len(LOSSES)] if kind != "rest" else LOSSES[1]
        tried.add((chance.choice(moments[kind]), loss))
    found = different(states_at(calls, tried, seed))
    wanted = set(chance.sample(found, min(count, len(found))))
    yield from states_at(calls, wanted, seed)


def states_at(calls: Sequence[Call], wanted: Collection[tuple[int, str]], seed: int) -> Iterator[State]:
    """Yield what may be left at these moments by these losses; the same each time it is asked for."""
    losses: dict[int, list[str]] = defaultdict(list)
    for moment, loss in sorted(wanted):
        losses[moment].append(loss)
    for moment, disk in replayed(calls):
        for loss in losses.get(moment, ()):
            files = disk.lose(loss, random.Random(f"{seed} {moment} {loss}"))
            yield State(moment=moment, during=disk.doing(), loss=loss, files=files, said=disk.said.decode())


def different(states: Iterator[State]) -> list[tuple[int, str]]:
    """Return moments and losses of states that do not hold and promise the same as one before."""
    first_of: dict[int, tuple[int, str]] = {}
    for state in states:
        first_of.setdefault(hash((*sorted(state.files.items()), state.said)), (state.moment, state.loss))
    return list(first_of.values())


def table(states: Sequence[State]) -> str:
    """Return how many states there are, by what they interrupt and how they lose."""
    cells = Counter((state.during, state.loss) for state in states)
    kinds = sorted({state.during for state in states})
    lines = [f"{loss:27}" + "".join(f"{cells[kind, loss]:12}" for kind in kinds) for loss in LOSSES]
    return "\n".join([" " * 27 + "".join(f"{kind:>12}" for kind in kinds), *lines])
