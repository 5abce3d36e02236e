"""Which models a report uses, with which parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ...domain.attribution import AttributionModel
from ...errors import ReportError


class ModelUsed(msgspec.Struct, frozen=True, kw_only=True):
    """A model as it stands in the result.

    Args:
        version: grows with every change of the model that changes figures.
        parameters: every parameter of the model with the value it had.
        conserves_credit: False where credits exceed, or fall short of, the orders.
    """

    name: str
    version: int
    parameters: dict[str, Any]
    conserves_credit: bool


class ChosenModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model and its parameters, ready to run."""

    model: AttributionModel
    parameters: msgspec.Struct

    @property
    def used(self) -> ModelUsed:
        """What the result says about it."""
        return ModelUsed(
            name=self.model.name,
            version=self.model.version,
            parameters=msgspec.to_builtins(self.parameters),
            conserves_credit=self.model.conserves_credit,
        )


def choose_models(
    models: Mapping[str, AttributionModel], names: Iterable[str], settings: Mapping[str, str]
) -> tuple[ChosenModel, ...]:
    """Return the named models, or all, with their parameters.

    Args:
        settings: `position_based.first` to `0.5`; values are read as the type the model declares.

    Raises: ReportError naming the model, parameter or value at fault and what there is instead.
    """
    wanted = tuple(dict.fromkeys(names)) or tuple(models)
    if not wanted:
        raise ReportError("no attribution model is installed; see `touchtrail plugins`", parameter="model")
    for name in wanted:
        if name not in models:
            raise ReportError(f"there is no model {name!r}; there is: {', '.join(models)}", parameter="model")
    tables = _split_settings(settings, wanted)
    return tuple(
        ChosenModel(model=models[name], parameters=_read_parameters(models[name], tables.get(name, {})))
        for name in wanted
    )


def _split_settings(settings: Mapping[str, str], wanted: tuple[str, ...]) -> dict[str, dict[str, str]]:
    tables: dict[str, dict[str, str]] = {}
    for key, value in settings.items():
        name, dot, parameter = key.partition(".")
        if not dot or name not in wanted:
            message = f"{key!r} is not model.parameter of a model in this report; there is: {', '.join(wanted)}"
            raise ReportError(message, parameter="set")
        tables.setdefault(name, {})[parameter] = value
    return tables


def _read_parameters(model: AttributionModel, table: Mapping[str, str]) -> msgspec.Struct:
    fields = [field.name for field in msgspec.structs.fields(model.parameters)]
    for parameter in table:
        if parameter not in fields:
            there = ", ".join(f"{model.name}.{name}" for name in fields) or "none"
            raise ReportError(f"there is no {model.name}.{parameter}; there is: {there}", parameter="set")
    try:
        # From text to the declared types, then through the struct's own checks.
        return msgspec.convert(dict(table), model.parameters, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise ReportError(_unread_number(model, table) or f"{model.name}: {error}", parameter="set") from None


def _unread_number(model: AttributionModel, table: Mapping[str, str]) -> str | None:
    """Return what to write in place of the first text that should be a number and is none; None = all are."""
    wanted = {float: "a number such as 0.5, with a point", int: "a whole number such as 7"}
    for field in msgspec.structs.fields(model.parameters):
        kind = getattr(field.type, "__origin__", field.type)  # without its limits
        if field.name in table and kind in wanted:
            try:
                kind(table[field.name])
            except ValueError:
                return f"{model.name}.{field.name} is {table[field.name]!r}; give {wanted[kind]}"
    return None
