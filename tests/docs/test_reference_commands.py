"""Every command and option of the command line stands in collector/README.md, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from reference_page import COLLECTOR, names_in, read_rows, read_sections
from touchtrail_collector.cli import COMMANDS, cli
from touchtrail_collector.cli.report import report as report_group

SHARED = {"--db", "--config", "--help", "-h"}
"""Explained once for all commands; `demo` has a `--db` of its own kind and documents it again."""


def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something itself, by what is typed."""
    if isinstance(command, click.Group) and command is not report_group:
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, (*path, name))
    else:
        yield " ".join(path), command


def options_of(command: click.Command) -> set[str]:
    """Return the command's option flags."""
    parameters = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return {flag for option in parameters for flag in (*option.opts, *option.secondary_opts)}


def documented_options(section: str) -> set[str]:
    """Return the flags of a section's table."""
    names = [name for row in read_rows(section) for name in names_in(row[0])]
    return {name.partition(" ")[0] for name in names if name.startswith("-")}


def arguments_of(command: click.Command) -> list[str]:
    """Return the command's arguments as its usage line shows them."""
    return [str(p.metavar or p.name).upper() for p in command.params if isinstance(p, click.Argument)]


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    return read_sections(COLLECTOR)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_section_with_exactly_its_options(name: str, sections: dict[str, str]) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for typed, leaf in walk(command, ("touchtrail", name)):
        if leaf is report_group:
            continue
        assert typed in sections, f"collector/README.md has no section `{typed}`"
        assert documented_options(sections[typed]) - SHARED == options_of(leaf) - SHARED, typed
        for argument in arguments_of(leaf):
            assert argument in sections[typed], f"{typed}: {argument}"


def test_no_section_documents_a_command_that_does_not_exist(sections: dict[str, str]) -> None:
    documented = {heading for heading in sections if heading.startswith("touchtrail")}
    assert documented == {"touchtrail"} | {typed for typed, _ in walk(cli, ("touchtrail",))}


def test_the_options_of_touchtrail_itself_are_listed(sections: dict[str, str]) -> None:
    assert documented_options(sections["touchtrail"]) == options_of(cli)


def test_the_options_shared_by_commands_are_explained_once(sections: dict[str, str]) -> None:
    assert documented_options(sections["Commands"]) == SHARED


def test_every_option_of_a_report_is_listed_with_the_reports_that_have_it(sections: dict[str, str]) -> None:
    context = click.Context(report_group)
    names = report_group.list_commands(context)
    options: dict[str, set[str]] = {}
    for name in names:
        command = report_group.get_command(context, name)
        assert command is not None
        for flag in options_of(command) - SHARED:
            options.setdefault(flag, set()).add(name)
    documented = {}
    for row in read_rows(sections["touchtrail report"]):
        reports = set(names) if row[3] == "all" else set(row[3].split(", "))
        documented.update({name.partition(" ")[0]: reports for name in names_in(row[0])})
    assert documented == options


def test_every_report_is_named(sections: dict[str, str]) -> None:
    for name in report_group.list_commands(click.Context(report_group)):
        assert f"`{name}`" in sections["touchtrail report"]


@pytest.mark.parametrize("code", [0, 1, 2, 130])
def test_every_exit_code_is_explained(code: int, sections: dict[str, str]) -> None:
    assert str(code) in {row[0] for row in read_rows(sections["Commands"])}
