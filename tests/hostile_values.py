"""Values that raise, lie, recurse, change or break off when somebody looks at them, of every kind a shop can hand over."""

from __future__ import annotations

import collections
import dataclasses
import enum
import fractions
import os
import random
import sys
import types
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

import msgspec
import numpy

from touchtrail import Campaign, Client, Consent, Context, Device, EventRefusedError, Page

Make = Callable[[random.Random], Any]


class Nameless(type):
    """A kind of class that raises when it is asked for its name, compared or hashed."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")

    def __eq__(cls, other: object) -> bool:
        raise RuntimeError("not comparable")

    def __hash__(cls) -> int:
        raise RuntimeError("not hashable")


class Unspeakable(Exception, metaclass=Nameless):
    """An exception nobody can say the name of."""

    def __str__(self) -> str:
        raise RuntimeError("not shown")

    __repr__ = __str__


class OfNoClass(metaclass=Nameless):
    """A value whose class cannot be looked up anywhere."""


ERRORS: list[type[Exception]] = [
    ValueError, TypeError, KeyError, AttributeError, RecursionError, MemoryError, RuntimeError, StopIteration, OSError,
    AssertionError, ZeroDivisionError, NotImplementedError, OverflowError, Unspeakable, ExceptionGroup, EventRefusedError,
]  # fmt: skip
LIES: list[Any] = [
    None, True, -1, 0, sys.maxsize, 10**30, float("nan"), "", "text", b"", "\ud800", [], {}, (), object(), str, int,
    dict, datetime, NotImplemented,
]  # fmt: skip
METHODS = [
    "__str__", "__repr__", "__eq__", "__hash__", "__len__", "__iter__", "__next__", "__index__", "__float__", "__int__",
    "__bool__", "__getitem__", "__contains__", "__format__", "__abs__", "__lt__", "__ge__", "__neg__", "__bytes__",
    "__fspath__", "__getattr__", "__getattribute__", "__length_hint__", "__reduce__", "__sizeof__", "keys", "values",
    "items", "get", "utcoffset", "astimezone", "isoformat", "tzname", "dst", "hex", "as_integer_ratio", "is_finite",
]  # fmt: skip
BASES: list[tuple[type, tuple[Any, ...]]] = [
    (object, ()), (str, ("text",)), (int, (7,)), (float, (1.5,)), (bytes, (b"x",)), (dict, ({"a": 1},)),
    (list, ([1, 2],)), (tuple, ((1, 2),)), (set, ({1},)), (frozenset, ({1},)), (Decimal, ("1.5",)),
    (datetime, (2026, 1, 1, 0, 0, 0, 0, UTC)), (date, (2026, 1, 1)), (uuid.UUID, (uuid.UUID(int=7).hex,)),
    (collections.OrderedDict, ([("a", 1)],)), (collections.UserDict, ({"a": 1},)), (collections.UserString, ("x",)),
]  # fmt: skip


def error_of(chance: random.Random) -> Exception:
    kind = chance.choice(ERRORS)
    if kind is ExceptionGroup:
        return ExceptionGroup("several", [ValueError()])
    return EventRefusedError("made_up", "by the value itself") if kind is EventRefusedError else kind()


def behaviour(chance: random.Random, name: str) -> Callable[..., Any]:
    """Return a method that raises, lies or calls itself."""
    how = chance.choice(["raise", "raise", "lie", "recurse", "self"])
    error, lie = error_of(chance), chance.choice(LIES)

    def misbehave(self: Any, *_: Any, **__: Any) -> Any:
        if how == "raise":
            raise error
        if how == "lie":
            return lie
        # ``__next__`` returning itself for ever is a case of its own below.
        if how == "self" and name != "__next__":
            return self
        return again(self)

    # Not ``misbehave`` itself: Python 3.13.0 has no limit for the recursion of a function with ``*_`` and ``**__``.
    def again(self: Any) -> Any:
        return again(self)

    return misbehave


def hostile_object(chance: random.Random) -> Any:
    """Return an instance of a fresh class, often of a plain type, with some methods that misbehave."""
    base, arguments = chance.choice(BASES)
    names = chance.sample(METHODS, chance.randint(1, 6))
    members: dict[str, Any] = {name: behaviour(chance, name) for name in names}
    if chance.random() < 0.4:
        members["__class__"] = property(behaviour(chance, "__class__"))
    if chance.random() < 0.1:
        members["__module__"] = "uuid"
    if chance.random() < 0.1 and base is object:
        members["__slots__"] = ("a", "b")
    try:
        return type("Hostile", (base,), members)(*arguments)
    except Exception:
        # It does not even let itself be built: the plain base without its constructor's help.
        return type("Hostile", (object,), {name: members[name] for name in names})()


def circular(chance: random.Random) -> Any:
    loop: Any = chance.choice([dict, list])()
    inner: Any = {"a": [loop]} if chance.random() < 0.5 else (1, {"b": loop})
    if isinstance(loop, dict):
        loop["loop"] = inner
    else:
        loop.append(inner)
    return loop


def nested(levels: int, wrap: Callable[[Any], Any] = lambda value: [value]) -> Any:
    """Return a value inside so many others."""
    value: Any = "bottom"
    for _ in range(levels):
        value = wrap(value)
    return value


def deep(chance: random.Random) -> Any:
    wraps: list[Callable[[Any], Any]] = [lambda v: [v], lambda v: {"d": v}, lambda v: (v,), lambda v: {"d": [v]}]
    return nested(chance.choice([10, 17, 40, 300, 900, 2_000, 20_000]), chance.choice(wraps))


class Shrinking(dict[str, Any]):
    """Changes its size while somebody looks through it."""

    def __iter__(self) -> Iterator[str]:
        for key in list(super().keys()):
            self.pop(key, None)
            yield key

    def items(self) -> Any:
        for key in list(super().keys()):
            self[key + "+"] = 1
            yield key, self.get(key)

    def values(self) -> Any:
        self.clear()
        return super().values()


class Crumbling(Mapping[str, Any]):
    """Has a key it cannot find."""

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("a", "b"))

    def __len__(self) -> int:
        return -1  # noqa: PLE0303 - a lie, as shops tell them


class Endless(Mapping[str, Any]):
    """Never comes to an end."""

    def __getitem__(self, key: str) -> Any:
        return self

    def __iter__(self) -> Iterator[str]:
        while True:
            yield "again"

    def __len__(self) -> int:
        return 2**40


class Panic(BaseException):
    """As the panics of extension modules written in Rust: no ``Exception``, and nobody's order to stop."""


