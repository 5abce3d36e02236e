"""Where the demo shop's visits come from, what each contact really does, and what it costs."""

from __future__ import annotations

from typing import Literal

import msgspec

LandingKind = Literal["product", "list", "content", "home"]


class Landing(msgspec.Struct, frozen=True):
    """How a visit from somewhere looks to a tracker: `{click}` in the query is a fresh click id."""

    referrer: str | None
    query: str = ""
    kind: LandingKind = "product"


class Spend(msgspec.Struct, frozen=True, kw_only=True):
    """What a paid channel's clicks and impressions cost, and how its platform names itself in reports."""

    network: str
    source: str
    medium: str
    campaign: str
    click_minor: int
    thousand_minor: int = 0


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """One way to come to the shop's pages.

    Args:
        channel: the true channel, named as the default channel rules name it.
        effect: what this contact really adds to the wish to buy, in the unit of ``Person.propensity``; fades with
            ``EFFECT_HALF_LIFE_DAYS``. Direct adds nothing: who types the address already wanted to come.
        new: how often people who do not know the shop come this way, relative to the other origins.
        returning: the same for people who have been here.
    """

    channel: str
    effect: float
    new: float
    returning: float
    landings: tuple[Landing, ...]
    spend: Spend | None = None


EFFECT_HALF_LIFE_DAYS = 9.0
EFFECT_LOOKBACK_DAYS = 30

SEEN_EFFECT = {"Display": 0.010, "Paid Social": 0.016, "Email": 0.014, "Mobile Push": 0.012}
"""What merely seeing an ad, a newsletter or a push message adds."""

VISIT_EFFECT = {"Email": 0.085, "Mobile Push": 0.03}
"""What a visit after a click in a newsletter or push message adds."""

MET_EFFECT = {
    "Store": 0.16,
    "Phone": 0.14,
    "Chat": 0.12,
    "Word of Mouth": 0.22,
    "Print": 0.07,
    "Event": 0.12,
    "Organic Social": 0.02,
    "Customer Referral": 0.20,
}
"""What a contact outside the shop's pages adds."""

ORIGINS = (
    Origin(
        channel="Organic Search",
        effect=0.055,
        new=26,
        returning=16,
        landings=(
            Landing("https://www.google.de/", kind="list"),
            Landing("https://www.google.de/"),
            Landing("https://www.google.at/", kind="content"),
            Landing("https://www.google.ch/", kind="list"),
            Landing("https://www.bing.com/", kind="list"),
            Landing("https://www.ecosia.org/", kind="content"),
            Landing("https://duckduckgo.com/"),
        ),
    ),
    Origin(
        channel="Paid Search",
        effect=0.070,
        new=15,
        returning=5,
        landings=(
            Landing(
                "https://www.google.de/",
                "utm_source=google&utm_medium=cpc&utm_campaign=laufschuhe&gclid={click}",
                "list",
            ),
            Landing(
                "https://www.google.at/", "utm_source=google&utm_medium=cpc&utm_campaign=regenjacken&gclid={click}"
            ),
            Landing(
                "https://www.bing.com/", "utm_source=bing&utm_medium=cpc&utm_campaign=wandern&msclkid={click}", "list"
            ),
            Landing("https://www.google.de/", "gclid={click}"),
        ),
        spend=Spend(network="google_ads", source="google", medium="cpc", campaign="generisch", click_minor=85),
    ),
    Origin(
        channel="Paid Search",
        effect=0.006,
        new=1,
        returning=9,
        landings=(
            Landing(
                "https://www.google.de/", "utm_source=google&utm_medium=cpc&utm_campaign=marke&gclid={click}", "home"
            ),
        ),
        spend=Spend(network="google_ads", source="google", medium="cpc", campaign="marke", click_minor=22),
    ),
    Origin(
        channel="Paid Social",
        effect=0.075,
        new=13,
        returning=4,
        landings=(
            Landing(
                "https://l.facebook.com/",
                "utm_source=facebook&utm_medium=paid_social&utm_campaign=lookbook&fbclid={click}",
            ),
            Landing(
                "https://l.instagram.com/",
                "utm_source=instagram&utm_medium=paid_social&utm_campaign=lookbook&fbclid={click}",
            ),
        ),
        spend=Spend(
            network="meta",
            source="facebook",
            medium="paid_social",
            campaign="lookbook",
            click_minor=64,
            thousand_minor=700,
        ),
    ),
    Origin(
        channel="Organic Social",
        effect=0.045,
        new=7,
        returning=3,
        landings=(
            Landing("https://l.facebook.com/", "fbclid={click}"),
            Landing("https://www.instagram.com/", kind="home"),
            Landing("https://www.pinterest.de/"),
        ),
    ),
    Origin(
        channel="Organic Video",
        effect=0.060,
        new=4,
        returning=1,
        landings=(Landing("https://www.youtube.com/", kind="content"),),
    ),
    Origin(channel="Organic Shopping", effect=0.080, new=7, returning=3, landings=(Landing("https://www.idealo.de/"),)),
    Origin(
        channel="AI Assistants",
        effect=0.090,
        new=6,
        returning=2,
        landings=(
            Landing("https://chatgpt.com/", "utm_source=chatgpt.com"),
            Landing("https://www.perplexity.ai/", kind="content"),
            Landing("https://gemini.google.com/", kind="content"),
        ),
    ),
    Origin(
        channel="Referral",
        effect=0.065,
        new=7,
        returning=2,
        landings=(
            Landing("https://www.bergblog.example/touren/isar", kind="content"),
            Landing("https://laufforum.example/thread/4711"),
        ),
    ),
    Origin(
        channel="Affiliates",
        effect=0.020,
        new=4,
        returning=5,
        landings=(
            Landing(
                "https://www.gutscheinhafen.example/",
                "utm_source=awin&utm_medium=affiliate&utm_campaign=gutscheinhafen&awc={click}",
                "home",
            ),
        ),
        spend=Spend(network="awin", source="awin", medium="affiliate", campaign="gutscheinhafen", click_minor=40),
    ),
    Origin(
        channel="Display",
        effect=0.035,
        new=3,
        returning=5,
        landings=(
            Landing(
                "https://www.nachrichten.example/", "utm_source=criteo&utm_medium=display&utm_campaign=retargeting"
            ),
        ),
        spend=Spend(
            network="criteo",
            source="criteo",
            medium="display",
            campaign="retargeting",
            click_minor=38,
            thousand_minor=350,
        ),
    ),
    Origin(channel="Direct", effect=0.0, new=8, returning=34, landings=(Landing(None, kind="home"), Landing(None))),
)

BOT_AGENTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; "
    "+http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
    "python-requests/2.32.3",
)
"""User agents as these crawlers send them."""
