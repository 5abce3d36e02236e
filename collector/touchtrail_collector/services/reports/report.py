"""What a report is to those who render it: a name, its parameters, a function, its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, get_args, get_origin

import msgspec

from ...errors import ReportError
from .context import ReportContext
from .scope import ReportParameters
from .table import Table


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One report.

    Args:
        name: as on the command line and in the URL, `data-quality`.
        answers: what it answers, in one sentence.
        parameters, result: the structs of what can be asked and of what comes back.
        compute: works the result out from what was derived.
        tables: the result as rows.
    """

    name: str
    answers: str
    parameters: type[ReportParameters]
    result: type[msgspec.Struct]
    compute: Callable[[ReportContext, Any], Any]
    tables: Callable[[Any], tuple[Table, ...]]

    def read_parameters(self, values: Mapping[str, Sequence[str]]) -> Any:
        """Return the parameter struct from text, as it comes from a URL or a command line.

        Args:
            values: texts by field name; a field that is a list may have several, and `set` holds `name=value`.

        Raises: ReportError naming the parameter at fault and what is allowed.
        """
        fields = {field.name: field for field in msgspec.structs.fields(self.parameters)}
        read: dict[str, Any] = {}
        for name, texts in values.items():
            if name not in fields:
                raise ReportError(
                    f"the report {self.name} has no {name!r}; it has: {', '.join(fields)}", parameter=name
                )
            try:
                read[name] = msgspec.convert(_shape(name, texts, fields[name].type), fields[name].type, strict=False)
            except msgspec.ValidationError as error:
                wanted = _wanted(fields[name].type) or str(error)
                raise ReportError(f"{' '.join(texts)!r} does not fit: {wanted}", parameter=name) from None
        return self.parameters(**read)

    def run(self, context: ReportContext, parameters: Any) -> Any:
        """Return the result, all of it from one state of the data. Raises: ReportError, ModelError."""
        with context.query.snapshot():
            return self.compute(context, parameters)


def _wanted(kind: Any) -> str | None:
    """Return what to give where msgspec would say it in the words of its own; None = it says it well."""
    parts = (kind, *get_args(kind))
    if date in parts:
        return "give YYYY-MM-DD, such as 2026-11-21"
    for part in parts:
        for meta in getattr(part, "__metadata__", ()):
            if meta.ge is not None and meta.le is not None:
                return f"give a whole number from {meta.ge:,} to {meta.le:,}"
    return None


def _shape(name: str, texts: Sequence[str], kind: Any) -> Any:
    """Return what the texts stand for, before their types are read."""
    if get_origin(kind) is dict:
        pairs = [text.partition("=") for text in texts]
        for key, equals, _ in pairs:
            if not equals:
                raise ReportError(f"{key!r} lacks a value; write it as name=value", parameter=name)
        return {key: value for key, _, value in pairs}
    if get_origin(kind) is tuple:
        return [part for text in texts for part in text.split(",") if part]
    return texts[-1]
