"""The default channels: the rules of GA4's default channel group, and what they miss."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated

import msgspec

from touchtrail_collector.api import Channel, ChannelRule, ChannelRuleSet, Traffic, hookimpl

from ._evidence import AD_EVENTS, SHOPPING_CAMPAIGN, Evidence, Scales
from ._origins import Kind, Origins, reference_data, to_host

NAME = "default"
FIRST_PRIORITY = 1000
PRIORITY_STEP = 100

Host = Annotated[str, msgspec.Meta(pattern=r"^(\*\.)?[^\s/:@*.]+(\.[^\s/:@*.]+)*$", max_length=253)]
SourceName = Annotated[str, msgspec.Meta(pattern=r"^\S(.*\S)?$", max_length=255)]
ClickId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]+$", max_length=64)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[plugins."channel.default"]`.

    Args:
        own_hosts: the shop's hosts and other domains; each stands for itself and everything below it. A visit that
            comes from one continues what was before. Hosts of the landing page's own registered domain need no entry.
        payment_hosts: payment services beside those known; a visit that comes from one continues what was before.
        newsletter_sources: `utm_source` names that mean a newsletter beside those known; `autumn` also stands for
            `autumn-2026`.
        paid_click_ids: click ids that mean an advertisement in this shop, beside the search engines': `ttclid`.
        sources: further source names and hosts by kind, `{"social": ["runners-forum.example"]}`; they win over
            those known.
    """

    own_hosts: tuple[Host, ...] = ()
    payment_hosts: tuple[Host, ...] = ()
    newsletter_sources: tuple[SourceName, ...] = ()
    paid_click_ids: tuple[ClickId, ...] = ()
    sources: dict[Kind, tuple[SourceName, ...]] = msgspec.field(default_factory=dict)


DIRECT = Channel(name="Direct", medium="owned", is_direct=True)
CROSS_NETWORK = Channel(name="Cross-network", medium="paid")
PAID_SHOPPING = Channel(name="Paid Shopping", medium="paid")
PAID_SEARCH = Channel(name="Paid Search", medium="paid")
PAID_SOCIAL = Channel(name="Paid Social", medium="paid")
PAID_VIDEO = Channel(name="Paid Video", medium="paid")
DISPLAY = Channel(name="Display", medium="paid")
PAID_OTHER = Channel(name="Paid Other", medium="paid")
AFFILIATES = Channel(name="Affiliates", medium="paid")
AUDIO = Channel(name="Audio", medium="paid")
ORGANIC_SHOPPING = Channel(name="Organic Shopping", medium="earned")
ORGANIC_SOCIAL = Channel(name="Organic Social", medium="earned")
ORGANIC_VIDEO = Channel(name="Organic Video", medium="earned")
ORGANIC_SEARCH = Channel(name="Organic Search", medium="earned")
AI_ASSISTANTS = Channel(name="AI Assistants", medium="earned")
REFERRAL = Channel(name="Referral", medium="earned")
CUSTOMER_REFERRAL = Channel(name="Customer Referral", medium="earned")
EMAIL = Channel(name="Email", medium="owned")
SMS = Channel(name="SMS", medium="owned")
MOBILE_PUSH = Channel(name="Mobile Push", medium="owned")
CHAT = Channel(name="Chat", medium="owned")
STORE = Channel(name="Store", medium="owned", online=False)
PHONE = Channel(name="Phone", medium="owned", online=False)
PRINT = Channel(name="Print", medium="paid", online=False)
EVENT = Channel(name="Event", medium="owned", online=False)
WORD_OF_MOUTH = Channel(name="Word of Mouth", medium="earned", online=False)

Test = Callable[[Evidence], bool]
Rule = tuple[str, Channel, Test]

