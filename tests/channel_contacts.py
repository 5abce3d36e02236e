"""Contacts for tests of the default channels, and the classifier they are put to."""

from __future__ import annotations

from urllib.parse import quote

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
