"""Page addresses, campaigns and cookies as the web integrations read and write them."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from touchtrail import Campaign, Consent
from touchtrail.integrations import landing
from touchtrail.integrations.cookies import (
    CookieWriter,
    consent_text,
    cookie_of,
    is_living_id,
    new_visitor_id,
    read_consent,
)
from touchtrail.integrations.page import PageAddresses
from touchtrail.integrations.visit import HttpAnswer, WebOptions
from touchtrail_collector.domain import origin
from touchtrail_collector.domain.origin import CLICK_IDS, traffic_of

PAGES = PageAddresses(("shop.example", "pay.example"), WebOptions().hidden_parameters)
NOW_S = 1_795_000_000.0
YEAR_S = 365 * 86_400


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ""),
        ("sku=1&size=42", "?sku=1&size=42"),
        ("token=abc&sku=1", "?token=***&sku=1"),
        ("reset_token=abc", "?reset_token=***"),
        ("resetToken=abc", "?resetToken=***"),
        ("user%5Bemail%5D=x", "?user%5Bemail%5D=***"),
        ("PASSWORD=x", "?PASSWORD=***"),
        ("a=1;token=abc", "?a=1;token=***"),
        ("next=%2Freset%3Ftoken%3Dabc", "?next=***"),
        ("next=%2Fp%3Fsku%3D1", "?next=%2Fp%3Fsku%3D1"),
        ("q=a%40b.example", "?q=***"),
        ("a@b.example", "?***"),
        ("utm_source=news&utm_id=1&gclid=x&monkey=2", "?utm_source=news&utm_id=1&gclid=x&monkey=2"),
        ("q=grün", "?q=gr%C3%BCn"),
        ("q=\udcff", "?q=%FF"),
        ('q="\r\nSet-Cookie: x', "?q=%22%0D%0ASet-Cookie:%20x"),
    ],
)
def test_values_that_are_secrets_or_mail_addresses_stay_in_the_shop(query: str, shown: str) -> None:
    assert PAGES.url("https", "Shop.Example", "/p", query) == f"https://shop.example/p{shown}"
    if query.isascii() and '"' not in query:
        assert PAGES.referrer(f"https://u:p@shop.example/p?{query}#top") == f"https://shop.example/p{shown}"


@pytest.mark.parametrize(
    ("path", "shown"),
    [("/p/1", "/p/1"), ("/größe 42", "/gr%C3%B6%C3%9Fe%2042"), ("/100%", "/100%25"), ("/\udcff", "/%FF"), ("/\ud800", "/%3F"), ("", "/")],
)  # fmt: skip
def test_a_path_is_written_as_it_was_sent(path: str, shown: str) -> None:
    assert PAGES.url("http", "shop.example:8000", path, "") == f"http://shop.example:8000{shown}"


def test_a_long_address_is_cut_so_that_it_cannot_cost_the_shop_an_order() -> None:
    for filler in ("a", "ä", "%41"):
        url = PAGES.url("https", "shop.example", "/" + filler * 9000, "b=" + filler * 9000)
        assert url is not None
        assert len(url) <= 2048
        assert re.search(r"%.?$", url) is None


@pytest.mark.parametrize(
    "text", ["", "about:blank", "javascript:alert(1)", "data:text/html,x", "https://", 'https://"x/', "no address"]
)
def test_what_is_no_address_is_no_referrer(text: str) -> None:
    assert PAGES.referrer(text) is None


@pytest.mark.parametrize(
    ("url", "is_own"),
    [
        ("https://shop.test/p", True),
        ("https://www.shop.test:8443/p", True),
        ("https://SHOP.example/", True),
        ("https://m.shop.example?x", True),
        ("https://pay.example", True),
        ("https://notshop.example/", False),
        ("https://shop.test.evil.example/", False),
        ("https://evil.example/shop.test/", False),
        ("https://shop.test@evil.example/", False),
        ("https://blog.shop.test/", False),
        ("https://www.google.com/", False),
    ],
)
def test_a_referrer_is_own_for_the_host_asked_and_the_hosts_named(url: str, is_own: bool) -> None:
    assert PAGES.is_own(url, "www.shop.test:8000") is is_own


def test_the_same_click_ids_count_as_in_the_collector() -> None:
    assert frozenset(CLICK_IDS) == landing.CLICK_IDS


def test_the_same_values_say_nothing_as_in_the_collector() -> None:
    assert landing.FILLER.pattern == origin._FILLER.pattern
    assert landing.campaign_of([("matomo_campaign", "-"), ("mtm_cid", "1"), ("pk_campaign", "11")]) == Campaign(
        name="11", id="1"
    )
    for empty in ("-", "NOT  set", "{{campaign.name}}", "[placement]", "%%SITE%%"):
        assert landing.campaign_of([("utm_source", empty), ("pk_source", "news")]) == Campaign(source="news"), empty


CAMPAIGN_NAMES = sorted({*landing.CLICK_IDS, *landing._PARTS})


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(CAMPAIGN_NAMES),
            st.text("aZ1 -é{}", min_size=1, max_size=8) | st.sampled_from(["null", "Not  Set", "--"]),
        ),
        max_size=6,
    )
)
def test_a_campaign_in_the_context_says_the_same_as_the_address_does_to_the_collector(
    pairs: list[tuple[str, str]],
) -> None:
    from urllib.parse import urlencode

    query = urlencode(pairs)
    campaign = landing.campaign_of(landing.campaign_pairs(query))
    url = f"https://shop.example/?{query}"
    assert traffic_of("page_viewed", url=url, campaign=campaign) == traffic_of("page_viewed", url=url)


def test_a_campaign_is_read_in_whatever_case_and_the_first_value_wins() -> None:
    query = (
        "UTM_Source=a&utm_source=b&utm_medium=cpc&utm_campaign=x%20y&utm_term=t&utm_content=c&utm_id=7&GCLID=q&pk_kwd=z"
    )
    assert landing.campaign_of(landing.campaign_pairs(query)) == Campaign(
        source="a", medium="cpc", name="x y", term="t", content="c", id="7", click_ids={"gclid": "q"}
    )
    assert landing.campaign_of(landing.campaign_pairs("utm_source=&sku=1&utm_content=a%40b.example&utm_x=1")) is None


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de-AT"),
        ("en;q=0.1, fr;q=0.9", "fr"),
        ("*", None),
        ("", None),
        ("de;q=0", None),
        ("de;q=nan,fr;q=0.1", "fr"),
        ("de;q=x,'><script>,fr;q=0.2", "fr"),
        ("de;q=9, en", "de"),
    ],
)
def test_the_locale_is_the_one_the_browser_likes_best(header: str, locale: str | None) -> None:
    assert landing.locale_of(header) == locale


@pytest.mark.parametrize(
    ("cache_control", "is_shared"),
    [
        ("", False),
        ("public", True),
        ("Public, max-age=600", True),
        ("s-maxage=60", True),
        ("private, s-maxage=60", True),
        ("max-age=600", True),
        ("max-age=0", False),
        ("private, max-age=600", False),
        ("no-store", False),
        ("no-cache, max-age=600", False),
        ("max-age=0, must-revalidate", False),
    ],
)
def test_an_answer_a_shared_cache_may_keep_is_known(cache_control: str, is_shared: bool) -> None:
    assert landing.is_shared(cache_control) is is_shared


@pytest.mark.parametrize(
    ("status", "location", "drops"),
    [
        (302, "/p/1", True),
        (301, "https://shop.example/p?size=1#utm_source=x", True),
        (302, "/de/?utm_source=news", False),
        (302, "/de/?gclid=1", False),
        (200, "/p/1", False),
        (304, "", False),
    ],
)
def test_a_redirect_counts_only_when_it_drops_the_campaign(status: int, location: str, drops: bool) -> None:
    pairs = landing.campaign_pairs("utm_source=news&utm_medium=email")
    assert landing.drops_campaign(HttpAnswer(status, location=location), pairs) is drops
    assert not landing.drops_campaign(HttpAnswer(302, location="/x"), [])


def test_a_visitors_id_is_a_uuid_version_7_of_its_moment_and_each_is_drawn_anew() -> None:
    made = [new_visitor_id(NOW_S) for _ in range(1000)]
    parsed = [uuid.UUID(text) for text in made]
    assert {(number.version, number.variant, number.int >> 80) for number in parsed} == {
        (7, uuid.RFC_4122, int(NOW_S * 1000))
    }
    # Nothing but version and variant is alike: knowing one's own id helps nobody to guess a neighbour's.
    assert len({text[14:18] for text in made}) > 500
    assert len({text[24:] for text in made}) == 1000
    assert [str(number) for number in parsed] == made


def test_an_id_lives_from_its_making_and_one_from_the_future_or_of_another_kind_never() -> None:
    own = new_visitor_id(NOW_S)
    assert is_living_id(own, NOW_S, YEAR_S)
    assert is_living_id(own, NOW_S + YEAR_S - 1, YEAR_S)
    assert not is_living_id(own, NOW_S + YEAR_S, YEAR_S)
    assert is_living_id(own, NOW_S - 3600, YEAR_S)
    assert not is_living_id(own, NOW_S - 2 * 86_400, YEAR_S)
    for other in (
        "",
        str(uuid.uuid4()),
        own.upper(),
        own + "\n",
        f"{own}x",
        "a-1",
        own.replace("-", ""),
        "\u0661" * 36,
    ):
        assert not is_living_id(other, NOW_S, YEAR_S)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("tt=1", "1"),
        ("a=b; tt=1; tt=2", "1"),
        ("xtt=1; tt_x=3;tt = 4 ", "4"),
        ("tt", None),
        ("x=tt", None),
        ("x=tt=5", None),
        ("tt=", ""),
        ("", None),
    ],
)
def test_a_cookie_is_found_by_its_whole_name_and_the_first_one_counts(header: str, value: str | None) -> None:
    assert cookie_of(header, "tt") == value


@pytest.mark.parametrize(
    "text", [None, "", "1", "ads=1", "analytics=2", "analytics=", "analytics=yes", "&&==", "analytics=1" * 100]
)
def test_an_answer_that_cannot_be_read_is_none(text: str | None) -> None:
    assert read_consent(text) is None


def test_an_answer_is_read_back_as_it_was_written_and_later_members_are_passed_over() -> None:
    for bits in range(8):
        said = Consent(analytics=bool(bits & 1), ads=bool(bits & 2), personalisation=bool(bits & 4))
        assert read_consent(consent_text(said)) == said
        assert read_consent(consent_text(said) + "&marketing=1&v=3") == said
    assert read_consent("analytics=1") == Consent(analytics=True, ads=False, personalisation=False)


@pytest.mark.parametrize(
    ("given", "scheme", "attributes"),
    [
        ({}, "http", "Max-Age=9; Path=/; SameSite=Lax; HttpOnly"),
        ({}, "https", "Max-Age=9; Path=/; SameSite=Lax; Secure; HttpOnly"),
        ({"cookie_secure": False}, "https", "Max-Age=9; Path=/; SameSite=Lax; HttpOnly"),
        ({"browser_tracker": True}, "http", "Max-Age=9; Path=/; SameSite=Lax"),
        (
            {"cookie_secure": True, "cookie_same_site": "None"},
            "http",
            "Max-Age=9; Path=/; SameSite=None; Secure; HttpOnly",
        ),
        ({"cookie_domain": "shop.example"}, "http", "Max-Age=9; Path=/; Domain=shop.example; SameSite=Lax; HttpOnly"),
    ],
    ids=str,
)
def test_cookies_carry_the_attributes_asked_for(given: dict[str, object], scheme: str, attributes: str) -> None:
    options = WebOptions(**given)  # type: ignore[arg-type]
    assert CookieWriter(options).cookie("tt", "v", max_age_s=9, scheme=scheme) == f"tt=v; {attributes}"
