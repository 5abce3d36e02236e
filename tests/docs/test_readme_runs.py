"""What the READMEs tell to type works as they say.

A block runs when the line above it is `<!-- runs -->` or `<!-- runs with a collector -->`. All marked blocks of a page
run in order in one shell, in a new folder, with `touchtrail` on the PATH and TOUCHTRAIL_DB in that folder. From the
first block that asks for a collector on, one runs there; its address is in TOUCHTRAIL_URL and stands for
`127.0.0.1:8377` in the text. `python` blocks are programs of their own, `sh` blocks scripts.

In `console` blocks, lines that begin with `$ ` are commands, continued by lines that begin with `> `; the other lines
are what must come out, where `…` stands for anything. Every command must succeed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from reference_page import COLLECTOR, PLUGINS, README, ROOT, SDK, Block, count_marks, read_blocks

PAGES = [README, SDK, COLLECTOR, PLUGINS]
TIMEOUT_S = 120
BEGIN, END = "\x02", "\x03"

PRELUDE = """
exec 2>&1 </dev/null
start_collector() {
    touchtrail serve >serve.log 2>&1 & collector=$!
    trap 'kill $collector; wait $collector' EXIT
    until grep -q "touchtrail listening on $TOUCHTRAIL_URL" serve.log; do
        kill -0 $collector || { cat serve.log; exit 1; }
        sleep 0.05
    done
}
settle() { until curl -s "$TOUCHTRAIL_URL/readyz" | grep -q '"projector_lag_events":0,'; do sleep 0.05; done; }
"""


class Step(NamedTuple):
    """One command and what it must print; None = anything."""

    command: str
    expected: str | None


def read_steps(block: Block, folder: Path) -> Iterator[Step]:
    """Yield what a block has to do."""
    if block.language == "console":
        yield from read_console(block.text)
    elif block.language == "python":
        file = folder / f"block_{len(list(folder.glob('block_*')))}.py"
        file.write_text(block.text, "utf-8")
        yield Step(f"python {file.name}", None)
    else:
        yield Step(f"(set -e\n{block.text}\n)", None)


def read_console(text: str) -> Iterator[Step]:
    """Yield the commands of a console block, each with the lines under it."""
    assert text.startswith("$ "), f"a console block must begin with a command: {text[:60]!r}"
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *lines = part.splitlines()
        while lines and lines[0].startswith("> "):
            command += "\n" + lines.pop(0)[2:]
        yield Step(command, "\n".join(lines) if lines else None)


def make_script(blocks: list[Block], folder: Path, port: int) -> tuple[str, list[Step]]:
    """Return the page's script, which marks where each step's output begins and ends, and its steps."""
    script, steps, has_collector = [PRELUDE], [], False
    for block in blocks:
        if block.needs_collector and not has_collector:
            script.append("start_collector")
            has_collector = True
        for step in read_steps(block._replace(text=block.text.replace("127.0.0.1:8377", f"127.0.0.1:{port}")), folder):
            steps.append(step)
            script.append(f"printf '{BEGIN}'\n{step.command}\nstatus=$?; printf '{END}%d\\n' $status")
            script.append("[ $status = 0 ] || exit 1")
            if has_collector:
                script.append("settle")
    return "\n".join(script), steps


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def environment(folder: Path, port: int) -> dict[str, str]:
    """Return the variables of the shell; nothing of the user's own settings or files."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHTRAIL_")}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "TOUCHTRAIL_DB": str(folder / "touchtrail.db"),
        "TOUCHTRAIL_PORT": str(port),
        "TOUCHTRAIL_URL": f"http://127.0.0.1:{port}",
    }


def run_script(script: str, folder: Path, port: int) -> str:
    """Return what the script printed, errors included."""
    (folder / "page.sh").write_text(script, "utf-8")
    with subprocess.Popen(
        ["bash", "page.sh"],
        cwd=folder,
        env=environment(folder, port),
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    ) as shell:
        try:
            return shell.communicate(timeout=TIMEOUT_S)[0]
        except BaseException:
            os.killpg(shell.pid, signal.SIGKILL)
            raise


def is_as_expected(output: str, expected: str) -> bool:
    """True when the output is what the page says, blanks at line ends and empty lines around it apart."""
    pattern = ".*?".join(re.escape(tidy(part)) for part in expected.split("…"))
    return re.fullmatch(pattern, tidy(output), re.DOTALL) is not None


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_mark_stands_right_above_a_block(page: Path) -> None:
    assert len(list(read_blocks(page))) == count_marks(page)


@pytest.mark.parametrize("page", [README, COLLECTOR], ids=page_name)
def test_the_pages_for_newcomers_have_blocks_that_run(page: Path) -> None:
    assert sum(block.needs_collector for block in read_blocks(page)) >= 3


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_marked_blocks_of_a_page_run_and_print_what_it_says(page: Path, tmp_path: Path) -> None:
    missing = [tool for tool in ("bash", "curl", "sqlite3") if shutil.which(tool) is None]
    if missing:
        # Said aloud on a laptop; where changes are judged, a page nobody ran is a failure.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"the pages' commands need {', '.join(missing)}")
    port = free_port()
    script, steps = make_script(list(read_blocks(page)), tmp_path, port)
    output = run_script(script, tmp_path, port)
    results = re.findall(f"{BEGIN}(.*?){END}(\\d+)\n", output, re.DOTALL)
    for step, (printed, status) in zip(steps, results, strict=False):
        assert status == "0", f"$ {step.command}\n{printed}"
        if step.expected is not None:
            assert is_as_expected(printed, step.expected), f"$ {step.command}\n{printed}\n--- expected\n{step.expected}"
    assert len(results) == len(steps), output


@pytest.mark.parametrize(
    ("output", "expected", "fits"),
    [
        ("a\n", "a", True),
        ("a  \nb", "a\nb", True),
        ("a", "b", False),
        ("a\nb\nc\n", "a\n…", True),
        ("a b c", "a … c", True),
        ("a b d", "a … c", False),
        ("x a", "a", False),
        ("", "…", True),
    ],
)
def test_three_dots_stand_for_anything_and_nothing_else_does(output: str, expected: str, fits: bool) -> None:
    assert is_as_expected(output, expected) is fits
