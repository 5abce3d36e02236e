"""The Django middleware: visits, customers, cookies and caches, in both of Django's modes."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator

import pytest

import django_site  # configures Django, before its models can be imported

# isort: split
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.base import BaseHandler
from django.db import connection
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext

from django_site import Browser
from touchtrail import current_context
from touchtrail.integrations.django import client, current_visit, override_client
from touchtrail.integrations.django.middleware import TouchtrailMiddleware
from touchtrail.integrations.django.tracking import current_tracking
from touchtrail.testing import CapturingClient, assert_tracked

MODES = ("wsgi", "asgi")
names = (f"customer-{number}" for number in itertools.count())


@pytest.fixture
def tracked() -> Iterator[CapturingClient]:
    with CapturingClient(strict=False) as capturing, override_client(capturing):
        yield capturing


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def browser(mode: str, tracked: CapturingClient) -> Browser:
    return Browser(mode)


def new_user(**given: object) -> User:
    return User.objects.create_user(next(names), password=django_site.PASSWORD, **given)


def signed_in(browser: Browser) -> User:
    user = new_user()
    browser.client.force_login(user)
    return user


@pytest.mark.parametrize("page", ["/seen/", "/aseen/"])
def test_events_of_a_request_carry_its_visitor_and_nothing_stays_behind(
    browser: Browser, page: str, tracked: CapturingClient
) -> None:
    browser.agree()
    assert browser.get(f"{page}?utm_source=news&utm_medium=email").content == b"seen"
    event = assert_tracked(tracked, "seen_by", anonymous_id=browser.cookies["tt_visitor"].value)
    assert event.wire["page"]["url"] == f"http://testserver{page}?utm_source=news&utm_medium=email"
    assert event.wire["campaign"] == {"source": "news", "medium": "email"}
    assert event.wire["device"] == {"user_agent": "Browser/1"}
    assert_tracked(tracked, "page_viewed", anonymous_id=browser.cookies["tt_visitor"].value)
    assert (current_context(), current_visit()) == (None, None)


@pytest.mark.parametrize("handler_is_async", [False, True])
def test_the_middleware_runs_as_it_is_called_without_a_change_of_mode(
    handler_is_async: bool, caplog: pytest.LogCaptureFixture, tracked: CapturingClient
) -> None:
    with override_settings(DEBUG=True, MIDDLEWARE=[django_site.TOUCHTRAIL]), caplog.at_level(logging.DEBUG):
        BaseHandler().load_middleware(is_async=handler_is_async)
    assert [record.getMessage() for record in caplog.records if "adapted for middleware" in record.getMessage()] == []

    async def coming(request: object) -> object:
        return request

    assert iscoroutinefunction(TouchtrailMiddleware(coming))
    assert not iscoroutinefunction(TouchtrailMiddleware(lambda request: request))


def test_an_async_view_stays_on_the_servers_loop_and_a_sync_one_in_its_thread(tracked: CapturingClient) -> None:
    with override_settings(MIDDLEWARE=[django_site.TOUCHTRAIL]):
        Browser("asgi").get("/aseen/")
        Browser("wsgi").get("/seen/")
    on_loop, in_thread = (event.wire["properties"] for event in tracked.events if event.name == "seen")
    assert on_loop["loop"] is True
    assert in_thread == {"loop": False, "thread": threading.get_ident()}


def test_who_brings_no_session_costs_no_query_and_no_vary(browser: Browser) -> None:
    browser.agree()
    with CaptureQueriesContext(connection) as queries:
        answer = browser.get("/seen/")
    assert len(queries) == 0
    assert "Vary" not in answer.headers


def test_a_session_without_a_sign_in_adds_no_vary(browser: Browser, tracked: CapturingClient) -> None:
    browser.post("/cart/")
    assert {"sessionid", "tt_visitor", "tt_consent", "last_sku"} <= set(browser.cookies)
    answer = browser.get("/seen/")
    assert "Vary" not in answer.headers
    assert "customer_id" not in assert_tracked(tracked, "seen_by").wire


@pytest.mark.parametrize("page", ["/user/", "/auser/"])
@pytest.mark.parametrize("who", ["nobody", "somebody"])
def test_a_page_that_asks_who_it_is_for_keeps_its_vary(browser: Browser, page: str, who: str) -> None:
    browser.post("/cart/")
    if who == "somebody":
        signed_in(browser)
    answer = browser.get(page)
    assert answer.content == (b"in" if who == "somebody" else b"out")
    assert answer.headers["Vary"] == "Cookie"


@pytest.mark.parametrize("page", ["/seen/", "/aseen/"])
def test_events_of_a_signed_in_customer_carry_the_number(browser: Browser, page: str, tracked: CapturingClient) -> None:
    user = signed_in(browser)
    browser.get(page)
    assert_tracked(tracked, "seen_by", customer_id=str(user.pk))
    assert [event.name for event in tracked.events] == ["seen", "seen_by"]  # force_login is no visit


def test_recognition_can_be_switched_off(mode: str) -> None:
    switched_off = {"capture": True, "recognise_users": False}
    with override_settings(TOUCHTRAIL=switched_off), override_client(CapturingClient(strict=False)) as tracked:
        browser = Browser(mode)
        signed_in(browser)
        with CaptureQueriesContext(connection) as queries:
            browser.get("/seen/")
        assert [event.name for event in tracked.events] == ["seen"]  # the other one was about nobody
    assert len(queries) == 0


def test_the_shops_function_says_who_is_a_customer(mode: str) -> None:
    def number(user: User) -> str | None:
        # A query of its own, which the event loop would not allow.
        assert User.objects.filter(pk=user.pk).exists()
        return None if user.is_staff else f"C-{user.username}"

    lenient = override_client(CapturingClient(strict=False))
    with override_settings(TOUCHTRAIL={"capture": True, "customer_id": number}), lenient as tracked:
        customer, staff = new_user(), new_user(is_staff=True)
        for user in (customer, staff):
            browser = Browser(mode)
            browser.client.force_login(user)
            browser.get("/seen/")
        found = [event.wire.get("customer_id") for event in tracked.events if event.name == "seen_by"]
        assert found == [f"C-{customer.username}"]
        assert not current_tracking().visits.problems


def test_a_function_that_fails_takes_no_page_away(mode: str) -> None:
    lenient = override_client(CapturingClient(strict=False))
    with override_settings(TOUCHTRAIL={"capture": True, "customer_id": lambda user: user.no_such_thing}), lenient:
        browser = Browser(mode)
        signed_in(browser)
        assert browser.get("/seen/").content == b"seen"
        assert browser.post("/sign-out/").content == b"bye"
        assert current_tracking().visits.problems == {"read the signed-in user": 2, "track a sign-out": 1}


@pytest.mark.parametrize(("way_in", "way_out"), [("/sign-in/", "/sign-out/"), ("/asign-in/", "/asign-out/")])
def test_signing_in_and_out_is_tracked_and_holds_for_the_rest_of_the_request(
    browser: Browser, way_in: str, way_out: str, tracked: CapturingClient
) -> None:
    browser.agree()
    user, visitor = new_user(), browser.cookies["tt_visitor"].value
    browser.post(way_in, {"username": user.username})
    assert_tracked(tracked, "customer_signed_in", customer_id=str(user.pk), anonymous_id=visitor)
    assert_tracked(tracked, "after_sign_in", customer_id=str(user.pk), anonymous_id=visitor)
    browser.post(way_out)
    assert_tracked(tracked, "customer_signed_out", customer_id=str(user.pk), anonymous_id=visitor)
    assert "customer_id" not in assert_tracked(tracked, "after_sign_out", anonymous_id=visitor).wire
    assert browser.get("/user/").content == b"out"


def test_signing_in_and_out_can_go_untracked(mode: str) -> None:
    quiet = {"capture": True, "track_sign_in": False, "track_sign_out": False}
    with override_settings(TOUCHTRAIL=quiet), override_client(CapturingClient(strict=False)) as tracked:
        browser, user = Browser(mode), new_user()
        browser.post("/sign-in/", {"username": user.username})
        browser.post("/sign-out/")
        assert [event.name for event in tracked.events] == ["after_sign_in", "after_sign_out"]
        assert_tracked(tracked, "after_sign_in", customer_id=str(user.pk))


def test_cookies_live_beside_djangos_own_and_keep_their_form(browser: Browser) -> None:
    answer = browser.post("/cart/")
    written = {name: morsel.OutputString() for name, morsel in answer.cookies.items()}
    assert set(written) == {"sessionid", "last_sku", "tt_consent", "tt_visitor"}
    assert written["tt_consent"].startswith("tt_consent=analytics=1&ads=0&personalisation=0; ")
    assert "HttpOnly" in written["tt_visitor"]
    assert "SameSite=Lax" in written["tt_visitor"]
    assert answer.headers["Cache-Control"] == "private"
    answer = browser.post("/consent/", {"answer": "no"})
    assert answer.cookies["tt_visitor"].OutputString().startswith("tt_visitor=; ")
    assert answer.cookies["tt_visitor"]["max-age"] == "0"


def test_djangos_page_cache_never_hands_one_visitors_cookie_to_another(mode: str) -> None:
    outside = "django.middleware.cache.UpdateCacheMiddleware"
    inside = "django.middleware.cache.FetchFromCacheMiddleware"
    with (
        override_settings(
            MIDDLEWARE=[outside, *settings.MIDDLEWARE, inside],
            TOUCHTRAIL={"capture": True, "visitor_id": "unless_refused"},
        ),
        override_client(CapturingClient(strict=False)) as tracked,
    ):
        cache.clear()
        browsers = [Browser(mode) for _ in range(3)]
        first = []
        for browser in browsers:
            browser.cookies["colour"] = "dark"  # beside any cookie Django keeps even an answer that sets one
            first.append(browser.get("/seen/"))
        assert len({answer.cookies["tt_visitor"].value for answer in first}) == 3
        assert {answer.headers["Cache-Control"] for answer in first} == {"private"}
        again = [browser.get("/seen/") for browser in browsers]
        assert all(not answer.cookies for answer in again)
        served = sum(event.name == "seen" for event in tracked.events)
        assert served == 4  # the last two came out of the cache


@pytest.mark.parametrize(("mode", "page"), [("wsgi", "/stream/"), ("asgi", "/astream/")], indirect=["mode"])
def test_what_a_stream_tracks_belongs_to_the_visit_and_the_thread_to_others_meanwhile(
    browser: Browser, page: str, tracked: CapturingClient
) -> None:
    browser.agree()
    answer = browser.get(page)
    if answer.is_async:

        async def read() -> list[bytes]:
            return [part async for part in answer.streaming_content if current_context() is None]

        parts = async_to_sync(read)()
    else:
        parts = [part for part in answer.streaming_content if current_context() is None]
    answer.close()
    assert parts == [b"0;", b"1;", b"2;"]
    for number in range(3):
        assert_tracked(tracked, f"part_{number}", anonymous_id=browser.cookies["tt_visitor"].value)


def test_a_file_is_still_sent_by_the_servers_own_means(tracked: CapturingClient) -> None:
    answer = TouchtrailMiddleware(django_site.file)(RequestFactory().get("/file/"))
    assert answer.file_to_stream is not None
    assert b"".join(answer.streaming_content).startswith(b'"""A Django project')
    answer.close()


