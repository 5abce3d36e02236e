"""The command line: one module per command, imported only when that command runs."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Any, NamedTuple

import click


class CommandEntry(NamedTuple):
    """Where a command is, and its line in `touchtrail --help`, which is shown without importing it."""

    module: str
    attribute: str
    help: str


COMMANDS: dict[str, CommandEntry] = {
    "demo": CommandEntry(".demo", "demo", "Show everything at once: a simulated shop, its report, the dashboard."),
    "serve": CommandEntry(".serve", "serve", "Run the collector."),
    "keys": CommandEntry(".keys", "keys", "Create, list, rotate and revoke write keys and read tokens."),
    "sign-in": CommandEntry(".sign_in", "sign_in", "Print a link that lets in once, alone on stdout."),
    "password": CommandEntry(".password", "password", "Set or remove the dashboard's password."),
    "report": CommandEntry(".report", "report", "Print a report."),
    "export": CommandEntry(".export", "export", "Write a table to a file."),
    "import": CommandEntry(".import_file", "import_file", "Read events from a file."),
    "plugins": CommandEntry(".plugins", "plugins", "List every plugin with its state and last error."),
    "quarantine": CommandEntry(".quarantine", "quarantine", "Look at rejected events, repair and replay them."),
    "rebuild": CommandEntry(".rebuild", "rebuild", "Derive everything anew from the log."),
    "backup": CommandEntry(
        ".backup", "backup", "Write a copy of the database to FILE, while the collector runs or not."
    ),
    "restore": CommandEntry(
        ".restore", "restore", "Put the backup FILE in the database's place. No collector may run on it."
    ),
    "doctor": CommandEntry(
        ".doctor", "doctor", "Check database, collector, plugins, settings and machine. Nothing is changed."
    ),
    "send": CommandEntry(".send", "send", "Send one event from a file."),
    "drain": CommandEntry(".drain", "drain", "Deliver what a stopped program left in its spool."),
}
"""Every command, in the order `--help` lists them."""


class LazyGroup(click.Group):
    """A group whose commands come from `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or return None where there is none of this name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(import_module(entry.module, __name__), entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a name that is unknown is answered with the nearest one."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            nearest = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"There is no command {args[0]!r}." + (f" Did you mean {nearest[0]!r}?" if nearest else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table alone: importing them all takes most of a second."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what its function returns is no exit code (`ctx.exit` sets one)."""
        super().invoke(ctx)


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from touchtrail import __version__

    click.echo(f"touchtrail {__version__}")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def cli() -> None:
    """Follow the whole customer journey of a shop, from the first contact to the order and beyond."""
