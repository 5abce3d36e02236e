"""A visit: what the context may carry, when cookies are set, when a landing counts."""

from __future__ import annotations

import contextvars
import logging
import threading
from typing import Any

import pytest

from touchtrail import AsyncClient, Client, Consent, Context, OptionsError, current_context, events, use_context
from touchtrail.integrations.cookies import CONSENT_AGE_S, new_visitor_id
from touchtrail.integrations.visit import HttpAnswer, HttpRequest, Visit, Visits, WebOptions, current_visit
from touchtrail.testing import CapturingClient, assert_tracked

NOW_S = 1_795_000_000.0
KNOWN_ID = new_visitor_id(NOW_S - 86_400)
YES = "tt_consent=analytics=1&ads=1&personalisation=1"
NO = "tt_consent=analytics=0&ads=0&personalisation=0"
NAVIGATION = {
    "accept": "text/html,*/*",
    "sec-fetch-dest": "document",
    "user-agent": "Browser/1",
    "accept-language": "de-AT",
}
GOOGLE = "https://www.google.com/"
PAGE = HttpAnswer(200, "text/html; charset=utf-8")
ANY = Consent(analytics=True, ads=True, personalisation=True)


class Shop:
    """One visitor's browser and the visits of a shop that has a fixed clock."""

    def __init__(self, *, consent: Any = None, **options: Any) -> None:
        self.client = CapturingClient()
        self.visits = Visits(self.client, WebOptions(**options), consent=consent, clock=lambda: NOW_S)

    def visit(self, target: str = "/p/1", *, method: str = "GET", peer: str = "203.0.113.9", **headers: str) -> Visit:
        path, _, query = target.partition("?")
        given = NAVIGATION | {name.replace("_", "-"): value for name, value in headers.items()}
        given = {name: value for name, value in given.items() if value}
        return self.visits.begin(HttpRequest(method, "https", "shop.example", path, query, given, peer))

    def names(self) -> list[str]:
        return [tracked.name for tracked in self.client.events]


def test_before_consent_nothing_is_set_known_or_tracked() -> None:
    shop = Shop(client_address="full")
    visit = shop.visit("/p/1?utm_source=news", referer=GOOGLE, cookie=f"tt_visitor={KNOWN_ID}")
    assert visit.finish(PAGE) == []
    assert (visit.anonymous_id, visit.consent, visit.context) == (None, None, Context())
    assert shop.names() == []


def test_before_consent_the_customer_is_known_all_the_same() -> None:
    shop = Shop()
    request = HttpRequest("GET", "https", "shop.example", "/", "utm_source=x", NAVIGATION, None)
    visit = shop.visits.begin(request, customer_id=42)  # type: ignore[arg-type]
    assert visit.context == Context(customer_id="42")
    assert visit.finish(PAGE) == []
    assert shop.names() == []


def test_with_consent_the_context_carries_everything_and_a_new_visitor_gets_a_cookie() -> None:
    shop = Shop(client_address="truncated")
    visit = shop.visit("/p/1?utm_source=news&gclid=q", referer=GOOGLE, cookie=YES)
    context = visit.context
    assert context.page is not None
    assert context.campaign is not None
    assert context.device is not None
    assert (context.page.url, context.page.referrer) == ("https://shop.example/p/1?utm_source=news&gclid=q", GOOGLE)
    assert (context.campaign.source, context.campaign.click_ids) == ("news", {"gclid": "q"})
    assert (context.device.user_agent, context.device.locale, context.device.ip) == (
        "Browser/1",
        "de-AT",
        "203.0.113.0",
    )
    assert context.consent == ANY
    assert visit.anonymous_id == context.anonymous_id is not None
    age_s = 390 * 86_400
    assert visit.finish(PAGE) == [
        f"tt_visitor={visit.anonymous_id}; Max-Age={age_s}; Path=/; SameSite=Lax; Secure; HttpOnly"
    ]


def test_a_known_visitor_keeps_the_id_and_the_cookie_is_not_prolonged() -> None:
    visit = Shop().visit(cookie=f"{YES}; tt_visitor={KNOWN_ID}")
    assert (visit.anonymous_id, visit.finish(PAGE)) == (KNOWN_ID, [])


