"""The WSGI middleware in Python's own threaded server and in gunicorn, with the real client."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from shop_browser import (
    GOOGLE,
    Browser,
    ask_at_once,
    check_order,
    order_a_shoe,
    running_example,
    visitors_events,
    wait_for,
)

from sdk_sink import Sink, running_sink
from touchtrail.integrations.cookies import new_visitor_id

YES = "tt_consent=analytics=1&ads=1&personalisation=1"

SHOP = """
import os, time
from urllib.parse import parse_qs
from touchtrail.integrations.visit import WebOptions
from touchtrail.integrations.wsgi import TouchtrailMiddleware

MODE, TRUSTED = os.environ["SHOP_MODE"], tuple(filter(None, os.environ["SHOP_TRUSTED"].split()))

def shop(environ, start_response):
    number = parse_qs(environ["QUERY_STRING"]).get("n", [""])[0]
    visitor = environ.get("HTTP_COOKIE", "").rpartition("tt_visitor=")[2]
    cache = [("Cache-Control", "public, max-age=60")] if environ["PATH_INFO"] == "/public" else []
    head = [("Content-Type", "text/html"), *cache]
    def click(where):
        app.visits.client.track("clicked", properties={"n": number, "where": where})
    if environ["PATH_INFO"] == "/list":
        time.sleep(0.002)
        click("list")
        start_response("200 OK", head)
        return [visitor.encode()]
    def pieces():
        start_response("200 OK", head)
        for part in range(2):
            time.sleep(0.002)
            if number:
                click(f"piece {part}")
            yield visitor[part * 18 : part * 18 + 18].encode()
    return pieces()

app = TouchtrailMiddleware(
    shop, options=WebOptions(visitor_id=MODE, trusted_proxies=TRUSTED, client_address="truncated")
)
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as open_sink:
        yield open_sink


@contextmanager
def gunicorn(sink: Sink, folder: Path, *, mode: str = "unless_refused", trusted: str = "") -> Iterator[str]:
    """Serve the shop above with gunicorn: forked after loading, threads, and no trust of its own in this machine."""
    (folder / "threaded_shop.py").write_text(SHOP)
    settings = [
        "--preload",
        "--workers",
        "2",
        "--threads",
        "16",
        "--bind",
        "127.0.0.1:0",
        "--forwarded-allow-ips",
        "192.0.2.1",
    ]
    command = [sys.executable, "-m", "gunicorn", *settings]
    environment = os.environ | {
        "TOUCHTRAIL_URL": sink.url,
        "TOUCHTRAIL_KEY": "k",
        "TOUCHTRAIL_SPOOL_DIR": str(folder / "spool"),
        "TOUCHTRAIL_LINGER_S": "0.01",
        "SHOP_MODE": mode,
        "SHOP_TRUSTED": trusted,
        "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
    }
    log = folder / "log"
    with log.open("w") as errors, subprocess.Popen(
        [*command, "threaded_shop:app"], stderr=errors, env=environment, cwd=folder
    ) as process:  # fmt: skip
        try:
            ends_at = time.monotonic() + 10
            while len(re.findall("Booting worker", log.read_text())) < 2:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < ends_at, log.read_text()
                time.sleep(0.02)
            found = re.search(r"Listening at: (http://127\.0\.0\.1:\d+)", log.read_text())
            assert found is not None
            yield found[1]
        finally:
            process.terminate()
            code = process.wait(15)
    assert code == 0
    assert "Traceback" not in log.read_text(), log.read_text()


