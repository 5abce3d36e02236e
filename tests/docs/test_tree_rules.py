"""Rules of the tree that no linter checks: sizes, names, facades, docstrings, what files begin with and never hold."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

import touchtrail
from reference_page import PACKAGES, ROOT
from touchtrail.events import VOCABULARY
from touchtrail_collector import api

MODULE_LINES = 500
SHAPELESS_NAMES = {"utils", "util", "helpers", "helper", "common", "consts", "constants", "misc", "manager"}
FOLDERS = (*PACKAGES, ROOT / "tests", ROOT / "examples", ROOT / "scripts", ROOT / ".ci")
MODULES = [path for folder in FOLDERS for path in sorted(folder.rglob("*.py"))]
SQL_FILES = sorted(path for package in PACKAGES for path in package.rglob("*.sql"))
FACADES = [touchtrail, api]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def texts() -> Iterator[Path]:
    """Yield every file a person wrote, generated ones left out."""
    for folder in FOLDERS:
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                yield path
    yield from (path for pattern in ("*.md", "*/*.md", "*.toml") for path in ROOT.glob(pattern))


def modules_with_all() -> list[str]:
    """Return the dotted names of the modules that say what they expose."""
    found = []
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            if "__all__" in path.read_text("utf-8"):
                parts = path.relative_to(package.parent).with_suffix("").parts
                found.append(".".join(part for part in parts if part != "__init__"))
    return sorted(found)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short_enough_to_be_read(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MODULE_LINES


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [name_of(path) for path in MODULES if path.stem.strip("_") in SHAPELESS_NAMES] == []


def test_every_module_of_the_packages_says_what_it_is_for() -> None:
    modules = [path for path in MODULES if any(path.is_relative_to(package) for package in PACKAGES)]
    assert [name_of(path) for path in modules if not ast.get_docstring(ast.parse(path.read_text("utf-8")))] == []


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_a_package_tells_type_checkers_that_it_is_typed(package: Path) -> None:
    assert (package / "py.typed").is_file()


@pytest.mark.parametrize("path", SQL_FILES, ids=name_of)
def test_a_sql_file_begins_with_its_purpose_parameters_and_index(path: Path) -> None:
    comments = [line for line in path.read_text("utf-8").splitlines() if line.startswith("--")]
    heads = [line.removeprefix("-- ").partition(":")[0] for line in comments]
    assert [head for head in heads if head in ("purpose", "parameters", "index")] == ["purpose", "parameters", "index"]
    assert heads[0] == "purpose"


@pytest.mark.parametrize("name", modules_with_all())
def test_all_is_sorted_and_names_only_what_is_there(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__all__ == sorted(module.__all__, key=constants_classes_functions)
    assert [entry for entry in module.__all__ if not hasattr(module, entry)] == []


def constants_classes_functions(name: str) -> tuple[int, str]:
    """Sort as the linter does (RUF022)."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("facade", FACADES, ids=lambda module: module.__name__)
def test_a_facade_exposes_exactly_its_all(facade: ModuleType) -> None:
    public = {name: value for name, value in vars(facade).items() if not name.startswith("_") and name != "annotations"}
    exposed = {name for name, value in public.items() if not isinstance(value, ModuleType)}
    listed_modules = {name for name in facade.__all__ if isinstance(public[name], ModuleType)}
    assert exposed | listed_modules == set(facade.__all__)


def documented_objects() -> Iterator[tuple[str, object]]:
    """Yield what users hold on to: everything a facade exposes, with the public methods of its classes."""
    for facade in FACADES:
        for name in facade.__all__:
            value = getattr(facade, name)
            yield f"{facade.__name__}.{name}", value
            if inspect.isclass(value):
                for method_name, method in inspect.getmembers(value, inspect.isroutine):
                    if not method_name.startswith("_") and is_ours(method):
                        yield f"{facade.__name__}.{name}.{method_name}", method


def is_ours(method: object) -> bool:
    return str(getattr(method, "__module__", "")).startswith("touchtrail")


@pytest.mark.parametrize(("name", "value"), [pytest.param(*entry, id=entry[0]) for entry in documented_objects()])
def test_what_users_hold_on_to_has_a_docstring_of_its_own(name: str, value: object) -> None:
    if not hasattr(value, "__doc__") or isinstance(value, str | int | float) or is_alias(value):
        return
    own = vars(value).get("__doc__") if inspect.isclass(value) else inspect.getdoc(value)
    assert own, name


def is_alias(value: object) -> bool:
    """True for a name of a type, such as `Amount`, that cannot carry a docstring."""
    return not (inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value))


@pytest.mark.parametrize("name", VOCABULARY)
def test_every_event_says_what_it_means(name: str) -> None:
    kind = VOCABULARY[name]
    assert issubclass(kind, msgspec.Struct)
    assert vars(kind).get("__doc__")


def test_nothing_in_the_tree_names_a_place_of_one_machine_or_work_left_undone() -> None:
    # Put together from parts, so that this file does not find itself.
    places = re.compile(r"(?<![\w.])/(?:(?:" + "|".join(["root", "work"]) + r")/\w|(?:home|Users)/\w+/)")
    undone = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")
    found = []
    for path in texts():
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if places.search(line) or undone.search(line):
                found.append(f"{name_of(path)}:{number}: {line.strip()}")
    assert found == []
