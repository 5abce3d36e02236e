"""Checks of a database, its collector and its machine: each says how it is, and what to do where it is not well."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from touchtrail.options import default_spool_dir

from ..errors import DatabaseMissing, DatabaseTooNew, StoreError
from ..host import PluginInfo
from ..settings import Settings
from ..store.sqlite.condition import IS_WAL_RESET_SAFE, Condition, examine_database
from ..store.sqlite.database import WAL_BYTES
from ..store.sqlite.figures import SQLITE_VERSION
from ..store.sqlite.glance import untouched
from ..store.sqlite.own_file import own_name
from ..store.sqlite.reader import Unreadable
from ..store.sqlite.whole_file import companions, interrupted, leftovers
from .machine import clock_state, exposures, installed_at_s, newest_change_s, now_s, waiting_spools
from .number import counted, verb

State = Literal["ok", "warning", "problem"]

RESTORE = "restore a backup: touchtrail restore FILE"

SCARCE_BYTES, LOW_BYTES = 100_000_000, 1_000_000_000
WAL_MUCH = 4 * WAL_BYTES
LAG_MUCH_S = 60
SPOOL_OLD_S = 600
CLOCK_SLACK_S = 60
NOT_TAKEN = "events are not taken now: "
"""What the answer of `/readyz` begins with."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found.

    Args:
        check: its name, one word.
        action: what to do next; None where there is nothing to do.
    """

    check: str
    state: State
    message: str
    action: str | None = None


class RunningCollector(msgspec.Struct, frozen=True, kw_only=True):
    """The collector that has the database open, as far as it answers.

    Args:
        readiness: its `/readyz`; None = it does not answer.
    """

    pid: int | None
    url: str | None
    readiness: dict[str, object] | None = None


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What the command found out before: settings, plugins, the running collector.

    Args:
        problems: of the settings; ``settings`` are the defaults then.
        signature: of the rules this process would derive by.
        plugins, plugin_problems: the running collector's own where there is one.
    """

    settings: Settings
    problems: Sequence[str] = ()
    collector: RunningCollector | None = None
    signature: str = ""
    plugins: Sequence[PluginInfo] = ()
    plugin_problems: Sequence[str] = ()


def examine(around: Surroundings, *, thorough: bool = False) -> list[Finding]:
    """Run every check and return what each found, in a fixed order. Nothing is changed."""
    database = Path(around.settings.store.db)
    findings = [*check_settings(around), *check_collector(around)]
    try:
        with untouched(database):
            condition = examine_database(database, thorough=thorough)
    except DatabaseMissing as error:
        return [*findings, bad("database", str(error), None), *check_rest(around, database)]
    except DatabaseTooNew as error:
        findings.append(
            bad("schema", str(error), "upgrade touchtrail, or restore a backup of before with this version")
        )
    except Unreadable as error:
        findings.append(
            bad("database", error.fault, f"{RESTORE}; where another file was meant, name that one with --db")
        )
    except StoreError as error:
        findings.append(bad("database", str(error), None if other_names(database) else RESTORE))
    else:
        findings += check_database(condition, thorough)
        if condition.figures is not None:
            findings += check_contents(condition, around)
    return [*findings, *check_files(database, around), *check_rest(around, database)]


def check_settings(around: Surroundings) -> Iterator[Finding]:
    """Look at the settings."""
    for problem in around.problems:
        yield bad("settings", problem, "correct it; the defaults were used for these checks")
    settings, server = around.settings, around.settings.server
    if not around.problems:
        where = "defaults and variables" if settings.config is None else str(settings.config)
        yield good("settings", f"read from {where}")
    if "*" in server.allowed_hosts:
        yield warn(
            "settings", "server.allowed_hosts has *: any Host header is served, a web page's own name too",
            "name the collector's public host names there instead",
        )  # fmt: skip


