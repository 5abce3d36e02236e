"""What who cannot sign in is told, and where who is signed in goes."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from sign_in_browser import FORM, HTML, Browser, code_of
from signed_in import signed_in
from touchtrail_collector.services.collector import Collector


@pytest.fixture
def browser(collector: Collector) -> Browser:
    return Browser(collector)


@pytest.mark.parametrize("link", ["nonsense", "ttl_" + "A" * 43, "<script>"])
def test_a_link_nobody_knows_is_not_said_to_have_been_used(browser: Browser, link: str) -> None:
    english = "This link is not known here (used, older than 15 minutes, or from before a restart)."
    german = "Dieser Link ist hier nicht bekannt (benutzt, älter als 15 Minuten oder von vor einem Neustart)."
    query = f"token={quote(link)}"
    assert english in browser.open(f"/sign-in?{query}").text
    assert german in browser.open(f"/sign-in?{query}&lang=de").text
    assert german in browser.submit("/sign-in", {"token": link, "lang": "de"}).text
    told = browser.ask("POST", "/sign-in", json={"token": link})
    assert code_of(told) == (401, "unknown_link")
    assert "not known here (used, older than 15 minutes, or from before a restart)" in told.json()["message"]


@pytest.mark.parametrize("query", ["", "?token=ttl_x", "?signed-out"])
def test_who_is_signed_in_goes_on_from_the_sign_in_page(browser: Browser, query: str) -> None:
    browser.sign_in()
    for method in ("GET", "HEAD"):
        answer = browser.ask(method, f"/sign-in{query}", headers=HTML)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
    answer = browser.open(f"/sign-in{query}{'&' if query else '?'}lang=de")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?lang=de")
    assert browser.open("/").status_code == 200
    foreign = {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}
    assert browser.open("/sign-in", **foreign).status_code == 200, "pages of others do not learn it"
    browser.collector.sessions.end_all()
    assert browser.open(f"/sign-in{query}").status_code == 200


def test_a_sign_in_that_is_too_large_is_told_what_fits(browser: Browser) -> None:
    told = browser.ask("POST", "/sign-in", content=b"x" * 20_000)
    assert code_of(told) == (413, "body_too_large")
    assert "16384 bytes; send nothing but a link's token, a password" in told.json()["message"]
    own = signed_in(browser.collector)
    told = browser.ask("POST", "/sign-out", content=b"x" * 20_000, headers=own | FORM)
    assert code_of(told) == (413, "body_too_large")
    assert "batches" not in told.json()["message"]