class Panicking:
    """Panics at every touch."""

    def __getattribute__(self, name: str) -> Any:
        raise Panic(name)

    def _panic(self, *_: object) -> Any:
        raise Panic("touched")

    __bool__ = __str__ = __repr__ = __eq__ = __hash__ = __len__ = __iter__ = __index__ = __format__ = _panic


class PanickingText(str):
    """Text whose methods panic."""

    __slots__ = ()

    def _panic(self, *_: object, **__: object) -> Any:
        raise Panic("asked")

    __eq__ = __len__ = __str__ = __repr__ = __format__ = encode = isascii = replace = isdecimal = _panic
    __hash__ = str.__hash__


class BrokenZone(tzinfo):
    """A time zone that knows nothing."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise RuntimeError("no offset")

    tzname = dst = utcoffset  # type: ignore[assignment]


class OddZone(tzinfo):
    """A time zone that gives something else than a time."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return "an hour"  # type: ignore[return-value]

    tzname = dst = utcoffset  # type: ignore[assignment]


class Point(msgspec.Struct):
    x: Any = 1
    y: Any = None


@dataclasses.dataclass
class Card:
    owner: Any = "Erika"
    limit: Any = Decimal("NaN")


class Colour(enum.StrEnum):
    RED = "red"
    ODD = "\ud800"


class Level(enum.IntEnum):
    LOW = 1


class Shape(enum.Enum):
    ROUND = object()


def generator() -> Iterator[int]:
    yield 1
    raise RuntimeError("in the middle")