def check_collector(around: Surroundings) -> Iterator[Finding]:
    """Look whether a collector runs and takes events."""
    running = around.collector
    if running is None:
        yield good("collector", "none is running on this database")
    elif running.readiness is None:
        yield bad(
            "collector", f"process {running.pid} has the database open but does not answer at {running.url}",
            "look at its log; if it hangs, end it with SIGTERM and start it again: nothing acknowledged is lost",
        )  # fmt: skip
    elif not running.readiness.get("is_ready"):
        yield tell_refusal(running)
    else:
        yield good("collector", f"process {running.pid} takes events at {running.url}")
    failure = running.readiness.get("projector_failure") if running is not None and running.readiness else None
    if failure:
        yield bad(
            "derived", f"the derivation does not go on: {failure}", "look at the collector's log; events are safe"
        )


def tell_refusal(running: RunningCollector) -> Finding:
    """Return why a collector takes no events, in its own words, and what helps."""
    assert running.readiness is not None
    reason = str(running.readiness.get("message") or "it does not say why")
    text = f"process {running.pid} at {running.url} takes no events: {reason.removeprefix(NOT_TAKEN)}"
    if "has ended" in reason:
        action = "look at its log, then restart it: nothing acknowledged is lost"
    elif "stopping" in reason:
        action = "wait until it has stopped, then start it again"
    else:
        action = (
            "do what it says; a restart does not help and is not needed: it tries again twice a second, and senders "
            "keep their events until then"
        )
    return bad("collector", text, action)


def check_database(condition: Condition, thorough: bool) -> Iterator[Finding]:
    """Look at what the file itself says."""
    if condition.faults:
        action = "stop the collector, keep the file, and restore a backup: touchtrail restore FILE"
        yield bad("integrity", f"the file is damaged: {'; '.join(condition.faults)}", action)
    else:
        yield good("integrity", "sound" if thorough else "sound (--thorough checks the indexes as well)")
    if condition.pending:
        yield warn(
            "schema", f"pending migrations ({len(condition.pending)}): {', '.join(condition.pending)}",
            "make a backup, then start the collector: it brings the file up to date",
        )  # fmt: skip
    elif condition.figures is not None:
        yield good("schema", "up to date")
    if condition.unknown_ids:
        yield bad(
            "ids", f"{condition.unknown_ids:,} of {counted(condition.sampled, 'event')} looked up "
            f"{verb(condition.unknown_ids, 'is', 'are')} not known as seen: repeated ones would be stored twice",
            "restore a backup; if this goes on, report it",
        )  # fmt: skip
    elif condition.sampled:
        said = verb(condition.sampled, "is", "are all")
        yield good("ids", f"{counted(condition.sampled, 'event')} looked up {said} known as seen")
    if IS_WAL_RESET_SAFE:
        yield good("sqlite", f"SQLite {SQLITE_VERSION}")
    else:
        yield good(
            "sqlite",
            f"SQLite {SQLITE_VERSION} can lose commits when two programs write to one file at once (fixed in 3.51.3). "
            "The collector alone writes and checkpoints, so it is not affected; never write with another tool",
        )


def check_contents(condition: Condition, around: Surroundings) -> Iterator[Finding]:
    """Look at keys, quarantine, clocks of senders, and how far reports are."""
    figures = condition.figures
    assert figures is not None
    if not condition.write_keys:
        yield warn("keys", "there is no valid write key: nobody can send events", "touchtrail keys create --source web")
    else:
        yield tell_keys(condition.write_keys, condition.unused_keys)
    dropped = figures.counters.get("quarantine_dropped", 0)
    lost = f"; {dropped:,} had to go to make room or were too old" if dropped else ""
    if waiting := figures.open_rejects:
        yield warn(
            "quarantine", f"{counted(waiting, 'reject')} {verb(waiting, 'waits', 'wait')}{lost}",
            "touchtrail quarantine list says why; touchtrail quarantine replay takes them in after a repair",
        )  # fmt: skip
    else:
        yield good("quarantine", f"nothing waits{lost}")
    yield check_derived(condition, around)
    if condition.skewed:
        yield warn(
            "senders", f"clocks of senders are wrong: {condition.skewed:,} of the last "
            f"{counted(condition.recent, 'event')} with a sent_at came more than 5 minutes before or after it",
            "see the check `skewed` of touchtrail report data-quality; set those machines' clocks",
        )  # fmt: skip
    if figures.last_received is not None and figures.last_received / 1000 > now_s() + CLOCK_SLACK_S:
        yield bad("clock", "the newest event was received in the future: the clock was set back", "check the clock")


