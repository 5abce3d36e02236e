"""Makes the tables of ``sdk/README.md`` from the code; run this file to write them, the tests compare.

python tests/docs/sdk_reference.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from touchtrail import Options, events

README = Path(__file__).parents[2] / "sdk" / "README.md"


def tables() -> dict[str, str]:
    """Return the generated parts of the reference by the name of their markers."""
    return {"options": options_table(), "events": events_tables()}


def fill(text: str) -> str:
    """Return the reference with every generated part made anew."""
    for name, table in tables().items():
        begin, end = f"<!-- {name}: generated -->", f"<!-- end of {name} -->"
        assert begin in text, f"the reference has no place for its table of {name}"
        text = text[: text.index(begin) + len(begin)] + f"\n{table}\n" + text[text.index(end) :]
    return text


def options_table() -> str:
    """Return one row per option: argument, variable, default with unit, meaning."""
    meanings = argument_texts(Options)
    rows = ["| option | environment | default | what it does |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(Options):
        default = f"`{field.default!r}`" if field.default != "" else "–"
        unit = {"s": " s", "bytes": " bytes", "events": " events"}.get(field.name.rpartition("_")[2], "")
        rows.append(
            f"| `{field.name}` | `TOUCHTRAIL_{field.name.upper()}` | {default}{unit} | {meanings[field.name]} |"
        )
    return "\n".join(rows)


def events_tables() -> str:
    """Return one table per stage, an event a row, in the order of the vocabulary."""
    parts = []
    for stage in (*events.STAGES, None):
        parts += [
            f"### {(stage or 'at any stage').capitalize()}",
            "",
            "| event | name | contact | fields |",
            "|---|---|---|---|",
        ]
        parts += [event_row(kind) for kind in events.VOCABULARY.values() if kind.spec.stage == stage]
        parts.append("")
    return "\n".join(parts).rstrip()


def event_row(kind: type[events.Event]) -> str:
    """Return an event's row; what must be given stands in bold."""
    summary = (kind.__doc__ or "").splitlines()[0].replace("``", "`")
    fields = [field for field in msgspec.structs.fields(kind) if field.name != "extra"]
    shown = ", ".join(
        f"{f'**{field.name}**' if field.required else field.name} {type_name(field.type)}" for field in fields
    )
    extras = [f"moment of truth: {kind.spec.moment}"] if kind.spec.moment else []
    extras += [f"signal: {kind.spec.signal}"] if kind.spec.signal else []
    note = f" ({'; '.join(extras)})" if extras else ""
    return f"| `{kind.__name__}`: {summary} | `{kind.spec.name}` | {kind.spec.contact}{note} | {shown or '–'} |"


def type_name(kind: Any) -> str:
    """Return a type as a reader of the table wants it: ``amount``, ``text``, ``list of Line``."""
    if hasattr(kind, "__metadata__"):
        return type_name(kind.__args__[0])
    if get_origin(kind) is Literal:
        return "/".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is list:
        return f"list of {type_name(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return "mapping"
    if parts := [part for part in get_args(kind) if part is not type(None)]:
        return type_name(parts[0])
    names = {"str": "text", "int": "integer", "float": "number", "bool": "yes/no", "Decimal": "amount"}
    return names.get(kind.__name__, kind.__name__)


def argument_texts(owner: type) -> dict[str, str]:
    """Return what the docstring's *Args* says of each argument."""
    block = (inspect.getdoc(owner) or "").partition("Args:")[2].partition("Raises:")[0]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", block, re.MULTILINE)
    return {name: " ".join(text.split()).replace("``", "`") for name, text in entries}


if __name__ == "__main__":
    README.write_text(fill(README.read_text()))
