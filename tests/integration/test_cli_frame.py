"""The frame around the commands: exit codes, one line on stderr, lazy commands, `touchtrail plugins`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import click
import pytest

from touchtrail import __version__
from touchtrail_collector.__main__ import EXTRA, NOT_INSTALLED, run
from touchtrail_collector.cli import COMMANDS, CommandEntry, cli
from touchtrail_collector.errors import StoreError, UsageError

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def python(*arguments: str, path: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a fresh process with this process's import path and none of its TOUCHTRAIL_ variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHTRAIL_")}
    search = os.pathsep.join(filter(None, [path, *sys.path]))
    return subprocess.run(
        [sys.executable, *arguments],
        env=clean | {"PYTHONPATH": search, "NO_COLOR": "1"} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def touchtrail(*arguments: str, path: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "touchtrail_collector", *arguments, path=path, **environ)


@pytest.fixture
def broken_plugin(tmp_path: Path) -> str:
    """A folder for the import path with one package in it, whose plugin cannot be imported."""
    (tmp_path / "sad_plugin.py").write_text("raise RuntimeError('[no] licence')\n", encoding="utf-8")
    info = tmp_path / "sad_plugin-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sad-plugin\nVersion: 0.3\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[touchtrail]\nexporter.sad = sad_plugin\n", encoding="utf-8")
    return str(tmp_path)


def test_help_lists_every_command_from_the_table_and_imports_none_of_them() -> None:
    script = dedent(
        """
        import sys
        from touchtrail_collector.__main__ import main
        code = main(["--help"])
        heavy = {"msgspec", "numpy", "pluggy", "rich", "starlette", "sqlite_utils", "touchtrail", "httpx"}
        commands = {name for name in sys.modules if name.startswith("touchtrail_collector.cli.")}
        print("LOADED", sorted((heavy & set(sys.modules)) | commands))
        sys.exit(code)
        """
    )
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    # What --help needs is click and this table; settings, SDK and every library stay out.
    assert "LOADED []" in done.stdout
    for name, entry in COMMANDS.items():
        assert name in done.stdout
        assert entry.help.split()[0] in done.stdout


def test_the_version_is_the_distributions() -> None:
    done = touchtrail("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"touchtrail {__version__}\n", "")


def test_without_arguments_the_help_is_shown_as_wrong_usage() -> None:
    done = touchtrail()
    assert done.returncode == 2
    assert "Commands:" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plugin"], "There is no command 'plugin'. Did you mean 'plugins'?"),
        (["plugins", "--fromat", "json"], "--format"),
        (["plugins", "--format", "xml"], "xml"),
    ],
    ids=["command", "option", "choice"],
)
def test_wrong_usage_exits_with_2_and_names_what_was_meant(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, arguments) == 2
    assert message in capsys.readouterr().err


def failing(error: BaseException) -> click.Command:
    @click.command()
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        pytest.param(StoreError("the database is gone"), 1, "touchtrail: the database is gone\n", id="ours"),
        pytest.param(UsageError("there is no report x"), 2, "touchtrail: there is no report x\n", id="ours-usage"),
        pytest.param(click.ClickException("no such thing"), 1, "touchtrail: no such thing\n", id="clicks"),
        pytest.param(
            PermissionError(13, "Permission denied", "/x"), 1, "touchtrail: /x: Permission denied\n", id="file"
        ),
        pytest.param(click.Abort(), 1, "touchtrail: stopped\n", id="prompt-left"),
        pytest.param(ModuleNotFoundError("x", name="rich.table"), 1, f"touchtrail: {NOT_INSTALLED}\n", id="no-extra"),
        pytest.param(KeyboardInterrupt(), 130, "\n", id="interrupt"),
        pytest.param(click.exceptions.Exit(5), 5, "", id="exit-code"),
    ],
)
def test_every_end_is_an_exit_code_and_one_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOUCHTRAIL_DEBUG", raising=False)
    assert run(failing(error), []) == code
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("ours"), OSError(5, "no file named"), ModuleNotFoundError("x", name="touchtrail_oops")]
)
def test_a_fault_of_ours_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        run(failing(error), [])
    assert caught.value is error


def test_debug_shows_the_traceback_above_the_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOUCHTRAIL_DEBUG", "1")
    assert run(failing(StoreError("gone")), []) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert shown.endswith("touchtrail: gone\n")


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["noticed-at-the-end", "noticed-at-once"])
def test_a_reader_that_goes_away_is_no_complaint(unbuffered: str) -> None:
    script = dedent(
        """
        import sys, click
        from touchtrail_collector.__main__ import run
        sys.stdin.readline()
        sys.exit(run(click.Command("x", callback=lambda: print("lost")), []))
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": unbuffered},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(b"go\n")
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('No module named click', name='click')\n", "utf-8")
    done = touchtrail("--help", path=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "touchtrail: the collector is not installed; run: pip install 'touchtrail[collector]'\n"


def test_the_extra_that_is_missed_is_the_extra_that_is_installed() -> None:
    wanted = tomllib.loads(PROJECT.read_text("utf-8"))["project"]["optional-dependencies"]["collector"]
    names = {requirement.split(">")[0].strip().replace("-", "_") for requirement in wanted}
    imported_as = {"argon2_cffi": "argon2"}
    assert {imported_as.get(name, name) for name in names} == EXTRA


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_where_the_table_says_and_its_help_is_the_tables(name: str) -> None:
    entry = COMMANDS[name]
    assert find_spec(entry.module, "touchtrail_collector.cli") is not None
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert (command.help or "").splitlines()[0] == entry.help


def test_what_a_commands_function_returns_is_no_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counting_command.py").write_text(
        "import click\ncount = click.Command('x', callback=lambda: 7)\n", "utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(COMMANDS, "count", CommandEntry("counting_command", "count", "Count."))
    assert run(cli, ["count"]) == 0


def test_plugins_lists_a_broken_plugin_with_its_package_and_error(broken_plugin: str) -> None:
    done = touchtrail("plugins", path=broken_plugin)
    assert done.returncode == 0
    assert done.stderr == ""
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("exporter.sad"))
    for cell in ("exporter", "0.3", "sad-plugin", "broken", "RuntimeError: [no] licence (sad_plugin.py, line 1)"):
        assert cell in line


