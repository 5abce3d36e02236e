"""Values of an event made fit for the encoder: plain, private, finite, and not more of them than fit into an event."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from math import isfinite
from operator import index, length_hint
from sys import get_int_max_str_digits
from typing import Any, Final, SupportsIndex, get_args

import msgspec

from ._limits import DEEPEST
from .errors import EventRefusedError

_ATOMS: Final = frozenset({str, int, bool, type(None)})
_TEXT: Final = frozenset({str})
_LEAVES: Final = frozenset({date, datetime, time, timedelta, bytes, bytearray, memoryview})
_BYTES: Final = frozenset({bytes, bytearray, memoryview})
_MOST_BITS: Final = 65_536
"""Of a whole number: 19,728 digits, which take milliseconds to write; nothing that is counted has so many."""
_MOST_DIGITS: Final = 20_000
_USUAL_AMOUNT: Final = 40
_SIZE_OF_DECIMAL: Final = 128
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


def tidy_struct(
    struct: Any,
    amount_names: tuple[str, ...],
    max_bytes: int,
    copier: _Copier | None = None,
    level: int = PROPERTIES_LEVEL,
) -> Any:
    """Return the struct with every field tidied as ``tidy`` does; the same struct when nothing had to change.

    Args:
        max_bytes: as for ``tidy``.
        copier: of what the struct is a part of.
        level: how deep in the event it stands.

    Raises:
        EventRefusedError: an amount that is no finite number; otherwise as ``tidy``.
    """
    # Whatever a field is declared as, a caller can put anything into it: nothing looks at types when a struct is made.
    values = _values_of(struct)
    is_plain = (
        _ATOMS.issuperset(map(type, values))
        and (length := sum(map(length_hint, filter(None, values)))) <= max_bytes
        and 0 < get_int_max_str_digits() <= _MOST_DIGITS
    )
    for name in amount_names:
        value = getattr(struct, name)
        # The usual "129.90" without the cost of the pattern.
        if value is not None and not (
            type(value) is str
            and (is_plain or len(value) <= _USUAL_AMOUNT)
            and value.replace(".", "", 1).isdecimal()
            and value.isascii()
        ):
            _check_amount(name, value, max_bytes)
    if not is_plain:
        return (copier or _Copier(max_bytes)).copy_fields(struct, values, level)
    if copier is not None:
        copier.take(length)
    return struct


def tidy(value: Any, max_bytes: int) -> Any:
    """Return the value with every container copied; plain text and numbers come back as they are.

    The encoder holds on to containers without owning what is in them: one that changes while it is encoded, through
    another thread or through a value's own code (a time zone's ``utcoffset``, an ``__index__``), ends the process
    with a segmentation fault (seen with msgspec 0.22). Out of here come containers that nobody else can change.

    Lengths are looked at first: to copy or to encode what is far too large would hold up the caller.

    Args:
        max_bytes: of the whole event; what has no room in it is not looked at.

    Raises:
        EventRefusedError: NaN or infinite, an amount of a struct that is none, too large, too deep, no JSON form.
    """
    if type(value) is dict and len(value) <= max_bytes // 2:
        # Copied first: what another thread adds after the look at the types would not have been looked at.
        copy = value.copy()
        if (
            _TEXT.issuperset(map(type, copy))
            and _ATOMS.issuperset(map(type, copy.values()))
            and sum(map(len, copy)) + sum(map(length_hint, copy.values())) <= max_bytes
            and 0 < get_int_max_str_digits() <= _MOST_DIGITS
        ):
            return copy
        value = copy
    return _Copier(max_bytes).copy(value, PROPERTIES_LEVEL)


class _Copier:
    """Copies one value with all it holds.

    Args:
        max_bytes: each value takes at least one byte and a comma, each character one byte: more is not looked at.
    """

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes // 2 + 1
        self._room = self._max_bytes = max_bytes

    def copy(self, value: Any, level: int) -> Any:
        """Return a copy as plain as JSON; ``tidy`` says what is raised."""
        kind = type(value)
        if kind is str:
            # Written out: this is what most parts are.
            self._room -= len(value)
            if self._room < 0:
                self.take(0)
            return value
        if kind in _ATOMS:
            return self._checked(value) if kind is int else value
        if kind in _LEAVES:
            if kind in _BYTES:
                self.take(value.nbytes if kind is memoryview else len(value))
            return value
        if kind is float or kind is Decimal:
            if kind is Decimal:
                self.take(_least_digits(value))
            if not isfinite(value):
                raise EventRefusedError("not_finite", "NaN and Infinity have no JSON form")
            return value
        if kind is dict:
            return self._copy_dict(value, level)
        if kind is list or kind is tuple:
            self._check_count(len(value))
            return [self.copy(part, level + 1) for part in self._counted(kind(value), level)]
        return self._copy_relative(value, level)

    def copy_fields(self, struct: Any, values: tuple[Any, ...], level: int) -> Any:
        """Return the struct with its fields copied; the same struct when nothing had to change."""
        changed = {}
        for name, value in zip(struct.__struct_fields__, values, strict=True):
            if (copied := self.copy(value, level + 1)) is not value:
                changed[name] = copied
        return msgspec.structs.replace(struct, **changed) if changed else struct

    def _copy_dict(self, value: dict[Any, Any], level: int) -> dict[Any, Any]:
        self._check_count(len(value))
        private = value.copy()
        parts = self._counted(private.items(), level)
        if not _TEXT.issuperset(map(type, private)):
            return {self._key(key): self.copy(part, level + 1) for key, part in parts}
        self.take(sum(map(len, private)))
        return {key: self.copy(part, level + 1) for key, part in parts}

    def _copy_relative(self, value: Any, level: int) -> Any:
        """Copy what is not itself a plain type: a subclass without its methods, a struct, something like a number."""
        if isinstance(value, msgspec.Struct):
            private = value if value.__struct_config__.frozen else msgspec.structs.replace(value)
            self._check_level(level)
            return tidy_struct(private, amounts_of(type(value)), self._max_bytes, self, level)
        if isinstance(value, Enum):
            return self.copy(value.value, level)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            return self._checked(int.__index__(value))
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
            return self._checked(index(value))
        raise EventRefusedError("not_serialisable", "a value has no JSON form")

    def _counted(self, parts: Iterable[Any], level: int) -> Iterable[Any]:
        """Return the parts, at most one more than there is room for: a mapping may claim to have no end."""
        self._check_level(level)
        for part in islice(parts, self._left + 1):
            self._left -= 1
            if self._left < 0:
                self._check_count(0)
            yield part

    def _check_count(self, more: int) -> None:
        if more > self._left:
            raise EventRefusedError("too_large", "the event holds more values than have room in an event")

    @staticmethod
    def _check_level(level: int) -> None:
        if level > DEEPEST:
            raise EventRefusedError("not_serialisable", f"the event is nested deeper than {DEEPEST} levels")

    def _key(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._text(key)
        return self._checked(key) if type(key) is int else key

    def _text(self, text: str) -> str:
        self.take(str.__len__(text))
        return str.__str__(text)

    def take(self, length: int) -> None:
        """Note so many characters of the event; raises when there is no room for them."""
        self._room -= length
        if self._room < 0:
            raise EventRefusedError("too_large", f"the event takes more than {self._max_bytes} bytes")

    @staticmethod
    def _checked(number: int) -> int:
        if number.bit_length() > _MOST_BITS:
            raise EventRefusedError("too_large", "a whole number of the event has too many digits")
        return number


def _check_amount(name: str, value: Any, max_bytes: int) -> None:
    long = str.__len__(value) if isinstance(value, str) else _least_digits(value) if type(value) is Decimal else 0
    if long > max_bytes:
        raise EventRefusedError("too_large", f"{name} is longer than the whole event may be")
    if not _is_amount(value):
        raise EventRefusedError("bad_amount", f"{name} must be a finite number or a decimal text such as 129.90")


def _least_digits(number: Decimal) -> int:
    """Return how many digits a number has at least, where there are many: its memory holds over two in a byte."""
    return max(number.__sizeof__() - _SIZE_OF_DECIMAL, 0)


def _is_amount(value: Any) -> bool:
    if isinstance(value, str):
        return _DECIMAL.fullmatch(str.__str__(value)) is not None
    if isinstance(value, float | Decimal):
        return isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _learn_amounts(struct: type) -> tuple[str, ...]:
    fields = msgspec.structs.fields(struct)
    return amounts.setdefault(struct, tuple(field.name for field in fields if _is_money(field.type)))


def _is_money(kind: Any) -> bool:
    return kind is Decimal or (Decimal in get_args(kind) and _MONEY.issuperset(get_args(kind)))
