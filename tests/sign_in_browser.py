"""A browser as far as signing in goes: it keeps cookies, and sends what our own pages send."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx

from touchtrail_collector.services.collector import Collector
from touchtrail_collector.web.app import create_app

FORM = {"content-type": "application/x-www-form-urlencoded"}
OWN_PAGE = {"sec-fetch-site": "same-origin", "origin": "null"}
HTML = {"accept": "text/html,application/xhtml+xml"}


class Browser:
    """Keeps cookies, asks one application again and again, and follows nothing."""

    def __init__(self, collector: Collector, base: str = "http://127.0.0.1", client: str = "198.51.100.7") -> None:
        self.collector = collector
        self.base = base
        self.cookies = httpx.Cookies()
        self._app = create_app(collector)
        self._client = client

    def ask(self, method: str, path: str, *, client: str | None = None, **given: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(
                self._app, raise_app_exceptions=False, client=(client or self._client, 4711)
            )
            async with httpx.AsyncClient(transport=transport, base_url=self.base, cookies=self.cookies) as asking:
                answer = await asking.request(method, path, **given)
                self.cookies = asking.cookies
                return answer

        return asyncio.run(run())

    def open(self, path: str, **headers: str) -> httpx.Response:
        return self.ask("GET", path, headers=HTML | headers)

    def submit(self, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        return self.ask("POST", path, data=fields, headers=HTML | OWN_PAGE | headers)

    def sign_in(self) -> httpx.Response:
        return self.submit("/sign-in", {"token": self.collector.sessions.issue_link()})

    def csrf_token(self) -> str:
        found = re.search(r'name="csrf_token" value="(\w+)"', self.open("/").text)
        assert found
        return found[1]


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]
