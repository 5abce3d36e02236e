"""Settings: defaults < touchtrail.toml < environment < flags; one error lists every problem and where it came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from touchtrail_collector.errors import SettingsError

from .document import read_document
from .sections import (
    AttributionSettings,
    JourneySettings,
    LimitsSettings,
    PluginsSettings,
    QuarantineSettings,
    ServerSettings,
    ShopSettings,
    StoreSettings,
)
from .value import Given, read_struct, read_value, suggestion

__all__ = [
    "AttributionSettings",
    "Given",
    "JourneySettings",
    "LimitsSettings",
    "PluginsSettings",
    "QuarantineSettings",
    "ServerSettings",
    "Settings",
    "ShopSettings",
    "StoreSettings",
    "is_debug",
    "read_struct",
    "suggestion",
]

CONFIG_FILE = "touchtrail.toml"
PREFIX = "TOUCHTRAIL_"
SHORT_VARIABLES = {"TOUCHTRAIL_DB": "store.db", "TOUCHTRAIL_HOST": "server.host", "TOUCHTRAIL_PORT": "server.port"}
"""Variables that go without their section's name, because they are set most often."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a collector, one struct per component.

    Args:
        config: the settings file that was read; None = there was none.
    """

    server: ServerSettings = ServerSettings()
    limits: LimitsSettings = LimitsSettings()
    store: StoreSettings = StoreSettings()
    quarantine: QuarantineSettings = QuarantineSettings()
    shop: ShopSettings = ShopSettings()
    journey: JourneySettings = JourneySettings()
    attribution: AttributionSettings = AttributionSettings()
    plugins: PluginsSettings = PluginsSettings()
    config: Path | None = None

    @classmethod
    def load(
        cls,
        config: Path | None = None,
        db: Path | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Settings:
        """Read all settings, each from the strongest place that names it.

        Args:
            config: the settings file; None = `touchtrail.toml` beside the database, where there is one.
            db: the database file as a flag named it.
            environ: variables `TOUCHTRAIL_SECTION_NAME`, and `TOUCHTRAIL_DB`, `TOUCHTRAIL_HOST`,
                `TOUCHTRAIL_PORT`; lists are separated by commas, an empty variable counts as not set. None =
                those of this process.
            overrides: what flags said, `{"server.port": 0}`; a value of None counts as not said.

        Raises:
            SettingsError: with every problem of every place.
        """
        problems: list[str] = []
        variables = _variables(os.environ if environ is None else environ, problems)
        flags = _flags({"store.db": db, **(overrides or {})})
        path = config or _config_beside({**variables, **flags}.get("store.db"))
        # A folder of that name, or a link that leads nowhere, is a mistake that must not pass for no settings at all.
        found = config is not None or os.path.lexists(path)
        values: dict[str, Any] = {}
        # Every place is checked whole: a value that a stronger one covers today is a trap for tomorrow.
        for place in (_file(path, problems) if found else {}, variables, flags):
            values |= _read_place(place, problems)
        if problems:
            raise SettingsError(problems)
        return _assembled(values, path if found else None)


def is_debug(environ: Mapping[str, str] | None = None) -> bool:
    """True when `TOUCHTRAIL_DEBUG` asks for tracebacks."""
    return (os.environ if environ is None else environ).get("TOUCHTRAIL_DEBUG", "") not in ("", "0")


def _sections() -> dict[str, type[msgspec.Struct]]:
    return {field.name: field.type for field in msgspec.structs.fields(Settings) if field.name != "config"}


def _types() -> dict[str, Any]:
    """Every setting's type by its full name, `server.port`, in the order of the structs."""
    return {
        f"{section}.{field.name}": field.type
        for section, kind in _sections().items()
        for field in msgspec.structs.fields(kind)
    }


def _config_beside(db: Given | None) -> Path:
    return (StoreSettings().db if db is None else Path(db.value)).parent / CONFIG_FILE


def _flags(flags: Mapping[str, Any]) -> dict[str, Given]:
    return {
        name: Given(value, f"--{name.rpartition('.')[2].replace('_', '-')}", lax=True)
        for name, value in flags.items()
        if value is not None
    }


def _variables(environ: Mapping[str, str], problems: list[str]) -> dict[str, Given]:
    known = {f"{PREFIX}{name.replace('.', '_').upper()}": name for name in _types() if name != "plugins.tables"}
    known |= SHORT_VARIABLES
    sections = tuple(f"{PREFIX}{section.upper()}_" for section in _sections())
    values = {}
    for variable in sorted(environ):
        if variable in known and environ[variable] != "":
            values[known[variable]] = Given(environ[variable], variable, lax=True)
        elif variable not in known and variable.startswith(sections):
            # Other TOUCHTRAIL_ variables are the SDK's, which a shop on the same machine may use.
            problems.append(f"{variable} is unknown{suggestion(variable, known)}")
    return values


def _file(path: Path, problems: list[str]) -> dict[str, Given]:
    try:
        document = read_document(path)
    except ValueError as error:
        problems.append(f"{path}: {error}")
        return {}
    values: dict[str, Given] = {}
    for section, table in document.items():
        if section not in _sections():
            problems.append(f"{path}: {section} is unknown{suggestion(section, (*_sections(), *_types()))}")
        elif not isinstance(table, dict):
            problems.append(f"{path}: {section} must be a table, [{section}]")
        else:
            own = _with_plugin_tables(path, table, problems) if section == "plugins" else table
            values |= {f"{section}.{key}": Given(value, f"{path}: {section}.{key}") for key, value in own.items()}
    db = values.get("store.db")
    if db is not None and isinstance(db.value, str):
        values["store.db"] = db._replace(value=path.parent / Path(db.value).expanduser())
    return values


def _with_plugin_tables(path: Path, table: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return `[plugins]` with the plugins' own tables moved under ``tables``."""
    tables = {key: value for key, value in table.items() if isinstance(value, dict)}
    for key in [key for key in tables if "." not in key]:
        # TOML reads [plugins.channel.default] as a table in a table in a table.
        inner = next(iter(tables.pop(key)), "name")
        problems.append(f'{path}: plugins.{key} is no plugin; write its id in quotes: [plugins."{key}.{inner}"]')
    return {"tables": tables} | {key: value for key, value in table.items() if not isinstance(value, dict)}


def _read_place(place: Mapping[str, Given], problems: list[str]) -> dict[str, Any]:
    types = _types()
    values = {}
    for name, given in place.items():
        try:
            if name not in types:
                raise ValueError(f"{given.where} is unknown{suggestion(name, types)}")
            values[name] = read_value(given, types[name])
        except ValueError as error:
            problems.append(str(error))
    return values


def _assembled(values: Mapping[str, Any], config: Path | None) -> Settings:
    sections: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, _, field = name.partition(".")
        sections.setdefault(section, {})[field] = value
    structs: dict[str, Any] = {section: _sections()[section](**fields) for section, fields in sections.items()}
    return Settings(config=config, **structs)
