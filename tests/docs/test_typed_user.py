"""The SDK's types: a shop's code passes strict checking, its mistakes do not; and the same code runs."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

from docs import typed_user
from docs.typed_user import test_the_shop as the_shop_s_own_test
from touchtrail import Context, Options, _arguments
from touchtrail.testing import CapturingClient

ROOT = Path(__file__).parents[2]
USER = Path(typed_user.__file__)


def test_a_shops_code_is_well_typed_and_its_mistakes_are_found() -> None:
    assert len(re.findall(r"# type: ignore\[", USER.read_text())) == 17
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary", str(USER)]
    checked = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": "sdk"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_same_code_runs(tmp_path: Path) -> None:
    with typed_user.build(tmp_path) as client:
        assert typed_user.sell(client) == [True] * 7
    with CapturingClient() as capturing:
        the_shop_s_own_test(capturing)
    assert asyncio.run(typed_user.serve()) == [True] * 7


def test_the_typed_options_are_the_options() -> None:
    assert get_type_hints(_arguments.AllOptions) == get_type_hints(Options)
    assert get_type_hints(_arguments.ContextFacts) == get_type_hints(Context)
    assert get_type_hints(_arguments.AllOptions).keys() - get_type_hints(_arguments.GivenOptions) == {"url", "key"}
