"""How rejects are shown: in groups, one by one, and one of them with its fault marked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from ..domain.advice import Adviser, Suggestion
from ..host import PluginHost
from ..settings import Settings
from ..store.sqlite import rejects
from ..store.sqlite.reader import Reader
from ..store.sqlite.rejects import Chosen, Reject, RejectGroup
from .terminal import format_json, printable

MARK = "▶ "
LONGEST_BODY = 20_000
"""Characters of what is no JSON that are shown; `--raw` gives all of it."""


def open_adviser(settings: Settings) -> Adviser:
    """Return who knows what to do, with the installed event types."""
    return Adviser(
        PluginHost.load(settings).event_types(),
        currency=settings.shop.currency,
        zone=ZoneInfo(settings.shop.time_zone),
    )


def list_groups(settings: Settings, reader: Reader, chosen: Chosen, *, limit: int, as_json: bool) -> str:
    """Return the groups of rejects that are alike, as text or JSON."""
    groups = rejects.find_groups(reader, chosen, limit=limit)
    examples = {
        reject.id: reject
        for reject in rejects.find(reader, Chosen(ids=[group.example_id for group in groups], state=None))
    } if groups else {}  # fmt: skip
    adviser = open_adviser(settings) if groups else None
    told = []
    for group in groups:
        example = examples[group.example_id]
        assert adviser is not None
        told.append((group, example, advise(adviser, example)))
    if as_json:
        return format_json([describe_group(*one) for one in told])
    if not told:
        return "Nothing is in quarantine."
    return printable("\n\n".join("\n".join(group_lines(*one)) for one in told))


def list_each(settings: Settings, reader: Reader, chosen: Chosen, *, limit: int, as_json: bool) -> str:
    """Return rejects one by one, newest first, as text or JSON."""
    found = rejects.find(reader, chosen, limit=limit)
    if as_json:
        adviser = open_adviser(settings) if found else None
        return format_json([describe(reject, advise(adviser, reject)) for reject in found if adviser is not None])
    if not found:
        return "Nothing is in quarantine."
    lines = (
        f"{reject.id:>6}  {clock(reject.last_at)}  {reject.source or '-':12}  {reject.code:14}  "
        f"{times(reject.times)}{reject.message}"
        for reject in found
    )
    return printable("\n".join(line.replace("\n", " ") for line in lines))


def show_one(settings: Settings, reject: Reject, *, as_json: bool) -> str:
    """Return everything that is known of one reject, as text or JSON."""
    suggestion = advise(open_adviser(settings), reject)
    if as_json:
        return format_json(describe(reject, suggestion))
    came = f"{clock(reject.received_at)} UTC"
    if reject.times > 1:
        came += f", {reject.times:,} times until {clock(reject.last_at)}"
    form = f", in the form of source.{reject.reader}" if reject.reader else ""
    head = [
        f"reject {reject.id}, {reject.state}",
        f"from    {reject.source or 'an unknown sender'}{form}",
        f"came    {came}",
        f"reason  {reject.code}{f' at {reject.field}' if reject.field else ''}: {reject.message}",
        f"to do   {suggestion.text}",
    ]
    if suggestion.options:
        head.append(f"        {command(suggestion, str(reject.id))}")
    return printable("\n".join([*head, "", *marked(reject.body, reject.field)]))


def advise(adviser: Adviser, reject: Reject) -> Suggestion:
    """Return what to do about a reject."""
    return adviser.advise(code=reject.code, field=reject.field, message=reject.message, body=reject.body)


def group_lines(group: RejectGroup, example: Reject, suggestion: Suggestion) -> Iterator[str]:
    """Yield the lines of one group."""
    field = f"  {group.field}" if group.field else ""
    yield f"{group.times:>7,} ×  {group.code}{field}  in {group.name or '?'}  from {group.source or '?'}".replace(
        "\n", " "
    )
    yield f"           {example.message} (such as {group.example_id}, last {clock(group.last_at)})".replace("\n", " ")
    yield f"           to do: {suggestion.text}"
    if suggestion.options:
        yield f"           {command(suggestion, choice_of(group) if suggestion.for_all else str(group.example_id))}"


def choice_of(group: RejectGroup) -> str:
    """Return the options that choose a group."""
    given = {"--code": group.code, "--field": group.field, "--name": group.name, "--source": group.source}
    return " ".join(f"{option} {shlex.quote(value)}" for option, value in given.items() if value is not None)


def command(suggestion: Suggestion, choice: str) -> str:
    """Return the command that would mend it, to be tried with --dry-run."""
    return f"touchtrail quarantine replay {choice} {shlex.join(suggestion.options)}"


def describe_group(group: RejectGroup, example: Reject, suggestion: Suggestion) -> Mapping[str, Any]:
    """Return a group as JSON members."""
    return {**group._asdict(), "example": describe(example, suggestion)}


def describe(reject: Reject, suggestion: Suggestion) -> Mapping[str, Any]:
    """Return a reject as JSON members; ``body`` is text, with U+FFFD where it is none."""
    return {
        **reject._asdict(),
        "body": reject.body.decode("utf-8", "replace"),
        "suggestion": msgspec.to_builtins(suggestion),
    }


def pretty(body: bytes) -> str:
    """Return what came as indented JSON where it is JSON, else as it is."""
    try:
        return msgspec.json.format(body).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode("utf-8", "replace")


def marked(body: bytes, field: str | None) -> Iterator[str]:
    """Yield the lines of what came, those of the field at fault with a mark in front."""
    lines = pretty(body)[:LONGEST_BODY].split("\n")
    at = line_of(lines, field) if field else None
    for number, line in enumerate(lines):
        yield (MARK if number == at else "  ") + line


def line_of(lines: list[str], field: str) -> int | None:
    """Return which line of indented JSON the field stands in, or the innermost thing around it that is there."""
    found = None
    number, indent = 0, 2
    for name in re.findall(r"[^.\[\]]+", field):
        wanted = int(name) if name.isdigit() else None
        prefix = " " * indent
        for at in range(number, len(lines)):
            line = lines[at]
            if not line.startswith(" " * (indent - 2)) or (at > number and line.startswith(prefix[:-2] + "}")):
                return found
            inner = line.startswith(prefix) and not line.startswith(prefix + " ") and line.strip()[0] not in "}]"
            if inner and (line[indent:].startswith(msgspec.json.encode(name).decode() + ":") or wanted == 0):
                number, found = at + 1, at
                break
            if inner and wanted:
                wanted -= 1
        else:
            return found
        indent += 2
    return found


def clock(at_ms: int) -> str:
    """Return a time in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def times(number: int) -> str:
    """Return how often the same came, where it did more than once."""
    return f"{number:,} times: " if number > 1 else ""
