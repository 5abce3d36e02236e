"""Asks a collector's application without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec

from touchtrail_collector.services.collector import Collector
from touchtrail_collector.web.app import create_app


class Application:
    """A collector's HTTP interface; every call is one request of its own.

    Attributes:
        key: a write key, sent unless ``headers`` or ``key=None`` say otherwise.
    """

    def __init__(self, collector: Collector, key: str) -> None:
        self.collector = collector
        self.key = key

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send one request and return the answer."""
        return self.ask_all([(method, path, request)])[0]

    def ask_all(self, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """Send requests at once and return their answers in the same order."""

        async def run() -> list[httpx.Response]:
            # What the application raises becomes the answer 500, as it would on a server.
            transport = httpx.ASGITransport(create_app(self.collector), raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await asyncio.gather(
                    *(client.request(method, path, **given) for method, path, given in requests)
                )

        return asyncio.run(run())

    def post(self, events: Any, path: str = "/v1/events", **headers: str) -> httpx.Response:
        """Send events (bytes: as they are) with the write key."""
        body = events if isinstance(events, bytes) else msgspec.json.encode(events)
        given = {"authorization": f"Bearer {self.key}"} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        return self.ask("POST", path, content=body, headers=given)

    def stored(self) -> list[str]:
        """Return the ids of the events in the log."""
        with self.collector.store.reading() as reader:
            return [event_id for (event_id,) in reader.execute("SELECT event_id FROM events ORDER BY seq")]
