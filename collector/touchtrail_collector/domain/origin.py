"""Where a contact came from: reads page address, referrer and campaign of an event into one `Traffic`."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_plus

import msgspec

from touchtrail.context import Campaign

from .channel import Traffic
from .hostname import host_of, registered_domain

VALUE_CHARS = 255
"""Longer campaign values are cut: a label, not a text."""

CLICK_ID_NAMES = 16
"""At most so many click-id names of one contact are kept."""

CACHED_URL_CHARS = 2048
"""Longer addresses are read anew each time, so that hostile ones cannot fill the memory with cache keys."""

CLICK_IDS = {
    "gclid": "gclid",  # Google Ads
    "gbraid": "gbraid",  # Google Ads, from an app on iOS
    "wbraid": "wbraid",  # Google Ads, to a web page on iOS
    "dclid": "dclid",  # Google Campaign Manager, Display & Video 360
    "msclkid": "msclkid",  # Microsoft Advertising
    "yclid": "yclid",  # Yandex Direct, Yahoo! Japan Ads
    "fbclid": "fbclid",  # Facebook, Instagram: ads and plain links alike
    "igshid": "igshid",  # Instagram, a shared post
    "ttclid": "ttclid",  # TikTok
    "li_fat_id": "li_fat_id",  # LinkedIn
    "twclid": "twclid",  # X, formerly Twitter
    "epik": "pin",  # Pinterest
    "sccid": "snap",  # Snapchat
    "rdt_cid": "rdt",  # Reddit
    "awc": "awin",  # Awin
    "irclickid": "irclickid",  # impact.com
    "cjevent": "cjevent",  # CJ
    "tduid": "tduid",  # Tradedoubler
    "ransiteid": "ransiteid",  # Rakuten Advertising
    "sscid": "sscid",  # ShareASale
}
"""Parameters that carry an advertising platform's click id, and the name `Traffic.click_ids` gives it."""

_SEARCH_AND_DISPLAY_IDS = frozenset({"gclid", "gbraid", "wbraid", "dclid", "msclkid", "yclid"})
_AFFILIATE_IDS = frozenset({"awin", "irclickid", "cjevent", "tduid", "ransiteid", "sscid"})
PAID_CLICK_IDS = _SEARCH_AND_DISPLAY_IDS | _AFFILIATE_IDS
"""Click ids that are only ever put on links somebody pays for; social networks also stamp plain links."""

_PARTS = {
    # Several names mean one part; the earlier name wins. mtm_, matomo_, pk_ and piwik_ are Matomo's.
    # Source: matomo.org, "Tracking campaigns". Search terms have no place in `Traffic`: no rule asks for them.
    "source": ("utm_source", "mtm_source", "matomo_source", "pk_source", "piwik_source"),
    "medium": ("utm_medium", "mtm_medium", "matomo_medium", "pk_medium", "piwik_medium"),
    "campaign": (
        *("utm_campaign", "mtm_campaign", "matomo_campaign", "pk_campaign", "piwik_campaign"),
        *("utm_id", "mtm_cid", "matomo_cid", "pk_cid", "piwik_cid"),
    ),
    "content": ("utm_content", "mtm_content", "matomo_content", "pk_content", "piwik_content"),
}
_PARAMETERS = {name: (part, rank) for part, names in _PARTS.items() for rank, name in enumerate(names)}

_FILLER = re.compile(
    r"empty|null|none|nil|nan|undefined|unknown|not set|\(not set\)|\(not provided\)|n/a|--?|true|false"
)
"""What broken templates and tag managers write when they have nothing to say."""

_AUTHORITY = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.\-]*):)?//([^/?#\\]*)")
_BARE_HOST = re.compile(r"[\w\-]+(?:\.[\w\-]+)*\.[^\W\d_]{2,}(?=[/:?#]|$)")
_APP_SCHEMES = frozenset({"android-app", "ios-app"})


