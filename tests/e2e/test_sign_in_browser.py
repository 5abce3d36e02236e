"""Signing in with a real browser: from a link in another site's page, with the password, on a phone, without scripts."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from collector_process import RunningCollector, running_collector
from real_browser import chromium

from touchtrail_collector.services.password import hash_password
from touchtrail_collector.services.reports import REPORTS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PASSWORD = "four words in a row"
HASH = hash_password(PASSWORD)
LOOKS = [(width, lang, scheme) for width in (1280, 390) for lang in ("de", "en") for scheme in ("light", "dark")]
"""Set TOUCHTRAIL_SHOTS to a folder to get a picture of each."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "touchtrail.toml").write_text("[shop]\nname = \"<img src=x onerror=document.title='hacked'>\"\n", "utf-8")
    with running_collector(folder / "shop.db") as running:
        yield running


@contextmanager
def opened(browser: Browser, complaint: str = "a status of 40", **options: Any) -> Iterator[Page]:
    """Give a page of a browser of its own; whatever else than ``complaint`` its console complains of is a failure."""
    context: BrowserContext = browser.new_context(locale="en-GB", **options)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        yield page
        assert [text for text in said if complaint not in text] == []
    finally:
        context.close()


@contextmanager
def other_site(html: str) -> Iterator[int]:
    """Serve one page on a port of its own: at localhost it is another site, at 127.0.0.1 another origin of the same."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(collector: RunningCollector, operation: str, **arguments: Any) -> dict[str, Any]:
    """Have the collector do what a command would ask of it, without waiting for a command to start."""
    holder = msgspec.json.decode(collector.db.with_name(f"{collector.db.name}.lock").read_bytes().strip())
    headers = {"authorization": f"Bearer {holder['admin_token']}"}
    answer = httpx.post(f"{collector.url}/api/v1/admin/{operation}", json=arguments, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def new_link(collector: RunningCollector) -> str:
    return f"{collector.url}/sign-in?token={ask(collector, 'issue_link')['token']}"


def sign_in(page: Page, collector: RunningCollector) -> None:
    page.goto(new_link(collector))
    page.locator("main button").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)


def is_signed_in(page: Page, collector: RunningCollector) -> bool:
    page.goto(f"{collector.url}/")
    return page.locator("form[action='/sign-out']").count() == 1


def test_a_link_in_another_sites_page_lets_in_and_later_links_find_the_session(
    browser: Browser, collector: RunningCollector
) -> None:
    link = new_link(collector)
    html = f'<a id="link" href="{link}">sign in</a><a id="home" href="{collector.url}/">look</a>'
    with other_site(html) as port, opened(browser, java_script_enabled=False) as page:
        page.goto(f"http://localhost:{port}/")
        page.click("#link")
        assert page.title() == "Sign in · touchtrail"
        page.locator("main button").click()
        assert page.url == f"{collector.url}/"
        (cookie,) = page.context.cookies()
        assert (cookie["sameSite"], cookie["httpOnly"], cookie["expires"]) == ("Strict", True, -1)
        # The cookie is kept back when the link is followed, and comes when our own page asks once more.
        page.goto(f"http://localhost:{port}/")
        page.click("#home")
        page.wait_for_selector("form[action='/sign-out']")
        assert page.url == f"{collector.url}/"
        page.goto(f"http://localhost:{port}/")
        page.click("#link")
        assert "is not known here" in page.inner_text("[role=alert]")


def test_no_page_of_another_origin_signs_out_or_reads(browser: Browser, collector: RunningCollector) -> None:
    html = f"""<form method="post" action="{collector.url}/sign-out"><button>z</button></form>
        <iframe src="{collector.url}/"></iframe>"""
    report = f"{collector.url}/api/v1/reports/overview"
    read = "url => fetch(url, {credentials: 'include'}).then(answer => answer.text(), () => 'not read')"
    with other_site(html) as port, opened(browser, complaint="") as page:
        sign_in(page, collector)
        # Of another site the cookie does not even come; of another port it does, and is refused.
        for host, signs_out in (("localhost", 303), ("127.0.0.1", 403)):
            page.goto(f"http://{host}:{port}/")
            assert page.evaluate(read, report) == "not read"
            assert page.frames[1].url == "chrome-error://chromewebdata/"
            with page.expect_response(f"{collector.url}/sign-out") as sent:
                page.click("button")
            assert sent.value.status == signs_out
        assert is_signed_in(page, collector)
        page.goto(report)
        assert '"scope"' in page.content()


def test_the_password_lets_in_and_a_new_one_signs_everybody_out(browser: Browser, collector: RunningCollector) -> None:
    with opened(browser) as first, opened(browser) as second:
        sign_in(first, collector)
        ask(collector, "set_password", password_hash=HASH)
        assert not is_signed_in(first, collector)
        second.goto(f"{collector.url}/")
        second.fill("input[type=password]", "something else")
        second.keyboard.press("Enter")
        second.wait_for_selector("[role=alert]")
        assert second.inner_text("[role=alert]") == "That is not the password."
        second.fill("input[type=password]", PASSWORD)
        second.keyboard.press("Enter")
        second.wait_for_selector(".reports")
        ask(collector, "set_password")
        assert not is_signed_in(second, collector)


def test_the_button_signs_out(browser: Browser, collector: RunningCollector) -> None:
    with opened(browser) as page, opened(browser) as other:
        sign_in(page, collector)
        sign_in(other, collector)
        page.locator("form[action='/sign-out'] button").click()
        assert page.inner_text("[role=status]") == "You are signed out."
        page.go_back()
        assert page.locator("form[action='/sign-out']").count() == 0, "a page out of the browser's memory"
        assert not is_signed_in(page, collector)
        assert is_signed_in(other, collector)


def test_what_is_stored_is_shown_and_does_nothing(browser: Browser, collector: RunningCollector) -> None:
    with opened(browser, bypass_csp=True) as page:
        sign_in(page, collector)
        assert "<img src=x" in page.inner_text("h1")
        assert page.title() == "<img src=x onerror=document.title='hacked'> · touchtrail"
        assert page.locator("img").count() == 0


@pytest.mark.parametrize(("width", "lang", "scheme"), LOOKS)
def test_pages_fit_and_can_be_read(
    browser: Browser, collector: RunningCollector, width: int, lang: str, scheme: str
) -> None:
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with opened(browser, **options) as page:
        ask(collector, "set_password", password_hash=HASH)
        page.goto(f"{collector.url}/sign-in?token=ttl_used&lang={lang}")
        assert page.locator("[role=alert], input[type=password]").count() == 2
        look(page, f"sign-in-{width}-{lang}-{scheme}")
        page.goto(f"{new_link(collector)}&lang={lang}")
        look(page, f"link-{width}-{lang}-{scheme}")
        page.locator("main button").click()
        page.wait_for_selector(".reports")
        look(page, f"home-{width}-{lang}-{scheme}")
        assert page.locator("html").get_attribute("lang") == lang
        assert page.locator(".reports a").count() == len(REPORTS)
        page.locator(".reports a").first.click()
        assert '"scope"' in page.content()


def look(page: Page, name: str) -> None:
    """Hold a page to what makes it readable, and take its picture where somebody wants it."""
    if folder := os.environ.get("TOUCHTRAIL_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    for small in page.evaluate(TARGETS):
        assert small["height"] >= 24, (name, small)
    for text in page.evaluate(CONTRASTS):
        assert text["contrast"] >= 4.5, (name, text)


TARGETS = """[...document.querySelectorAll('button, input:not([hidden], [type=hidden])')].map(element => (
    {text: element.outerHTML.slice(0, 60), height: element.getBoundingClientRect().height}))"""

CONTRASTS = """(() => {
    const parts = color => color.match(/[\\d.]+/g).map(Number);
    const light = color => parts(color).slice(0, 3).map(value => value / 255)
        .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
    const ground = element => {
        const color = getComputedStyle(element).backgroundColor;
        return (parts(color)[3] ?? 1) > 0 ? color : ground(element.parentElement);
    };
    return [...document.body.querySelectorAll('*')].filter(element => element.innerText && !element.children.length).map(element => {
        const [one, two] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
        return {text: element.innerText, contrast: (one + 0.05) / (two + 0.05)};
    });
})()"""
"""WCAG 2.2, success criterion 1.4.3: the contrast of every text with what is behind it."""
