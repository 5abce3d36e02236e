"""The collector's log: one record a line in both formats, whatever a request brings; keys and addresses masked."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.web.server_log import (
    LINE_CHARS,
    PATH_CHARS,
    LogFormat,
    SafeFormatter,
    masked,
    shortened,
    shown_path,
    start_log,
    visible,
)

FORMATS: list[LogFormat] = ["plain", "json"]
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ [\w.]+: ")

Logged = Callable[[LogFormat, Callable[[], object]], list[str]]


@pytest.fixture
def logged() -> Iterator[Logged]:
    """Return a function that gives the lines something logs; the process's own logging comes back at the end."""
    root, hook = logging.getLogger(), threading.excepthook
    # Uvicorn keeps its request log to itself in a process where it ran without one, as servers of other tests do.
    loggers = [root, *(logging.getLogger(name) for name in ("uvicorn", "uvicorn.access", "uvicorn.error"))]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    for logger in loggers[1:]:
        logger.handlers[:], logger.propagate = [], True
        logger.setLevel(logging.NOTSET)

    def run(log_format: LogFormat, work: Callable[[], object]) -> list[str]:
        for handler in root.handlers[:]:
            root.removeHandler(handler)
        stream = io.StringIO()
        start_log(log_format, stream)
        work()
        return stream.getvalue().split("\n")[:-1]

    yield run
    logging.captureWarnings(False)
    threading.excepthook = hook
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def say(message: str, *args: object, name: str = "touchtrail_collector.web") -> Callable[[], None]:
    return lambda: logging.getLogger(name).warning(message, *args)


def fail(error: Exception) -> Callable[[], None]:
    def work() -> None:
        try:
            raise error
        except Exception:
            logging.getLogger("touchtrail_collector.web").exception("a batch could not be committed")

    return work


def test_a_plain_line_has_time_level_logger_and_message(logged: Logged) -> None:
    (line,) = logged("plain", say("plugin %s failed", "channel.x"))
    assert LINE.match(line)
    assert line.endswith(" WARNING touchtrail_collector.web: plugin channel.x failed")


def test_a_json_line_has_the_same_as_members(logged: Logged) -> None:
    (line,) = logged("json", say("plugin %s failed", "channel.x"))
    record = json.loads(line)
    assert record.keys() == {"time", "level", "logger", "message"}
    assert (record["level"], record["logger"]) == ("warning", "touchtrail_collector.web")
    assert datetime.fromisoformat(record["time"]).utcoffset() is not None


def test_an_exception_comes_with_its_traceback(logged: Logged) -> None:
    plain = logged("plain", fail(ValueError("bad")))
    assert all(line.startswith("    ") for line in plain[1:])
    assert plain[-1] == "    ValueError: bad"
    (line,) = logged("json", fail(ValueError("bad")))
    assert json.loads(line)["exception"].endswith("\nValueError: bad")
    assert "Traceback" in line


@pytest.mark.parametrize("log_format", FORMATS)
@given(st.text() | st.text(st.sampled_from("\r\n\x00\x1b\x85\u2028\u202e\ud800a")))
def test_no_message_and_no_error_can_begin_a_line_of_its_own(log_format: LogFormat, text: str) -> None:
    forged = f"{text}\n2026-01-01T00:00:00.000Z ERROR touchtrail_collector.web: forged{text}"
    formatter = start_formatter(log_format)
    for information in (None, caught(ValueError(forged))):
        record = logging.LogRecord("touchtrail_collector.web", 30, "x.py", 1, "%s", (forged,), information)
        lines = formatter.format(record).splitlines()
        begun = [line for line in lines if not line.startswith("    ")]
        assert len(begun) == 1
        assert log_format == "plain" or len(lines) == 1
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", "".join(lines))
        "".join(lines).encode()


def start_formatter(log_format: LogFormat) -> SafeFormatter:
    from touchtrail_collector.web.server_log import JsonFormatter, PlainFormatter

    return JsonFormatter() if log_format == "json" else PlainFormatter()


def caught(error: Exception) -> object:
    try:
        raise error
    except Exception:
        return sys.exc_info()


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("key ttw_abcdefghijklmnop-_0123456789AB is unknown", "abcdefghijklmnop"),
        ("POST /v1/events?key=ttw_abcdefghijklmnop&x=1", "abcdefghijklmnop"),
        ("GET /x?token=s3cret-value", "s3cret"),
        ("Authorization: Bearer s3cret.value", "s3cret"),
        ("authorization: basic czNjcmV0OngK=", "czNjcmV0"),
        ("no such customer: jane.doe+x@shop.example!", "jane.doe"),
        ("/page?email=jane.doe%40shop.example", "jane.doe"),
        ("/page/100%25jane.doe@shop.example.", "jane.doe"),
        ("x%40jane.doe%40shop.example", "jane.doe"),
        ("x@jane.doe@shop.example", "jane.doe"),
        ("%40%40jane.doe@shop.example", "jane.doe"),
        ("/Bearer%20s3cret.value/x", "s3cret"),
        ("key=" * 3000 + "s3cret", "s3cret"),
    ],
)
@pytest.mark.parametrize("log_format", FORMATS)
def test_keys_and_addresses_are_masked_also_in_errors(
    logged: Logged, log_format: LogFormat, text: str, hidden: str
) -> None:
    assert hidden in text
    for work in (say("%s", text), fail(ValueError(text))):
        lines = "\n".join(logged(log_format, work))
        assert hidden not in lines
        assert "…" in lines


