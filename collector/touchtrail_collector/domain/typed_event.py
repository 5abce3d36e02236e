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

    What it decodes has the fields of ``envelope``, the properties as the event's struct.

    Args:
        envelope: the struct of every event, with a ``name`` and ``properties``.
        name_pattern: what the envelope wants names to be.
    """
    fields = msgspec.structs.fields(envelope)
    shared = [(field.name, field.type, field.default) for field in fields if field.name not in ("name", "properties")]
    base = msgspec.defstruct("TypedEvent", shared, kw_only=True, forbid_unknown_fields=True, gc=False)
    kinds = [typed_event(base, name, kind) for name, kind in event_types.items() if re.search(name_pattern, name)]
    # A type alone would do without its tag: an event without a name would pass.
    return msgspec.json.Decoder(functools.reduce(operator.or_, kinds)) if len(kinds) > 1 else None


def typed_event(base: type[msgspec.Struct], name: str, kind: type[Event]) -> Any:
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
