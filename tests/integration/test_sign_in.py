"""Signing in and out over HTTP: links, the password, the cookie, and who may ask what in a session's name."""

from __future__ import annotations

import hashlib
import re
import threading
from base64 import b64encode
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from argon2 import PasswordHasher

from in_process_http import Application
from sign_in_browser import FORM, OWN_PAGE, Browser, code_of
from signed_in import signed_in
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.admin import run_operation
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.password import hash_password
from touchtrail_collector.settings import ServerSettings, Settings, ShopSettings, StoreSettings
from touchtrail_collector.web.app import create_app
from touchtrail_collector.web.headers import SECURITY_HEADERS
from touchtrail_collector.web.operation import Entry
from touchtrail_collector.web.pages import PAGE_HEADERS
from touchtrail_plugins.models import linear

PASSWORD = "four words in a row"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
"""Cheaper than ours: what is verified says itself how."""


@pytest.fixture
def browser(collector: Collector) -> Browser:
    return Browser(collector)


class Tags(HTMLParser):
    """What a browser would make elements and attributes of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs


def test_a_link_opens_a_page_whose_button_lets_in_once(browser: Browser) -> None:
    link = browser.collector.sessions.issue_link()
    for _ in range(3):  # a program that previews links, and somebody who reloads
        shown = browser.open(f"/sign-in?token={link}")
        assert (shown.status_code, link in shown.text) == (200, True)
        assert "set-cookie" not in shown.headers
    done = browser.submit("/sign-in", {"token": link})
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert browser.open("/").status_code == 200
    again = Browser(browser.collector)
    assert "is not known here (used, older" in again.open(f"/sign-in?token={link}").text
    refused = again.submit("/sign-in", {"token": link})
    assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
    assert "is not known here (used, older" in refused.text


def test_a_new_collector_is_opened_by_a_link_alone(browser: Browser) -> None:
    page = browser.open("/sign-in").text
    assert "touchtrail sign-in" in page
    assert 'type="password"' not in page
    for given in ({"password": ""}, {"password": "touchtrail"}, {"password": PASSWORD}, {"token": "ttl_" + "A" * 43}):
        assert browser.ask("POST", "/sign-in", json=given).status_code == 401
    assert code_of(browser.ask("GET", "/")) == (401, "no_session")
    assert code_of(browser.ask("GET", "/api/v1/reports/overview")) == (401, "unknown_token")
    assert browser.sign_in().status_code == 303


def test_the_password_lets_in_from_a_form_and_from_a_program(browser: Browser) -> None:
    browser.collector.password.put(HASH)
    assert 'type="password"' in browser.open("/sign-in").text
    wrong = browser.submit("/sign-in", {"password": PASSWORD + "!"})
    assert (wrong.status_code, "That is not the password" in wrong.text) == (401, True)
    assert PASSWORD not in wrong.text
    assert browser.submit("/sign-in", {"password": PASSWORD}).status_code == 303
    assert browser.open("/").status_code == 200
    program = Browser(browser.collector)
    assert code_of(program.ask("POST", "/sign-in", json={"password": "x"})) == (401, "wrong_password")
    done = program.ask("POST", "/sign-in", json={"password": PASSWORD})
    assert (done.status_code, list(done.json())) == (200, ["csrf_token"])
    headers = OWN_PAGE | {"x-csrf-token": done.json()["csrf_token"]}
    assert program.ask("POST", "/sign-out", headers=headers).json() == {"signed_out": True}
    assert program.ask("GET", "/").status_code == 401


@pytest.mark.parametrize("typed", ["Gr\u00fc\u00dfe aus dem B\u00fcro", "Gru\u0308\u00dfe aus dem Bu\u0308ro"])
def test_a_password_is_the_same_however_the_keyboard_writes_it(browser: Browser, typed: str) -> None:
    browser.collector.password.put(hash_password("Gr\u00fc\u00dfe aus dem B\u00fcro"))
    assert browser.submit("/sign-in", {"password": typed}).status_code == 303


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff", b"{}", b'{"password": 5}', b'{"token": null}', b'{"password": "a", "token": "b"}',
     b'{"password": "a", "more": 1}', b'{"password": "\\ud800"}', b'{"a":' * 3000],
)  # fmt: skip
def test_what_is_no_sign_in_is_refused_without_repeating_it(browser: Browser, body: bytes) -> None:
    answer = browser.ask("POST", "/sign-in", content=body)
    assert answer.status_code == 400
    assert answer.json()["code"] in ("invalid_json", "bad_request")


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"x" * 20_000, 413), (b"&".join(b"a=%d" % n for n in range(200)), 400), (b"token=%00%ff%zz&lang=%3Cscript%3E", 401),
     (b"", 401), (b"password=" + b"x" * 5000, 401), (b"token=\xff\xfe", 401)],
)  # fmt: skip
def test_a_strange_form_is_refused(browser: Browser, body: bytes, status: int) -> None:
    browser.collector.password.put(HASH)
    answer = browser.ask("POST", "/sign-in", content=body, headers=FORM)
    assert answer.status_code == status
    assert "<script" not in answer.text


def test_guesses_at_the_password_are_limited_by_address_and_in_all_and_links_are_not(browser: Browser) -> None:
    browser.collector.password.put(HASH)
    statuses: list[int] = []
    for client in ("198.51.100.1", "127.0.0.1", "2001:db8::1", "2001:db8::2", "198.51.100.2", "198.51.100.3"):
        statuses += [
            browser.ask("POST", "/sign-in", json={"password": "x"}, client=client).status_code for _ in range(6)
        ]
    one = [401] * 5 + [429]
    # Two addresses of one IPv6 network share their five; the last address finds the twenty of all used up.
    assert statuses == [*one, *one, *one, *[429] * 6, *one, *[429] * 6]
    refused = browser.ask("POST", "/sign-in", json={"password": PASSWORD}, client="198.51.100.4")
    assert code_of(refused) == (429, "too_many_attempts")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    page = browser.submit("/sign-in", {"password": PASSWORD})
    assert (page.status_code, f"Try again in {page.headers['retry-after']} seconds" in page.text) == (429, True)
    assert browser.sign_in().status_code == 303


def test_guesses_are_checked_one_at_a_time(collector: Collector) -> None:
    running, most, pause = 0, 0, threading.Event()

    class Counting:
        is_set = True

        def verify(self, _: str) -> bool:
            nonlocal running, most
            running += 1
            most = max(most, running)
            pause.wait(0.02)
            running -= 1
            return False

    collector.password = Counting()  # type: ignore[assignment]
    app = Application(collector, "")
    answers = app.ask_all([("POST", "/sign-in", {"json": {"password": "x"}})] * 5)
    assert [answer.status_code for answer in answers] == [401] * 5
    assert most == 1


@pytest.mark.parametrize(
    ("base", "name", "is_secure"),
    [
        ("http://127.0.0.1", "touchtrail_session", False),
        ("http://localhost:8377", "touchtrail_session_8377", False),
        ("http://[::1]:8377", "touchtrail_session_8377", False),
        ("https://collect.shop.example", "__Host-touchtrail_session", True),
        ("https://collect.shop.example:8443", "__Host-touchtrail_session_8443", True),
    ],
)
def test_the_cookie_is_for_this_origin_and_out_of_reach_of_scripts(
    open_collector: Callable[..., Collector], base: str, name: str, is_secure: bool
) -> None:
    browser = Browser(open_collector(allowed_hosts=("collect.shop.example",)), base)
    cookie = browser.sign_in().headers["set-cookie"]
    token, *attributes = cookie.split("; ")
    assert re.fullmatch(rf"{name}=tts_[\w-]{{43}}", token)
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Strict"} | ({"Secure"} if is_secure else set())
    headers = {"cookie": token}
    assert browser.ask("GET", "/", headers=headers).status_code == 200
    other = {"cookie": token.replace("__Host-", "") if is_secure else f"__Host-{token}"}
    browser.cookies.clear()
    assert browser.ask("GET", "/", headers=other).status_code == 401


def test_nobody_signs_in_where_others_could_read_along(open_collector: Callable[..., Collector]) -> None:
    collector = open_collector(allowed_hosts=("collect.shop.example",))
    browser = Browser(collector, "http://collect.shop.example")
    link = collector.sessions.issue_link()
    page = browser.open(f"/sign-in?token={link}")
    assert (page.status_code, "not encrypted" in page.text, "<form" in page.text) == (403, True, False)
    refused = browser.submit("/sign-in", {"token": link})
    assert (refused.status_code, "not encrypted" in refused.text, "set-cookie" in refused.headers) == (403, True, False)
    assert code_of(browser.ask("POST", "/sign-in", json={"token": link})) == (403, "insecure_connection")
    assert collector.sessions.is_open(link)
    headers = signed_in(collector)
    assert browser.ask("GET", "/", headers=headers).status_code == 401, "a cookie that anybody could have read"


def test_a_session_from_before_ends_with_the_next_sign_in_and_a_foisted_one_is_none(browser: Browser) -> None:
    browser.cookies.set("touchtrail_session", "tts_" + "A" * 43, domain="127.0.0.1")
    browser.sign_in()
    first = browser.cookies["touchtrail_session"]
    assert first != "tts_" + "A" * 43
    assert browser.collector.sessions.find("tts_" + "A" * 43) is None
    browser.sign_in()
    second = browser.cookies["touchtrail_session"]
    assert second != first
    assert browser.collector.sessions.find(first) is None
    assert len(browser.collector.sessions) == 1


def test_a_new_password_ends_every_session_and_link(browser: Browser) -> None:
    browser.sign_in()
    link = browser.collector.sessions.issue_link()
    run_operation(browser.collector, "set_password", {"password_hash": HASH})
    assert browser.open("/").headers["location"] == "/sign-in"
    assert browser.submit("/sign-in", {"token": link}).status_code == 401
    assert browser.submit("/sign-in", {"password": PASSWORD}).status_code == 303
    run_operation(browser.collector, "set_password", {})
    assert browser.open("/").status_code == 303
    assert browser.submit("/sign-in", {"password": PASSWORD}).status_code == 401


def test_the_password_outlives_the_process_and_sessions_do_not(open_collector: Callable[..., Collector]) -> None:
    before = open_collector()
    before.password.put(HASH)
    headers = signed_in(before)
    before.close()
    browser = Browser(open_collector())
    assert browser.ask("GET", "/", headers=headers).status_code == 401
    assert browser.submit("/sign-in", {"password": PASSWORD}).status_code == 303


def test_signing_out_ends_this_session_and_forgets_the_cookie(browser: Browser) -> None:
    other = Browser(browser.collector)
    browser.sign_in()
    other.sign_in()
    headers = {"cookie": f"touchtrail_session={browser.cookies['touchtrail_session']}"}
    done = browser.submit("/sign-out", {"csrf_token": browser.csrf_token(), "lang": "de"})
    assert (done.status_code, done.headers["location"]) == (303, "/sign-in?signed-out&lang=de")
    assert "Max-Age=0" in done.headers["set-cookie"]
    assert "touchtrail_session" not in browser.cookies
    assert "Sie sind abgemeldet" in browser.open(done.headers["location"]).text
    assert browser.ask("GET", "/", headers=headers).status_code == 401
    assert other.open("/").status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "cross_site"),
        ({"sec-fetch-site": "cross-site"}, "cross_site"),
        ({"sec-fetch-site": "same-site"}, "cross_site"),
        ({"sec-fetch-site": "none"}, "cross_site"),
        ({"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1"}, "cross_site"),
        ({"origin": "https://evil.example"}, "cross_site"),
        ({"origin": "null"}, "cross_site"),
        ({"origin": "http://127.0.0.1:9"}, "cross_site"),
        ({"origin": "https://127.0.0.1"}, "cross_site"),
        ({"sec-fetch-site": "same-origin", "x-csrf-token": "0" * 64}, "wrong_csrf_token"),
        ({"sec-fetch-site": "same-origin", "x-csrf-token": ""}, "wrong_csrf_token"),
        ({"sec-fetch-site": "same-origin", "x-csrf-token": "\u00e4"}, "wrong_csrf_token"),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, None),
        ({"origin": "http://127.0.0.1"}, None),
    ],
)
def test_only_our_own_pages_change_something_and_only_with_the_sessions_token(
    collector: Collector, headers: dict[str, str], code: str | None
) -> None:
    app = create_app(collector)
    table: list[Entry] = app.state.table
    changing = [entry for entry in table if entry.access == "session" and entry.method != "GET"]
    assert changing
    for entry in changing:
        own = signed_in(collector)
        del own["sec-fetch-site"]
        given = [(name, text.encode("latin-1")) for name, text in (own | headers).items()]
        answer = Browser(collector).ask(entry.method, entry.path, headers=given)
        if code is None:
            assert answer.status_code == 200
        else:
            assert code_of(answer) == (403, code)
            assert Browser(collector).ask("GET", "/", headers={"cookie": own["cookie"]}).status_code == 200


def test_the_token_of_one_session_is_no_good_in_another_nor_is_none_at_all(collector: Collector) -> None:
    mine, others = signed_in(collector), signed_in(collector)
    browser = Browser(collector)
    for fields in ({}, {"csrf_token": ""}, {"csrf_token": others["x-csrf-token"]}):
        headers = {"cookie": mine["cookie"], "sec-fetch-site": "same-origin"} | FORM
        answer = browser.ask("POST", "/sign-out", data=fields, headers=headers)
        assert code_of(answer) == (403, "wrong_csrf_token")


def test_another_sites_page_cannot_sign_anybody_in(browser: Browser) -> None:
    link = browser.collector.sessions.issue_link()
    for headers in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
    ):
        assert code_of(browser.ask("POST", "/sign-in", json={"token": link}, headers=headers)) == (403, "cross_site")
    assert browser.collector.sessions.is_open(link)


def test_a_session_reads_reports_and_pages_of_others_do_not_in_its_name(collector: Collector) -> None:
    browser, own = Browser(collector), signed_in(collector)
    path = "/api/v1/reports/overview"
    for site, mode, status in (
        ("same-origin", "cors", 200), ("none", "navigate", 200), ("cross-site", "navigate", 200),
        ("same-site", "no-cors", 403), ("cross-site", "cors", 403), ("same-site", "cors", 403),
    ):  # fmt: skip
        headers = {"cookie": own["cookie"], "sec-fetch-site": site, "sec-fetch-mode": mode}
        for method in ("GET", "HEAD"):
            assert browser.ask(method, path, headers=headers).status_code == status, (site, mode)
    assert browser.ask("GET", path, headers={"cookie": own["cookie"]}).json()["scope"]["shop"] == "default"
    assert browser.ask("POST", path, headers=own).status_code == 405
    bearer = {"authorization": "Bearer ttr_nonsense"}
    assert browser.ask("GET", path, headers=own | bearer).status_code == 401, "who shows a token means it"


def test_who_is_not_signed_in_is_shown_the_way_and_comes_back_from_another_site(browser: Browser) -> None:
    assert browser.open("/?lang=de").headers["location"] == "/sign-in?lang=de"
    assert browser.submit("/sign-out", {"lang": ""}).headers["location"] == "/sign-in"
    elsewhere = {"sec-fetch-site": "cross-site"}
    again = browser.open("/?lang=de", **elsewhere)
    assert again.status_code == 200
    assert 'http-equiv="refresh" content="0; url=/?lang=de&amp;again=1"' in again.text
    assert browser.open("/?lang=de&again=1", **elsewhere).headers["location"] == "/sign-in?lang=de"
    browser.sign_in()
    assert browser.open("/?lang=de&again=1").headers["location"] == "/?lang=de"


def test_pages_show_what_is_stored_as_text_and_allow_nothing_but_their_own_style(
    tmp_path: Any, default_host: PluginHost
) -> None:
    name = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    settings = Settings(
        store=StoreSettings(db=tmp_path / "x.db"), shop=ShopSettings(name=name), server=ServerSettings()
    )
    collector = Collector(settings, default_host, starts_projector=False)
    try:
        browser = Browser(collector)
        link = collector.sessions.issue_link()
        pages = [
            browser.open("/sign-in"), browser.open(f"/sign-in?token={link}"), browser.open('/sign-in?token="><script>'),
            browser.open('/sign-in?lang="><script>'), browser.open("/?x=<script>", **{"sec-fetch-site": "cross-site"}),
        ]  # fmt: skip
        browser.sign_in()
        pages += [browser.open("/"), browser.open("/?lang=de")]
    finally:
        collector.close()
    for page in pages:
        assert page.status_code == 200
        assert {header: page.headers[header] for header in PAGE_HEADERS} == PAGE_HEADERS
        assert "<script" not in page.text
        assert "<img" not in page.text
        (style,) = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
        digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}';" in page.headers["content-security-policy"]
        tags = Tags(page.text)
        assert not tags.names & {"script", "img", "iframe", "object", "svg", "base"}
        assert not [name for name, _ in tags.attributes if name.startswith("on") or name == "style"]
        assert not [text for _, text in tags.attributes if ":" in (text or "")]
    assert tags.names > {"html", "form", "button"}
    assert "&lt;script&gt;alert(1)" in pages[-1].text
    assert (pages[-2].text.count('lang="en"') > 0, "Abmelden" in pages[-1].text) == (True, True)


@pytest.mark.parametrize(
    ("name", "heading", "title"),
    [("default", "Berichte", "Berichte"), ("Schuhhaus", "Berichte · Schuhhaus", "Schuhhaus")],
    ids=["no name was set", "a name"],
)
def test_the_first_page_is_headed_by_the_shops_name_where_one_was_set(
    tmp_path: Any, default_host: PluginHost, name: str, heading: str, title: str
) -> None:
    settings = Settings(store=StoreSettings(db=tmp_path / "x.db"), shop=ShopSettings(name=name))
    collector = Collector(settings, default_host, starts_projector=False)
    try:
        browser = Browser(collector)
        browser.sign_in()
        text = browser.open("/?lang=de").text
    finally:
        collector.close()
    assert (f"<h1>{heading}</h1>" in text, f"<title>{title} · touchtrail</title>" in text) == (True, True)


def test_every_report_is_linked_and_the_link_answers(open_collector: Callable[..., Collector]) -> None:
    browser = Browser(open_collector(host=PluginHost.of({"model.linear": linear})))
    browser.sign_in()
    links = re.findall(r'href="(/api/v1/reports/[^"]+)"', browser.open("/").text)
    assert len(links) >= 7
    for link in links:
        assert browser.open(link).headers["content-type"] == "application/json"
        assert browser.open(link).status_code == 200


def test_answers_of_programs_and_redirects_are_sealed_as_well(browser: Browser) -> None:
    answers = [
        browser.open("/"),
        browser.sign_in(),
        browser.ask("POST", "/sign-in", json={"token": "x"}),
        browser.ask("GET", "/"),
    ]
    assert [answer.status_code for answer in answers] == [303, 303, 401, 200]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert set(SECURITY_HEADERS) <= set(answer.headers)


def test_neither_link_nor_session_nor_password_is_in_the_database(browser: Browser) -> None:
    browser.collector.password.put(HASH)
    link = browser.collector.sessions.issue_link()
    browser.submit("/sign-in", {"token": link})
    browser.submit("/sign-in", {"password": PASSWORD})
    session = browser.cookies["touchtrail_session"]
    browser.collector.close()
    path = browser.collector.store.path
    held = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    assert b"$argon2id$" in held
    for secret in (link, session, PASSWORD, link[4:], session[4:]):
        assert secret.encode() not in held
