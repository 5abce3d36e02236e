"""The console command `touchtrail`: turns every way a command can end into an exit code and one line on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

EXTRA = frozenset(
    {
        "argon2",
        "click",
        "crawlerdetect",
        "httptools",
        "idna",
        "jinja2",
        "numpy",
        "pluggy",
        "prometheus_client",
        "publicsuffixlist",
        "rich",
        "sqlite_utils",
        "starlette",
        "uvicorn",
        "uvloop",
    }
)
"""What the extra `collector` installs, by import name. Some of it may be there for other reasons, so each counts."""

NOT_INSTALLED = "the collector is not installed; run: pip install 'touchtrail[collector]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `touchtrail` with these arguments (None = the process's own) and return its exit code, as `run` does."""
    try:
        from .cli import cli
    except ModuleNotFoundError as error:
        return _missing(error)
    return run(cli, arguments)


def run(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Returns:
        0 done · 1 the work failed · 2 wrong usage · 130 interrupted. With `TOUCHTRAIL_DEBUG=1` the traceback of
        what failed is shown as well.
    """
    try:
        code = _outcome(command, arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has gone: the interpreter must not complain at exit about what it could not write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _outcome(command: click.Command, arguments: Sequence[str] | None) -> int:
    import click

    from .errors import TouchtrailCollectorError, UsageError

    try:
        code = command.main(arguments, prog_name="touchtrail", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _failed(error, error.format_message(), error.exit_code)
    except click.Abort as error:
        return 130 if isinstance(error.__cause__, KeyboardInterrupt) else _failed(error, "stopped", 1)
    except UsageError as error:
        return _failed(error, str(error), 2)
    except TouchtrailCollectorError as error:
        return _failed(error, str(error), 1)
    except ModuleNotFoundError as error:
        return _missing(error)
    except OSError as error:
        # One with a file name is about a file the user named; any other is a fault of ours and keeps its traceback.
        if error.filename is None or isinstance(error, BrokenPipeError):
            raise
        return _failed(error, f"{error.filename}: {error.strerror}", 1)


def _missing(error: ModuleNotFoundError) -> int:
    if (error.name or "").partition(".")[0] not in EXTRA:
        raise error
    return _failed(error, NOT_INSTALLED, 1)


def _failed(error: BaseException, message: str, code: int) -> int:
    from .settings import is_debug

    if is_debug():
        import traceback

        traceback.print_exception(error)
    sys.stderr.write(f"touchtrail: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
