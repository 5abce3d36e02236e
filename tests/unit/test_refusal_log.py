"""What is no HTTP is logged with the network it came from, and not as often as its sender likes."""

from __future__ import annotations

import logging

import pytest

from touchtrail_collector.web.errors import malformed_request, too_many_headers
from touchtrail_collector.web.refusal_log import ALL_BURST, ALL_PER_S, NETWORK_BURST, NETWORK_PER_S, RefusalLog
from touchtrail_collector.web.server_log import is_news


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_line_says_who_and_what_and_no_whole_address(caplog: pytest.LogCaptureFixture) -> None:
    log = RefusalLog()
    log.tell(("203.0.113.77", 5000), malformed_request())
    log.tell(("2001:db8:1:2::3", 5000), too_many_headers(32_768, 100))
    log.tell(None, malformed_request())
    assert caplog.messages == [
        "refused unread, from 203.0.113.0: 400 malformed_request: this is no HTTP/1.1 request; the connection is closed",
        "refused unread, from 2001:db8:1::: 431 headers_too_large: the address and headers are more than 32768 bytes, or "
        "more than 100 headers",
        "refused unread, from -: 400 malformed_request: this is no HTTP/1.1 request; the connection is closed",
    ]


def test_one_network_gets_a_few_lines_and_then_one_now_and_then_that_counts_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    log = RefusalLog(clock)
    for port in range(1_000):
        log.tell((f"203.0.113.{port % 200}", port), malformed_request())
    assert len(caplog.messages) == NETWORK_BURST
    log.tell(("198.51.100.7", 1), malformed_request())
    assert caplog.messages[-1].startswith("refused unread, from 198.51.100.0: ")
    assert caplog.messages[-1].endswith(f"({1_000 - NETWORK_BURST} more were not logged)")
    clock.now += 1 / NETWORK_PER_S + 1
    log.tell(("203.0.113.5", 1), malformed_request())
    assert caplog.messages[-1].startswith("refused unread, from 203.0.113.0: ")
    assert caplog.messages[-1].endswith("the connection is closed")


def test_a_day_of_it_from_everywhere_makes_a_small_log(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log = RefusalLog(clock)
    for number in range(86_400):
        log.tell((f"{number % 200 + 1}.{number // 200 % 250}.1.1", number % 60_000), malformed_request())
        clock.now += 1.0
    assert len(caplog.messages) <= ALL_BURST + 86_400 * ALL_PER_S + 1
    assert sum(map(len, caplog.messages)) < 300_000


def test_uvicorns_own_line_without_an_address_is_left_out_and_its_others_are_not() -> None:
    def record(message: str) -> logging.LogRecord:
        return logging.LogRecord("uvicorn.error", logging.WARNING, "x.py", 1, message, None, None)

    assert not is_news(record("Invalid HTTP request received."))
    assert is_news(record("Exception in ASGI application\n"))
