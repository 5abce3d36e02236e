"""`touchtrail demo` does the main job in one go, and says how far its reports are from the truth."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from collector_process import COMMAND, touchtrail


def test_the_demo_delivers_everything_and_its_books_agree_with_the_truth(tmp_path: Path) -> None:
    done = touchtrail("demo", "--no-serve", "--people", "200", "--db", str(tmp_path / "demo.db"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert ", 0 rejected, 0 dropped" in done.stdout
    truth = next(line for line in done.stdout.splitlines() if line.startswith("Orders: "))
    orders, revenue = truth.removeprefix("Orders: ").split(". Net revenue: ")
    assert orders.split(" of ")[0] == orders.split(" of ")[1]
    assert revenue.rstrip(".").split(" of ")[0] == revenue.rstrip(".").split(" of ")[1]
    told = re.search(
        r"The stories brought (\d+) of the (\d+) orders above, and ([\d.,]+) of the ([\d.,]+)", done.stdout
    )
    assert told, "why the reports have more than the truth is said before it"
    assert int(told[2]) - int(told[1]) == int(orders.split(" of ")[0])
    assert to_cents(told[4]) - to_cents(told[3]) == to_cents(revenue.rstrip(".").split(" of ")[0])
    people = re.search(r"Hence ([\d,]+) people in the reports for the 200 simulated", done.stdout)
    reached = re.search(r"people with a touchpoint +([\d,]+)", done.stdout)
    assert people and reached and people[1] == reached[1]  # noqa: PT018 - one question


def to_cents(text: str) -> int:
    return int(re.sub("[.,]", "", text))


def test_the_demo_does_not_touch_a_database_that_is_there(tmp_path: Path) -> None:
    db = tmp_path / "shop.db"
    db.write_bytes(b"")
    done = touchtrail("demo", "--no-serve", "--db", str(db))
    assert done.returncode == 2
    assert "the demo needs a new file" in done.stderr


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"COLUMNS": "40", "NO_COLOR": "1"}
    command = [*COMMAND, "demo", "--people", "10", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def read_until(process: subprocess.Popen[str], start_of_line: str) -> str:
    """Return the first line that begins so, or fail with what was said."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith(start_of_line):
            return line
    pytest.fail("".join(said))


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_demo_that_goes_on_serving_says_how_to_sign_in_and_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = start("--db", str(tmp_path / "demo.db"))
    try:
        line = read_until(process, "sign in once, within 15 minutes: ")
        found = re.search(r"(http://127\.0\.0\.1:\d+)/sign-in\?token=(ttl_[\w-]{43})$", line.rstrip())
        assert found, f"one line to click on, however narrow the terminal: {line}"
        url, token = found.groups()
        assert httpx.post(f"{url}/sign-in", json={"token": token}).status_code == 200
        assert httpx.post(f"{url}/sign-in", json={"token": token}).status_code == 401
    finally:
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")
