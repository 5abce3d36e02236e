"""Segment's properties, turned into those of the standard event field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from touchtrail_collector.api import Line

from ._field_kinds import FieldKind, fields_of, kinds_of
from ._segment_names import spellings_of, squash
from ._segment_rules import PREPARE
from ._segment_values import CONVERT

Properties = dict[str, Any]


class Target(NamedTuple):
    """A field to fill, and the squashed names its value may come under, the best one first."""

    field: str
    kind: FieldKind
    spellings: tuple[str, ...]


def to_properties(event: str, given: Mapping[str, Any], *, currency: str | None = None) -> Properties:
    """Return the properties of a standard event; what it has no field for goes into ``extra``.

    A value that cannot be converted stays as it came where the event needs it or a number depends on it, so that the
    collector rejects the event and names the field; text nobody depends on goes into ``extra``.

    Args:
        event: a standard event's name.
        given: Segment's properties.
        currency: what an amount is in where the properties do not say.
    """
    rest = {name: value for name, value in given.items() if value is not None}
    if prepare := PREPARE.get(event):
        prepare(rest)
    properties = pick(targets_of(event), rest)
    if currency and "currency" not in properties and needs_currency(event, properties):
        properties["currency"] = currency
    if rest:
        properties["extra"] = to_extra(rest)
    return properties


def pick(targets: Sequence[Target], rest: Properties) -> Properties:
    """Move what there is a field for out of ``rest``, converted."""
    by_spelling = {squash(name): name for name in reversed(rest)}
    picked: Properties = {}
    for field, (kind, is_required), spellings in targets:
        for spelling in spellings:
            name = by_spelling.get(spelling)
            if name is None or name not in rest:
                continue
            value = to_lines(rest[name]) if kind == "lines" else CONVERT[kind](rest[name])
            if value is None or (kind == "text" and not is_required and not isinstance(value, str)):
                continue
            del rest[name]
            picked[field] = value
            break
    return picked


def to_lines(products: Any) -> Any:
    """Return Segment's products as order lines: sku or product_id, price as unit_price."""
    if isinstance(products, dict):
        products = [products]
    if not isinstance(products, list):
        return products
    return [to_line(product) if isinstance(product, dict) else product for product in products]


def to_line(product: Mapping[str, Any]) -> Properties:
    """Return one product as an order line; what a line has no field for goes into its ``extra``."""
    rest = {name: value for name, value in product.items() if value is not None}
    line = pick(line_targets(), rest)
    if rest:
        line["extra"] = to_extra(rest)
    return line


def to_extra(rest: Properties) -> Properties:
    """Return what is left over; an ``extra`` of the client's own is opened, not nested."""
    own = rest.get("extra")
    if not isinstance(own, dict):
        return rest
    del rest["extra"]
    return {**own, **rest}


def needs_currency(event: str, properties: Properties) -> bool:
    """True when the event has money but could not say which."""
    fields = fields_of(event) or {}
    return "currency" in fields and (
        fields["currency"].is_required or any(fields[name].kind in ("amount", "lines") for name in properties)
    )


@cache
def targets_of(event: str) -> tuple[Target, ...]:
    """Return the fields of a standard event with their spellings."""
    return tuple(Target(field, kind, spellings_of(event, field)) for field, kind in (fields_of(event) or {}).items())


@cache
def line_targets() -> tuple[Target, ...]:
    """Return the fields of an order line with their spellings."""
    return tuple(Target(field, kind, spellings_of("line", field)) for field, kind in kinds_of(Line).items())
