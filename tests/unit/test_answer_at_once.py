"""An answer written with one call is byte for byte the one uvicorn writes with two, or it is not written."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from touchtrail_collector.web.headers import Headers
from touchtrail_collector.web.protocol_httptools import answer_at_once

BODY = b'{"accepted":1,"duplicates":0,"rejected":[]}'
ALWAYS: Headers = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]
HEAD = b"content-type: application/json\r\nx-content-type-options: nosniff\r\n"
MIRRORED: Headers = [(b"access-control-allow-origin", b"https://shop.example"), (b"vary", b"Origin")]


class Line(asyncio.Transport):
    """The other end: what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True


def cycle_on(
    line: Line, *, keep_alive: bool = True, access_log: bool = False
) -> tuple[RequestResponseCycle, list[str]]:
    """Return a request that was read, and where it is noted that its answer is complete."""
    complete: list[str] = []
    cycle = RequestResponseCycle(
        scope={"type": "http", "method": "POST", "path": "/v1/events"},  # type: ignore[typeddict-item]
        transport=line,
        flow=FlowControl(line),
        logger=logging.getLogger("uvicorn.error"),
        access_logger=logging.getLogger("uvicorn.access"),
        access_log=access_log,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: complete.append("complete"),
    )
    return cycle, complete


def state_of(cycle: RequestResponseCycle) -> tuple[bool, ...]:
    return cycle.response_started, cycle.response_complete, cycle.message_event.is_set(), cycle.keep_alive


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("headers", [[], MIRRORED], ids=["same origin", "another origin"])
def test_it_writes_what_uvicorn_writes_with_one_call_for_two(headers: Headers, keep_alive: bool) -> None:
    usual, quick = Line(), Line()

    async def write_both() -> None:
        cycle, complete = cycle_on(usual, keep_alive=keep_alive)
        whole = [*ALWAYS, *headers, (b"content-length", b"%d" % len(BODY))]
        await cycle.send({"type": "http.response.start", "status": 200, "headers": whole})
        await cycle.send({"type": "http.response.body", "body": BODY})
        other, other_complete = cycle_on(quick, keep_alive=keep_alive)
        assert answer_at_once(other, HEAD, headers, BODY)
        assert state_of(other) == state_of(cycle) == (True, True, True, keep_alive)
        assert other_complete == complete == ["complete"]

    asyncio.run(write_both())
    assert (len(usual.written), len(quick.written)) == (2, 1)
    assert quick.written[0] == b"".join(usual.written)
    assert quick.is_closed == usual.is_closed == (not keep_alive)


@pytest.mark.parametrize("obstacle", ["gone", "does not read", "logged", "begun", "header"])
def test_where_anything_stands_in_the_way_nothing_is_written_and_the_usual_way_is_open(obstacle: str) -> None:
    line = Line()

    async def try_it() -> None:
        cycle, complete = cycle_on(line, access_log=obstacle == "logged")
        cycle.disconnected = obstacle == "gone"
        cycle.response_started = obstacle == "begun"
        if obstacle == "does not read":
            cycle.flow.pause_writing()
        origin = b"https://shop.example\r\nx-made-up: 1" if obstacle == "header" else b"https://shop.example"
        before = state_of(cycle)
        assert not answer_at_once(cycle, HEAD, [(b"access-control-allow-origin", origin)], BODY)
        assert state_of(cycle) == before
        assert complete == []

    asyncio.run(try_it())
    assert line.written == []
