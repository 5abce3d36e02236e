"""The collector's own log on stderr: plain lines or JSON, one record a line, nothing in it that a request could forge.

Keys and e-mail addresses are masked wherever they stand, also in the messages of exceptions; what came in bodies,
cookies and query strings is never logged in the first place.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Final, Literal, TextIO

import msgspec

LogFormat = Literal["plain", "json"]

UNSAFE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line ends of every kind, marks that turn the direction of text, halves of characters."""

LOCAL: Final = r"\w.!#$&'*+/=?^`{|}~\-"
"""What may stand before the @ of an address, but the `%`, which may begin an @ itself."""

SECRETS: Final = (
    (re.compile(r"\btt([a-z])_[\w\-]{8,}+"), r"tt\1_…"),
    (re.compile(r"(?i)\b(bearer|basic)(?:\s|%20)+[\w\-.~+/=]++"), r"\1 …"),
    (re.compile(r"(?i)\b(key|token|password|secret|write_?key)=[^\s&;\"']++"), r"\1=…"),
    (
        re.compile(
            rf"(?:(?<![{LOCAL}%])|(?<=%40))(?=[{LOCAL}%])[{LOCAL}]*+(?:%(?!40)[{LOCAL}]*+)*"
            r"(?:@|%40)[\w\-]++(?:\.[\w\-]+)+"
        ),
        "…@…",
    ),
)
"""What is masked: our keys, credentials of headers and query strings, e-mail addresses.

Strangers choose what is searched. So nothing here goes back (`++`), and what may begin an address begins only where the
run of its characters does: each character is looked at a few times, whatever stands around it. Searched from each
character of a run on, a path of 24 kB took a minute.
"""

PATH_CHARS: Final = 512
LINE_CHARS: Final = 8192
"""What is shown of a path, and of any other line: a log is read by people."""

ACCESS = "uvicorn.access"


def visible(text: str) -> str:
    """Return text in one line, with everything unprintable written out, `\\x0a`."""
    return UNSAFE.sub(lambda found: _escaped(found[0]), text)


def masked(text: str) -> str:
    """Return text without keys and e-mail addresses."""
    for pattern, shown in SECRETS:
        text = pattern.sub(shown, text)
    return text


def shown_path(path: str) -> str:
    """Return a request's path without its query; of a long one the beginning.

    It is cut between two parts, so that no half of an address is left that would not be known as one.
    """
    path = path.partition("?")[0]
    return path if len(path) <= PATH_CHARS else f"{path[:PATH_CHARS].rpartition('/')[0]}/…"


def clean(line: str) -> str:
    """Return a line as it may be written."""
    line = masked(line)
    return visible(line if len(line) <= LINE_CHARS else f"{line[:LINE_CHARS]}…")


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class SafeFormatter(logging.Formatter):
    """Takes a record apart into what both formats show."""

    def time_of(self, record: logging.LogRecord) -> str:
        """Return when it was, in UTC to the millisecond."""
        at = datetime.fromtimestamp(record.created, UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def message_of(self, record: logging.LogRecord) -> str:
        """Return what it says, in one line; a request's line without its query."""
        if record.name == ACCESS and isinstance(record.args, tuple) and len(record.args) == 5:
            address, method, path, _, status = record.args
            text = f"{shortened(str(address))} {method} {shown_path(str(path))} {status}"
        else:
            text = record.getMessage()
        return clean(text.strip())

    def exception_of(self, record: logging.LogRecord) -> list[str]:
        """Return the traceback, a line each; an exception's message of many lines cannot pretend to be a record."""
        lines: list[str] = []
        if record.exc_info and record.exc_info[0] is not None:
            lines = traceback.format_exception(*record.exc_info)
        if record.stack_info:
            lines.append(record.stack_info)
        return [clean(line) for line in "".join(lines).rstrip("\n").split("\n")] if lines else []


class PlainFormatter(SafeFormatter):
    """`2026-11-21T10:00:00.000Z WARNING touchtrail_collector.web: message`, a traceback indented below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        first = f"{self.time_of(record)} {record.levelname} {record.name}: {self.message_of(record)}"
        return "\n".join([first, *(f"    {line}" for line in self.exception_of(record))])


class JsonFormatter(SafeFormatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        shown = {
            "time": self.time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message_of(record),
        }
        exception = self.exception_of(record)
        if exception:
            shown["exception"] = "\n".join(exception)
        return msgspec.json.encode(shown).decode()


def shortened(address: str) -> str:
    """Return a client's address without what tells a person: the network alone, `203.0.113.0`."""
    host = address.rpartition(":")[0] or address
    try:
        found = ip_address(host.strip("[]"))
    except ValueError:
        return "-"
    return str(ip_network((found, 24 if found.version == 4 else 48), strict=False).network_address)


def start_log(log_format: LogFormat, stream: TextIO | None = None) -> logging.Handler:
    """Send everything that this process logs to a stream, warnings and the last words of threads included.

    Args:
        stream: None = stderr.

    Returns: the handler, which is the root logger's only one now.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else PlainFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)
    # It tells of every start and stop; of what goes wrong there it warns.
    uvicorns = logging.getLogger("uvicorn.error")
    uvicorns.setLevel(logging.WARNING)
    uvicorns.addFilter(is_news)
    threading.excepthook = log_thread_end
    return handler


def is_news(record: logging.LogRecord) -> bool:
    """True for all but what is told in other words: by whom it came, and not without end (`refusal_log`)."""
    return record.msg != "Invalid HTTP request received."


def log_thread_end(ended: threading.ExceptHookArgs) -> None:
    """Log what ended a thread."""
    if ended.exc_value is None or isinstance(ended.exc_value, SystemExit):
        return
    name = "a thread" if ended.thread is None else f"thread {ended.thread.name}"
    information = (ended.exc_type, ended.exc_value, ended.exc_traceback)
    logging.getLogger("touchtrail_collector").error("%s ended unexpectedly", name, exc_info=information)
