"""`touchtrail doctor`: how database, collector, plugins and machine are, and what to do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import load_settings, settings_options

if TYPE_CHECKING:
    from touchtrail_collector.services.doctor import Finding, RunningCollector, Surroundings
    from touchtrail_collector.settings import Settings

SHOWN = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


@click.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--thorough", is_flag=True, help="Hold every index against its table as well; takes longer.")
def doctor(db: Path | None, config: Path | None, as_json: bool, thorough: bool) -> None:
    """Check database, collector, plugins, settings and machine. Nothing is changed.

    Works beside a running collector and without one. Exit code 1 when there is a problem; warnings are none.
    """
    from touchtrail_collector.services.doctor import examine

    findings = examine(look_around(db, config), thorough=thorough)
    if as_json:
        print_json(findings)
    else:
        print_lines(findings)
    if any(finding.state == "problem" for finding in findings):
        raise click.exceptions.Exit(1)


def look_around(db: Path | None, config: Path | None) -> Surroundings:
    """Find out what the checks need to know of settings, plugins and the running collector."""
    from touchtrail_collector.errors import SettingsError, StoreError
    from touchtrail_collector.services.derivation_rules import rules_of
    from touchtrail_collector.services.doctor import Surroundings

    from .operation import find_collector
    from .plugins import ask_plugins, load_quietly, tell_differences

    problems: Sequence[str] = ()
    try:
        settings = load_settings(db, config)
    except SettingsError as error:
        problems, settings = error.problems, settings_in_spite(db)
    host = load_quietly(settings)
    plugins, plugin_problems = list(host.plugins()), list(host.problems())
    holder = find_collector(settings)
    running = None if holder is None else ask_readiness(holder)
    if holder is not None and running is not None and running.readiness is not None:
        try:
            plugins, plugin_problems = ask_plugins(holder)
        except StoreError as error:
            plugin_problems = [str(error)]
        else:
            plugin_problems += tell_differences(host.plugins(), plugins)
    return Surroundings(
        settings=settings,
        problems=problems,
        collector=running,
        signature=rules_of(host, settings).signature,
        plugins=plugins,
        plugin_problems=plugin_problems,
    )


def settings_in_spite(db: Path | None) -> Settings:
    """Return default settings for the database that was meant, where the real ones are wrong."""
    from touchtrail_collector.settings import Settings, StoreSettings

    return Settings(store=StoreSettings(db=db or Path(os.environ.get("TOUCHTRAIL_DB") or StoreSettings().db)))


def ask_readiness(holder: Mapping[str, Any]) -> RunningCollector:
    """Return how the collector answers that has the database open."""
    import httpx

    from touchtrail_collector.services.doctor import RunningCollector

    readiness = None
    try:
        answer = httpx.get(f"{holder['url']}/readyz", timeout=5)
        readiness = dict(answer.json())
    except (httpx.HTTPError, ValueError):
        pass
    return RunningCollector(pid=holder.get("pid"), url=holder["url"], readiness=readiness)


def print_json(findings: Sequence[Finding]) -> None:
    """Print the findings, and the worst of their states."""
    import msgspec

    states = {finding.state for finding in findings}
    worst = next((state for state in ("problem", "warning") if state in states), "ok")
    click.echo(msgspec.json.format(msgspec.json.encode({"state": worst, "findings": findings})))


def print_lines(findings: Sequence[Finding]) -> None:
    """Print a line for each finding, and what to do under it."""
    for finding in findings:
        click.echo(f"{SHOWN[finding.state]:8} {finding.check:12} {finding.message}")
        if finding.action is not None:
            click.echo(f"{'':8} {'':12} → {finding.action}")
