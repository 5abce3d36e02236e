"""Every error the collector raises on purpose.

TouchtrailCollectorError
├── SettingsError          a setting is wrong; lists every problem at once
├── PluginError            a plugin is broken, or failed when it was called
├── StoreError             the database cannot be used
│   ├── DatabaseLocked     another collector has it open
│   ├── DatabaseMissing    there is no such file
│   ├── DatabaseTooNew     it was written by a newer version
│   └── StoreUnavailable   it cannot be written now; nothing was lost, try again
│       └── QueryTimeout   a report was ended, as it took longer than it may
├── ReportError            a report cannot be made from what was asked
├── ImportProblem          a file cannot be read any further
└── UsageError             a command was asked for something it does not have; exit code 2

A message says what is wrong, where, and what to do next, in one line where it can. Attributes carry the same as data.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class TouchtrailCollectorError(Exception):
    """The root: the command line prints its message as one line and exits with 1."""


class SettingsError(TouchtrailCollectorError):
    """Settings are wrong.

    Args:
        problems: one line each, all of them, beginning with where the setting came from.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(_listing("setting", self.problems))


class PluginError(TouchtrailCollectorError):
    """A plugin is broken or failed.

    Args:
        plugin: the plugin's id, `channel.podcast`; None when the problems are those of several.
        problems: one line each; with ``plugin`` None each begins with the id it is about.
    """

    def __init__(self, plugin: str | None, *problems: str) -> None:
        self.plugin = plugin
        self.problems = problems
        listing = _listing("plugin", problems) if plugin is None else f"{plugin}: {'; '.join(problems)}"
        super().__init__(listing)


class StoreError(TouchtrailCollectorError):
    """The database cannot be used."""


class DatabaseLocked(StoreError):
    """Another collector has the database open.

    Args:
        path: the database file.
        holder: who holds it as far as is known, `process 4711`; None = not known.
    """

    def __init__(self, path: Path | str, holder: str | None = None) -> None:
        self.path = Path(path)
        self.holder = holder
        who = "another collector" if holder is None else f"another collector ({holder})"
        super().__init__(f"{path} is in use by {who}; stop that one, or name another file with --db")


class DatabaseMissing(StoreError):
    """There is no database at this path; only `serve`, `demo`, `keys create` and `import` make one."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        super().__init__(f"there is no database at {path}; name it with --db, or make one with `touchtrail serve`")


class DatabaseTooNew(StoreError):
    """A newer version of touchtrail wrote the database.

    Args:
        found: the newest migration in the file.
        known: the newest migration this version knows.
    """

    def __init__(self, found: int | str, known: int | str) -> None:
        self.found = found
        self.known = known
        super().__init__(
            f"the database has schema {found}, this version knows {known}; "
            "run: pip install --upgrade 'touchtrail[collector]'"
        )


class StoreUnavailable(StoreError):
    """The database cannot be written at the moment (disk full, stopping); the sender may try again."""


class QueryTimeout(StoreUnavailable):
    """A report was ended: at `store.report_deadline_s`, or early as the write-ahead log grew or the collector stops."""


class ReportError(TouchtrailCollectorError):
    """A report cannot be made from what was asked.

    Args:
        parameter: the query parameter at fault, `currency`; None = none in particular.
    """

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        self.parameter = parameter
        super().__init__(message if parameter is None else f"{parameter}: {message}")


class ImportProblem(TouchtrailCollectorError):
    """A file cannot be read any further.

    Args:
        path: the file as the user named it.
        line: counted from 1, the header is line 1; None = the file as a whole.
        column: the column's name as the header gives it.
    """

    def __init__(self, message: str, *, path: Path | str, line: int | None = None, column: str | None = None) -> None:
        self.path = Path(path)
        self.line = line
        self.column = column
        where = str(path)
        where += f", line {line}" if line is not None else ""
        where += f", column {column}" if column is not None else ""
        super().__init__(f"{where}: {message}")


class UsageError(TouchtrailCollectorError):
    """A command was asked for something it does not have: an unknown report, source or option; exit code 2."""


def _listing(noun: str, problems: tuple[str, ...]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join((f"{len(problems)} {noun} problems:", *problems))
