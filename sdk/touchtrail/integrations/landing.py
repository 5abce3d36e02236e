"""Landings: is a page asked for that somebody will see, by which campaign, and was it answered with that page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_plus
from zlib import crc32

from ..context import Campaign
from .exchange import HttpAnswer, HttpRequest

VALUE_CHARS: Final = 255
AGENT_CHARS: Final = 512

CLICK_IDS: Final = frozenset(
    {
        *("gclid", "gbraid", "wbraid", "dclid", "msclkid", "yclid", "fbclid", "igshid", "ttclid", "li_fat_id"),
        *("twclid", "epik", "sccid", "rdt_cid", "awc", "irclickid", "cjevent", "tduid", "ransiteid", "sscid"),
    }
)
"""Parameters that carry an advertising platform's click id, lower case; the same the collector reads."""

_FAMILIES: Final = ("utm", "mtm", "matomo", "pk", "piwik")
_PARTS: Final = {
    # Matomo's names beside Google's: matomo.org, "Tracking campaigns".
    **{f"{family}_{part}": part for family in _FAMILIES for part in ("source", "medium", "content")},
    **{f"{family}_campaign": "name" for family in _FAMILIES},
    "utm_term": "term",
    "utm_id": "id",
    **{f"{family}_{ending}": part for family in _FAMILIES[1:] for ending, part in (("kwd", "term"), ("cid", "id"))},
}
_RANKS: Final = {name: rank for rank, name in enumerate(_PARTS)}

FILLER: Final = re.compile(
    r"empty|null|none|nil|nan|undefined|unknown|not set|\(not set\)|\(not provided\)|n/a|--?|true|false"
)
"""What broken templates write when they have nothing to say; the same the collector skips, or of two values in an
address another would win here than there."""

_MOST_PARAMETERS: Final = 256
_LOCALE: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,4}")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SUBRESOURCES: Final = frozenset(
    {
        *("audio", "audioworklet", "embed", "font", "image", "manifest", "object", "paintworklet", "report", "script"),
        *("serviceworker", "sharedworker", "style", "track", "video", "worker", "xslt"),
    }
)

Pairs = list[tuple[str, str]]


def is_campaign_parameter(name: str) -> bool:
    """True for the lower-case name of a parameter that names a campaign or carries a click id."""
    return name in CLICK_IDS or name.startswith("utm_") or name in _PARTS


def campaign_pairs(query: str) -> Pairs:
    """Return the campaign parameters of a query, names in lower case, values as they were sent."""
    found = []
    for pair in query.split("&", _MOST_PARAMETERS)[:_MOST_PARAMETERS] if "=" in query else ():
        key, _, value = pair.partition("=")
        name = key.lower()
        if value and is_campaign_parameter(name):
            found.append((name, value))
    return found


def campaign_of(pairs: Pairs) -> Campaign | None:
    """Return what campaign parameters say; the first value of a name wins, Google's names win over Matomo's."""
    parts: dict[str, str] = {}
    click_ids: dict[str, str] = {}
    for name, raw in sorted(pairs, key=lambda pair: _RANKS.get(pair[0], 0)):
        value = clean_text(unquote_plus(raw[: 8 * VALUE_CHARS]), VALUE_CHARS).strip()
        if not value or _looks_like_mail(value):
            continue
        if name in CLICK_IDS:
            click_ids.setdefault(name, value)
        elif (part := _PARTS.get(name)) is not None and not _says_nothing(value):
            parts.setdefault(part, value)
    return Campaign(**parts, click_ids=click_ids or None) if parts or click_ids else None


def _says_nothing(value: str) -> bool:
    is_template = value[0] in "{[$%" and value[-1] in "}]%"
    return is_template or FILLER.fullmatch(" ".join(value.lower().split())) is not None


def fingerprint(pairs: Pairs) -> str:
    """Return a short text that tells one campaign's parameters from another's."""
    return f"{crc32(repr(sorted(pairs)).encode('utf-8', 'replace')):08x}"


def is_document(request: HttpRequest) -> bool:
    """True when a browser asks for a page somebody will see now.

    Source:
        W3C Fetch Metadata Request Headers; Prefetch (`Sec-Purpose`); older browsers say `Purpose` or `X-Moz`.
    """
    headers = request.headers
    if request.method != "GET" or is_prefetch(headers):
        return False
    wanted = headers.get("sec-fetch-dest")
    return wanted.strip().lower() == "document" if wanted else "text/html" in headers.get("accept", "").lower()


def is_prefetch(headers: Mapping[str, str]) -> bool:
    """True when the browser fetches ahead what may never be looked at."""
    purpose = headers.get("sec-purpose") or headers.get("purpose") or headers.get("x-moz") or ""
    return "prefetch" in purpose.lower()


def is_subresource(headers: Mapping[str, str]) -> bool:
    """True for images, scripts, styles and whatever else a page is made of."""
    return headers.get("sec-fetch-dest", "").strip().lower() in _SUBRESOURCES


def is_shared(cache_control: str) -> bool:
    """True for an answer a shared cache may keep and give to somebody else, by what `Cache-Control` says.

    Source:
        RFC 9111, section 3: `public`, `s-maxage`, or an age without a `private`, `no-store` or `no-cache` beside it.
    """
    if not cache_control:
        return False
    said = {word.partition("=")[0].strip(): word for word in cache_control.lower().split(",")}
    if "public" in said or "s-maxage" in said:
        return True
    if not said.keys().isdisjoint({"private", "no-store", "no-cache"}):
        return False
    return "max-age" in said and said["max-age"].partition("=")[2].strip(' "') not in ("", "0")


def is_page_shown(answer: HttpAnswer) -> bool:
    """True for a page that came out well."""
    kind = answer.content_type.partition(";")[0].strip().lower()
    return 200 <= answer.status < 300 and kind in ("text/html", "application/xhtml+xml")


def drops_campaign(answer: HttpAnswer, pairs: Pairs) -> bool:
    """True for a redirect to an address without any campaign, away from one that had some."""
    if answer.status not in _REDIRECTS or not pairs:
        return False
    query = answer.location.partition("#")[0].partition("?")[2]
    return not campaign_pairs(query)


def locale_of(accept_language: str) -> str | None:
    """Return the language a browser likes best, ``de-AT``."""
    best, weight = None, 0.0
    for entry in accept_language.split(",", 16)[:16]:
        tag, _, given = entry.partition(";")
        tag = tag.strip()
        quality = _quality(given)
        if quality > weight and _LOCALE.fullmatch(tag):
            best, weight = tag, quality
    return best


def clean_text(text: str, most: int) -> str:
    """Return a text without control characters and halves of characters, which no event may carry."""
    text = text[:most]
    return text if text.isprintable() else "".join(sign for sign in text if sign.isprintable())


def query_of(url: str) -> str:
    """Return the query of an address."""
    return url.partition("#")[0].partition("?")[2]


def _looks_like_mail(value: str) -> bool:
    before, sign, after = value.partition("@")
    return bool(sign and before and "." in after)


def _quality(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return min(float(value), 1.0)
    except ValueError:
        return 0.0
