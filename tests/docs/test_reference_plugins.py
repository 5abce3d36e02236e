"""Hooks, plugin names and what plugins may import: the pages, the build file, the disk and the installation agree."""

from __future__ import annotations

import inspect
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from reference_page import PLUGINS, ROOT, names_in, read_rows, read_sections
from touchtrail_collector import hookspecs

HOOKS = {name: value for name, value in vars(hookspecs).items() if hasattr(value, "touchtrail_spec")}
FIRST_PARTY = ROOT / "plugins/touchtrail_plugins"


def declared() -> dict[str, str]:
    """Return the entry points of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    points: dict[str, str] = project["entry-points"]["touchtrail"]
    return points


def on_disk() -> dict[str, str]:
    """Return every plugin module by the name it must have: its family's singular and its own."""
    modules = [path for path in FIRST_PARTY.glob("*/*.py") if not path.name.startswith("_")]
    return {plugin_id(path): f"touchtrail_plugins.{path.parent.name}.{path.stem}" for path in modules}


def plugin_id(module: Path) -> str:
    return f"{module.parent.name.removesuffix('s')}.{module.stem}"


def test_there_are_hooks() -> None:
    assert len(HOOKS) >= 9


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_documented_with_its_signature(name: str) -> None:
    parameters = ", ".join(inspect.signature(HOOKS[name]).parameters)
    headings = [heading for heading in read_sections(PLUGINS) if heading.startswith(f"{name}(")]
    assert [heading.partition(" ->")[0] for heading in headings] == [f"{name}({parameters})"]


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_has_a_docstring_and_types(name: str) -> None:
    assert inspect.getdoc(HOOKS[name])
    assert set(HOOKS[name].__annotations__) == {*inspect.signature(HOOKS[name]).parameters, "return"}


def test_no_hook_is_documented_that_does_not_exist() -> None:
    documented = {heading.partition("(")[0] for heading in read_sections(PLUGINS) if heading.startswith("touchtrail_")}
    assert documented == set(HOOKS)


def test_one_plugin_is_one_module_is_one_entry_point() -> None:
    assert declared() == on_disk()


def test_the_installation_has_the_entry_points_of_the_build_file() -> None:
    installed = {
        point.name: point.value
        for point in entry_points(group="touchtrail")
        if point.dist is not None and point.dist.name == "touchtrail"
    }
    assert installed == declared(), "install again: pip install -e '.[collector,dev]'"


def test_every_first_party_plugin_is_in_the_table() -> None:
    rows = read_rows(read_sections(PLUGINS)["First-party plugins"])
    assert sorted(name for row in rows for name in names_in(row[0])) == sorted(declared())
