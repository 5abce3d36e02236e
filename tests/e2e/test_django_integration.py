"""The Django example behind real servers, tracked into a real sink: gunicorn, uvicorn and Django's own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from sdk_sink import Sink, running_sink

WEB = Path(__file__).parents[2] / "examples" / "web"
SHOP = WEB / "django_shop.py"
PAGE = {"accept": "text/html"}
GUNICORN = (sys.executable, "-m", "gunicorn", "--chdir", str(WEB), "--bind", "127.0.0.1:0")
UVICORN = (sys.executable, "-m", "uvicorn", "--app-dir", str(WEB), "--port", "0", "django_shop:asgi_application")
SERVERS = {
    "gunicorn": (*GUNICORN, "--threads", "8", "django_shop:application"),
    "uvicorn": UVICORN,
    "runserver": (sys.executable, str(SHOP)),
}


class Shop(msgspec.Struct, frozen=True):
    """A shop that listens, and the file its server writes to."""

    url: str
    log: Path
    home: Path


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("shop")
    subprocess.run(
        [sys.executable, SHOP, "--prepare"], check=True, timeout=60, env=os.environ | {"SHOP_DIR": str(home)}
    )
    return home / "shop.sqlite3"


@pytest.fixture
def environment(prepared: Path, sink: Sink, tmp_path: Path) -> dict[str, str]:
    shutil.copy(prepared, tmp_path)
    own = {"SHOP_DIR": tmp_path, "TOUCHTRAIL_URL": sink.url, "TOUCHTRAIL_KEY": "k", "TOUCHTRAIL_SPOOL_DIR": tmp_path / "spool"}  # fmt: skip
    return os.environ | {name: str(value) for name, value in own.items()}


@contextmanager
def serving(command: tuple[str, ...], environment: dict[str, str]) -> Iterator[Shop]:
    home = Path(environment["SHOP_DIR"])
    log = home / "server.log"
    if command[1] == str(SHOP):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        address = ("--url", environment["TOUCHTRAIL_URL"], "--key", "k", "--port", str(port))
        command = (*command, *address)
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process:
        try:
            yield Shop(_listening(process, log), log, home)
        finally:
            process.terminate()
            process.wait(20)


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the address a server says it listens on, once it does."""
    ends_at = time.monotonic() + 30
    while time.monotonic() < ends_at and process.poll() is None:
        found = re.search(r"(?:Listening at:|running on|server at) (http://127\.0\.0\.1:\d+)", log.read_text())
        if found is not None:
            try:
                httpx.get(f"{found[1]}/search/")
            except httpx.TransportError:
                pass
            else:
                return found[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def delivered(sink: Sink, is_all: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Return what the shop tracked and arrived, as soon as it is all."""
    ends_at = time.monotonic() + 15
    while time.monotonic() < ends_at:
        with sink.lock:
            arrived = list(sink.events.values())
        if is_all(arrived):
            return arrived
        time.sleep(0.02)
    raise AssertionError(Counter(event["name"] for event in arrived))


def post(browser: httpx.Client, path: str, **form: str) -> httpx.Response:
    token = {"x-csrftoken": browser.cookies["csrftoken"], "referer": str(browser.base_url)}
    return browser.post(path, data=form, headers=token)


def agree(browser: httpx.Client, landing: str) -> None:
    """Answer the banner on the page the visitor landed on."""
    headers = {"x-csrftoken": browser.cookies["csrftoken"], "referer": f"{browser.base_url}{landing.lstrip('/')}"}
    assert browser.post("/consent/", data={"answer": "yes"}, headers=headers).status_code == 302


@pytest.mark.parametrize("server", SERVERS)
def test_a_visitor_lands_agrees_signs_in_orders_and_signs_out(
    server: str, sink: Sink, environment: dict[str, str]
) -> None:
    landing = "/?utm_source=news&utm_medium=email"
    with serving(SERVERS[server], environment) as shop, httpx.Client(base_url=shop.url, headers=PAGE) as browser:
        assert "May we count" in browser.get(landing).text
        assert set(browser.cookies) == {"csrftoken"}
        agree(browser, landing)
        visitor = browser.cookies["tt_visitor"]
        assert "May we count" not in browser.get("/").text
        assert browser.get("/search/", params={"q": "shoe"}).json() == {"found": ["SKU-1"]}
        assert post(browser, "/sign-in/", username="ada", password="ada").status_code == 302
        order = post(browser, "/order/")
        assert (order.status_code, post(browser, "/order/", card="expired").status_code) == (201, 402)
        assert post(browser, "/sign-out/").status_code == 302
        browser.get("/")
        arrived = delivered(sink, lambda events: sum(event["name"] == "product_viewed" for event in events) == 2)
    road = sorted(arrived, key=lambda event: (event["occurred_at"], event["event_id"]))
    assert [(event["name"], event.get("customer_id")) for event in road] == [
        ("consent_given", None),
        ("page_viewed", None),
        ("product_viewed", None),
        ("product_searched", None),
        ("customer_signed_in", "ada"),
        ("order_placed", "ada"),
        ("customer_signed_out", "ada"),
        ("product_viewed", None),
    ]
    assert {event["anonymous_id"] for event in road} == {visitor}
    assert road[1]["campaign"] == {"source": "news", "medium": "email"}
    assert road[5]["properties"]["order_id"] == order.text
    assert "Traceback" not in shop.log.read_text()


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_a_hundred_visitors_at_once_stay_apart(server: str, sink: Sink, environment: dict[str, str]) -> None:
    def visit(number: int) -> str:
        headers = PAGE | {"user-agent": f"browser-{number}"}
        landing = f"/?utm_source=news&utm_medium=email&utm_campaign=c-{number}"
        with httpx.Client(base_url=shop.url, headers=headers, timeout=30, verify=False) as browser:
            browser.get(landing)
            agree(browser, landing)
            browser.get(f"/search/?q=shoe-{number}")
            assert browser.get("/").status_code == 200
            return browser.cookies["tt_visitor"]

    with serving(SERVERS[server], environment) as shop, ThreadPoolExecutor(100) as people:
        ids = list(people.map(visit, range(100)))
        arrived = delivered(sink, lambda events: len(events) >= 400)
    assert len(set(ids)) == 100
    assert Counter(event["name"] for event in arrived) == {
        "consent_given": 100,
        "page_viewed": 100,
        "product_searched": 100,
        "product_viewed": 100,
    }
    for event in arrived:
        number = ids.index(event["anonymous_id"])
        assert event["device"]["user_agent"] == f"browser-{number}"
        if event["name"] == "page_viewed":
            assert event["campaign"]["name"] == f"c-{number}"
        if event["name"] == "product_searched":
            assert event["properties"]["query"] == f"shoe-{number}"


def test_workers_forked_from_a_loaded_shop_deliver_everything_once(sink: Sink, environment: dict[str, str]) -> None:
    workers = (
        "--preload",
        "--workers",
        "2",
        "--threads",
        "4",
        "--access-logfile",
        "-",
        "--access-logformat",
        "pid=%(p)s",
    )
    consent = {"cookie": "tt_consent=analytics=1&ads=0&personalisation=0"}
    with (
        serving((*GUNICORN, *workers, "django_shop:application"), environment) as shop,
        ThreadPoolExecutor(8) as people,
        httpx.Client(base_url=shop.url, headers=consent, timeout=30) as browser,
    ):
        assert all(people.map(lambda number: browser.get(f"/search/?q=n-{number}").is_success, range(200)))
    arrived = delivered(sink, lambda events: len(events) >= 200)
    assert Counter(event["properties"]["query"] for event in arrived) == {f"n-{number}": 1 for number in range(200)}
    assert len(set(re.findall(r"pid=<?(\d+)", shop.log.read_text()))) == 2


def test_the_command_delivers_what_a_killed_process_left(sink: Sink, environment: dict[str, str]) -> None:
    def manage(*code: str, url: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "\n".join(["import os, django_shop", *code])]
        known = environment | {
            "TOUCHTRAIL_URL": url,
            "PYTHONPATH": f"{WEB}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        }
        return subprocess.run(command, env=known, capture_output=True, text=True, timeout=30, check=False)

    command = "from django.core.management import execute_from_command_line as run"
    flush = "run(['manage.py', 'touchtrail_flush', '--timeout', '1'])"
    sink.statuses += [503] * 100
    left = manage(
        "for n in range(5): django_shop.client().track('clicked', anonymous_id='a')", "os._exit(9)", url=sink.url
    )
    assert left.returncode == 9
    refused = manage(command, flush, url=sink.url)
    assert refused.returncode == 1
    assert "bytes are still in the spool" in refused.stderr
    sink.statuses.clear()
    done = manage(command, flush, url=sink.url)
    assert (done.returncode, done.stdout) == (0, "5 events delivered, 0 were there already, 0 rejected\n")
    assert [event["name"] for event in sink.events.values()] == ["clicked"] * 5