_CHANNEL_OF_EVENT = (
    ("store-event", STORE, frozenset({"store_visited", "store_product_tried"})),
    ("phone-event", PHONE, frozenset({"call_received"})),
    ("print-event", PRINT, frozenset({"print_ad_seen"})),
    ("attended-event", EVENT, frozenset({"event_attended"})),
    ("recommendation-event", WORD_OF_MOUTH, frozenset({"recommendation_received"})),
    ("chat-event", CHAT, frozenset({"chat_started", "chat_message_sent", "chat_message_received", "chat_ended"})),
    (
        "email-event",
        EMAIL,
        frozenset(f"email_{what}" for what in ("delivered", "opened", "clicked", "bounced", "spam", "unsubscribed")),
    ),
    ("push-event", MOBILE_PUSH, frozenset({"push_received", "push_tapped"})),
    ("referral-link-event", CUSTOMER_REFERRAL, frozenset({"referral_link_visited"})),
)
_CHANNEL_OF_MEDIUM = (
    ("print-medium", PRINT, "print"),
    ("store-medium", STORE, "store"),
    ("phone-medium", PHONE, "phone"),
    ("event-medium", EVENT, "event"),
    ("word-of-mouth-medium", WORD_OF_MOUTH, "word_of_mouth"),
    ("chat-medium", CHAT, "chat"),
)
_EMAIL_WORDS = frozenset({"email", "e-mail", "e_mail", "e mail"})
_SOCIAL_MEDIUMS = frozenset({"social", "social-network", "social-media", "sm", "social network", "social media"})
_DISPLAY_MEDIUMS = frozenset({"display", "banner", "expandable", "interstitial", "cpm"})


@hookimpl
def touchtrail_settings() -> type[msgspec.Struct]:
    """Return the settings of the default channels."""
    return Settings


@hookimpl
def touchtrail_channels(settings: Settings) -> ChannelRuleSet:
    """Return the default rules, in the order in which they are tried."""
    payments = (*settings.sources.get("payment", ()), *settings.payment_hosts)
    origins = Origins({**settings.sources, "payment": payments}, settings.newsletter_sources)
    own_hosts = tuple(to_host(host) for host in settings.own_hosts)
    scales = Scales(origins, own_hosts, settings.paid_click_ids)
    # The rules of one contact are tried one after the other: they share its evidence.
    weigh = lru_cache(maxsize=1024)(scales.weigh)
    rules = (*_event_rules(), *_paid_rules(), *_named_rules(origins), *_earned_rules(origins), *_last_rules())
    return ChannelRuleSet(
        name=NAME,
        version=str(reference_data()["version"]),
        rules=tuple(
            ChannelRule(
                name=name,
                channel=channel,
                matches=_on_traffic(test, weigh),
                priority=FIRST_PRIORITY + PRIORITY_STEP * position,
            )
            for position, (name, channel, test) in enumerate(rules)
        ),
        is_internal=scales.is_internal,
    )


def _on_traffic(test: Test, weigh: Callable[[Traffic], Evidence]) -> Callable[[Traffic], bool]:
    return lambda traffic: test(weigh(traffic))


def _event_rules() -> tuple[Rule, ...]:
    """Return the rules for contacts whose event already says where they happened."""
    return (
        *((name, channel, _event_in(events)) for name, channel, events in _CHANNEL_OF_EVENT),
        ("social-event", ORGANIC_SOCIAL, lambda seen: seen.event == "social_engaged" and not seen.is_paid),
    )


def _event_in(events: frozenset[str]) -> Test:
    return lambda seen: seen.event in events


def _medium_in(mediums: frozenset[str]) -> Test:
    return lambda seen: seen.medium in mediums


def _paid_rules() -> tuple[Rule, ...]:
    """Return GA4's rules 1 to 8 in its order. Display stands before Paid Other, which `cpm` would match too."""
    return (
        ("direct", DIRECT, lambda seen: seen.source == "(direct)" and seen.medium is None),
        ("cross-network", CROSS_NETWORK, lambda seen: "cross-network" in seen.campaign),
        ("paid-shopping", PAID_SHOPPING, lambda seen: seen.is_paid and (seen.kind == "shopping" or _is_shopping(seen))),
        ("paid-search", PAID_SEARCH, lambda seen: seen.is_paid and seen.kind == "search"),
        ("paid-social", PAID_SOCIAL, lambda seen: seen.is_paid and seen.kind == "social"),
        ("paid-video", PAID_VIDEO, lambda seen: seen.is_paid and seen.kind == "video"),
        ("display", DISPLAY, _is_display),
        ("paid-other", PAID_OTHER, lambda seen: seen.has_paid_medium or (seen.is_paid and seen.event not in AD_EVENTS)),
    )


