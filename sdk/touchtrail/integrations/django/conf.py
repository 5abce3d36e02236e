"""The ``TOUCHTRAIL`` dict of Django's settings: read once, and all that is wrong with it named at once."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from django.conf import settings
from django.utils.module_loading import import_string

from touchtrail.context import Consent
from touchtrail.errors import OptionsError
from touchtrail.options import ADDRESS, Options, assemble, read_variables, unknown_option

from ..visit import HttpRequest, WebOptions

Kind = TypeVar("Kind", bound=msgspec.Struct)


class DjangoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What only Django can be told, beside the client's ``Options`` and the ``WebOptions`` of every framework.

    Args:
        customer_id: a function, or its dotted path, that takes the signed-in user and returns the shop's customer
            number; None for a user who is no customer (staff). Without it the number is the user's primary key.
        recognise_users: the signed-in user's number goes with the events of every request. False = only what
            ``request.touchtrail.identify`` is told.
        track_sign_in: Django's ``login()`` tracks `customer_signed_in`.
        track_sign_out: Django's ``logout()`` tracks `customer_signed_out`.
        consent: a function, or its dotted path, that takes the request's facts and returns a ``Consent``; for a
            shop whose consent manager has its own cookie.
        browser_key: the write key of the *browser's* source, which everybody can read; empty = the template tag
            renders nothing.
        browser_url: the collector's address as browsers reach it; empty = ``url``.
        capture: nothing is sent; ``client()`` is a ``touchtrail.testing.CapturingClient``. For a test's settings.

    Raises:
        OptionsError: values that cannot work, all of them named.
    """

    customer_id: Callable[[Any], object] | None = None
    recognise_users: bool = True
    track_sign_in: bool = True
    track_sign_out: bool = True
    consent: Callable[[HttpRequest], Consent | None] | None = None
    browser_key: str = ""
    browser_url: str = ""
    capture: bool = False

    def __post_init__(self) -> None:
        flags = ("recognise_users", "track_sign_in", "track_sign_out", "capture")
        problems = [f"{name}: must be True or False" for name in flags if not isinstance(getattr(self, name), bool)]
        texts = ("browser_key", "browser_url")
        problems += [f"{name}: must be text" for name in texts if not isinstance(getattr(self, name), str)]
        if problems:
            raise OptionsError(problems)


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """All that ``TOUCHTRAIL`` says, each part for whom it is for."""

    client: Options
    web: WebOptions
    django: DjangoOptions


def given() -> object:
    """Return the ``TOUCHTRAIL`` setting as it stands; an empty dict when there is none."""
    return getattr(settings, "TOUCHTRAIL", {})


def read_configuration(values: object, *, needs_address: bool = True) -> Configuration:
    """Return what the dict and, for what it leaves out, the ``TOUCHTRAIL_*`` variables say.

    Args:
        values: the ``TOUCHTRAIL`` dict.
        needs_address: address and key must be there, unless the client is disabled or captures.

    Raises:
        OptionsError: every unknown key and every value that cannot work.
    """
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise OptionsError(["TOUCHTRAIL: must be a dict of option names to values"])
    shares = {kind: {name: values[name] for name in values if name in kind.__struct_fields__} for kind in KINDS}
    names = [name for kind in KINDS for name in kind.__struct_fields__]
    problems = [unknown_option(name, names) for name in values if name not in names]
    own = _read_own(shares[DjangoOptions], problems)
    web = _read_plain(WebOptions, shares[WebOptions], problems)
    needs_address = needs_address and values.get("capture") is not True
    client = _read_client(shares[Options], problems, needs=ADDRESS if needs_address else ())
    if problems or client is None or web is None or own is None:
        raise OptionsError(problems)
    return Configuration(client=client, web=web, django=own)


KINDS: tuple[type[msgspec.Struct], ...] = (Options, WebOptions, DjangoOptions)
"""Whose fields are keys of ``TOUCHTRAIL``; no name stands in two of them."""


def _read_client(share: dict[str, Any], problems: list[str], *, needs: Iterable[str]) -> Options | None:
    # A setting that is empty, `os.environ.get("…")` of nothing, is as good as absent.
    told = {name: value for name, value in share.items() if name not in ADDRESS or value}
    variables, unreadable = read_variables(os.environ, told)
    try:
        return assemble(variables | told, unreadable, needs=needs)
    except OptionsError as error:
        problems += error.problems
        return None


def _read_own(share: dict[str, Any], problems: list[str]) -> DjangoOptions | None:
    functions = {}
    for name in ("customer_id", "consent"):
        try:
            functions[name] = _function(share.pop(name, None))
        except (ImportError, TypeError) as error:
            problems.append(f"{name}: {error}")
    address = share.get("browser_url")
    if isinstance(address, str) and address and urlsplit(address).scheme not in ("http", "https"):
        problems.append("browser_url: must be an http or https address such as https://collect.shop.example")
    own = _read_plain(DjangoOptions, share, problems)
    return None if own is None else msgspec.structs.replace(own, **functions)


def _function(value: object) -> Callable[..., Any] | None:
    function = import_string(value) if isinstance(value, str) else value
    if function is not None and (not callable(function) or inspect.iscoroutinefunction(function)):
        raise TypeError("must be a plain function or its dotted path")
    return function


def _read_plain(kind: type[Kind], share: dict[str, Any], problems: list[str]) -> Kind | None:
    """Return the struct; a list or set does for a tuple, as people write them in settings.

    The struct itself says what is wrong with its values, in the words of every framework.
    """
    known: dict[str, Any] = {}
    misfits = []
    for field in msgspec.structs.fields(kind):
        if field.name in share:
            try:
                known[field.name] = msgspec.convert(share[field.name], field.type)
            except msgspec.ValidationError as error:
                known[field.name] = share[field.name]
                misfits.append((field.name, error))
    found: list[str] = []
    options = None
    try:
        options = kind(**known)
    except OptionsError as error:
        found += error.problems
    # A type that the struct does not look at itself.
    said = {problem.partition(":")[0] for problem in found}
    found += [f"{name}: {error}" for name, error in misfits if name not in said]
    problems += found
    return None if found else options
