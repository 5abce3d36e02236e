"""Reads one value, or one struct of values, that somebody gave in some place, and says what is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from msgspec import Meta

from touchtrail.errors import CurrencyError
from touchtrail.money import exponent

S = TypeVar("S", bound=msgspec.Struct)


def _read_host(value: str) -> str:
    if not re.fullmatch(r"[^\s/@]{1,253}", value):
        raise ValueError(f"expected a host name or address without scheme and path, got {value!r}")
    return value.lower()


def _read_hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_read_host(value) for value in values)


def _read_networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            ip_network(value)
        except ValueError as error:
            raise ValueError(f"expected addresses or networks such as 10.0.0.0/8: {error}") from error
    return values


def _read_currency(value: str) -> str:
    try:
        exponent(value)
    except CurrencyError as error:
        raise ValueError(str(error)) from error
    return value


def _read_time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError) as error:
        # OSError: 'Europe' is a folder of the zone files. ZoneInfoNotFoundError is a KeyError.
        hint = suggestion(value, available_timezones())
        raise ValueError(f"{value!r} is no time zone{hint or '; write an IANA name such as Europe/Berlin'}") from error
    return value


Host = Annotated[str, Meta(extra={"read": _read_host})]
Hosts = Annotated[tuple[str, ...], Meta(extra={"read": _read_hosts})]
Networks = Annotated[tuple[str, ...], Meta(extra={"read": _read_networks})]
Currency = Annotated[str, Meta(extra={"read": _read_currency})]
TimeZone = Annotated[str, Meta(extra={"read": _read_time_zone})]
Seconds = Annotated[float, Meta(gt=0, le=3600)]


class Given(NamedTuple):
    """One value somebody gave, and where.

    Args:
        where: as problems name it: `touchtrail.toml: server.port`, `TOUCHTRAIL_PORT`, `--port`.
        lax: the value is text from outside TOML: numbers, booleans and lists are read from it.
    """

    value: Any
    where: str
    lax: bool = False


def read_value(given: Given, kind: Any) -> Any:
    """Return what was given as ``kind``.

    Raises:
        ValueError: says where and why not.
    """
    try:
        converted = msgspec.convert(_prepared(given, kind), kind, strict=not given.lax, dec_hook=_decode_path)
        for meta in getattr(kind, "__metadata__", ()):
            if isinstance(meta, Meta) and meta.extra is not None and "read" in meta.extra:
                converted = meta.extra["read"](converted)
    except (msgspec.ValidationError, ValueError) as error:
        text = str(error)
        raise ValueError(f"{given.where}: {text[:1].lower()}{text[1:]}") from error
    return converted


def read_struct(kind: type[S], given: Mapping[str, Given], table: str) -> tuple[S | None, list[str]]:
    """Make a struct of what was given, and list all that is wrong with it, not only the first.

    Args:
        given: by field name as the settings file has it.
        table: how problems name the table, `[plugins."channel.podcast"]`.

    Returns:
        The struct, or None where there is a problem, and all problems.
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    problems = [f"{given[name].where} is unknown{suggestion(name, fields)}" for name in given if name not in fields]
    problems += [
        f"{table}.{name} is required" for name, field in fields.items() if field.required and name not in given
    ]
    values: dict[str, Any] = {}
    for name in given.keys() & fields.keys():
        try:
            values[fields[name].name] = read_value(given[name], fields[name].type)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        return None, problems
    try:
        return kind(**values), []
    except (TypeError, ValueError) as error:
        # A struct's own __post_init__ found values that do not go together.
        return None, [f"{table}: {error}"]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` when something known is near, else nothing."""
    names = list(known)
    same_end = [full for full in names if full.rpartition(".")[2] == name]
    nearest = same_end or difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _prepared(given: Given, kind: Any) -> Any:
    plain = kind.__origin__ if hasattr(kind, "__metadata__") else kind
    if get_origin(plain) is Literal and given.value not in get_args(plain):
        raise ValueError(f"expected one of {', '.join(map(str, get_args(plain)))}")
    if given.lax and isinstance(given.value, str) and get_origin(plain) in (tuple, list, set, frozenset):
        return [part.strip() for part in given.value.split(",") if part.strip()]
    return given.value


def _decode_path(kind: type[Any], value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path):
        return Path(value).expanduser()
    raise ValueError(f"expected `{kind.__name__}`, got `{type(value).__name__}`")