class Marks(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What marks a contact as part of a campaign. Compared by identity, as equal ones are one object: cheap keys."""

    source: str | None
    medium: str | None
    campaign: str | None
    content: str | None
    click_ids: tuple[str, ...]


class Landing(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a page's address says; compared by identity like `Marks`."""

    host: str | None
    marks: Marks


class Referrer(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a referrer says; compared by identity like `Marks`."""

    host: str | None
    domain: str | None
    is_app: bool


_NO_MARKS = Marks(source=None, medium=None, campaign=None, content=None, click_ids=())
_NO_LANDING = Landing(host=None, marks=_NO_MARKS)
_NO_REFERRER = Referrer(host=None, domain=None, is_app=False)


def traffic_of(  # noqa: PLR0913 - one is required, the others go by keyword
    event_name: str,
    *,
    url: str | None = None,
    referrer: str | None = None,
    campaign: Campaign | None = None,
    network: str | None = None,
    campaign_id: str | None = None,
) -> Traffic:
    """Return what an event says of its origin, ready for the channel rules. Any text is safe; nothing raises.

    Args:
        url: the page's address (`page.url`); campaign parameters are read from its query and its fragment.
        referrer: where the person came from (`page.referrer`).
        campaign: the envelope's campaign. It wins over the address, which may add to it; when the two contradict
            each other in any part, the address's parts are left out, because a mixture would be a third campaign.
        network: the network the event's properties name (`ad_click`, `social_engaged`); stands in for a source.
        campaign_id: the campaign the event's properties name; stands in for a campaign name.
    """
    # One event in a few has no address at all; most of the others repeat one the cache knows.
    landing = _NO_LANDING if not url else _landing(url) if len(url) <= CACHED_URL_CHARS else _read_landing(url)
    origin = _NO_REFERRER
    if referrer:
        origin = _referrer(referrer) if len(referrer) <= CACHED_URL_CHARS else _read_referrer(referrer)
    if campaign is None and network is None and campaign_id is None:
        return _plain_traffic(event_name, landing, origin)
    return _tagged_traffic(
        event_name, landing, origin, _envelope_marks(campaign), (_label(network), _label(campaign_id))
    )


def has_campaign(traffic: Traffic) -> bool:
    """True when the contact carries a campaign: a source, medium, name or paid click id. It starts a new session."""
    return (
        traffic.campaign is not None
        or (traffic.source is not None and traffic.source != "(direct)")
        or (traffic.medium is not None and traffic.medium != "(none)")
        or (bool(traffic.click_ids) and not PAID_CLICK_IDS.isdisjoint(traffic.click_ids))
    )


def campaign_name(traffic: Traffic) -> str | None:
    """Return the campaign's name as reports show it; None for placeholders in brackets such as `(organic)`."""
    name = traffic.campaign
    return None if name is None or (name[0] == "(" and name[-1] == ")") else name


def _clean(text: str) -> str | None:
    """Return a campaign value as rules compare it, or None when it says nothing."""
    value = " ".join(text[: 4 * VALUE_CHARS].lower().split())[:VALUE_CHARS].rstrip()
    if not value or _FILLER.fullmatch(value) or not value.isprintable():
        return None
    # `{{campaign.name}}`, `{keyword}`, `[placement]`, `%%SITE%%`: a template nobody filled in.
    is_template = value[0] in "{[$%" and value[-1] in "}]%"
    return None if is_template else value


_clean_known = lru_cache(maxsize=8192)(_clean)


def _label(text: str | None) -> str | None:
    return None if not text else _clean_known(text) if len(text) <= CACHED_URL_CHARS else _clean(text)


@lru_cache(maxsize=16_384)
def _landing(url: str) -> Landing:
    return _read_landing(url)


def _read_landing(url: str) -> Landing:
    found = _AUTHORITY.match(url.lstrip()) if "//" in url[:64] else None
    is_web = found is not None and (found[1] or "https").lower() in {"http", "https"}
    host = _cached_host(found[2]) if found is not None and is_web else None
    start = min((at for at in (url.find("?"), url.find("#")) if at >= 0), default=-1)
    # No "=" after the path: no parameter, which is the case of nearly every page view.
    if start < 0 or url.find("=", start) < 0:
        return _landing_of(host, _NO_MARKS)
    return _landing_of(host, _read_parameters(url[start + 1 :]))


def _read_parameters(query: str) -> Marks:
    """Return the campaign in a query string or fragment; the first value of a name wins."""
    best: dict[str, tuple[int, str]] = {}
    click_ids = set()
    for pair in query.replace("#", "&").replace("?", "&").split("&", 256):
        key, _, raw = pair.partition("=")
        name = (unquote_plus(key) if "%" in key else key).strip().lower()
        if name in CLICK_IDS:
            # Not through the cache: every click id is seen once.
            if _clean(unquote_plus(raw[:VALUE_CHARS]) if "%" in raw else raw) is not None:
                click_ids.add(CLICK_IDS[name])
        elif (known := _PARAMETERS.get(name)) is not None:
            part, rank = known
            value = _label(unquote_plus(raw[: 8 * VALUE_CHARS]))
            if value is not None and (part not in best or rank < best[part][0]):
                best[part] = (rank, value)
    values = (best[part][1] if part in best else None for part in _PARTS)
    return _marks_of(tuple(values), tuple(sorted(click_ids)))


@lru_cache(maxsize=16_384)
def _referrer(text: str) -> Referrer:
    return _read_referrer(text)


def _read_referrer(text: str) -> Referrer:
    text = text.strip()
    found = _AUTHORITY.match(text)
    if found is None:
        # Some server-side clients send the host alone; "direct" and "$direct" have no dot.
        bare = _BARE_HOST.match(text[:300])
        return _NO_REFERRER if bare is None else _referrer_of(_cached_host(bare[0]), False)
    scheme = (found[1] or "https").lower()
    if scheme in {"http", "https"}:
        return _referrer_of(_cached_host(found[2]), False)
    return _referrer_of(_cached_host(found[2]), True) if scheme in _APP_SCHEMES else _NO_REFERRER


@lru_cache(maxsize=8192)
def _cached_host(authority: str) -> str | None:
    return host_of(authority) if len(authority) <= 512 else None


# The caches below also make equal values one object, which is what lets identity serve as the key of the next one.
@lru_cache(maxsize=8192)
def _marks_of(parts: tuple[str | None, ...], click_ids: tuple[str, ...]) -> Marks:
    source, medium, campaign, content = parts
    if click_ids or any(parts):
        return Marks(source=source, medium=medium, campaign=campaign, content=content, click_ids=click_ids)
    return _NO_MARKS


@lru_cache(maxsize=8192)
def _landing_of(host: str | None, marks: Marks) -> Landing:
    return Landing(host=host, marks=marks)


@lru_cache(maxsize=8192)
def _referrer_of(host: str | None, is_app: bool) -> Referrer:
    if host is None:
        return _NO_REFERRER
    return Referrer(host=host, domain=None if is_app else registered_domain(host), is_app=is_app)


@lru_cache(maxsize=32_768)
def _plain_traffic(event_name: str, landing: Landing, origin: Referrer) -> Traffic:
    marks = landing.marks
    parts = {part: getattr(marks, part) for part in _PARTS}
    return _traffic(event_name, landing.host, origin, parts, marks.click_ids)


def _traffic(
    event: str, landing_host: str | None, origin: Referrer, parts: dict[str, str | None], click_ids: tuple[str, ...]
) -> Traffic:
    return Traffic(
        event=event,
        **parts,
        click_ids=click_ids,
        referrer_host=origin.host,
        referrer_domain=origin.domain,
        referrer_is_app=origin.is_app,
        landing_host=landing_host,
    )


def _envelope_marks(campaign: Campaign | None) -> Marks:
    if campaign is None:
        return _NO_MARKS
    name = _label(campaign.name) or _label(campaign.id)
    parts = (_label(campaign.source), _label(campaign.medium), name, _label(campaign.content))
    return _marks_of(parts, _click_id_names(campaign.click_ids) if campaign.click_ids else ())


def _click_id_names(click_ids: dict[str, str]) -> tuple[str, ...]:
    # Names nobody here knows stay: another plugin's channel rule may ask for them.
    names = (_label(name) for name, value in click_ids.items() if _clean(value) is not None)
    return tuple(sorted({CLICK_IDS.get(name, name) for name in names if name})[:CLICK_ID_NAMES])


@lru_cache(maxsize=32_768)
def _tagged_traffic(
    event_name: str, landing: Landing, origin: Referrer, given: Marks, stand_in: tuple[str | None, str | None]
) -> Traffic:
    """Return the traffic of an event whose envelope or properties name a campaign beside the address."""
    said = {part: value for part in _PARTS if (value := getattr(given, part)) is not None}
    found = {part: value for part in _PARTS if (value := getattr(landing.marks, part)) is not None}
    if any(found.get(part, value) != value for part, value in said.items()):
        found = {}
    network, campaign_id = stand_in
    parts = {"source": network, "campaign": campaign_id} | found | said
    click_ids = tuple(sorted({*landing.marks.click_ids, *given.click_ids})[:CLICK_ID_NAMES])
    return _traffic(event_name, landing.host, origin, parts, click_ids)
