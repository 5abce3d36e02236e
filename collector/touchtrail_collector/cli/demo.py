"""`touchtrail demo`: a year of a simulated shop through the real SDK into a real collector, then the reports."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from touchtrail_collector.demo import Sending, Simulation
    from touchtrail_collector.demo.run import Comparison, Delivery, Reported
    from touchtrail_collector.services.reports import Table
    from touchtrail_collector.settings import Settings


@click.command()
@click.option(
    "--db", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="New file; else a temporary one."
)
@click.option("--port", type=int, default=0, metavar="N", help="Port of the collector; 0 takes a free one.")
@click.option(
    "--people", type=click.IntRange(10, 100_000), default=3000, metavar="N", help="How many people live there."
)
@click.option("--seed", type=int, default=2026, metavar="N", help="The same seed gives the same year.")
@click.option("--no-serve", is_flag=True, help="End after the report instead of serving on.")
def demo(db: Path | None, port: int, people: int, seed: int, no_serve: bool) -> None:
    """Show everything at once: a simulated shop, its report, the dashboard.

    A year in a small shop is simulated, sent through the SDK over HTTP into a collector and a fresh database, and
    reported; beside the report stands what the simulator knows to be true. The four stories are sent as well.
    """
    if db is not None and db.exists():
        raise click.UsageError(f"{db} exists; the demo needs a new file, so that it cannot mix with your data.")
    end_as_with_interrupt()
    with tempfile.TemporaryDirectory(prefix="touchtrail-demo-") as folder:
        run_demo(db or Path(folder) / "demo.db", Path(folder), port, people=people, seed=seed, serves_on=not no_serve)


def end_as_with_interrupt() -> None:
    """Have SIGTERM and a closed terminal end the demo as Ctrl-C does: its collector must not stay behind."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)


def run_demo(db: Path, folder: Path, port: int, *, people: int, seed: int, serves_on: bool) -> None:
    """Run the whole demo on a fresh database."""
    import logging

    from touchtrail_collector.demo import simulate
    from touchtrail_collector.demo.run import (
        compare,
        count_reported,
        running_collector,
        send,
        sources_of,
        wait_until_derived,
    )
    from touchtrail_collector.services.reports import open_report_context

    from .operation import run_write
    from .progress import progress_bar
    from .rendering import open_console

    logging.getLogger("httpx").setLevel(logging.WARNING)
    console = open_console()
    settings = load_settings(db, None)
    with say("simulating a year"):
        simulation = simulate(seed=seed, people=people)
    with running_collector(db, port) as collector:
        stories = story_sendings(simulation)
        keys = {
            source: str(run_write(settings, "create_key", {"source": source})["key"])
            for source in sources_of([*simulation, *stories])
        }
        token = run_write(settings, "create_key", {})["key"]
        with progress_bar("sending") as progress:
            delivery = send(simulation.sendings, collector.url, keys, folder / "spool", progress)
        with say("deriving"):
            derived_s = wait_until_derived(collector.url)
        with open_report_context(settings) as context:
            comparison = compare(context, simulation.truth)
        with say("telling the four stories"):
            send(stories, collector.url, keys, folder / "spool")
            wait_until_derived(collector.url)
        with open_report_context(settings) as context:
            reported = count_reported(context)
        print_delivery(console, simulation, delivery, derived_s)
        print_what_is_counted(console, simulation.people, reported)
        print_reports(console, settings)
        print_comparison(console, comparison, reported)
        if serves_on:
            link = run_write(settings, "issue_link", {})["token"]
            print_farewell(console, db, collector.url, link=str(link), token=str(token))
            wait_for_interrupt(collector.wait)


def story_sendings(simulation: Simulation) -> list[Sending]:
    """Return the four stories, one after the other in the simulated year's last three months."""
    from touchtrail_collector.demo.stories import STORIES

    start = datetime.combine(simulation.end, datetime.min.time(), UTC) - timedelta(days=80)
    return [sending for story in STORIES.values() for sending in story.events(start)]


@contextmanager
def say(what: str) -> Iterator[None]:
    """Show on stderr what is being done, where somebody looks."""
    from rich.console import Console

    console = Console(stderr=True)
    if not sys.stderr.isatty():
        yield
        return
    with console.status(f"{what} …"):
        yield


def print_delivery(console: Console, simulation: Simulation, delivery: Delivery, derived_s: float) -> None:
    """Print what was sent and what became of it."""
    counts = simulation.truth.counts
    console.print(
        f"One year, {simulation.people:,} people: {counts.events:,} events, {counts.repeated_events:,} sent twice, "
        f"{counts.repeated_facts:,} reported by a second system, {counts.late:,} late, "
        f"{counts.wrong_clock:,} from wrong clocks, {counts.bots:,} by robots."
    )
    console.print(
        f"The SDK took {delivery.tracked:,} and the collector acknowledged them in {delivery.seconds:.1f} s: "
        f"{delivery.delivered:,} stored, {delivery.duplicates:,} were there already, {delivery.rejected:,} rejected, "
        f"{delivery.dropped:,} dropped. Everything was derived {derived_s:.1f} s later."
    )


