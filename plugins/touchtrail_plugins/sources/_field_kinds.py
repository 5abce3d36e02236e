"""What the vocabulary says of each property, so that a source knows what to make of a foreign value."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal, NamedTuple

import msgspec

from touchtrail_collector.api import events

Kind = Literal["amount", "count", "number", "flag", "currency", "text", "texts", "lines", "other"]
"""``amount`` is money, ``texts`` a list of text, ``lines`` a list of order lines; ``other`` is taken as it comes."""


class FieldKind(NamedTuple):
    """What one property of a standard event must be."""

    kind: Kind
    is_required: bool


@cache
def fields_of(event: str) -> Mapping[str, FieldKind] | None:
    """Return the properties of a standard event by name, ``extra`` left out; None for any other event."""
    struct = events.VOCABULARY.get(event)
    return None if struct is None else kinds_of(struct)


def kinds_of(struct: type[msgspec.Struct]) -> Mapping[str, FieldKind]:
    """Return the fields of a struct by name, ``extra`` left out."""
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    return {
        field.name: FieldKind(_kind_of(field.name, field.type), field.required)
        for field in info.fields
        if field.name != "extra"
    }


def _kind_of(name: str, declared: msgspec.inspect.Type) -> Kind:
    if isinstance(declared, msgspec.inspect.UnionType):
        return _kind_of(name, next(kind for kind in declared.types if not isinstance(kind, msgspec.inspect.NoneType)))
    if isinstance(declared, msgspec.inspect.ListType):
        return "lines" if isinstance(declared.item_type, msgspec.inspect.StructType) else "texts"
    if isinstance(declared, msgspec.inspect.StrType | msgspec.inspect.LiteralType):
        return "currency" if name == "currency" else "text"
    return _SCALARS.get(type(declared), "other")


_SCALARS: dict[type[msgspec.inspect.Type], Kind] = {
    msgspec.inspect.DecimalType: "amount",
    msgspec.inspect.IntType: "count",
    msgspec.inspect.FloatType: "number",
    msgspec.inspect.BoolType: "flag",
}