def tell_keys(valid: int, unused: int) -> Finding:
    """Return what is to be said of valid write keys, some of which were never used."""
    if not unused:
        return good("keys", f"{counted(valid, 'valid write key')}, {verb(valid, 'in use', 'all in use')}")
    text = "the only write key was never used"
    if valid > 1:
        text = f"{unused:,} of {valid:,} write keys {verb(unused, 'was', 'were')} never used"
    return warn("keys", text, "see touchtrail keys list; revoke what nobody needs")


def check_derived(condition: Condition, around: Surroundings) -> Finding:
    """Look whether reports have everything, by the rules of now."""
    figures = condition.figures
    assert figures is not None
    if condition.derived_by != around.signature and figures.last_received is not None:
        action = (
            "touchtrail rebuild" if around.collector is None else "restart the collector: it derives anew by itself"
        )
        return warn("derived", "reports rest on other plugins or settings than are installed now", action)
    waited_s = 0.0 if figures.waiting_since is None else now_s() - figures.waiting_since / 1000
    if figures.waiting and around.collector is None:
        waiting = f"{counted(figures.waiting, 'event')} {verb(figures.waiting, 'is', 'are')}"
        return good("derived", f"{waiting} derived when the collector starts")
    if waited_s > LAG_MUCH_S:
        waiting = f"{counted(figures.waiting, 'event')} {verb(figures.waiting, 'waits', 'wait')}"
        message = f"{waiting} for up to {waited_s:,.0f} s to get into reports"
        return warn("derived", message, "wait after a large import; else look at the collector's log")
    return good("derived", "reports have everything")


def check_files(database: Path, around: Surroundings) -> Iterator[Finding]:
    """Look at permissions, other names of the file, what lies beside it, and the space that is left."""
    database = own_name(database)
    private = [database, *companions(database), database.with_name(database.name + ".lock")]
    exposed = [problem for path in private if path.exists() for problem in exposures(path)]
    config = around.settings.config
    if config is not None and around.settings.plugins.tables:  # these may hold secrets
        exposed += exposures(config)
    if exposed:
        yield warn("permissions", "; ".join(exposed), "chmod 600 them, and run commands as the collector's user")
    else:
        yield good("permissions", "only the owner can read the files")
    if more := other_names(database):
        yield bad(
            "names",
            f"the file has {counted(more, 'other name')} (hard link): with a log beside each it would be destroyed",
            f"remove the name that is not used (find / -samefile {database}): the collector does not start before",
        )  # fmt: skip
    wal = database.with_name(database.name + "-wal")
    wal_bytes = wal.stat().st_size if wal.exists() else 0
    if wal_bytes > WAL_MUCH:
        message = f"the write-ahead log has {wal_bytes / 1e6:,.0f} MB: somebody has been reading for long"
        yield warn("wal", message, "end long-running readers (other tools, backups); it is cut back by itself then")
    elif wal_bytes and around.collector is None:
        yield good("wal", f"{wal_bytes / 1e6:,.1f} MB wait in the write-ahead log; the next start folds them in")
    else:
        yield good("wal", f"{wal_bytes / 1e6:,.1f} MB")
    rest = [*interrupted(database), *leftovers(database)]
    if rest:
        names = ", ".join(path.name for path in rest)
        yield warn("leftovers", f"a restore is at work or was interrupted: {names}", "run the restore again")