def print_what_is_counted(console: Console, people: int, reported: Reported) -> None:
    """Print whom the reports mean by people, as there are more of them than were simulated."""
    console.print(
        "The reports below are of everything, the four stories that were sent afterwards included. What they call "
        "people is whoever can be told apart: a second device, or a browser whose cookies were deleted, is a person of "
        "its own until a sign-in, an order or a coupon code ties it to its owner. "
        f"Hence {reported.persons:,} people in the reports for the {people:,} simulated and the few of the stories; "
        "a real shop cannot count better."
    )


def print_reports(console: Console, settings: Settings) -> None:
    """Print the reports a shop owner looks at first."""
    from touchtrail_collector.services.reports import REPORTS, open_report_context

    from .rendering import print_tables

    with open_report_context(settings) as context:
        for name in ("overview", "attribution", "orders"):
            report = REPORTS[name]
            parameters = {"limit": ["5"]} if name == "orders" else {}
            print_tables(report.tables(report.run(context, report.read_parameters(parameters))), console)


def print_comparison(console: Console, comparison: Comparison, reported: Reported) -> None:
    """Print the truth beside what was found, and what the reports have besides."""
    from rich.text import Text

    from .rendering import format_cell, print_tables

    def money(minor: int) -> str:
        return format_cell(minor, "money", currency=comparison.currency, time_zone="UTC")

    identity = comparison.identity
    console.print()
    console.print(Text("What the simulator knows of its people, the four stories left out", style="bold"))
    told, told_minor = reported.orders - comparison.orders, reported.net_minor - comparison.revenue_minor
    console.print(
        f"The stories brought {told:,} of the {reported.orders:,} orders above, and {money(told_minor)} of the "
        f"{money(reported.net_minor)} of net revenue: all that follows is without them."
    )
    console.print(
        f"Orders: {comparison.orders:,} of {comparison.true_orders:,}. "
        f"Net revenue: {money(comparison.revenue_minor)} of {money(comparison.true_revenue_minor)}."
    )
    console.print(
        f"Persons: {identity.found_people:,} found for {identity.true_people:,} people who contacted the shop. "
        f"Of the pairs of events put into one person {identity.precision:.1%} really are one person's; "
        f"of the pairs that really are, {identity.recall:.1%} were found. "
        f"{identity.split_people:,} people are split, {identity.merged_people:,} persons hold several people."
    )
    print_tables(comparison_tables(comparison), console)


def comparison_tables(comparison: Comparison) -> tuple[Table, ...]:
    """Return what each channel really caused beside what each model gives it, and how far each model is off."""
    from touchtrail_collector.demo import BASELINE
    from touchtrail_collector.services.reports import Table, TableColumn

    models = tuple(comparison.distance)
    caused = Table(
        name="caused",
        title="Net revenue by channel without the stories, as caused and as credited",
        columns=(
            TableColumn("channel", "Channel"),
            TableColumn("caused", "really caused", "money"),
            *(TableColumn(model, model.replace("_", " "), "money") for model in models),
        ),
        rows=tuple(
            (
                "(no contact)" if row.channel == BASELINE else row.channel,
                row.caused_minor,
                *(row.credited_minor[model] for model in models),
            )
            for row in comparison.channels
        ),
        currency=comparison.currency,
    )
    distance = Table(
        name="distance",
        title="Revenue on the wrong channel",
        columns=(TableColumn("model", "Model"), TableColumn("share", "Share", "share")),
        rows=tuple((model.replace("_", " "), share) for model, share in comparison.distance.items()),
    )
    return caused, distance


def print_farewell(console: Console, db: Path, url: str, *, link: str, token: str) -> None:
    """Print how to go on: lines to copy, so none of them is broken or coloured."""
    lines = (
        "",
        f"The collector is serving at {url}; Ctrl-C ends it.",
        f"sign in once, within 15 minutes: {url}/sign-in?token={link}",
        "In another terminal:",
        f"  touchtrail report journeys --db {db}",
        f"  touchtrail sign-in --db {db}",
        f"  curl -H 'Authorization: Bearer {token}' '{url}/api/v1/reports/attribution?model=linear'",
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def wait_for_interrupt(wait: Callable[[], None]) -> None:
    """Serve until Ctrl-C, which is a normal end here."""
    try:
        wait()
    except KeyboardInterrupt:
        click.echo()