def test_a_visitor_is_followed_from_the_first_page_to_the_order(sink: Sink, tmp_path: Path) -> None:
    with running_example("wsgi_shop.py", sink.url, "k", tmp_path) as address:
        visitor = order_a_shoe(address)
        with Browser(address) as other:
            other.navigate("/p/SHOE-1?utm_source=newsletter", referer=GOOGLE)
            other.submit("/consent", answer="no")
            other.navigate("/p/SOCK-1")
            assert other.cookies == {"tt_consent": "analytics=0&ads=0&personalisation=0"}
        with Browser(address, **{"Sec-GPC": "1"}) as private:
            private.navigate("/p/SHOE-1")
            private.submit("/consent", answer="yes")
            assert private.cookies["tt_consent"] == "analytics=1&ads=0&personalisation=0"
            private.submit("/cart", sku="SOCK-1")
    events = wait_for(9, sink, timeout_s=0)
    theirs = [event for event in events if event["anonymous_id"] != visitor]
    check_order([event for event in events if event["anonymous_id"] == visitor], visitor)
    assert Counter(event["name"] for event in theirs) == {"consent_given": 1, "product_viewed": 1, "cart_item_added": 1}
    assert {event["consent"]["ads"] for event in theirs} == {False}


def test_visitors_never_mix_in_threads_streams_and_forked_workers(sink: Sink, tmp_path: Path) -> None:
    visitors = [new_visitor_id(time.time()) for _ in range(20)]
    requests = 200
    with gunicorn(sink, tmp_path) as address, httpx.Client(base_url=address, timeout=20) as http:

        def ask(number: int) -> None:
            visitor = visitors[number % len(visitors)]
            path = "list" if number % 2 else "stream"
            answer = http.get(f"/{path}?n={number}", headers={"Cookie": f"{YES}; tt_visitor={visitor}"})
            assert answer.text == visitor

        ask_at_once([lambda number=number: ask(number) for number in range(requests)], threads=24)  # type: ignore[misc]
        events = wait_for(300, sink)
    mixed = [
        event for event in events if event["anonymous_id"] != visitors[int(event["properties"]["n"]) % len(visitors)]
    ]
    assert mixed == []
    places = Counter(event["properties"]["where"] for event in events)
    assert places == {"list": requests // 2, "piece 0": requests // 2, "piece 1": requests // 2}


def test_landings_cookies_and_addresses_behind_gunicorn(sink: Sink, tmp_path: Path) -> None:
    forged = {"X-Forwarded-For": "198.51.100.1", "X-Forwarded-Host": "x.example", "X-Forwarded-Proto": "https"}
    with gunicorn(sink, tmp_path) as address, Browser(address, **forged) as browser:
        browser.navigate("/public?utm_source=news", referer=GOOGLE)
        browser.load("/", "image")
        assert browser.written == {}
        browser.navigate("/gr%C3%B6%C3%9Fe?utm_source=news&reset_token=secret", referer=GOOGLE)
        browser.navigate("/", referer=browser.page)
        assert browser.written.keys() == {"tt_visitor"}
        assert "Secure" not in browser.written["tt_visitor"]
        (landing,) = wait_for(1, sink)
    assert len(visitors_events(sink)) == 1
    assert landing["anonymous_id"] == browser.cookies["tt_visitor"]
    assert landing["campaign"] == {"source": "news"}
    assert landing["device"]["ip"] == "127.0.0.0"
    assert landing["page"] == {"url": f"{address}/gr%C3%B6%C3%9Fe?utm_source=news&reset_token=***", "referrer": GOOGLE}


def test_behind_a_trusted_proxy_its_word_on_address_host_and_scheme_counts(sink: Sink, tmp_path: Path) -> None:
    proxied = {
        "X-Forwarded-For": "198.51.100.1, 203.0.113.9",
        "X-Forwarded-Host": "x.example",
        "X-Forwarded-Proto": "https",
    }
    with gunicorn(sink, tmp_path, trusted="127.0.0.0/8") as address:
        answer = httpx.get(f"{address}/?utm_source=news", headers={**proxied, "Accept": "text/html"})
        (landing,) = wait_for(1, sink)
    assert "; Secure;" in answer.headers["set-cookie"]
    assert landing["device"]["ip"] == "203.0.113.0"
    assert landing["page"]["url"] == "https://x.example/?utm_source=news"
