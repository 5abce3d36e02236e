"""Every setting stands in collector/README.md with its default, its range and its variables, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest

from reference_page import COLLECTOR, names_in, read_rows, read_sections
from touchtrail_collector.settings import SHORT_VARIABLES, Settings

SECTIONS = {field.name: field.type for field in msgspec.structs.fields(Settings) if field.name != "config"}
SETTINGS = {
    f"{section}.{field.name}": field
    for section, kind in SECTIONS.items()
    for field in msgspec.structs.fields(kind)
    if field.name != "tables"  # the plugins' own tables: in the file, by id
}


@pytest.fixture(scope="module")
def documented() -> dict[str, list[str]]:
    """Return the row of each setting by its full name."""
    return {
        f"{heading[1:].partition(']')[0]}.{names_in(row[0])[0]}": row
        for heading, text in read_sections(COLLECTOR).items()
        if heading.startswith("[")
        for row in read_rows(text)
    }


def written(value: Any) -> str:
    """Return a default as a settings file would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    return str(value)


def bounds(kind: Any) -> list[str]:
    """Return the numbers that limit a setting, as people write them."""
    metas = [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    names = ("ge", "gt", "le", "min_length", "max_length")
    limits = [getattr(meta, name) for meta in metas for name in names]
    return [f"{limit:,}" for limit in limits if limit is not None]


def variables_of(name: str) -> set[str]:
    short = {variable for variable, setting in SHORT_VARIABLES.items() if setting == name}
    return short | {f"TOUCHTRAIL_{name.replace('.', '_').upper()}"}


def another_value(name: str, default: Any) -> str:
    """Return a valid value that is not the default, as text."""
    texts = {"shop.currency": "CHF", "shop.time_zone": "Europe/Berlin", "attribution.repeat": "since_last",
             "server.trusted_proxies": "10.0.0.0/8", "server.log_format": "json"}  # fmt: skip
    if isinstance(default, bool):
        return str(not default).lower()
    return str(default + 1) if isinstance(default, int | float) else texts.get(name, "another.example")


def test_the_tables_list_exactly_the_settings_there_are(documented: dict[str, list[str]]) -> None:
    assert set(documented) == set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_documented_with_its_default_range_and_variables(
    name: str, documented: dict[str, list[str]]
) -> None:
    _, default, allowed, meaning, variables = documented[name]
    field = SETTINGS[name]
    assert names_in(default) == [written(field.default)]
    for bound in bounds(field.type):
        assert bound in allowed
    if get_origin(field.type) is Literal:
        assert names_in(allowed) == list(get_args(field.type))
    assert meaning
    assert set(names_in(variables)) == variables_of(name)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_documented_variables_are_really_read(name: str, documented: dict[str, list[str]]) -> None:
    section, _, setting = name.partition(".")
    default = SETTINGS[name].default
    for variable in names_in(documented[name][4]):
        loaded = Settings.load(config=None, environ={variable: another_value(name, default)})
        assert getattr(getattr(loaded, section), setting) != default, variable


def test_the_example_file_is_valid(tmp_path: Path) -> None:
    text = read_sections(COLLECTOR)["Settings"]
    example = text.split("```toml\n")[1].split("```")[0]
    file = tmp_path / "touchtrail.toml"
    file.write_text(example, "utf-8")
    loaded = Settings.load(config=file, environ={})
    assert loaded.shop.time_zone == "Europe/Berlin"
    assert loaded.plugins.disabled == ("source.segment",)
