"""Repairs of rejected events: fields set, renamed and dropped by rules that hold for all that were chosen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

INDEX = re.compile(r"\[(\d+|\*)\]\.?")
CUT = re.compile(r"[.\[]")


class RepairError(Exception):
    """A rule does not fit an event; the message says which and why."""


class Place(NamedTuple):
    """Where a value stands: the object or array that holds it, its name or number in there, the numbers passed."""

    holder: Any
    key: str | int
    numbers: tuple[int, ...]


class Repair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is changed in an event, in this order.

    Fields are dotted paths; `lines[0]` is one of an array, `lines[*]` each.

    Args:
        rename: old path to new path; where there is no old one nothing happens.
        set: path to value; `{id}` in a text stands for the number of the reject, for ids that must differ.
        drop: paths that go.
    """

    rename: dict[str, str] = {}
    set: dict[str, Any] = {}
    drop: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.rename or self.set or self.drop)

    def apply(self, raw: bytes, reject_id: int) -> bytes:
        """Return the event repaired, as JSON. Raises: RepairError."""
        try:
            event: Any = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RepairError("it is no JSON, so no rule can change it; repair it as text") from None
        for old, new in self.rename.items():
            rename(event, old, new)
        for path, value in self.set.items():
            assign(event, path, value.replace("{id}", str(reject_id)) if isinstance(value, str) else value)
        for path in self.drop:
            drop(event, path)
        return msgspec.json.encode(event)


def splits(path: str) -> Iterator[tuple[str, str]]:
    """Yield the ways to cut a path into a name and the rest, the longest name first: names may hold dots."""
    yield path, ""
    for cut in reversed([match.start() for match in CUT.finditer(path) if match.start()]):
        yield path[:cut], path[cut + (path[cut] == ".") :]


def members(holder: Any, path: str) -> tuple[list[str | int], str]:
    """Return which members of an object or array the beginning of a path means, and the rest of the path."""
    if isinstance(holder, dict):
        found = next(((name, rest) for name, rest in splits(path) if name in holder), None)
        return ([], "") if found is None else ([found[0]], found[1])
    index = INDEX.match(path) if isinstance(holder, list) else None
    if index is None:
        return [], ""
    numbers = range(len(holder)) if index[1] == "*" else [int(index[1])]
    return [number for number in numbers if number < len(holder)], path[index.end() :]


def find_places(holder: Any, path: str, numbers: tuple[int, ...] = ()) -> Iterator[Place]:
    """Yield every place that is there."""
    keys, rest = members(holder, path)
    for key in keys:
        passed = (*numbers, key) if isinstance(key, int) else numbers
        if rest:
            yield from find_places(holder[key], rest, passed)
        else:
            yield Place(holder, key, passed)


def rename(event: Any, old: str, new: str) -> None:
    """Move what stands at one path to another. Raises: RepairError when there is something already."""
    for place in list(find_places(event, old)):
        numbers = iter(place.numbers)
        target = re.sub(r"\[\*\]", lambda _: f"[{next(numbers, 0)}]", new)  # noqa: B023 - used up before the next
        if next(find_places(event, target), None) is not None:
            raise RepairError(f"{target} is there already; drop one of the two")
        value = place.holder[place.key]
        del place.holder[place.key]
        assign(event, target, value)


def assign(event: Any, path: str, value: Any) -> None:
    """Put a value at a path; objects on the way are made. Raises: RepairError."""
    keys, rest = members(event, path)
    if not keys and isinstance(event, dict):
        name, _, rest = path.partition(".")
        if "[" in name:
            raise RepairError(f"there is no array {name.partition('[')[0]}")
        keys = [name]
    if not keys:
        raise RepairError(f"there is no {path} in what is no object")
    for key in keys:
        if not rest:
            event[key] = value
            continue
        if isinstance(event, dict) and event.get(key) is None:
            event[key] = {}
        assign(event[key], rest, value)


def drop(event: Any, path: str) -> None:
    """Take away what stands at a path, if anything does."""
    for place in reversed(list(find_places(event, path))):
        del place.holder[place.key]
