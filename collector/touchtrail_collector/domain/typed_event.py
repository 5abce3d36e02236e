"""Reads a standard event in one go: its envelope and its properties, each as its type, told by the event's name.

Only what is as it should be is read here. What is not is read once more, step by step, so that what is wrong can be
named; whether it is kept, and as what, is therefore decided in one place, and this is only the short way to there.
"""

from __future__ import annotations

import functools
import operator
import re
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import FieldInfo

from touchtrail.events import Event

PLAIN = frozenset({str, int, float, bool, type(None), Decimal, datetime, date, time})
OPEN_FIELD = "extra"


def typed_decoder(
    envelope: type[msgspec.Struct], event_types: Mapping[str, type[Event]], name_pattern: str
) -> msgspec.json.Decoder[Any] | None:
    """Return what decodes an event of any of these types, its properties included; None for fewer than two types.

    What it decodes has the fields of ``envelope``, the properties as the event's struct, amounts as in `as_written`.

    Args:
        envelope: the struct of every event, with a ``name`` and ``properties``.
        name_pattern: what the envelope wants names to be.
    """
    fields = msgspec.structs.fields(envelope)
    shared = [(field.name, field.type, field.default) for field in fields if field.name not in ("name", "properties")]
    base = msgspec.defstruct("TypedEvent", shared, kw_only=True, forbid_unknown_fields=True, gc=False)
    legal = {name: as_written(kind) for name, kind in event_types.items() if re.search(name_pattern, name)}
    kinds = [typed_event(base, name, kind) for name, kind in legal.items() if kind is not None]
    # A type alone would do without its tag: an event without a name would pass.
    return msgspec.json.Decoder(functools.reduce(operator.or_, kinds)) if len(kinds) > 1 else None


def typed_event(base: type[msgspec.Struct], name: str, kind: type[msgspec.Struct]) -> Any:
    """Return the struct of one kind of event: what all share, its name, and its own properties."""
    may_be_absent = not any(field.required for field in msgspec.structs.fields(kind))
    properties = msgspec.field(default_factory=kind) if may_be_absent else msgspec.NODEFAULT
    return msgspec.defstruct(
        f"Typed_{name}",
        [("properties", kind, properties)],
        bases=(base,),
        namespace={"name": name},
        tag_field="name",
        tag=name,
        kw_only=True,
        gc=False,
    )


@functools.cache
def as_written(kind: type[msgspec.Struct]) -> type[msgspec.Struct] | None:
    """Return the struct with each amount as it is written, text or number; None where the struct does more than hold.

    Of a `Decimal` nobody can tell whether it was `10` or `1_0`; and making one takes longer than looking at the text.
    """
    fields = msgspec.structs.fields(kind)
    if "Decimal" not in repr([field.type for field in fields]) and "Line" not in repr([field.type for field in fields]):
        return kind
    config = kind.__struct_config__
    if hasattr(kind, "__post_init__") or config.tag is not None or config.array_like:
        return None
    written = [(field.name, type_as_written(field.type), field_like(field)) for field in fields]
    if any(declared is None for _, declared, _ in written):
        return None
    return msgspec.defstruct(
        f"{kind.__name__}AsWritten",
        written,
        kw_only=True,
        forbid_unknown_fields=config.forbid_unknown_fields,
        gc=False,
    )


def type_as_written(declared: Any) -> Any:
    """Return a field's type with `str | int | float` for `Decimal`; None where that is not known."""
    if declared is Decimal:
        return str | int | float
    if "Decimal" not in repr(declared) and "Line" not in repr(declared):
        return declared
    if isinstance(declared, type) and issubclass(declared, msgspec.Struct):
        return as_written(declared)
    origin, inner = typing.get_origin(declared), typing.get_args(declared)
    if origin not in (typing.Union, types.UnionType, list):
        return None
    written = [type_as_written(one) for one in inner]
    if None in written:
        return None
    return list[written[0]] if origin is list else functools.reduce(operator.or_, written)  # type: ignore[valid-type]


def field_like(field: FieldInfo) -> Any:
    """Return what declares a field as the given one: under its name on the wire, with what it is without a value."""
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory, name=field.encode_name)
    return msgspec.field(default=field.default, name=field.encode_name)


def is_flat(fields: Sequence[FieldInfo]) -> bool:
    """True for a struct of plain values and lists of them: no names but its own, and no depth, except in `extra`."""
    return all(field.encode_name == OPEN_FIELD or is_plain(field.type) for field in fields)


def is_plain(kind: Any) -> bool:
    """True for the type of a plain value, or of a list of them."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return is_plain(inner[0])
    if origin in (typing.Union, types.UnionType, list):
        return all(is_plain(one) for one in inner)
    return origin is typing.Literal or kind in PLAIN