@pytest.mark.parametrize(
    "value",
    ["a-1", "", "x" * 5000, new_visitor_id(NOW_S - 391 * 86_400), new_visitor_id(NOW_S + 9e8)],
    ids=["short", "empty", "long", "too old", "to come"],
)
def test_an_id_that_is_none_of_ours_or_too_old_is_replaced(value: str) -> None:
    visit = Shop().visit(cookie=f"{YES}; tt_visitor={value}")
    assert visit.anonymous_id not in (None, value)
    assert visit.finish(PAGE)[0].startswith(f"tt_visitor={visit.anonymous_id};")


@pytest.mark.parametrize(
    ("mode", "cookie", "gpc", "is_known", "consent"),
    [
        ("with_consent", "", "", False, None),
        ("with_consent", YES, "", True, ANY),
        ("with_consent", NO, "", False, Consent(analytics=False, ads=False, personalisation=False)),
        ("with_consent", "", "1", False, Consent(analytics=False, ads=False, personalisation=False)),
        ("with_consent", YES, "1", True, Consent(analytics=True, ads=False, personalisation=False)),
        ("unless_refused", "", "", True, None),
        ("unless_refused", NO, "", False, Consent(analytics=False, ads=False, personalisation=False)),
        ("unless_refused", "", "1", False, Consent(analytics=False, ads=False, personalisation=False)),
        ("unless_refused", YES, "1", True, Consent(analytics=True, ads=False, personalisation=False)),
        ("unless_refused", "", "0", True, None),
        ("never", YES, "", False, ANY),
        ("never", "", "", False, None),
    ],
)
def test_the_mode_the_answer_and_global_privacy_control_decide_together(
    mode: str, cookie: str, gpc: str, is_known: bool, consent: Consent | None
) -> None:
    visit = Shop(visitor_id=mode).visit(cookie=cookie, sec_gpc=gpc)
    assert (visit.anonymous_id is not None, visit.consent) == (is_known, consent)
    assert visit.context.consent == consent
    assert len(visit.finish(PAGE)) == is_known


def test_a_visitor_who_refused_loses_the_cookie() -> None:
    visit = Shop().visit(cookie=f"{NO}; tt_visitor={KNOWN_ID}")
    assert visit.finish(PAGE) == ["tt_visitor=; Max-Age=0; Path=/; SameSite=Lax; Secure; HttpOnly"]


@pytest.mark.parametrize(
    ("method", "headers", "same_site", "is_made"),
    [
        ("GET", {"sec_fetch_dest": "empty"}, "Lax", True),
        ("GET", {"sec_fetch_dest": ""}, "Lax", True),
        ("GET", {"sec_fetch_site": "cross-site"}, "Lax", True),
        ("GET", {"sec_fetch_dest": "image"}, "Lax", False),
        ("GET", {"sec_fetch_dest": "script"}, "Lax", False),
        ("GET", {"sec_fetch_dest": "style"}, "Lax", False),
        ("GET", {"sec_fetch_dest": "font"}, "Lax", False),
        # The cookie a browser has is not sent with these, but a new one would take its place.
        ("POST", {"sec_fetch_site": "cross-site"}, "Lax", False),
        ("GET", {"sec_fetch_site": "cross-site"}, "Strict", False),
        ("GET", {"sec_fetch_site": "cross-site", "sec_fetch_dest": "iframe"}, "Lax", False),
        ("POST", {}, "Lax", False),
        ("HEAD", {}, "Lax", False),
        ("OPTIONS", {}, "Lax", False),
    ],
)
def test_an_id_is_made_only_where_the_browser_keeps_it_and_has_none(
    method: str, headers: dict[str, str], same_site: str, is_made: bool
) -> None:
    shop = Shop(visitor_id="unless_refused", cookie_same_site=same_site)
    visit = shop.visit(method=method, **headers)
    assert (visit.anonymous_id is not None, bool(visit.finish(PAGE))) == (is_made, is_made)


