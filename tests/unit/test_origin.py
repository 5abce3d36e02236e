"""Where an event came from: address, referrer and campaign read into one `Traffic`."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from touchtrail.context import Campaign
from touchtrail_collector.domain.channel import Traffic
from touchtrail_collector.domain.origin import (
    CACHED_URL_CHARS,
    CLICK_IDS,
    VALUE_CHARS,
    campaign_name,
    has_campaign,
    traffic_of,
)

SHOP = "https://www.shop.example/p/1"


def landing(query: str) -> Traffic:
    return traffic_of("page_viewed", url=f"{SHOP}?{query}")


def test_all_parts_of_a_visit_are_read() -> None:
    traffic = traffic_of(
        "product_viewed",
        url=SHOP
        + "?utm_source=Google&utm_medium=CPC&utm_campaign=Autumn+Sale&utm_content=Banner%201&utm_term=x&gclid=y",
        referrer="https://user@www.Google.co.uk:443/search?q=shoes",
    )
    assert traffic == Traffic(
        event="product_viewed",
        source="google",
        medium="cpc",
        campaign="autumn sale",
        content="banner 1",
        click_ids=("gclid",),
        referrer_host="www.google.co.uk",
        referrer_domain="google.co.uk",
        landing_host="www.shop.example",
    )


def test_an_event_without_page_has_no_origin() -> None:
    assert traffic_of("order_placed") == Traffic(event="order_placed")
    assert traffic_of("order_placed", url="", referrer="") == Traffic(event="order_placed")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("mtm_source=a&mtm_medium=b&mtm_campaign=c&mtm_content=d", ("a", "b", "c", "d")),
        ("pk_source=a&pk_medium=b&pk_campaign=c&pk_content=d", ("a", "b", "c", "d")),
        ("piwik_campaign=c", (None, None, "c", None)),
        ("matomo_campaign=c", (None, None, "c", None)),
        ("utm_id=42", (None, None, "42", None)),
        ("utm_id=42&utm_campaign=autumn", (None, None, "autumn", None)),
        ("mtm_source=a&utm_source=b", ("b", None, None, None)),
        ("utm_source=a&utm_source=b", ("a", None, None, None)),
        ("utm_source=&utm_source=b", ("b", None, None, None)),
        ("UTM_Source=a", ("a", None, None, None)),
        ("utm%5Fsource=a", ("a", None, None, None)),
        ("page=2&sort=utm_source", (None, None, None, None)),
        ("xutm_source=a", (None, None, None, None)),
        ("utm_source=%20%20A%20%20%20B%0A", ("a b", None, None, None)),
        ("utm_source=b%C3%BCcher", ("bücher", None, None, None)),
        ("utm_source=%FF", ("\ufffd", None, None, None)),
        ("utm_source=a%00b", (None, None, None, None)),
        ("a=1#utm_source=a", ("a", None, None, None)),
        ("&&=&utm_source", (None, None, None, None)),
    ],
)
def test_campaign_parameters_of_several_tools_are_read(query: str, expected: tuple[str | None, ...]) -> None:
    traffic = landing(query)
    assert (traffic.source, traffic.medium, traffic.campaign, traffic.content) == expected


@pytest.mark.parametrize("url", ["/p/1?utm_source=a", "#/p/1?utm_source=a", "https://shop.example#utm_source=a"])
def test_parameters_are_found_behind_paths_and_in_fragments(url: str) -> None:
    assert traffic_of("page_viewed", url=url).source == "a"


FILLERS = ["EMPTY", "null", "undefined", "(not set)", "none", "-", " ", "{{source}}", "{keyword}", "[placement]", "NaN"]


@pytest.mark.parametrize("filler", FILLERS)
def test_fillers_are_no_values(filler: str) -> None:
    nothing = landing("")
    assert landing(f"utm_source={quote(filler)}") == nothing
    assert landing(f"gclid={quote(filler)}") == nothing
    assert traffic_of("page_viewed", url=SHOP, campaign=Campaign(source=filler)) == nothing
    assert traffic_of("page_viewed", url=SHOP, campaign=Campaign(click_ids={"gclid": filler})) == nothing


def test_the_brackets_of_ga_are_values() -> None:
    traffic = landing("utm_source=(direct)&utm_medium=(none)")
    assert (traffic.source, traffic.medium) == ("(direct)", "(none)")


@pytest.mark.parametrize(("parameter", "name"), CLICK_IDS.items())
def test_click_ids_are_named(parameter: str, name: str) -> None:
    assert landing(f"{parameter.upper()}=Abc").click_ids == (name,)
    assert landing(f"{parameter}=").click_ids == ()
    envelope = Campaign(click_ids={parameter: "abc"})
    assert traffic_of("page_viewed", campaign=envelope).click_ids == (name,)


def test_click_ids_of_address_and_envelope_are_joined_sorted_and_once() -> None:
    envelope = Campaign(click_ids={"pin": "1", "gclid": "2", "own_id": "3", "empty": "", "wbraid": "null"})
    traffic = traffic_of("page_viewed", url=SHOP + "?gclid=2&fbclid=4", campaign=envelope)
    assert traffic.click_ids == ("fbclid", "gclid", "own_id", "pin")


def test_the_envelopes_campaign_is_read_like_an_address() -> None:
    envelope = Campaign(source=" Google ", medium="CPC", name="Autumn", content="A", term="t", id="7")
    assert traffic_of("page_viewed", url=SHOP, campaign=envelope) == landing(
        "utm_source=google&utm_medium=cpc&utm_campaign=autumn&utm_content=a"
    )
    assert traffic_of("page_viewed", campaign=Campaign(id="7")).campaign == "7"


def test_the_address_adds_to_an_envelope_it_agrees_with() -> None:
    envelope = Campaign(source="google")
    traffic = traffic_of("page_viewed", url=SHOP + "?utm_source=google&utm_medium=cpc", campaign=envelope)
    assert (traffic.source, traffic.medium) == ("google", "cpc")


def test_an_envelope_that_contradicts_the_address_replaces_its_campaign() -> None:
    envelope = Campaign(source="newsletter")
    traffic = traffic_of("page_viewed", url=SHOP + "?utm_source=google&utm_medium=cpc", campaign=envelope)
    assert (traffic.source, traffic.medium) == ("newsletter", None)


def test_network_and_campaign_id_of_the_properties_stand_in_for_what_is_missing() -> None:
    traffic = traffic_of("ad_click", network=" Facebook ", campaign_id="C-1")
    assert (traffic.source, traffic.campaign) == ("facebook", "c-1")
    traffic = traffic_of("ad_click", url=SHOP + "?utm_source=ig&utm_campaign=x", network="facebook", campaign_id="C-1")
    assert (traffic.source, traffic.campaign) == ("ig", "x")


@pytest.mark.parametrize(
    ("referrer", "host", "domain", "is_app"),
    [
        ("https://www.google.de/", "www.google.de", "google.de", False),
        ("HTTP://News.Yahoo.co.jp/x", "news.yahoo.co.jp", "yahoo.co.jp", False),
        ("//www.google.de/x", "www.google.de", "google.de", False),
        ("www.google.de/x", "www.google.de", "google.de", False),
        ("google.de", "google.de", "google.de", False),
        ("https://google.com@evil.example/", "evil.example", "evil.example", False),
        ("https://google.com\\@evil.example/", "google.com", "google.com", False),
        ("https://straße.example/", "xn--strae-oqa.example", "xn--strae-oqa.example", False),
        ("https://[::1]:80/", "::1", "::1", False),
        ("android-app://com.google.android.gm/", "com.google.android.gm", None, True),
        ("ios-app://544007664/vnd.youtube/x", "544007664", None, True),
        ("direct", None, None, False),
        ("$direct", None, None, False),
        ("about:blank", None, None, False),
        ("file:///home/x", None, None, False),
        ("chrome-extension://abc/page", None, None, False),
        ("data:text/html,https://google.com/", None, None, False),
        ("https://", None, None, False),
        ("https:///path", None, None, False),
    ],
)
def test_referrers_have_one_spelling(referrer: str, host: str | None, domain: str | None, is_app: bool) -> None:
    traffic = traffic_of("page_viewed", referrer=referrer)
    assert (traffic.referrer_host, traffic.referrer_domain, traffic.referrer_is_app) == (host, domain, is_app)


def test_values_are_cut_to_a_labels_length() -> None:
    source = landing("utm_source=" + "a" * 5000).source
    assert source == "a" * VALUE_CHARS


def test_an_address_too_long_for_the_cache_is_read_the_same() -> None:
    padding = "x=" + "y" * CACHED_URL_CHARS
    assert landing(f"{padding}&utm_source=a&gclid=1") == landing("utm_source=a&gclid=1")
    referrer = "https://www.google.de/?" + padding
    assert traffic_of("page_viewed", referrer=referrer).referrer_domain == "google.de"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("utm_source=a", True),
        ("utm_medium=a", True),
        ("utm_campaign=a", True),
        ("gclid=a", True),
        ("awc=a", True),
        ("fbclid=a", False),
        ("utm_content=a", False),
        ("utm_source=(direct)&utm_medium=(none)", False),
        ("page=2", False),
        ("", False),
    ],
)
def test_a_campaign_is_a_source_a_medium_a_name_or_a_paid_click(query: str, expected: bool) -> None:
    assert has_campaign(landing(query)) is expected


def test_a_campaigns_name_is_no_placeholder_in_brackets() -> None:
    assert campaign_name(landing("utm_campaign=Autumn")) == "autumn"
    assert campaign_name(landing("utm_campaign=(ai-assistant)")) is None
    assert campaign_name(landing("utm_source=google")) is None


fragments = st.sampled_from(
    [
        "https://",
        "//",
        "http://[",
        "]",
        "@",
        "?",
        "#",
        "&",
        "=",
        "%",
        "%zz",
        "%F0",
        "utm_source",
        "gclid",
        "\\",
        ":",
        ".",
        "google.com",
        "ü",
        "{{",
        "}}",
        "android-app://",
    ]
) | st.sampled_from("\ud800\x00\n ")
hostile = st.one_of(st.text(), st.lists(fragments, max_size=20).map("".join))
maybe = st.one_of(st.none(), hostile)
campaigns = st.builds(
    Campaign, source=maybe, medium=maybe, name=maybe, id=maybe, click_ids=st.none() | st.dictionaries(hostile, hostile)
)


@given(hostile, maybe, maybe, st.none() | campaigns, maybe)
@example("x", "http://[::1", "http://[", None, None)
@example("x", "https://xn--\ud800.example?utm_source=\ud800", "//\ud800", None, None)
def test_any_text_gives_clean_traffic_and_never_raises(
    event: str, url: str | None, referrer: str | None, campaign: Campaign | None, network: str | None
) -> None:
    traffic = traffic_of(event, url=url, referrer=referrer, campaign=campaign, network=network)
    for value in (traffic.source, traffic.medium, traffic.campaign, traffic.content, *traffic.click_ids):
        assert value is None or (0 < len(value) <= VALUE_CHARS and value == value.strip() and value == value.lower())
    for host in (traffic.referrer_host, traffic.referrer_domain, traffic.landing_host):
        assert host is None or (host.isascii() and 0 < len(host) <= 253)
    assert list(traffic.click_ids) == sorted(set(traffic.click_ids))
    assert traffic == traffic_of(event, url=url, referrer=referrer, campaign=campaign, network=network)
    assert has_campaign(traffic) in {True, False}
    assert campaign_name(traffic) in {traffic.campaign, None}
