"""Values of an event made fit for the encoder: plain, private, finite, and not more of them than fit into an event."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from math import isfinite
from operator import index
from typing import Any, Final, SupportsIndex, get_args

import msgspec

from ._limits import DEEPEST
from .errors import EventRefusedError

_ATOMS: Final = frozenset({str, int, bool, type(None)})
_TEXT: Final = frozenset({str})
_LEAVES: Final = frozenset({date, datetime, time, timedelta, bytes, bytearray, memoryview})
_MONEY: Final = frozenset({Decimal, type(None)})
_DECIMAL: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_values_of = msgspec.structs.astuple
PROPERTIES_LEVEL: Final = 2
"""The event is the first level; its properties, page and the like are the second."""


amounts: dict[type, tuple[str, ...]] = {}
"""The fields for money of each type of struct seen so far; ``amounts_of`` learns them."""


def amounts_of(struct: type) -> tuple[str, ...]:
    """Return which fields of such structs hold an amount of money."""
    known = amounts.get(struct)
    return _learn_amounts(struct) if known is None else known


def tidy_struct(struct: Any, amount_names: tuple[str, ...], max_bytes: int, level: int = PROPERTIES_LEVEL) -> Any:
    """Return the struct with every field tidied as ``tidy`` does; the same struct when nothing had to change.

    Args:
        max_bytes: as for ``tidy``.
        level: as for ``tidy``.

    Raises:
        EventRefusedError: an amount that is no finite number; otherwise as ``tidy``.
    """
    for name in amount_names:
        value = getattr(struct, name)
        # The usual "129.90" without the cost of the pattern.
        if value is not None and not (type(value) is str and value.replace(".", "", 1).isdecimal() and value.isascii()):
            _check_amount(name, value)
    # Whatever a field is declared as, a caller can put anything into it: nothing looks at types when a struct is made.
    values = _values_of(struct)
    return struct if _ATOMS.issuperset(map(type, values)) else _replace_fields(struct, values, max_bytes, level)


def tidy(value: Any, max_bytes: int, level: int = PROPERTIES_LEVEL) -> Any:
    """Return the value with every container copied; plain text and numbers come back as they are.

    The encoder holds on to containers without owning what is in them: one that changes while it is encoded, through
    another thread or through a value's own code (a time zone's ``utcoffset``, an ``__index__``), ends the process
    with a segmentation fault (seen with msgspec 0.22). Out of here come containers that nobody else can change.

    Args:
        max_bytes: of the whole event; more values than have room in it are not looked at.
        level: how deep in the event the value stands.

    Raises:
        EventRefusedError: NaN or infinite, an amount of a struct that is none, too many values, too deep, no JSON form.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is dict and level <= DEEPEST:
        # Copied first: what another thread adds after the look at the types would not have been looked at.
        copy = value.copy()
        if _TEXT.issuperset(map(type, copy)) and _ATOMS.issuperset(map(type, copy.values())):
            return copy
        value = copy
    return _Copier(max_bytes).copy(value, level)


class _Copier:
    """Copies one value with all it holds.

    Args:
        max_bytes: each value takes at least one byte and a comma, which bounds how many are looked at.
    """

    def __init__(self, max_bytes: int) -> None:
        self._most = self._left = max_bytes // 2 + 1

    def copy(self, value: Any, level: int) -> Any:
        """Return a copy as plain as JSON; ``tidy`` says what is raised."""
        kind = type(value)
        if kind in _ATOMS or kind in _LEAVES:
            return value
        if kind is float or kind is Decimal:
            if not isfinite(value):
                raise EventRefusedError("not_finite", "NaN and Infinity have no JSON form")
            return value
        if kind is dict:
            parts = self._counted(value.copy().items(), level)
            return {self._key(key): self.copy(part, level + 1) for key, part in parts}
        if kind is list or kind is tuple:
            return [self.copy(part, level + 1) for part in self._counted(kind(value), level)]
        return self._copy_relative(value, level)

    def _copy_relative(self, value: Any, level: int) -> Any:
        """Copy what is not itself a plain type: a subclass without its methods, a struct, something like a number."""
        if isinstance(value, msgspec.Struct):
            private = value if value.__struct_config__.frozen else msgspec.structs.replace(value)
            self._check_level(level)
            return tidy_struct(private, amounts_of(type(value)), self._most, level)
        if isinstance(value, Enum):
            return self.copy(value.value, level)
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return int.__index__(value)
        if isinstance(value, float):
            return self.copy(float.__float__(value), level)
        if isinstance(value, Mapping):
            return {self._key(key): self.copy(value[key], level + 1) for key in self._counted(value, level)}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.copy(part, level + 1) for part in self._counted(value, level)]
        return self._copy_stranger(value, level)

    def _copy_stranger(self, value: Any, level: int) -> Any:
        if isinstance(value, datetime):
            return datetime.isoformat(value)
        if type(value).__module__ == "uuid":
            return value
        if hasattr(type(value), "__dataclass_fields__"):
            names = self._counted(value.__dataclass_fields__, level)
            return {name: self.copy(getattr(value, name), level + 1) for name in names}
        if isinstance(value, SupportsIndex):
            return index(value)
        raise EventRefusedError("not_serialisable", "a value has no JSON form")

    def _counted(self, parts: Iterable[Any], level: int) -> Iterable[Any]:
        """Return the parts, at most one more than there is room for: a mapping may claim to have no end."""
        self._check_level(level)
        for part in islice(parts, self._left + 1):
            self._left -= 1
            if self._left < 0:
                raise EventRefusedError("too_large", "the event holds more values than have room in an event")
            yield part

    @staticmethod
    def _check_level(level: int) -> None:
        if level > DEEPEST:
            raise EventRefusedError("not_serialisable", f"the event is nested deeper than {DEEPEST} levels")

    @staticmethod
    def _key(key: Any) -> Any:
        return str.__str__(key) if isinstance(key, str) else key


def _check_amount(name: str, value: Any) -> None:
    if not _is_amount(value):
        raise EventRefusedError("bad_amount", f"{name} must be a finite number or a decimal text such as 129.90")


def _is_amount(value: Any) -> bool:
    if isinstance(value, str):
        return _DECIMAL.fullmatch(str.__str__(value)) is not None
    if isinstance(value, float | Decimal):
        return isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _replace_fields(struct: Any, values: tuple[Any, ...], max_bytes: int, level: int) -> Any:
    changed = {}
    for name, value in zip(struct.__struct_fields__, values, strict=True):
        if (tidied := tidy(value, max_bytes, level + 1)) is not value:
            changed[name] = tidied
    return msgspec.structs.replace(struct, **changed) if changed else struct


def _learn_amounts(struct: type) -> tuple[str, ...]:
    fields = msgspec.structs.fields(struct)
    return amounts.setdefault(struct, tuple(field.name for field in fields if _is_money(field.type)))


def _is_money(kind: Any) -> bool:
    return kind is Decimal or (Decimal in get_args(kind) and _MONEY.issuperset(get_args(kind)))
