"""The default channels as a rule set: every rule is reached, names are unique, every contact has one channel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_contacts import CLASSIFIER, RULES, contact, refuse_failure, utm
from touchtrail_collector.domain.channel import ChannelClassifier, ChannelRule, Traffic
from touchtrail_plugins.channels import default

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