@pytest.mark.parametrize("cache_control", ["public", "public, max-age=60", "s-maxage=60", "max-age=60"])
def test_a_page_a_shared_cache_may_keep_gets_no_cookie_and_no_landing_nobody_could_be_told_by(
    cache_control: str,
) -> None:
    shop = Shop()
    visit = shop.visit("/?utm_source=x", cookie=YES)
    assert visit.finish(HttpAnswer(200, "text/html", cache_control)) == []
    assert shop.names() == []
    known = shop.visit("/?utm_source=x", cookie=f"{YES}; tt_visitor={KNOWN_ID}")
    assert known.finish(HttpAnswer(200, "text/html", cache_control)) == []
    assert shop.names() == ["page_viewed"]


@pytest.mark.parametrize(
    ("target", "headers", "answer", "counts"),
    [
        pytest.param("/?utm_source=x", {}, PAGE, True, id="campaign"),
        pytest.param("/?ScCid=x", {}, PAGE, True, id="click id"),
        pytest.param("/", {"referer": GOOGLE}, PAGE, True, id="foreign referrer"),
        pytest.param("/", {"referer": "android-app://com.example/"}, PAGE, True, id="app"),
        pytest.param("/", {"referer": GOOGLE, "sec_fetch_dest": ""}, PAGE, True, id="browser without fetch metadata"),
        pytest.param("/?utm_source=x", {"referer": "https://shop.example/"}, PAGE, True, id="campaign on an own link"),
        pytest.param("/", {"referer": GOOGLE}, HttpAnswer(201, "application/xhtml+xml"), True, id="xhtml"),
        pytest.param("/", {}, PAGE, False, id="typed in"),
        pytest.param("/", {"referer": "https://shop.example/x"}, PAGE, False, id="own referrer"),
        pytest.param("/", {"referer": "https://www.shop.example/x"}, PAGE, False, id="own referrer with www"),
        pytest.param("/", {"referer": "https://blog.other.example/x"}, PAGE, False, id="own host named"),
        pytest.param("/", {"referer": "about:blank"}, PAGE, False, id="no address"),
        pytest.param("/?utm_source=x", {"sec_fetch_dest": "empty"}, PAGE, False, id="fetch"),
        pytest.param("/?utm_source=x", {"sec_fetch_dest": "iframe"}, PAGE, False, id="frame"),
        pytest.param("/?utm_source=x", {"sec_purpose": "prefetch;prerender"}, PAGE, False, id="prefetch"),
        pytest.param("/?utm_source=x", {"purpose": "prefetch"}, PAGE, False, id="old prefetch"),
        pytest.param("/?utm_source=x", {"sec_fetch_dest": "", "accept": "*/*"}, PAGE, False, id="no browser"),
        pytest.param("/?utm_source=x", {}, HttpAnswer(404, "text/html"), False, id="not found"),
        pytest.param("/?utm_source=x", {}, HttpAnswer(500, "text/html"), False, id="broken"),
        pytest.param("/?utm_source=x", {}, HttpAnswer(200, "application/json"), False, id="no page"),
        pytest.param("/?utm_source=x", {}, HttpAnswer(302, location="/de/?utm_source=x"), False, id="redirect that keeps it"),
        pytest.param("/?utm_source=x", {}, HttpAnswer(302, location="/de/"), True, id="redirect that drops it"),
        pytest.param("/", {"referer": GOOGLE}, HttpAnswer(302, location="/de/"), False, id="redirect, referrer comes along"),
    ],
)  # fmt: skip
def test_what_a_landing_is(target: str, headers: dict[str, str], answer: HttpAnswer, counts: bool) -> None:
    shop = Shop(own_hosts=("other.example",))
    shop.visit(target, cookie=f"{YES}; tt_visitor={KNOWN_ID}", **headers).finish(answer)
    assert shop.names() == ["page_viewed"] * counts
    silent = Shop(landings=False)
    silent.visit(target, cookie=f"{YES}; tt_visitor={KNOWN_ID}", **headers).finish(answer)
    assert silent.names() == []


def test_a_landing_is_not_a_post() -> None:
    shop = Shop()
    shop.visit("/?utm_source=x", method="POST", cookie=f"{YES}; tt_visitor={KNOWN_ID}").finish(PAGE)
    assert shop.names() == []


