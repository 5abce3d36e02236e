"""The default channels: which contact belongs to which channel, rule by rule."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.domain.channel import ChannelClassifier, ChannelRule, Traffic
from touchtrail_collector.domain.origin import traffic_of
from touchtrail_plugins.channels import default

RULES = default.touchtrail_channels(default.Settings())


def refuse_failure(owner: str, rule: ChannelRule, error: Exception) -> None:
    raise AssertionError(f"rule {owner}:{rule.name} raised") from error


CLASSIFIER = ChannelClassifier([RULES], on_failure=refuse_failure)


def contact(
    query: str = "", referrer: str | None = None, event: str = "page_viewed", network: str | None = None
) -> Traffic:
    return traffic_of(event, url="https://www.shop.example/p/1?" + query, referrer=referrer, network=network)


def utm(source: str | None = None, medium: str | None = None, campaign: str | None = None) -> str:
    parts = {"utm_source": source, "utm_medium": medium, "utm_campaign": campaign}
    return "&".join(f"{name}={quote(value)}" for name, value in parts.items() if value is not None)


GA4_RULES = [
    ("Direct", utm("(direct)", "(none)")),
    ("Direct", utm("(direct)", "(not set)")),
    ("Direct", utm("(direct)")),
    ("Paid Other", utm("(direct)", "cpc")),
    ("Cross-network", utm("google", "cpc", "sale | cross-network")),
    ("Cross-network", utm("facebook", "paid", "Cross-Network")),
    ("Cross-network", utm("newsletter", "email", "cross-network")),
    ("Paid Shopping", utm("idealo", "cpc")),
    ("Paid Shopping", utm("ebay", "ppc")),
    ("Paid Shopping", utm("google", "cpc", "shopping autumn")),
    ("Paid Shopping", utm("google", "cpc", "shop")),
    ("Paid Shopping", utm("google", "cpc", "e-shop")),
    ("Paid Shopping", utm("facebook", "paid", "shopping")),
    ("Paid Shopping", utm("somebody", "cpc", "my shop")),
    ("Paid Search", utm("google", "cpc", "workshop")),
    ("Paid Shopping", utm("google", "cpc", "eshop")),
    ("Paid Search", utm("google", "cpc", "bishop")),
    ("Paid Search", utm("google", "cpc")),
    ("Paid Search", utm("GOOGLE", "CPC")),
    ("Paid Search", utm("bing", "ppc")),
    ("Paid Search", utm("ecosia", "paid-search")),
    ("Paid Search", utm("google", "retargeting")),
    ("Paid Search", utm("google", "cpm")),
    ("Paid Search", utm("google.de", "cpc")),
    ("Paid Search", utm("www.google.co.uk", "cpc")),
    ("Paid Social", utm("facebook", "cpc")),
    ("Paid Social", utm("instagram", "paid_social")),
    ("Paid Social", utm("linkedin", "cpm")),
    ("Paid Social", utm("m.facebook.com", "paid")),
    ("Paid Video", utm("youtube", "cpv-cpc")),
    ("Paid Video", utm("youtube", "cpc")),
    ("Paid Video", utm("vimeo.com", "paid")),
    ("Display", utm("somebody", "display")),
    ("Display", utm("somebody", "banner")),
    ("Display", utm("somebody", "expandable")),
    ("Display", utm("somebody", "interstitial")),
    ("Display", utm("somebody", "cpm")),
    ("Display", utm(None, "cpm")),
    ("Display", utm("google", "display")),
    ("Display", utm("facebook", "banner")),
    ("Paid Other", utm("somebody", "cpc")),
    ("Paid Other", utm("somebody", "ppc")),
    ("Paid Other", utm("somebody", "retargeting")),
    ("Paid Other", utm("somebody", "paid")),
    ("Paid Other", utm("newsletter", "cpc")),
    ("Paid Other", utm("criteo", "cpc")),
    ("Unassigned", utm("somebody", "unpaid")),
    ("Organic Shopping", utm("idealo")),
    ("Organic Shopping", utm("amazon", "referral")),
    ("Organic Shopping", utm("somebody", "partner", "shopping-week")),
    ("Organic Shopping", utm("newsletter", "email", "shop news")),
    ("Organic Social", utm("facebook")),
    ("Organic Social", utm("facebook", "email")),
    ("Organic Social", utm("xing.com", "referral")),
    ("Organic Social", utm("somebody", "social")),
    ("Organic Social", utm("somebody", "social-network")),
    ("Organic Social", utm("somebody", "social-media")),
    ("Organic Social", utm("somebody", "sm")),
    ("Organic Social", utm("somebody", "social network")),
    ("Organic Social", utm("somebody", "Social Media")),
    ("Organic Social", utm("youtube", "social")),
    ("Organic Video", utm("youtube")),
    ("Organic Video", utm("youtube", "organic")),
    ("Organic Video", utm("somebody", "product-video-page")),
    ("Organic Search", utm("google")),
    ("Organic Search", utm("google", "organic")),
    ("Organic Search", utm("somebody", "organic")),
    ("Organic Search", utm("qwant", "referral")),
    ("Referral", utm("somebody", "referral")),
    ("Referral", utm("somebody", "app")),
    ("Referral", utm("somebody", "link")),
    ("Referral", utm("email", "referral")),
    ("Email", utm("somebody", "email")),
    ("Email", utm("somebody", "e-mail")),
    ("Email", utm("somebody", "e_mail")),
    ("Email", utm("somebody", "e mail")),
    ("Email", utm("email")),
    ("Email", utm("e-mail", "something")),
    ("Affiliates", utm("somebody", "affiliate")),
    ("Email", utm("email", "affiliate")),
    ("Audio", utm("somebody", "audio")),
    ("SMS", utm("somebody", "sms")),
    ("SMS", utm("sms", "text")),
    ("Mobile Push", utm("somebody", "push")),
    ("Mobile Push", utm("somebody", "web-push")),
    ("Mobile Push", utm("somebody", "mobile-app")),
    ("Mobile Push", utm("somebody", "app_notification")),
    ("Mobile Push", utm("firebase", "something")),
    ("Unassigned", utm("somebody", "pushed")),
    ("Unassigned", utm("somebody")),
    ("Unassigned", utm("somebody", "podcast")),
    ("Unassigned", utm(None, None, "autumn")),
]


@pytest.mark.parametrize(("expected", "query"), GA4_RULES, ids=lambda value: value)
def test_ga4_rules_decide_in_their_order(expected: str, query: str) -> None:
    assert CLASSIFIER.classify(contact(query)).name == expected


REFERRERS = [
    ("Organic Search", "https://www.google.com/"),
    ("Organic Search", "https://www.google.de/search?q=shoes"),
    ("Organic Search", "https://www.google.co.uk/"),
    ("Organic Search", "https://GOOGLE.com:443/"),
    ("Organic Search", "https://www.bing.com/search?q=x"),
    ("Organic Search", "https://duckduckgo.com/"),
    ("Organic Search", "https://search.yahoo.co.jp/"),
    ("Organic Search", "https://de.search.yahoo.com/"),
    ("Organic Search", "https://yahoo.co.jp/"),
    ("Organic Search", "https://www.ecosia.org/"),
    ("Organic Search", "https://www.qwant.com/"),
    ("Organic Search", "https://www.startpage.com/"),
    ("Organic Search", "https://metager.de/"),
    ("Organic Search", "https://suche.t-online.de/"),
    ("Organic Search", "https://suche.web.de/web"),
    ("Organic Search", "https://suche.gmx.net/web"),
    ("Organic Search", "https://search.brave.com/"),
    ("Organic Search", "https://swisscows.com/"),
    ("Organic Search", "https://searx.example.org/"),
    ("Organic Search", "android-app://com.google.android.googlequicksearchbox/"),
    ("Organic Social", "https://l.facebook.com/l.php?u=x"),
    ("Organic Social", "https://m.facebook.com/"),
    ("Organic Social", "https://t.co/abc"),
    ("Organic Social", "https://www.reddit.com/r/running"),
    ("Organic Social", "https://www.xing.com/"),
    ("Organic Social", "https://www.linkedin.com/feed"),
    ("Organic Social", "https://lnkd.in/x"),
    ("Organic Social", "https://bsky.app/"),
    ("Organic Social", "https://www.threads.net/"),
    ("Organic Social", "https://www.pinterest.de/"),
    ("Organic Social", "https://web.telegram.org/"),
    ("Organic Social", "https://web.whatsapp.com/"),
    ("Organic Social", "https://mastodon.social/@shop"),
    ("Organic Social", "https://mastodon.example.org/@shop"),
    ("Organic Social", "https://blog.tumblr.com/"),
    ("Organic Social", "android-app://com.linkedin.android/"),
    ("Organic Social", "android-app://org.telegram.messenger"),
    ("Organic Social", "ios-app://389801252/"),
    ("Organic Video", "https://www.youtube.com/watch?v=1"),
    ("Organic Video", "https://youtu.be/1"),
    ("Organic Video", "https://player.vimeo.com/"),
    ("Organic Video", "android-app://com.google.android.youtube"),
    ("Organic Shopping", "https://www.idealo.de/preisvergleich"),
    ("Organic Shopping", "https://www.billiger.de/"),
    ("Organic Shopping", "https://geizhals.at/"),
    ("Organic Shopping", "https://www.ebay.co.uk/itm/1"),
    ("Organic Shopping", "https://www.amazon.de/dp/1"),
    ("Organic Shopping", "https://www.amazon.com.au/"),
    ("Organic Shopping", "https://shopping.google.com/"),
    ("Organic Shopping", "https://shopping.yahoo.co.jp/"),
    ("Organic Shopping", "https://m.check24.de/"),
    ("AI Assistants", "https://chatgpt.com/"),
    ("AI Assistants", "https://chat.openai.com/"),
    ("AI Assistants", "https://claude.ai/chat/1"),
    ("AI Assistants", "https://gemini.google.com/app"),
    ("AI Assistants", "https://www.perplexity.ai/"),
    ("AI Assistants", "https://copilot.microsoft.com/"),
    ("AI Assistants", "https://chat.deepseek.com/"),
    ("AI Assistants", "https://grok.com/"),
    ("AI Assistants", "https://www.phind.com/"),
    ("AI Assistants", "https://chat.mistral.ai/"),
    ("AI Assistants", "https://you.com/search"),
    ("AI Assistants", "android-app://com.openai.chatgpt"),
    ("Email", "https://mail.google.com/"),
    ("Email", "https://outlook.live.com/"),
    ("Email", "https://de.mail.yahoo.com/"),
    ("Email", "https://deref-gmx.net/"),
    ("Email", "https://deref-web.de/"),
    ("Email", "https://email.t-online.de/"),
    ("Email", "https://webmail.provider.example/"),
    ("Email", "android-app://com.google.android.gm/"),
    ("Affiliates", "https://www.awin1.com/cread.php"),
    ("Display", "https://tpc.googlesyndication.com/"),
    ("Customer Referral", "https://www.aklamio.com/"),
    ("Referral", "https://blog.example/post"),
    ("Referral", "https://docs.google.com/document"),
    ("Referral", "android-app://com.slack"),
    ("Referral", "https://bücher.example/"),
    ("Direct", None),
    ("Direct", ""),
    ("Direct", "about:blank"),
    ("Direct", "https://www.shop.example/p/2"),
    ("Direct", "https://blog.shop.example/"),
    ("Direct", "https://www.paypal.com/checkout"),
]


@pytest.mark.parametrize(("expected", "referrer"), REFERRERS, ids=str)
def test_a_visit_without_campaign_belongs_to_the_site_it_came_from(expected: str, referrer: str | None) -> None:
    assert CLASSIFIER.classify(contact("", referrer)).name == expected


TRICKS = [
    "https://notfacebook.com/",
    "https://google.com.evil.example/",
    "https://www.google.com@evil.example/",
    "https://facebook.com.evil.co.uk/",
    "https://mygoogle.de/",
    "https://google.github.io/",
    "https://google.myshopify.com/",
    "https://google.com.de/",
    "https://google.co.nl/",
    "https://evil.example/?https://www.google.com/",
    "https://evil.example/google.com/",
    "https://chatgpt.com.evil.example/",
    "https://paypal.com.evil.example/",
    "https://xpaypal.com/",
    "https://ebay.evil.example/",
    "https://3ds.com/",
    "https://www.shop.example.evil.example/",
    "https://evilshop.example/",
]


@pytest.mark.parametrize("referrer", TRICKS)
def test_a_host_that_only_looks_like_a_known_one_is_a_plain_referral(referrer: str) -> None:
    traffic = contact("", referrer)
    assert CLASSIFIER.classify(traffic).name == "Referral"
    assert not CLASSIFIER.is_internal(traffic)


OURS = [
    # Assistants stamp their links themselves
    ("AI Assistants", "utm_source=chatgpt.com", None),
    ("AI Assistants", "utm_source=perplexity", None),
    ("AI Assistants", utm("chatgpt.com", "referral"), None),
    ("AI Assistants", utm("somebody", "ai-assistant", "(ai-assistant)"), None),
    ("AI Assistants", utm(None, "ai-assistant"), "https://gemini.google.com/"),
    ("Paid Other", utm("chatgpt.com", "cpc"), None),
    # Click ids
    ("Paid Search", "gclid=1", None),
    ("Paid Search", "gclid=1", "https://www.google.com/"),
    ("Paid Search", "gbraid=1", None),
    ("Paid Search", "wbraid=1", "https://blog.example/"),
    ("Paid Search", "msclkid=1", "https://www.bing.com/"),
    ("Paid Search", "yclid=1", None),
    ("Paid Search", "utm_source=google&gclid=1", None),
    ("Paid Search", utm("google", "organic") + "&gclid=1", None),
    ("Paid Search", "utm_medium=cpc&gclid=1", None),
    ("Paid Search", "gclid=1&fbclid=2", "https://l.facebook.com/"),
    ("Paid Video", "gclid=1", "https://www.youtube.com/"),
    ("Paid Video", "utm_source=youtube&gclid=1", None),
    ("Paid Shopping", utm(None, None, "shopping") + "&gclid=1", None),
    ("Display", "gclid=1", "https://googleads.g.doubleclick.net/"),
    ("Email", utm("newsletter", "email") + "&gclid=1", None),
    ("Email", "utm_source=newsletter&gclid=1", None),
    ("Organic Social", "utm_source=facebook&gclid=1", None),
    ("Display", "dclid=1", None),
    ("Display", "dclid=1&gclid=2", None),
    ("Display", utm("somebody", "cpc") + "&dclid=1", None),
    ("Email", utm("somebody", "email") + "&dclid=1", None),
    ("Organic Social", "fbclid=1", None),
    ("Organic Social", "fbclid=1", "https://l.instagram.com/"),
    ("Organic Social", "ttclid=1", None),
    ("Organic Social", "li_fat_id=1", None),
    ("Organic Social", "twclid=1", None),
    ("Organic Social", "epik=1", None),
    ("Organic Social", "ScCid=1", None),
    ("Organic Social", "rdt_cid=1", None),
    ("Paid Social", "utm_medium=paid&fbclid=1", None),
    ("Paid Social", utm("facebook", "cpc") + "&fbclid=1", None),
    ("Paid Social", "utm_medium=cpc", "https://l.facebook.com/"),
    ("Organic Search", "fbclid=1", "https://www.google.com/"),
    ("Email", utm("newsletter", "email") + "&fbclid=1", None),
    ("Direct", "gclid=", None),
    ("Affiliates", "awc=1", None),
    ("Affiliates", "awc=1", "https://voucher.example/"),
    ("Affiliates", "irclickid=1", None),
    ("Affiliates", "utm_source=awin", None),
    ("Affiliates", utm("awin", "affiliate") + "&awc=1", None),
    ("Affiliates", utm("somebody", "affiliates"), None),
    ("Paid Other", utm("awin", "cpc") + "&awc=1", None),
    # Aliases of ad networks
    ("Organic Social", "utm_source=fb", None),
    ("Organic Social", "utm_source=ig", None),
    ("Organic Video", "utm_source=yt", None),
    ("Paid Social", utm("ig", "paid"), None),
    ("Paid Social", "utm_source=fb-ads", None),
    ("Paid Social", "utm_source=fb_ads", None),
    ("Paid Social", "utm_source=facebookads", None),
    ("Paid Social", "utm_source=twitter-ads", None),
    ("Paid Social", "utm_source=reddit-ads", None),
    ("Paid Video", "utm_source=yt-ads", None),
    ("Paid Search", "utm_source=google_ads", None),
    ("Paid Search", "utm_source=googleads", None),
    ("Paid Search", "utm_source=Google%20Ads", None),
    ("Paid Search", "utm_source=adwords", None),
    ("Paid Search", utm("adwords", "ppc"), None),
    ("Organic Social", "utm_source=threads", None),
    ("Organic Shopping", "utm_source=google_shopping", None),
    ("Display", "utm_source=criteo", None),
    # Newsletters
    ("Email", "utm_source=newsletter", None),
    ("Email", "utm_source=newsletter-2026-11", None),
    ("Email", "utm_source=nl_kw45", None),
    ("Email", "utm_source=mailchimp", None),
    ("Email", utm("klaviyo", "campaign"), None),
    ("Email", utm("somebody", "newsletter"), None),
    ("Email", "utm_medium=email", "https://www.facebook.com/"),
    ("Unassigned", "utm_source=newsletters4you", None),
    # Referral programmes
    ("Customer Referral", utm("somebody", "referral-program"), None),
    ("Customer Referral", utm("somebody", "kunden-werben-kunden"), None),
    ("Customer Referral", "utm_source=mention-me", None),
    # Offline
    ("Print", utm("magazine", "print"), None),
    ("Print", utm("autumn", "flyer", "shop opening"), None),
    ("Print", utm("poster", "qr"), None),
    ("Store", utm("berlin", "store"), None),
    ("Phone", utm("hotline", "phone"), None),
    ("Event", utm("ispo", "messe"), None),
    ("Word of Mouth", utm("somebody", "word-of-mouth"), None),
    ("Chat", utm("somebody", "live-chat"), None),
    # The campaign beats the referrer
    ("Unassigned", "utm_source=somebody", "https://www.google.com/"),
    ("Email", utm("somebody", "email"), "https://www.google.com/"),
    ("Organic Search", "utm_campaign=autumn", "https://www.google.com/"),
    ("Referral", "utm_campaign=autumn", "https://blog.example/"),
    # Payments written into the source, as clients of GA's school do
    ("Direct", utm("paypal.com", "referral"), None),
    ("Direct", utm("checkout.stripe.com"), None),
    # Matomo's parameters
    ("Paid Search", "mtm_source=google&mtm_medium=cpc", None),
    ("Paid Social", "pk_source=facebook&pk_medium=paid", None),
]


@pytest.mark.parametrize(("expected", "query", "referrer"), OURS, ids=str)
def test_what_ga4_misses_is_told_apart(expected: str, query: str, referrer: str | None) -> None:
    assert CLASSIFIER.classify(contact(query, referrer)).name == expected


EVENTS = [
    ("Store", "store_visited", "", None),
    ("Store", "store_product_tried", "", None),
    ("Phone", "call_received", "", None),
    ("Print", "print_ad_seen", "", None),
    ("Event", "event_attended", "", None),
    ("Word of Mouth", "recommendation_received", "", None),
    ("Chat", "chat_started", "", None),
    ("Chat", "chat_started", utm("google", "cpc"), None),
    ("Email", "email_opened", "", None),
    ("Email", "email_clicked", "", None),
    ("Email", "email_clicked", utm("google", "cpc"), None),
    ("Email", "email_delivered", "", None),
    ("Mobile Push", "push_received", "", None),
    ("Mobile Push", "push_tapped", "", None),
    ("Customer Referral", "referral_link_visited", "", None),
    ("Organic Social", "social_engaged", "", None),
    ("Organic Social", "social_engaged", "", "youtube"),
    ("Paid Social", "social_engaged", utm("facebook", "paid"), None),
    ("Display", "ad_impression", "", None),
    ("Display", "ad_click", "", None),
    ("Display", "ad_impression", "", "criteo"),
    ("Display", "ad_click", "", "some network"),
    ("Display", "ad_impression", utm("somebody", "display"), None),
    ("Display", "ad_impression", utm("somebody", "homepage"), None),
    ("Paid Social", "ad_impression", "", "facebook"),
    ("Paid Social", "ad_click", "", "Facebook"),
    ("Paid Social", "ad_click", utm("instagram", "social"), None),
    ("Paid Search", "ad_click", "", "google"),
    ("Paid Search", "ad_click", utm("bing", "cpc"), None),
    ("Paid Video", "ad_impression", "", "youtube"),
    ("Paid Shopping", "ad_click", "", "idealo"),
    ("Paid Other", "ad_click", utm("somebody", "cpc"), None),
    ("Affiliates", "ad_click", "", "awin"),
    ("Unassigned", "campaign_touch", "utm_campaign=autumn", None),
    ("Direct", "screen_viewed", "", None),
]


@pytest.mark.parametrize(("expected", "event", "query", "network"), EVENTS, ids=str)
def test_events_that_say_where_they_happened_decide_the_channel(
    expected: str, event: str, query: str, network: str | None
) -> None:
    assert CLASSIFIER.classify(contact(query, event=event, network=network)).name == expected


def test_the_page_an_advertisement_was_shown_on_is_not_its_origin() -> None:
    assert CLASSIFIER.classify(contact("", "https://www.google.com/", event="ad_impression")).name == "Display"


EXAMPLES = {
    "store-event": contact(event="store_visited"),
    "phone-event": contact(event="call_received"),
    "print-event": contact(event="print_ad_seen"),
    "attended-event": contact(event="event_attended"),
    "recommendation-event": contact(event="recommendation_received"),
    "chat-event": contact(event="chat_started"),
    "email-event": contact(event="email_clicked"),
    "push-event": contact(event="push_tapped"),
    "referral-link-event": contact(event="referral_link_visited"),
    "social-event": contact(event="social_engaged"),
    "direct": contact(utm("(direct)", "(none)")),
    "cross-network": contact(utm("google", "cpc", "cross-network")),
    "paid-shopping": contact(utm("idealo", "cpc")),
    "paid-search": contact(utm("google", "cpc")),
    "paid-social": contact(utm("facebook", "cpc")),
    "paid-video": contact(utm("youtube", "cpc")),
    "display": contact(utm("somebody", "cpm")),
    "paid-other": contact(utm("somebody", "cpc")),
    "ai-assistant": contact("", "https://claude.ai/"),
    "affiliate-link": contact("awc=1"),
    "print-medium": contact(utm("somebody", "print")),
    "store-medium": contact(utm("somebody", "store")),
    "phone-medium": contact(utm("somebody", "phone")),
    "event-medium": contact(utm("somebody", "event")),
    "word-of-mouth-medium": contact(utm("somebody", "wom")),
    "chat-medium": contact(utm("somebody", "chat")),
    "organic-shopping": contact("", "https://www.idealo.de/"),
    "organic-social": contact("", "https://www.xing.com/"),
    "organic-video": contact("", "https://vimeo.com/"),
    "organic-search": contact("", "https://www.ecosia.org/"),
    "customer-referral-medium": contact(utm("somebody", "kwk")),
    "customer-referral-source": contact(utm("aklamio")),
    "referral": contact(utm("somebody", "link")),
    "email": contact(utm("somebody", "email")),
    "newsletter-source": contact(utm("rapidmail")),
    "newsletter-medium": contact(utm("somebody", "mailing")),
    "webmail": contact("", "https://mail.google.com/"),
    "affiliates": contact(utm("somebody", "affiliate")),
    "audio": contact(utm("somebody", "audio")),
    "sms": contact(utm("somebody", "sms")),
    "mobile-push": contact(utm("somebody", "push")),
    "ad-event": contact(utm("somebody", "homepage"), event="ad_click"),
    "referrer": contact("", "https://blog.example/"),
    "nothing-known": contact(),
}


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.name)
def test_every_rule_is_reached_by_an_example_of_its_own(rule: ChannelRule) -> None:
    assert CLASSIFIER.explain(EXAMPLES[rule.name]) == (rule.channel, f"default:{rule.name}")


def test_rules_have_unique_names_and_rise_in_steps_of_a_hundred() -> None:
    assert [rule.priority for rule in RULES.rules] == [1000 + 100 * at for at in range(len(RULES.rules))]
    assert RULES.rules[-1].priority <= 9999
    assert len({rule.name for rule in RULES.rules}) == len(RULES.rules)


def test_the_rule_set_names_itself_and_its_version() -> None:
    assert CLASSIFIER.rule_set_names == ("default/2026.11",)


def test_offline_channels_are_marked_and_direct_is_the_only_direct_one() -> None:
    offline = {channel.name for channel in CLASSIFIER.channels if not channel.online}
    assert offline == {"Store", "Phone", "Print", "Event", "Word of Mouth"}
    assert [channel.name for channel in CLASSIFIER.channels if channel.is_direct] == ["Direct"]


def test_a_channel_of_two_rules_is_one_channel() -> None:
    names = [channel.name for channel in {rule.channel for rule in RULES.rules}]
    assert len(names) == len(set(names))


words = st.one_of(
    st.none(), st.sampled_from(["google", "fb-ads", "cpc", "shop", "email", "(none)"]), st.text(max_size=20)
)
contacts = st.builds(
    Traffic,
    event=st.one_of(
        st.sampled_from(["page_viewed", "ad_click", "ad_impression", "social_engaged"]), st.text(max_size=10)
    ),
    source=words,
    medium=words,
    campaign=words,
    click_ids=st.lists(st.sampled_from(["gclid", "fbclid", "dclid", "awin", "other"]), unique=True).map(tuple),
    referrer_host=st.one_of(st.none(), st.sampled_from(["www.google.de", "paypal.com"]), st.text(max_size=20)),
    referrer_domain=st.one_of(st.none(), st.sampled_from(["google.de", "paypal.com"]), st.text(max_size=20)),
    referrer_is_app=st.booleans(),
    landing_host=st.one_of(st.none(), st.just("shop.example"), st.text(max_size=20)),
)


@given(contacts)
def test_every_contact_has_one_channel_and_always_the_same(traffic: Traffic) -> None:
    fresh = ChannelClassifier([default.touchtrail_channels(default.Settings())], on_failure=refuse_failure)
    channel = CLASSIFIER.classify(traffic)
    assert channel in CLASSIFIER.channels
    assert CLASSIFIER.classify(traffic) == fresh.classify(traffic) == channel
    assert CLASSIFIER.is_internal(traffic) == fresh.is_internal(traffic)
