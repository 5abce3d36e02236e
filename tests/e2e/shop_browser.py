"""What the tests of the web integrations share: a browser over HTTP, and servers that run a shop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from reference_page import ROOT
from sdk_sink import Sink
from touchtrail import Client

EXAMPLES = ROOT / "examples" / "web"
GOOGLE = "https://www.google.com/"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/133.0"


class Browser:
    """One person's browser: keeps cookies, sends Referer and Fetch Metadata, follows redirects.

    Args:
        address: of the shop.
        headers: sent with every request, as ``{"Sec-GPC": "1"}``.
    """

    def __init__(self, address: str, **headers: str) -> None:
        given = {"User-Agent": AGENT, "Accept-Language": "de-AT,de;q=0.9", **headers}
        self.http = httpx.Client(base_url=address, headers=given, follow_redirects=True, trust_env=False)
        self.page = ""
        self.written: dict[str, str] = {}
        """The last `Set-Cookie` of each cookie, whole."""

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.name: cookie.value or "" for cookie in self.http.cookies.jar}

    def navigate(self, target: str, *, referer: str = "", **headers: str) -> httpx.Response:
        """Open a page as by a link on another."""
        site = "same-origin" if referer.startswith(str(self.http.base_url)) else "cross-site" if referer else "none"
        return self._go("GET", target, referer, {"Sec-Fetch-Site": site, **headers})

    def submit(self, action: str, **fields: str) -> httpx.Response:
        """Send a form that stands on the page that is open."""
        return self._go("POST", action, self.page, {"Sec-Fetch-Site": "same-origin"}, data=fields)

    def load(self, target: str, kind: str) -> httpx.Response:
        """Load what a page is made of: an `image`, a `script`, or by script (`empty`)."""
        headers = {"Sec-Fetch-Dest": kind, "Sec-Fetch-Mode": "no-cors", "Referer": self.page, "Accept": "*/*"}
        return self._remember(self.http.get(target, headers=headers))

    def _go(self, method: str, target: str, referer: str, headers: dict[str, str], **given: Any) -> httpx.Response:
        navigation = {"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}
        referred = {"Referer": referer} if referer else {}
        answer = self.http.request(method, target, headers=navigation | referred | headers, **given)
        self.page = str(answer.url)
        return self._remember(answer)

    def _remember(self, answer: httpx.Response) -> httpx.Response:
        for response in (*answer.history, answer):
            for text in response.headers.get_list("set-cookie"):
                self.written[text.partition("=")[0]] = text
        return answer


def attributes(written: str) -> dict[str, str | bool]:
    """Return the attributes of a `Set-Cookie` value that are set."""
    (morsel,) = SimpleCookie(written).values()
    return {name: value for name, value in morsel.items() if value}


def wait_for(events: int, sink: Sink, *, timeout_s: float = 10) -> list[dict[str, Any]]:
    """Return the visitors' events that came, in the order they happened, when at least so many are there."""
    ends_at = time.monotonic() + timeout_s
    while len(came := visitors_events(sink)) < events:
        assert time.monotonic() < ends_at, [event["name"] for event in came]
        time.sleep(0.02)
    return sorted(came, key=lambda event: event["event_id"])


def visitors_events(sink: Sink) -> list[dict[str, Any]]:
    """Return what came; a client that had to report a loss would be seen here."""
    return list(sink.events.values())


@contextmanager
def running(command: list[str], spool: Path, **environment: str) -> Iterator[str]:
    """Run a shop that prints where it listens; at the end it is told to stop, and must have said nothing bad."""
    given = os.environ | {"XDG_STATE_HOME": str(spool)} | environment
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=given) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://127.0.0.1:" in line, (line, process.poll() is not None and process.stderr.read())  # type: ignore[union-attr]
            yield "http://127.0.0.1:" + line.rpartition(":")[2].strip()
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=15)
    # uvicorn ends with the signal it got, after everything was closed.
    assert process.returncode in (0, -signal.SIGTERM), errors
    # Litestar shows warnings of every library, such as that an event of somebody unknown was not taken.
    assert "Traceback" not in errors, errors
    assert "ERROR" not in errors, errors


@contextmanager
def running_example(name: str, url: str, key: str, spool: Path) -> Iterator[str]:
    """Run a script of ``examples/web`` on a free port; what it had told is delivered when the block is left.

    A shop that is told to stop delivers for half a second; on a busy machine the next process goes on from there.
    """
    with running([sys.executable, str(EXAMPLES / name), "--url", url, "--key", key, "--port", "0"], spool) as address:
        yield address
    with Client(url, key=key, spool_dir=spool / "touchtrail" / "spool") as next_process:
        assert next_process.flush(10), next_process.health()


@contextmanager
def serving_asgi(app: Any, **given: Any) -> Iterator[str]:
    """Serve an ASGI app with uvicorn in a thread of this process."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_level="error", ws="none", proxy_headers=False, timeout_graceful_shutdown=3, **given
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    ends_at = time.monotonic() + 10
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()


def order_a_shoe(address: str) -> str:
    """Walk from a newsletter's link through the consent banner to an order; return the visitor's id.

    Asserts on the way what the browser sees: no cookie before consent, and the right ones after it.
    """
    with Browser(address) as browser:
        landing = "/p/SHOE-1?utm_source=newsletter&utm_medium=email&utm_campaign=spring"
        page = browser.navigate(landing, referer="https://mail.example/")
        assert page.status_code == 200
        assert "May we see" in page.text
        assert browser.cookies == browser.written == {}
        page = browser.submit("/consent", answer="yes")
        assert "May we see" not in page.text
        kept = attributes(browser.written["tt_visitor"])
        assert kept == {"path": "/", "samesite": "Lax", "httponly": True, "max-age": str(390 * 86_400)}
        assert browser.cookies["tt_consent"] == "analytics=1&ads=1&personalisation=1"
        visitor = browser.cookies["tt_visitor"]
        browser.submit("/cart", sku="SHOE-1")
        assert browser.page.endswith("/cart?sku=SHOE-1")
        assert "Thank you" in browser.submit("/order", sku="SHOE-1", customer="c-42").text
        assert browser.cookies["tt_visitor"] == visitor
    return visitor


ORDER_EVENTS = {
    "consent_given": 1,
    "page_viewed": 1,
    "product_viewed": 1,
    "cart_item_added": 1,
    "customer_signed_in": 1,
    "order_placed": 1,
}


def check_order(events: list[dict[str, Any]], visitor: str) -> None:
    """Assert that the events of ``order_a_shoe`` are these and belong to the visitor."""
    assert Counter(event["name"] for event in events) == ORDER_EVENTS
    assert {event["anonymous_id"] for event in events} == {visitor}
    by_name = {event["name"]: event for event in events}
    landing = by_name["page_viewed"]
    assert landing["campaign"] == {"source": "newsletter", "medium": "email", "name": "spring"}
    assert landing["page"]["url"].endswith("/p/SHOE-1?utm_source=newsletter&utm_medium=email&utm_campaign=spring")
    assert {name for name, event in by_name.items() if event.get("customer_id") == "c-42"} == {
        "customer_signed_in",
        "order_placed",
    }
    for event in events:
        assert event["consent"] == {"analytics": True, "ads": True, "personalisation": True}
        assert event["device"] == {"user_agent": AGENT, "locale": "de-AT"}


def ask_at_once(asks: list[Callable[[], None]], threads: int = 50) -> None:
    """Run all the requests, so many at a time; the first error is raised."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(ask) for ask in asks]:
            done.result()
