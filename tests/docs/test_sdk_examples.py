"""Every example in the SDK's docstrings runs and gives what it says."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

import touchtrail

SDK = Path(touchtrail.__file__).parent
PAGES = sorted(path for path in SDK.rglob("*.py") if ">>>" in path.read_text("utf-8"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SDK.parent).with_suffix("").parts).removesuffix(".__init__")


def test_there_are_examples_to_run() -> None:
    assert {"touchtrail.client", "touchtrail.money", "touchtrail.testing"} <= set(map(module_name, PAGES))


@pytest.mark.parametrize("path", PAGES, ids=module_name)
def test_the_examples_of_a_module_give_what_they_say(path: Path) -> None:
    module = import_module(module_name(path))
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    written = re.findall(r"^ *>>> ", path.read_text("utf-8"), re.MULTILINE)
    assert (results.failed, results.attempted) == (0, len(written))
