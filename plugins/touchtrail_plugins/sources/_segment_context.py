"""The envelope's context parts (page, campaign, device, consent, identifiers), from Segment's `context`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._segment_values import to_text

USER_AGENT_CHARACTERS = 512
PAGE_FIELDS = ("url", "referrer", "title", "path")
CAMPAIGN_FIELDS = ("source", "medium", "name", "term", "content", "id")
IDENTIFIERS = ("email", "phone", "loyalty_card")

DEVICE_KINDS = {"android": "mobile", "ios": "mobile", "phone": "mobile", "smartphone": "mobile"}

PURPOSES = {
    "analytics": "analytics",
    "c0002": "analytics",
    "measurement": "analytics",
    "performance": "analytics",
    "statistics": "analytics",
    "ads": "ads",
    "advertising": "ads",
    "c0004": "ads",
    "marketing": "ads",
    "targeting": "ads",
    "c0003": "personalisation",
    "functional": "personalisation",
    "personalisation": "personalisation",
    "personalization": "personalisation",
    "preferences": "personalisation",
}
"""Our purposes by the category names in use; C0002 to C0004 are OneTrust's."""


def as_object(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, an empty one for anything else: context is never worth losing an event for."""
    return value if isinstance(value, dict) else {}


def texts_of(given: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    """Return those of the named members that are text or can be."""
    return {name: text for name in names if name in given and isinstance(text := to_text(given[name]), str)}


def merge_context(shared: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a batch's context with an item's own over it, two levels deep."""
    if not shared:
        return own
    merged = {**shared, **{name: value for name, value in own.items() if value is not None}}
    for name, value in own.items():
        outer = shared.get(name)
        if isinstance(value, dict) and isinstance(outer, dict):
            merged[name] = {**outer, **value}
    return merged


def page_of(context: Mapping[str, Any], properties: Mapping[str, Any] | None = None) -> dict[str, str] | None:
    """Return the page. A page call's own properties win over its context.

    The query string is put back where a client sends the address without it: it holds the campaign.
    """
    given = as_object(context.get("page"))
    page = texts_of(given, PAGE_FIELDS) | texts_of(properties or {}, PAGE_FIELDS)
    search = (properties or {}).get("search") or given.get("search")
    url = page.get("url")
    if url and isinstance(search, str) and search.startswith("?") and "?" not in url:
        address, mark, fragment = url.partition("#")
        page["url"] = address + search + mark + fragment
    referrer = to_text(as_object(context.get("referrer")).get("url"))
    if isinstance(referrer, str):
        page.setdefault("referrer", referrer)
    return page or None


def campaign_of(context: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the campaign; the one the event itself is about (`properties.campaign`) wins over the visit's."""
    campaign = texts_of(as_object(context.get("campaign")), CAMPAIGN_FIELDS)
    return (campaign | texts_of(as_object(properties.get("campaign")), CAMPAIGN_FIELDS)) or None


def device_of(context: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the device. The client's address (`context.ip`) is left out."""
    device: dict[str, str] = {}
    agent = to_text(context.get("userAgent") or context.get("user_agent"))
    if isinstance(agent, str):
        device["user_agent"] = agent[:USER_AGENT_CHARACTERS]
    device |= texts_of(context, ("locale",))
    zone = to_text(context.get("timezone"))
    if isinstance(zone, str):
        device["time_zone"] = zone
    screen = as_object(context.get("screen"))
    width, height = to_text(screen.get("width")), to_text(screen.get("height"))
    if isinstance(width, str) and isinstance(height, str):
        device["screen"] = f"{width}x{height}"
    kind = to_text(as_object(context.get("device")).get("type"))
    if isinstance(kind, str):
        device["kind"] = DEVICE_KINDS.get(kind.lower(), kind.lower())
    elif as_object(context.get("userAgentData")).get("mobile") is True:
        device["kind"] = "mobile"
    return device or None


def consent_of(context: Mapping[str, Any]) -> dict[str, bool] | None:
    """Return what the person agreed to; of two categories for one purpose the refusal counts.

    Source: segment-docs `src/privacy/consent-management/consent-in-segment-connections.md`, `categoryPreferences`.
    """
    preferences = as_object(as_object(context.get("consent")).get("categoryPreferences"))
    consent: dict[str, bool] = {}
    for category, agreed in preferences.items():
        purpose = PURPOSES.get(category.strip().lower())
        if purpose is not None and isinstance(agreed, bool):
            consent[purpose] = consent.get(purpose, True) and agreed
    return consent or None


def take_identifiers(*owners: dict[str, Any]) -> dict[str, str]:
    """Move e-mail address, phone number and loyalty card out of properties or traits; the first one found counts."""
    identifiers: dict[str, str] = {}
    for owner in owners:
        for kind in IDENTIFIERS:
            value = owner.get(kind)
            text = to_text(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else None
            if text:
                del owner[kind]
                identifiers.setdefault(kind, text)
    return identifiers