KINDS: dict[str, Make] = {
    "hostile methods": hostile_object,
    "no class": lambda _: OfNoClass(),
    "circular": circular,
    "deep": deep,
    "not finite": lambda c: c.choice([float("nan"), float("inf"), -float("inf"), Decimal("sNaN"), Decimal("Infinity")]),
    "odd numbers": lambda c: c.choice(
        [-0.0, 1e308, 5e-324, Decimal("1e999999"), Decimal("1e-999999"), 1j, fractions.Fraction(1, 3), True]
    ),
    "huge integer": lambda c: c.choice([2**63, -(2**63) - 1, 2**64, 10**40, -(10**500), 10**5_000]),
    "bytes": lambda c: c.choice([b"", b"\xff\xfe", bytearray(b"x"), memoryview(b"abc")]),
    "lone surrogate": lambda c: c.choice(["\ud800", "a\udfffb", "\udc80" * 50, {"\ud800": 1}]),
    "odd text": lambda c: c.choice(["", "\0", "\x1b[31m", "\u202e", " ", "\n", "x" * 70_000, "é" * 199, "😀" * 200]),
    "odd keys": lambda c: c.choice(
        [{1: 2}, {None: 1}, {(1, 2): 3}, {b"x": 1}, {1.5: 1}, {float("nan"): 1}, {True: 1}, {Colour.RED: 1}, {"": 1}]
    ),
    "panic": lambda c: c.choice([Panicking(), PanickingText("x"), {PanickingText("k"): 1}, Page(url=Panicking())]),  # type: ignore[arg-type]
    "without end": lambda c: c.choice([Endless(), Card(owner=Endless()), list(range(40_000))]),
    "generator": lambda c: c.choice([generator(), (x for x in range(3)), iter([1]), map(str, [1]), range(5), zip()]),
    "time": lambda c: c.choice(
        [
            datetime.max, datetime.min, datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))),
            datetime.min.replace(tzinfo=timezone(timedelta(hours=23))), datetime(2026, 1, 1, tzinfo=BrokenZone()),
            datetime(2026, 1, 1, tzinfo=OddZone()), datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC),
            datetime(2026, 3, 29, 2, 30, fold=1, tzinfo=UTC), date.max, timedelta.max, datetime(1999, 1, 1, tzinfo=UTC),
        ]
    ),
    "structs": lambda c: c.choice(
        [Point(x=float("nan")), Point(y=circular(c)), Card(), Page(), Consent(ads="yes"), Page(url=7), Campaign(id=[])]  # type: ignore[arg-type]
    ),
    "enumeration": lambda c: c.choice([Colour.RED, Colour.ODD, Level.LOW, Shape.ROUND]),
    "numpy": lambda c: c.choice(
        [
            numpy.float64(1.5), numpy.float64("nan"), numpy.float32(1.5), numpy.int64(7), numpy.bool_(True),
            numpy.str_("x"), numpy.datetime64("2026-01-01"), numpy.array([1, 2]), numpy.array(5), numpy.uint64(2**64 - 1),
        ]
    ),
    "changing": lambda _: Shrinking({str(number): number for number in range(5)}),
    "mapping that crumbles": lambda _: Crumbling(),
    "code": lambda c: c.choice([len, lambda: 1, Client, Client.track, os, types.SimpleNamespace(a=1), sys.stdout, type]),
    "context objects": lambda c: c.choice([Context(anonymous_id="x"), Device(ip=b"x"), object(), NotImplemented, ...]),  # type: ignore[arg-type]
    "harmless": lambda c: c.choice(["text", "c-42", 7, 129.9, None, {"a": "b"}, ["x"], {"email": "a@b.example"}]),
}  # fmt: skip


class Maker:
    """Makes values and counts the kinds it made."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.made: Counter[str] = Counter()

    def value(self) -> Any:
        kind = self.chance.choice(list(KINDS))
        self.made[kind] += 1
        value = KINDS[kind](self.chance)
        if self.chance.random() < 0.3:
            return {"a": {"b": [value, 1]}} if self.chance.random() < 0.5 else [value, "x"]
        return value

    def some(self, names: list[str], share: float = 0.3) -> dict[str, Any]:
        return {name: self.value() for name in names if self.chance.random() < share}
