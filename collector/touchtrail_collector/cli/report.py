"""`touchtrail report NAME`: a report as table, JSON or CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click

from .options import format_option, load_settings, settings_options

if TYPE_CHECKING:
    from touchtrail_collector.services.reports import Report, ReportContext, ReportScope, Table
    from touchtrail_collector.settings import Settings

OPTION_HELP = {
    "start": "First day, YYYY-MM-DD; else from the beginning.",
    "end": "Last day, included; else to the end.",
    "time_zone": "Time zone of days and months; else as in the settings.",
    "shop": "Shop, where there are several.",
    "currency": "Currency; else the shop's own.",
    "lookback_days": "How many days before an order a touch may lie, 1 to 3650.",
    "repeat": "Look back the whole window, or since the person's last order.",
    "impressions": "Whether what was only seen counts as a touch.",
    "path": "exposure: touches of one channel in a row count once.",
    "model": "Attribution model; may be given several times, else all.",
    "set": "A model's parameter: position_based.first=0.5; may be given several times.",
    "as_of": "Net value at the end of this day, YYYY-MM-DD; else as far as is known.",
    "basis": "By the day of the order, or by the day it changed.",
    "order": "Open the credit of this order down to its touches.",
    "person": "Person id, customer id, anonymous id, order number, or kind:value.",
    "limit": "How many lines to list.",
    "late_hours": "An event is late when received this many hours after it occurred.",
    "skew_s": "Clocks that differ by more seconds than this are wrong.",
}
"""What `--help` says of each parameter of any report."""

_NOTHING_YET = (
    "Nothing has been recorded in {db} yet.\n"
    "Make a key with `touchtrail keys create --source web`, start `touchtrail serve` and send it events;\n"
    "or see everything at once with `touchtrail demo`."
)


class ReportGroup(click.Group):
    """One subcommand per report, with options made from its parameter struct."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the reports in their order."""
        return list(_reports())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the report's command, or None where there is no such report."""
        report = _reports().get(cmd_name)
        return None if report is None else _make_command(report)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the report; an unknown name is answered with the list of those there are."""
        if args[0] not in _reports() and not args[0].startswith("-"):
            ctx.fail(f"There is no report {args[0]!r}; there is: {', '.join(_reports())}.")
        return super().resolve_command(ctx, args)


@click.group(cls=ReportGroup)
def report() -> None:
    """Print a report."""


def _reports() -> Mapping[str, Report]:
    # numpy and the reports take a tenth of a second, which `touchtrail --help` should not.
    from touchtrail_collector.services.reports import REPORTS

    return REPORTS


def _make_command(report: Report) -> click.Command:
    import msgspec

    def run(**given: Any) -> None:
        _run(report, given)

    for field in reversed(msgspec.structs.fields(report.parameters)):
        run = _add_option(field.name, field.type)(run)
    table = click.option("--table", "table_name", metavar="NAME", help="Which table, where a report has several.")
    run = table(format_option("table", "json", "csv")(settings_options(run)))
    return click.command(report.name, help=report.answers, short_help=report.answers)(run)


def _add_option(name: str, kind: Any) -> Any:
    """Return the decorator that adds the parameter as an option; its text is read by the report itself."""
    flag = f"--{name.replace('_', '-')}"
    text = OPTION_HELP[name]
    if bool in (kind, *get_args(kind)):
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    several = get_origin(kind) in (tuple, dict)
    choices = [value for part in (kind, *get_args(kind)) if get_origin(part) is Literal for value in get_args(part)]
    metavar = "|".join(choices) or name.rpartition("_")[2].upper()
    return click.option(flag, name, multiple=several, metavar=metavar, help=text)


def _run(report: Report, given: dict[str, Any]) -> None:
    from touchtrail_collector.errors import ReportError
    from touchtrail_collector.services.reports import open_report_context

    settings = load_settings(given.pop("db"), given.pop("config"))
    output, table_name = given.pop("output_format"), given.pop("table_name")
    texts = {name: _texts(value) for name, value in given.items() if value not in (None, ())}
    with open_report_context(settings) as context:
        try:
            parameters = report.read_parameters(texts)
            result = report.run(context, parameters)
        except ReportError as error:
            if error.parameter is None:
                raise
            raise click.UsageError(str(error)) from None
        if output == "table" and _is_empty(context):
            click.echo(_NOTHING_YET.format(db=settings.store.db))
            return
        _print(report, result, output, table_name)
        _tell_other_rules(settings, context, result.scope)
    if output == "table" and result.scope.waiting_events:
        click.echo(f"\n{_waiting_note(settings, result.scope.waiting_events)}")


def _texts(value: Any) -> Sequence[str]:
    if isinstance(value, bool):
        return [str(value).lower()]
    return [value] if isinstance(value, str) else list(value)


def _is_empty(context: ReportContext) -> bool:
    from touchtrail_collector.store.questions import LogState

    return context.query.ask(LogState())[0].events == 0


def _print(report: Report, result: Any, output: str, table_name: str | None) -> None:
    from .rendering import format_csv, open_console, print_tables
    from .terminal import format_json, printable

    if output == "json":
        click.echo(format_json(result).encode())
        return
    tables = report.tables(result)
    if output == "csv":
        click.echo(format_csv(_pick(tables, table_name or tables[0].name)[0]), nl=False)
        return
    chosen = tables if table_name is None else _pick(tables, table_name)
    console = open_console()
    console.print(printable(_headline(result)))
    print_tables(chosen, console)


def _waiting_note(settings: Settings, waiting: int) -> str:
    from .operation import find_collector

    note = "1 event has come in that is" if waiting == 1 else f"{waiting:,} events have come in that are"
    if find_collector(settings) is not None:
        return f"{note} not in these numbers yet."
    return f"{note} not in these numbers yet: start `touchtrail serve` or run `touchtrail rebuild`."


def _tell_other_rules(settings: Settings, context: ReportContext, scope: ReportScope) -> None:
    """Say on stderr, in one line, that the numbers were derived with other rules than this command has."""
    from touchtrail_collector.services.reports import is_derived_otherwise

    from .operation import find_collector

    if not is_derived_otherwise(context) or context.own_rules is None:
        return
    theirs, own = (", ".join(names) for names in (scope.channel_rule_sets, context.own_rules.channel_rule_sets))
    what = "other settings or plugins" if theirs == own else f"the channel rules {theirs or 'of no plugin'}"
    here = "" if theirs == own else f" ({own or 'none'})"
    action = "restart the collector" if find_collector(settings) is not None else "run `touchtrail rebuild`"
    click.echo(f"touchtrail: these numbers were derived with {what}, not this command's{here}; {action}", err=True)


def _pick(tables: Sequence[Table], name: str) -> list[Table]:
    found = [table for table in tables if table.name == name]
    if not found:
        there = ", ".join(table.name for table in tables)
        raise click.UsageError(f"There is no table {name!r} in this report; there is: {there}.")
    return found


def _headline(result: Any) -> str:
    scope = result.scope
    start, end = scope.start or "the beginning", scope.end or "now"
    return f"Shop {scope.shop}, {start} to {end}, time zone {scope.time_zone}, {scope.currency}"
