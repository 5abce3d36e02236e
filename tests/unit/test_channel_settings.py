"""The settings of the default channels, and which contacts are internal."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from touchtrail_collector.domain.channel import ChannelClassifier, Traffic
from touchtrail_collector.domain.origin import traffic_of
from touchtrail_plugins.channels import default


def classifier(**settings: Any) -> ChannelClassifier:
    return ChannelClassifier([default.touchtrail_channels(msgspec.convert(settings, default.touchtrail_settings()))])


def visit(referrer: str | None = None, query: str = "") -> Traffic:
    return traffic_of("page_viewed", url="https://www.shop.example/?" + query, referrer=referrer)


INTERNAL = [
    "https://www.shop.example/cart",
    "https://blog.shop.example/",
    "https://shop.example/",
    "https://www.paypal.com/checkout",
    "https://www.paypal.de/",
    "https://pay.klarna.com/",
    "https://checkout.stripe.com/c/pay",
    "https://live.adyen.com/",
    "https://www.mollie.com/checkout",
    "https://pay.amazon.de/",
    "https://payments.amazon.co.uk/",
    "https://www.sofort.com/payment",
    "https://www.giropay.de/",
    "https://pay.google.com/",
    "https://securegateway.saferpay.com/",
    "https://3ds.bank.example/acs",
    "https://3dsecure.bank.co.uk/",
    "https://secure5.arcot.com/acspage",
    "https://accounts.google.com/signin",
    "https://accounts.google.de/",
    "android-app://com.paypal.android.p2pmobile",
]


@pytest.mark.parametrize("referrer", INTERNAL)
def test_own_hosts_payments_and_sign_ins_are_internal(referrer: str) -> None:
    assert classifier().is_internal(visit(referrer))
    assert classifier().classify(visit(referrer)).is_direct


EXTERNAL = [
    None,
    "https://www.google.com/",
    "https://www.amazon.de/",
    "https://notpaypal.com/",
    "https://myshop.example/",
]


@pytest.mark.parametrize("referrer", EXTERNAL)
def test_others_are_not_internal(referrer: str | None) -> None:
    assert not classifier().is_internal(visit(referrer))


def test_a_campaign_beats_an_internal_referrer() -> None:
    assert (
        classifier().classify(visit("https://www.paypal.com/", "utm_source=google&utm_medium=cpc")).name
        == "Paid Search"
    )


def test_the_neighbour_on_a_shared_domain_is_not_internal() -> None:
    traffic = traffic_of("page_viewed", url="https://a.myshopify.com/", referrer="https://b.myshopify.com/")
    assert not classifier().is_internal(traffic)


@pytest.mark.parametrize("referrer", ["https://shop.other.example/", "https://sub.shop.other.example/"])
def test_a_host_in_the_settings_is_the_shops_own(referrer: str) -> None:
    assert not classifier().is_internal(visit(referrer))
    assert classifier(own_hosts=["Shop.Other.example"]).is_internal(visit(referrer))
    assert classifier(own_hosts=["*.shop.other.example"]).is_internal(visit(referrer))


def test_an_own_host_is_no_ending_of_a_strangers_name() -> None:
    assert not classifier(own_hosts=["shop.de"]).is_internal(visit("https://myshop.de/"))


def test_an_own_host_may_be_written_with_umlauts() -> None:
    assert classifier(own_hosts=["bücher.example"]).is_internal(visit("https://xn--bcher-kva.example/"))


def test_an_own_host_in_the_source_is_no_origin() -> None:
    known = classifier(own_hosts=["shop.example"])
    assert known.classify(visit(None, "utm_source=www.shop.example&utm_medium=referral")).is_direct


def test_a_payment_host_of_the_settings_is_internal() -> None:
    assert classifier(payment_hosts=["pay.local-bank.example"]).is_internal(visit("https://pay.local-bank.example/x"))


def test_a_newsletter_source_of_the_settings_is_email() -> None:
    known = classifier(newsletter_sources=["Running Weekly"])
    assert known.classify(visit(None, "utm_source=running_weekly")).name == "Email"
    assert known.classify(visit(None, "utm_source=running-weekly-12")).name == "Email"
    assert known.classify(visit(None, "utm_source=newsletter")).name == "Email"
    assert known.classify(visit(None, "utm_source=running")).name == "Unassigned"


def test_a_click_id_of_the_settings_means_paid() -> None:
    assert classifier().classify(visit(None, "ttclid=1")).name == "Organic Social"
    assert classifier(paid_click_ids=["ttclid"]).classify(visit(None, "ttclid=1")).name == "Paid Social"


def test_sources_of_the_settings_join_and_win_over_those_known() -> None:
    known = classifier(sources={"social": ["runners-forum.example"], "shopping": ["otto.de"], "email": ["Facebook"]})
    assert known.classify(visit("https://www.runners-forum.example/t/1")).name == "Organic Social"
    assert known.classify(visit(None, "utm_source=runners-forum.example")).name == "Organic Social"
    assert known.classify(visit(None, "utm_source=facebook")).name == "Email"
    assert known.classify(visit("https://www.google.com/")).name == "Organic Search"


@pytest.mark.parametrize(
    "wrong",
    [
        {"own_hosts": ["https://shop.example/"]},
        {"own_hosts": [""]},
        {"own_hosts": ["shop.example:443"]},
        {"own_hosts": ["shop..example"]},
        {"payment_hosts": "paypal.com"},
        {"newsletter_sources": [" "]},
        {"paid_click_ids": ["GCLID"]},
        {"sources": {"seo": ["x"]}},
        {"own_host": []},
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, default.Settings)
