"""Reports over HTTP take turns: so many are made at a time, others wait, and who waits too long is told to come again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from in_process_http import Application
from touchtrail_collector.services.admin import run_operation
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.settings import ServerSettings, Settings, StoreSettings
from touchtrail_collector.web.access import Doorkeeper
from touchtrail_collector.web.answer import GuardedEndpoint
from touchtrail_collector.web.errors import HttpError, handle_http_error
from touchtrail_collector.web.limits import RateLimits
from touchtrail_collector.web.reports import ReportsEndpoint

Ask = Callable[[str], Awaitable[httpx.Response]]


class SlowReports:
    """Makes reports that take until they are told to end, and counts how many are under way."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.begun = self.running = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, collector: Collector, name: str, values: object) -> object:
        with self._lock:
            self.begun += 1
            self.running += 1
            self.most = max(self.most, self.running)
        ended = self.may_end.wait(10)
        with self._lock:
            self.running -= 1
        assert ended
        return {"name": name}


def served(settings: Settings, open_collector: Any, make: SlowReports) -> Starlette:
    """Return an application whose reports are made by ``make``."""
    collector = open_collector()
    collector.settings = settings
    reports = ReportsEndpoint(collector, make)
    endpoint = GuardedEndpoint(
        reports.answer, "anyone", Doorkeeper(collector, RateLimits(settings.limits)), is_private=True
    )
    return Starlette(
        routes=[Route("/api/v1/reports/{name}", endpoint)], exception_handlers={HttpError: handle_http_error}
    )


def with_limits(at_once: int, wait_s: float) -> Settings:
    return Settings(server=ServerSettings(reports_at_once=at_once), store=StoreSettings(report_deadline_s=wait_s))


def run(app: Starlette, work: Callable[[Ask], Awaitable[None]]) -> None:
    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            await work(lambda name: client.get(f"/api/v1/reports/{name}"))

    asyncio.run(main())


async def until(is_so: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < ends_at
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_reports_are_made_at_once_than_the_setting_says_and_all_are_answered(
    open_collector: Any, at_once: int
) -> None:
    make = SlowReports()

    async def work(ask: Ask) -> None:
        asked = [asyncio.create_task(ask("overview")) for _ in range(8)]
        await until(lambda: make.running == at_once)
        await asyncio.sleep(0.1)
        assert make.begun == at_once
        make.may_end.set()
        answers = await asyncio.gather(*asked)
        assert [answer.status_code for answer in answers] == [200] * 8

    run(served(with_limits(at_once, 5), open_collector, make), work)
    assert (make.begun, make.most) == (8, at_once)


def test_who_waits_for_too_long_is_told_to_come_again_and_takes_no_turn(open_collector: Any) -> None:
    make = SlowReports()

    async def work(ask: Ask) -> None:
        first = asyncio.create_task(ask("overview"))
        await until(lambda: make.running == 1)
        for answer in await asyncio.gather(*(ask("orders") for _ in range(3))):
            assert (answer.status_code, answer.json()["code"]) == (503, "busy")
            assert int(answer.headers["retry-after"]) >= 1
        make.may_end.set()
        assert (await first).status_code == 200
        assert (await ask("orders")).status_code == 200  # nothing of the turns was lost

    run(served(with_limits(1, 0.05), open_collector, make), work)
    assert make.begun == 2


def test_a_report_that_fails_and_one_nobody_waits_for_give_their_turn_back(open_collector: Any) -> None:
    made: list[str] = []

    def fail(collector: Collector, name: str, values: object) -> object:
        made.append(name)
        raise HttpError(400, "invalid_parameter", "no")

    settings = with_limits(1, 5)
    app = served(settings, open_collector, fail)  # type: ignore[arg-type]

    async def leave() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            pytest.fail(f"answered {message} to nobody")

        scope = {
            "type": "http", "method": "GET", "path": "/api/v1/reports/overview", "query_string": b"", "headers": [],
            "client": ("127.0.0.1", 1), "root_path": "", "scheme": "http", "server": ("127.0.0.1", 80),
        }  # fmt: skip
        await app(scope, receive, send)

    async def work(ask: Ask) -> None:
        await asyncio.wait_for(leave(), 5)
        assert made == []
        for _ in range(2):
            assert (await ask("overview")).status_code == 400

    run(app, work)
    assert made == ["overview"] * 2


def test_an_unknown_report_waits_for_nothing(open_collector: Any) -> None:
    make = SlowReports()

    async def work(ask: Ask) -> None:
        first = asyncio.create_task(ask("overview"))
        await until(lambda: make.running == 1)
        assert (await ask("nonsense")).status_code == 404
        make.may_end.set()
        await first

    run(served(with_limits(1, 5), open_collector, make), work)
    assert make.begun == 1


def test_real_reports_asked_for_at_once_are_all_answered(open_collector: Any) -> None:
    collector = open_collector()
    app = Application(collector, "")
    headers = {"authorization": f"Bearer {run_operation(collector, 'create_key', {})['key']}"}
    asked = [("GET", "/api/v1/reports/overview", {"headers": headers})] * 12
    assert [answer.status_code for answer in app.ask_all(asked)] == [200] * 12
