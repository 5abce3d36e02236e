"""JSON schemas of what comes and goes, made from the structs that decode and encode it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, get_origin

import msgspec

from touchtrail.events import Event

from ..domain.batch import Batch
from ..domain.event import WireEvent

REFERENCE: Final = "#/components/schemas/{name}"
Schema = dict[str, Any]


def twin(kind: type[msgspec.Struct], name: str, **replaced: Any) -> Any:
    """Return a struct with the same fields for its schema; raw JSON, which has none, is replaced by what it holds."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(kind):
        if field.name in replaced:
            has_default = isinstance(field.default, msgspec.Raw)
            fields.append((field.name, replaced[field.name], {}) if has_default else (field.name, replaced[field.name]))
        elif field.required:
            fields.append((field.name, field.type))
        else:
            fields.append((field.name, field.type, field.default))
    is_closed = kind.__struct_config__.forbid_unknown_fields
    made = msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=is_closed)
    made.__doc__ = kind.__doc__
    return made


EventOnTheWire: Final = twin(WireEvent, "Event", properties=dict[str, Any])
EventList: Final[Any] = list.__class_getitem__(EventOnTheWire)
EventBatch: Final = twin(Batch, "Batch", events=EventList)
EVENT_BODIES: Final = (EventBatch, EventList, EventOnTheWire)
"""What may be sent: a batch, a list, or one event."""


def make_schemas(types: Iterable[Any], event_types: Mapping[str, type[Event]]) -> tuple[dict[Any, Schema], Schema]:
    """Return the schema of each type, and the components they refer to.

    Args:
        event_types: the vocabulary, by event name: whose properties have which fields.
    """
    wanted = list(dict.fromkeys([*types, EventOnTheWire, *event_types.values()]))
    schemas, components = msgspec.json.schema_components(wanted, ref_template=REFERENCE)
    by_type = dict(zip(wanted, schemas, strict=True))
    components = translate(components)
    components["Event"]["allOf"] = [
        {
            "if": {"properties": {"name": {"const": name}}},
            "then": {"properties": {"properties": by_type[kind]}},
        }
        for name, kind in event_types.items()
    ]
    return by_type, components


def translate(schema: Any) -> Any:
    """Return a schema in the dialect of OpenAPI where msgspec writes Python's, and as wide as what is really read."""
    if isinstance(schema, list):
        return [translate(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    translated = {name: translate(part) for name, part in schema.items()}
    if isinstance(translated.get("pattern"), str):
        # Python's end of the text; ECMA 262, which JSON Schema asks for, has none but `$`.
        translated["pattern"] = translated["pattern"].replace("\\Z", "$")
    if translated.get("format") == "decimal":
        translated["type"] = ["string", "number"]
    if isinstance(translated.get("description"), str):
        translated["description"] = translated["description"].partition("\n\n")[0].replace("\n    ", " ")
    return translated


def make_parameters(kind: type[msgspec.Struct], examples: Mapping[str, Any]) -> list[Schema]:
    """Return a struct of parameters as those of a query.

    Args:
        examples: a value by name, for those that have one.
    """
    made = []
    for field in msgspec.structs.fields(kind):
        schema = without_null(translate(msgspec.json.schema(field.type)))
        if get_origin(field.type) is dict:
            schema = {"type": "array", "items": {"type": "string", "pattern": "^[^=]+=.*$"}}
        parameter = {"name": field.name, "in": "query", "required": field.required, "schema": schema}
        if field.name in examples:
            parameter["example"] = examples[field.name]
        made.append(parameter)
    return made


def without_null(schema: Schema) -> Schema:
    """Return a schema that is not asked for null: an absent parameter says the same."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    return choices[0] if len(choices) == 1 else schema