SHAPES = [
    "a", "a@", "a%40", "a@b.", "a%40b.", "a@b-", "a@b.c%", "a@b@c.", "%", "%4", "%40", "%2540", "@", "key=", "key=&", "tokentoken",
    "bearer%20", "bearer ", "bearer", " ", "%20", "tta_", "tta_abcdefg ", "tta_-", ".", "/", "a/", "é", "\x00", "\udc80",
]  # fmt: skip
CHARS = 100_000
"""Where an address was looked for from each character on, as once, this took a quarter of an hour."""


@pytest.mark.parametrize("log_format", FORMATS)
def test_what_a_line_costs_grows_no_faster_than_its_length_whatever_stands_in_it(log_format: LogFormat) -> None:
    formatter = start_formatter(log_format)
    slowest = 0.0
    for shape in SHAPES:
        for before in ("", "bearer", "a@", "/x?key"):
            text = (before + shape * CHARS)[:CHARS]
            record = logging.LogRecord("touchtrail_collector.web", 30, "x.py", 1, "%s", (text,), None)
            began = time.process_time()
            formatter.format(record)
            took_s = time.process_time() - began
            slowest = max(slowest, took_s)
            assert took_s < 2, (shape, before)
    assert slowest > 0


@given(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=6).map("".join))
def test_mixed_shapes_cost_no_more(shape: str) -> None:
    text = (shape * CHARS)[: CHARS // 10]
    formatter = start_formatter("plain")
    record = logging.LogRecord("touchtrail_collector.web", 30, "x.py", 1, "%s", (text,), caught(ValueError(text)))
    began = time.process_time()
    formatter.format(record)
    assert time.process_time() - began < 1, shape


@pytest.mark.parametrize("log_format", FORMATS)
def test_of_a_long_line_the_beginning_is_shown(logged: Logged, log_format: LogFormat) -> None:
    for work in (say("%s", "words " * CHARS), fail(ValueError("words " * CHARS))):
        lines = logged(log_format, work)
        assert sum(len(line) for line in lines) < 3 * LINE_CHARS
        assert "words words" in lines[-1]
        assert "…" in lines[-1]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v1/events?key=x", "/v1/events"),
        ("/" + "a" * (PATH_CHARS - 1), "/" + "a" * (PATH_CHARS - 1)),
        ("/" + "a" * PATH_CHARS, "/…"),
        ("/page/" + "b" * PATH_CHARS, "/page/…"),
        ("/page" * 400, "/page" * 102 + "/…"),
    ],
)
def test_a_long_path_is_cut_between_two_parts(path: str, shown: str) -> None:
    assert shown_path(path) == shown


@given(st.integers(0, 600))
def test_where_a_path_is_cut_no_half_of_an_address_or_key_is_left(before: int) -> None:
    for secret in ("jane.doe@shop.example", "jane.doe%40shop.example", "ttw_abcdefghijklmnopqrstuv"):
        path = "/" + "x" * before + "/" + secret + "/" + "y" * 600
        arguments = ("203.0.113.77:5000", "GET", path, "1.1", 404)
        record = logging.LogRecord("uvicorn.access", 20, "x.py", 1, '%s - "%s %s HTTP/%s" %d', arguments, None)
        line = start_formatter("plain").format(record)
        assert not re.search(r"jane|shop\.ex|abcdefgh", line), line
        assert line.endswith(" 404")
        assert len(line) < PATH_CHARS + 200


@given(st.text())
def test_what_has_nothing_to_hide_is_shown_as_it_is(text: str) -> None:
    harmless = re.sub(r"[^ a-zA-Z]", "", text)
    assert visible(harmless) == harmless
    assert masked("the write-ahead log stays: disk I/O error") == "the write-ahead log stays: disk I/O error"


@pytest.mark.parametrize("log_format", FORMATS)
def test_a_request_is_logged_without_its_query_and_without_the_whole_address(
    logged: Logged, log_format: LogFormat
) -> None:
    uvicorns = say(
        '%s - "%s %s HTTP/%s" %d', "203.0.113.77:5000", "POST", "/v1/events?key=ttw_abcdefghijk&q=jane", "1.1", 200,
        name="uvicorn.access",
    )  # fmt: skip
    (line,) = logged(log_format, uvicorns)
    assert "203.0.113.0 POST /v1/events 200" in line
    assert "abcdefghijk" not in line
    assert "jane" not in line
    assert "203.0.113.77" not in line


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("203.0.113.77:5000", "203.0.113.0"),
        ("2001:db8:1:2::3:443", "2001:db8:1::"),
        ("[2001:db8:1:2::3]:443", "2001:db8:1::"),
        ("", "-"),
        ("a\nb:1", "-"),
    ],
)
def test_an_address_is_cut_to_its_network(address: str, shown: str) -> None:
    assert shortened(address) == shown


@pytest.mark.parametrize("log_format", FORMATS)
def test_warnings_and_the_last_words_of_threads_are_records_too(logged: Logged, log_format: LogFormat) -> None:
    def work() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("old\nways", DeprecationWarning, stacklevel=1)
            logging.captureWarnings(False)
        thread = threading.Thread(target=lambda: 1 // 0, name="worker")
        thread.start()
        thread.join()

    lines = [line for line in logged(log_format, work) if not line.startswith("    ")]
    assert len(lines) == 2
    assert "py.warnings" in lines[0]
    assert "thread worker ended unexpectedly" in lines[1]