def test_plugins_as_json_is_the_same_for_programs(broken_plugin: str) -> None:
    done = touchtrail("plugins", "--format", "json", path=broken_plugin)
    listing = json.loads(done.stdout)
    (plugin,) = (plugin for plugin in listing["plugins"] if plugin["id"] == "exporter.sad")
    assert plugin | {"last_error": None, "time_ms": 0} == {
        "id": "exporter.sad",
        "kind": "exporter",
        "distribution": "sad-plugin",
        "version": "0.3",
        "hooks": [],
        "state": "broken",
        "last_error": None,
        "calls": 0,
        "failures": 0,
        "time_ms": 0,
    }
    assert [problem for problem in listing["problems"] if problem.startswith("exporter.sad: ")]


def test_plugins_strict_fails_when_something_is_broken(broken_plugin: str, tmp_path: Path) -> None:
    done = touchtrail("plugins", "--strict", path=broken_plugin)
    assert done.returncode == 1
    assert "exporter.sad" in done.stdout
    assert done.stderr.startswith("touchtrail: ")
    assert "exporter.sad: importing sad_plugin failed" in done.stderr
    (tmp_path / "touchtrail.toml").write_text("[plugins]\ndisabled = ['exporter.sad']\n", "utf-8")
    listed = touchtrail("plugins", "--db", str(tmp_path / "x.db"), path=broken_plugin)
    (line,) = (line for line in listed.stdout.splitlines() if line.startswith("exporter.sad"))
    assert "disabled" in line


def test_wrong_settings_are_one_error_that_lists_them_all(tmp_path: Path) -> None:
    config = tmp_path / "x.toml"
    config.write_text("[server]\nport = 'x'\nhots = 'y'\n", "utf-8")
    done = touchtrail("plugins", "--config", str(config), TOUCHTRAIL_SHOP_CURRENCY="EURO")
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "touchtrail: 3 setting problems:"
    assert len(lines) == 4
    assert "did you mean server.host?" in done.stderr