def other_names(database: Path) -> int:
    """Return how many names a file has beside this one, those left out that a restore gave it on its way."""
    database = own_name(database)
    if not database.is_file():
        return 0
    own = sum(hidden.samefile(database) for hidden in interrupted(database))
    return database.stat().st_nlink - 1 - own


def check_rest(around: Surroundings, database: Path) -> Iterator[Finding]:
    """Look at disk, clock, plugins and what SDK clients of this user left."""
    yield from check_disk(database)
    yield from check_clock(database)
    yield from check_plugins(around)
    waiting = waiting_spools(Path(default_spool_dir()), older_than_s=SPOOL_OLD_S)
    if waiting:
        places = ", ".join(f"{folder} ({size:,} bytes)" for folder, size in waiting.items())
        yield warn(
            "spool", f"this user's programs left events behind that nobody delivers: {places}",
            "start the program again, or: touchtrail drain --url ADDRESS --key KEY",
        )  # fmt: skip


def check_disk(database: Path) -> Iterator[Finding]:
    """Look at the free space."""
    try:
        free = shutil.disk_usage(database.absolute().parent).free
    except OSError as error:
        yield bad("disk", f"{database.parent} cannot be looked at: {error.strerror}", "check that the disk is there")
        return
    size = database.stat().st_size if database.exists() else 0
    text = f"{free / 1e9:,.1f} GB free, the database has {size / 1e9:,.1f} GB"
    if free < SCARCE_BYTES:
        yield bad("disk", text, "free some space now: without it events are refused (503) and wait at their senders")
    elif free < max(LOW_BYTES, size):
        yield warn("disk", text, "a backup, restore or migration may need as much again: make room")
    else:
        yield good("disk", text)


def check_clock(database: Path) -> Iterator[Finding]:
    """Look whether the clock can be right."""
    ahead_s = newest_change_s([database, *companions(database)]) - now_s()
    if ahead_s > CLOCK_SLACK_S:
        yield bad("clock", f"the database was changed {ahead_s:,.0f} s in the future", "check the clock")
    elif now_s() < installed_at_s() - 86_400:
        yield bad("clock", "the clock shows a time from before touchtrail was installed", "check the clock")
    elif clock_state() == "free":
        action = "switch on NTP (systemd-timesyncd or chrony): times of events are judged by this clock"
        yield warn("clock", "the system does not know its clock to be synchronised", action)
    else:
        known = (
            "synchronised" if clock_state() == "synchronised" else "plausible; whether it is synchronised is unknown"
        )
        yield good("clock", known)


def check_plugins(around: Surroundings) -> Iterator[Finding]:
    """Look at plugins that are broken or fail."""
    for problem in around.plugin_problems:
        if problem.startswith("[plugins"):
            action = "install that plugin again, or take its name out of [plugins]"
        else:
            action = "touchtrail plugins shows all; repair, update or disable it in [plugins]"
        yield warn("plugins", problem, action)
    listed = {problem.partition(":")[0] for problem in around.plugin_problems}
    for plugin in around.plugins:
        if plugin.failures and plugin.id not in listed:
            message = (
                f"{plugin.id} failed {plugin.failures:,} of {counted(plugin.calls, 'time')}; last: {plugin.last_error}"
            )
            yield warn("plugins", message, "update it, or disable it in [plugins]")
    disabled = [plugin.id for plugin in around.plugins if plugin.state == "disabled"]
    active = sum(plugin.state == "active" for plugin in around.plugins)
    yield good(
        "plugins", f"{active} active" + (f"; disabled by the settings: {', '.join(disabled)}" if disabled else "")
    )


def good(check: str, message: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(check=check, state="ok", message=message)


def warn(check: str, message: str, action: str) -> Finding:
    """Return a finding that somebody should look at."""
    return Finding(check=check, state="warning", message=message, action=action)


def bad(check: str, message: str, action: str | None) -> Finding:
    """Return a finding that keeps the collector from its work, or will."""
    return Finding(check=check, state="problem", message=message, action=action)
