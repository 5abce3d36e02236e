"""What an import costs a shop: of everything outside the standard library, `import touchtrail` loads msgspec alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from touchtrail_collector.__main__ import EXTRA

HEAVY = {"asyncio", "email", "http", "multiprocessing", "sqlite3", "ssl", "urllib.request"}
"""Parts of the standard library that a shop's start should not pay for."""


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a statement loads in a fresh process."""
    program = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def foreign(modules: set[str]) -> set[str]:
    """Return the top-level names from outside the standard library."""
    return {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names)


@pytest.mark.parametrize("statement", ["import touchtrail", "from touchtrail import Client, events"])
def test_importing_the_sdk_loads_only_msgspec(statement: str) -> None:
    loaded = loaded_by(statement)
    # msgspec itself takes typing_extensions where it is installed.
    assert foreign(loaded) - {"typing_extensions"} == {"touchtrail", "msgspec"}
    assert loaded & HEAVY == set()


def test_the_commands_help_loads_neither_numpy_nor_the_web_server() -> None:
    loaded = foreign(loaded_by("from touchtrail_collector.cli import cli; cli.main(['--help'], standalone_mode=False)"))
    assert "click" in loaded
    assert loaded & EXTRA == {"click"}
