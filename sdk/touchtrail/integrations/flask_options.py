"""What a Flask app's configuration says: read once, and all that is wrong with it named at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from ..client import Client
from ..errors import OptionsError
from ..options import ADDRESS, Options, assemble, read_variables
from .web_options import WebOptions

_Kind = TypeVar("_Kind", bound=msgspec.Struct)
_PREFIX: Final = "TOUCHTRAIL_"


class FlaskOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What only Flask can be told, beside the client's ``Options`` and the ``WebOptions`` of every framework.

    Args:
        client: takes the events, instead of one made from the configuration; a test gives a ``CapturingClient``.
        browser_key: the write key of the *browser's* source, which everybody can read; empty = the template function
            renders nothing.
        browser_url: the collector's address as browsers reach it; empty = ``url``.

    Raises:
        OptionsError: values that cannot work, all of them named.
    """

    client: Client | None = None
    browser_key: str = ""
    browser_url: str = ""

    def __post_init__(self) -> None:
        problems = []
        if not isinstance(self.client, Client | None):
            problems.append("client: must be a touchtrail.Client")
        if not isinstance(self.browser_key, str):
            problems.append("browser_key: must be text")
        address = self.browser_url
        if not isinstance(address, str) or (address and urlsplit(address).scheme not in ("http", "https")):
            problems.append("browser_url: must be an http or https address such as https://collect.shop.example")
        if problems:
            raise OptionsError(problems)


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """All that the configuration says, each part for whom it is for.

    Args:
        client: None where a client is given.
    """

    client: Options | None
    web: WebOptions
    flask: FlaskOptions


def read_configuration(config: Mapping[str, Any], *, needs_client: bool) -> Configuration:
    """Return what ``app.config`` and, for the client, the ``TOUCHTRAIL_*`` variables say.

    Args:
        needs_client: False = the options for a client are not looked at.

    Raises:
        OptionsError: every unknown name and every value that cannot work.
    """
    given, problems = _given(config)
    web = _read(WebOptions, given, problems)
    own = _read(FlaskOptions, given, problems)
    needs_client = needs_client and given.get("client") is None
    client = _client_options(given, problems) if needs_client else None
    if problems or web is None or own is None:
        raise OptionsError(problems)
    return Configuration(client=client, web=web, flask=own)


def _given(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the options by name, from the dict and the single keys, and what is wrong with their names."""
    one = config.get("TOUCHTRAIL", {})
    if not isinstance(one, Mapping) or not all(isinstance(name, str) for name in one):
        return {}, ["TOUCHTRAIL: must be a dict of option names to values"]
    found = [(f"TOUCHTRAIL[{name!r}]", name.lower(), value) for name, value in one.items()]
    singles = ((key, value) for key, value in config.items() if key.startswith(_PREFIX))
    found += [(key, key.removeprefix(_PREFIX).lower(), value) for key, value in singles]
    known = {name for kind in (Options, WebOptions, FlaskOptions) for name in kind.__struct_fields__}
    problems, given = [], {}
    for place, name, value in found:
        if name not in known:
            problems.append(f"{place}: no such option")
        elif name in given:
            problems.append(f"{place}: given twice")
        given[name] = value
    return given, problems


def _read(kind: type[_Kind], given: Mapping[str, Any], problems: list[str]) -> _Kind | None:
    """Return the struct; a list does for a tuple, as people and JSON write them."""
    known: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.name in given:
            value = given[field.name]
            known[field.name] = tuple(value) if isinstance(value, list | set) else value
    try:
        return kind(**known)
    except OptionsError as error:
        problems += error.problems
        return None


def _client_options(given: Mapping[str, Any], problems: list[str]) -> Options | None:
    # A key that is empty, `os.environ.get("…")` of nothing, is as good as absent.
    own = {name: given[name] for name in Options.__struct_fields__ if name in given}
    told = {name: value for name, value in own.items() if value or name not in ADDRESS}
    variables, unreadable = read_variables(os.environ, told)
    try:
        return assemble(variables | told, unreadable, needs=ADDRESS)
    except OptionsError as error:
        problems += error.problems
        return None