def test_a_failing_view_leaves_no_visit_behind(mode: str, tracked: CapturingClient) -> None:
    browser = Browser(mode, raise_request_exception=False)
    browser.agree()
    assert browser.get("/fail/").status_code == 500
    assert (current_context(), current_visit()) == (None, None)


def test_a_host_that_is_not_the_shops_is_never_in_an_event(browser: Browser, tracked: CapturingClient) -> None:
    browser.agree()
    browser.get("/seen/", host="evil.example")
    assert "page" not in assert_tracked(tracked, "seen_by").wire
    assert not current_tracking().visits.problems


def test_a_request_that_cannot_be_read_is_served_all_the_same(browser: Browser) -> None:
    with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO",)):  # Django wants two
        assert browser.get("/seen/").content == b"seen"
    assert current_tracking().visits.problems["read a request of Django"] == 1


@pytest.mark.parametrize("is_used_before", [False, True])
def test_settings_that_cannot_work_stop_the_server_from_starting(is_used_before: bool) -> None:
    with override_settings(TOUCHTRAIL={"url": "ftp://x", "colour": "red"}):
        if is_used_before:
            client().track("clicked", anonymous_id="a")
        with pytest.raises(ImproperlyConfigured) as error:
            TouchtrailMiddleware(lambda request: request)
    assert all(name in str(error.value) for name in ("url", "key: missing", "colour"))


def test_the_middleware_asks_for_its_app() -> None:
    apps = [name for name in settings.INSTALLED_APPS if not name.startswith("touchtrail")]
    with override_settings(INSTALLED_APPS=apps), pytest.raises(ImproperlyConfigured, match="INSTALLED_APPS"):
        TouchtrailMiddleware(lambda request: request)