def test_a_landing_tells_visitor_page_campaign_device_and_consent() -> None:
    shop = Shop()
    visit = shop.visit("/p/1?utm_source=news&token=secret", referer=GOOGLE, cookie=YES)
    visit.finish(PAGE)
    wire = assert_tracked(shop.client, events.PageViewed, anonymous_id=visit.anonymous_id).wire
    assert wire["page"] == {"url": "https://shop.example/p/1?utm_source=news&token=***", "referrer": GOOGLE}
    assert wire["campaign"] == {"source": "news"}
    assert wire["consent"] == {"analytics": True, "ads": True, "personalisation": True}
    assert wire["device"] == {"user_agent": "Browser/1", "locale": "de-AT"}


def test_an_error_page_in_the_place_of_the_first_answer_gets_the_cookies_again_and_counts_nothing_twice() -> None:
    shop = Shop()
    visit = shop.visit("/?utm_source=x", cookie=YES)
    first = visit.finish(PAGE)
    assert visit.finish(HttpAnswer(500, "text/html")) == first != []
    assert visit.finish(PAGE) == first
    assert shop.names() == ["page_viewed"]


def test_a_landing_counted_on_a_redirect_is_not_counted_again_on_the_page_behind_it() -> None:
    shop = Shop()
    cookie = f"{YES}; tt_visitor={KNOWN_ID}"
    written = shop.visit("/?utm_source=x", referer=GOOGLE, cookie=cookie).finish(HttpAnswer(302, location="/de/"))
    assert len(written) == 1
    mark = written[0].partition(";")[0]
    assert "; Max-Age=30;" in written[0]
    # Browsers keep the referrer over a redirect.
    shop.visit("/de/", referer=GOOGLE, cookie=f"{cookie}; {mark}").finish(PAGE)
    assert shop.names() == ["page_viewed"]
    shop.visit("/de/?utm_source=other", referer=GOOGLE, cookie=f"{cookie}; {mark}").finish(PAGE)
    shop.visit("/de/", referer=GOOGLE, cookie=cookie).finish(PAGE)
    assert shop.names() == ["page_viewed"] * 3


@pytest.mark.parametrize("comes_back", ["redirected to the page", "page reloaded"])
def test_consent_on_the_landing_page_counts_that_landing_once(comes_back: str) -> None:
    shop = Shop()
    landed_on = "https://shop.example/p/1?utm_source=news&gclid=q"
    assert shop.visit("/p/1?utm_source=news&gclid=q", referer=GOOGLE).finish(PAGE) == []
    banner = shop.visit("/consent", method="POST", referer=landed_on, sec_fetch_site="same-origin")
    with banner:
        banner.set_consent(analytics=True)
    written = banner.finish(HttpAnswer(303, location="/p/1?utm_source=news&gclid=q"))
    assert [value.partition("=")[0] for value in written] == ["tt_consent", "tt_visitor", "tt_visitor_landed"]
    assert written[0].startswith(f"tt_consent=analytics=1&ads=0&personalisation=0; Max-Age={CONSENT_AGE_S}; Path=/")
    given, landing = shop.client.events
    assert (given.name, given.wire["properties"]["purposes"]) == ("consent_given", ["analytics"])
    assert (landing.name, landing.wire["page"], landing.wire["campaign"]) == (
        "page_viewed",
        {"url": landed_on},
        {"source": "news", "click_ids": {"gclid": "q"}},
    )
    assert given.wire["anonymous_id"] == landing.wire["anonymous_id"] == banner.anonymous_id
    cookies = "; ".join(value.partition(";")[0] for value in written)
    again = shop.visit(
        "/p/1?utm_source=news&gclid=q",
        referer=landed_on if comes_back == "redirected to the page" else GOOGLE,
        cookie=cookies,
    )
    assert (again.anonymous_id, again.finish(PAGE)) == (banner.anonymous_id, [])
    assert len(shop.client.events) == 2