def _is_shopping(seen: Evidence) -> bool:
    return SHOPPING_CAMPAIGN.search(seen.campaign) is not None


def _is_display(seen: Evidence) -> bool:
    if seen.medium in _DISPLAY_MEDIUMS:
        return True
    if seen.medium is None:
        return seen.kind == "display" or (seen.event in AD_EVENTS and seen.kind != "affiliate")
    return seen.has_paid_medium and "dclid" in seen.click_ids


def _named_rules(origins: Origins) -> tuple[Rule, ...]:
    """Return our own rules for what GA4 has no channel for; its wider rules that follow would swallow it."""
    offline = ((name, channel, _medium_in(origins.mediums[key])) for name, channel, key in _CHANNEL_OF_MEDIUM)
    return (
        ("ai-assistant", AI_ASSISTANTS, lambda seen: seen.medium == "ai-assistant" or seen.free_kind == "ai"),
        ("affiliate-link", AFFILIATES, lambda seen: seen.medium is None and seen.free_kind == "affiliate"),
        *offline,
    )


def _earned_rules(origins: Origins) -> tuple[Rule, ...]:
    """Return GA4's rules 9 to 18 in its order, each followed by our additions of the same kind."""
    referral_mediums = origins.mediums["customer_referral"]
    return (
        ("organic-shopping", ORGANIC_SHOPPING, lambda seen: seen.free_kind == "shopping" or _is_shopping(seen)),
        ("organic-social", ORGANIC_SOCIAL, lambda seen: seen.free_kind == "social" or seen.medium in _SOCIAL_MEDIUMS),
        ("organic-video", ORGANIC_VIDEO, lambda seen: seen.free_kind == "video" or "video" in (seen.medium or "")),
        ("organic-search", ORGANIC_SEARCH, lambda seen: seen.free_kind == "search" or seen.medium == "organic"),
        ("customer-referral-medium", CUSTOMER_REFERRAL, _medium_in(referral_mediums)),
        ("customer-referral-source", CUSTOMER_REFERRAL, lambda seen: seen.free_kind == "customer_referral"),
        ("referral", REFERRAL, _medium_in(frozenset({"referral", "app", "link"}))),
        ("email", EMAIL, lambda seen: seen.source in _EMAIL_WORDS or seen.medium in _EMAIL_WORDS),
        ("newsletter-source", EMAIL, lambda seen: seen.named and seen.kind == "email"),
        ("newsletter-medium", EMAIL, _medium_in(origins.newsletter_mediums)),
        ("webmail", EMAIL, lambda seen: seen.free_kind == "email"),
        ("affiliates", AFFILIATES, _medium_in(origins.mediums["affiliate"])),
        ("audio", AUDIO, lambda seen: seen.medium == "audio"),
        ("sms", SMS, lambda seen: seen.source == "sms" or seen.medium == "sms"),
        ("mobile-push", MOBILE_PUSH, _is_push),
    )


def _is_push(seen: Evidence) -> bool:
    medium = seen.medium or ""
    return medium.endswith("push") or "mobile" in medium or "notification" in medium or seen.source == "firebase"


def _last_rules() -> tuple[Rule, ...]:
    """Return the rules for contacts without any campaign, and for advertisements nothing else told."""
    return (
        ("ad-event", DISPLAY, lambda seen: seen.event in AD_EVENTS),
        ("referrer", REFERRAL, lambda seen: seen.source is None and seen.medium is None and seen.has_referrer),
        ("nothing-known", DIRECT, _is_blank),
    )


def _is_blank(seen: Evidence) -> bool:
    return not (seen.source or seen.medium or seen.campaign or seen.click_ids or seen.has_referrer)