@pytest.mark.parametrize("referer", ["https://shop.example/p/1", "https://evil.example/?utm_source=x", ""])
def test_consent_elsewhere_counts_no_landing(referer: str) -> None:
    shop = Shop()
    visit = shop.visit("/consent", method="POST", referer=referer)
    visit.set_consent(analytics=True, ads=True)
    assert shop.names() == ["consent_given"]


def test_withdrawing_tells_whose_consent_ended_and_forgets_the_visitor() -> None:
    shop = Shop()
    visit = shop.visit("/consent", method="POST", cookie=f"{YES}; tt_visitor={KNOWN_ID}")
    with visit:
        visit.set_consent(analytics=False)
        assert current_context() == Context(consent=Consent(analytics=False, ads=False, personalisation=False))
    withdrawn = assert_tracked(shop.client, events.ConsentWithdrawn, anonymous_id=KNOWN_ID).wire
    assert withdrawn["properties"]["purposes"] == ["analytics", "ads", "personalisation"]
    assert withdrawn["consent"] == {"analytics": False, "ads": False, "personalisation": False}
    assert not withdrawn.keys() & {"page", "device", "campaign"}
    assert [value.partition(";")[0] for value in visit.finish(PAGE)] == [NO, "tt_visitor="]
    assert shop.names() == ["consent_withdrawn"]


def test_withdrawing_one_purpose_gives_the_others_anew() -> None:
    shop = Shop()
    visit = shop.visit("/consent", method="POST", cookie=f"{YES}; tt_visitor={KNOWN_ID}")
    visit.set_consent(analytics=True, personalisation=True)
    purposes = [(tracked.name, tracked.wire["properties"]["purposes"]) for tracked in shop.client.events]
    assert purposes == [("consent_given", ["analytics", "personalisation"]), ("consent_withdrawn", ["ads"])]
    assert visit.anonymous_id == KNOWN_ID


def test_a_first_no_of_somebody_unknown_is_remembered_and_tells_nobody() -> None:
    shop = Shop()
    visit = shop.visit("/consent", method="POST")
    visit.set_consent(analytics=False)
    assert [value.partition(";")[0] for value in visit.finish(PAGE)] == [NO]
    assert shop.names() == []
    customer = shop.visit("/consent", method="POST")
    customer.identify("c-1")
    customer.set_consent(analytics=False)
    assert_tracked(shop.client, events.ConsentWithdrawn, customer_id="c-1")


def test_global_privacy_control_outranks_a_yes_to_ads() -> None:
    shop = Shop()
    visit = shop.visit("/consent", method="POST", sec_gpc="1")
    visit.set_consent(analytics=True, ads=True, personalisation=True)
    assert visit.consent == Consent(analytics=True, ads=False, personalisation=False)
    assert visit.finish(PAGE)[0].startswith("tt_consent=analytics=1&ads=0&personalisation=0;")


def test_the_shops_consent_manager_is_asked_and_the_cookie_only_where_it_does_not_know() -> None:
    answers: dict[str, Consent | None] = {"yes": ANY, "no": Consent(analytics=False), "": None}
    shop = Shop(consent=lambda request: answers[request.headers.get("x-cmp", "")])
    assert shop.visit(x_cmp="yes").anonymous_id
    assert shop.visit(x_cmp="no", cookie=YES).anonymous_id is None
    assert shop.visit(cookie=YES).anonymous_id
    assert shop.visit().anonymous_id is None
    refused = shop.visit(x_cmp="no", cookie=f"tt_visitor={KNOWN_ID}")
    assert refused.finish(PAGE)[0].startswith("tt_visitor=; Max-Age=0;")


@pytest.mark.parametrize("mode", ["with_consent", "unless_refused"])
@pytest.mark.parametrize("answer", ["raises", True, "yes", {"analytics": 3}])
def test_a_consent_manager_that_fails_leaves_the_visitor_unknown_for_the_request(mode: str, answer: object) -> None:
    def consent(request: HttpRequest) -> Any:
        if answer == "raises":
            raise RuntimeError("down")
        return answer

    shop = Shop(consent=consent, visitor_id=mode)
    visit = shop.visit("/?utm_source=x", cookie=f"{YES}; tt_visitor={KNOWN_ID}")
    assert (visit.context, visit.finish(PAGE), shop.names()) == (Context(), [], [])
    assert shop.visits.problems == {"begin": 1}


def test_signing_in_and_out_changes_the_context_for_all_threads_and_tasks_of_the_request() -> None:
    shop = Shop()
    with shop.visit(cookie=YES) as visit:
        # A handler in a thread runs in a copy of the variables; what follows the handler must see the customer too.
        worker = threading.Thread(target=contextvars.copy_context().run, args=(lambda: current_visit().identify(7),))  # type: ignore[union-attr]
        worker.start()
        worker.join()
        shop.client.track(events.CustomerSignedIn())
        assert_tracked(shop.client, events.CustomerSignedIn, customer_id="7", anonymous_id=visit.anonymous_id)
        visit.identify(None)
        assert current_context() is visit.context
        assert visit.context.customer_id is None
        visit.identify(object())  # type: ignore[arg-type]
        visit.identify("x" * 257)
    assert shop.visits.problems == {"identify": 2}


def test_a_request_begins_anew_and_gives_back_what_held_before() -> None:
    shop = Shop()
    with use_context(Context(customer_id="outer", session_id="s")):
        first, second = shop.visit(cookie=YES), shop.visit()
        with first:
            assert (current_context(), current_visit()) == (first.context, first)
            with second:
                assert (current_context(), current_visit()) == (Context(), second)
            assert current_visit() is first
        assert current_context() == Context(customer_id="outer", session_id="s")
    assert current_visit() is None
    first.leave()


def test_leaving_in_another_task_leaves_nobody_behind() -> None:
    visit = Shop().visit(cookie=YES)
    contextvars.copy_context().run(visit.enter)
    here = contextvars.copy_context()
    here.run(visit.leave)
    assert here.run(current_context) is None
    assert here.run(current_visit) is None


def test_consent_after_the_answer_began_changes_nothing_and_is_counted() -> None:
    shop = Shop()
    visit = shop.visit()
    visit.finish(PAGE)
    visit.set_consent(analytics=True)
    assert (visit.consent, shop.names(), shop.visits.problems) == (None, [], {"set_consent": 1})


def test_an_answer_to_the_banner_that_may_be_cached_is_counted_as_a_problem() -> None:
    shop = Shop()
    visit = shop.visit(method="POST")
    visit.set_consent(analytics=True)
    assert visit.finish(HttpAnswer(200, "text/html", "public")) == []
    assert shop.visits.problems == {"set_consent": 1}


def test_a_bug_in_here_is_counted_logged_once_and_never_reaches_the_shop(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(dict[str, str]):
        def get(self, *_: object) -> Any:
            raise ZeroDivisionError("secret")

    shop = Shop(visitor_id="unless_refused")
    request = HttpRequest("GET", "https", "shop.example", "/", "", Broken(), None)
    with caplog.at_level(logging.WARNING, "touchtrail"):
        for _ in range(3):
            visit = shop.visits.begin(request, customer_id="c")
            visit.set_consent(analytics=True)
            assert visit.finish(PAGE) == []
            assert visit.context.customer_id == "c"
    assert shop.visits.problems == {"begin": 3, "set_consent": 3, "finish": 3}
    assert len(caplog.records) == 3
    assert "secret" not in caplog.text


def test_a_client_that_takes_nothing_costs_no_cookie() -> None:
    shop = Shop()
    shop.client.close()
    visit = shop.visit("/?utm_source=x", cookie=YES)
    assert visit.finish(PAGE)[0].startswith("tt_visitor=")
    assert shop.visits.problems == {"track page_viewed": 1}


def test_what_cannot_work_is_refused_when_the_app_is_built() -> None:
    with pytest.raises(OptionsError) as refused:
        Visits("https://collect.example", {"cookie_name": "x"}, consent=True)  # type: ignore[arg-type]
    assert [problem.partition(":")[0] for problem in refused.value.problems] == ["client", "options", "consent"]
    for kind in (Client, AsyncClient):
        assert Visits(kind(disabled=True)).options == WebOptions()
