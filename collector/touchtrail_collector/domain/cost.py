"""What advertising cost: a report of a span of days becomes one row a day, and the days add up to the report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import msgspec

from touchtrail.context import Campaign
from touchtrail.money import Money

from .channel import UNASSIGNED, ChannelClassifier
from .fact import Fact
from .order import amount_minor
from .origin import campaign_name, traffic_of

MAX_DAYS = 3_660


class Cost(msgspec.Struct, frozen=True):
    """What advertising of one channel and campaign cost on one day."""

    seq: int
    day: str
    shop_id: int
    channel: str
    campaign: str | None
    amount_minor: int
    currency: str
    impressions: int | None
    clicks: int | None


def costs_of(fact: Fact, classifier: ChannelClassifier) -> Iterator[Cost]:
    """Yield one row per day of an `ad_spend_reported`; nothing for others or a span that ends before it begins."""
    properties = fact.body.properties
    currency = properties.get("currency")
    if fact.name != "ad_spend_reported" or not isinstance(currency, str):
        return
    amount = amount_minor(properties.get("amount"), currency)
    days = list(days_of(properties.get("starts_on"), properties.get("ends_on")))
    if amount is None or not days:
        return
    channel, campaign = channel_of(fact, classifier)
    even = [1] * len(days)
    amounts = [share.amount_minor for share in Money(amount, currency).allocate(even)]
    counts = {name: spread(properties.get(name), len(days)) for name in ("impressions", "clicks")}
    for index, day in enumerate(days):
        yield Cost(
            fact.seq, day, fact.shop_id, channel, campaign, amounts[index], currency,
            counts["impressions"][index], counts["clicks"][index],
        )  # fmt: skip


def channel_of(fact: Fact, classifier: ChannelClassifier) -> tuple[str, str | None]:
    """Return the channel that money was spent on: the one named, else what its clicks would be.

    Where neither says anything, a misspelt name for instance, it is Unassigned: on a wrong channel it would spoil the
    return of that one.
    """
    properties = fact.body.properties
    named = str(properties.get("channel") or "").strip().lower()
    campaign = Campaign(
        source=text(properties.get("source")),
        medium=text(properties.get("medium")),
        name=text(properties.get("campaign")),
    )
    traffic = traffic_of("ad_click", campaign=campaign)
    for channel in classifier.channels:
        if named and channel.name.lower() == named:
            return channel.name, campaign_name(traffic)
    if traffic.source is None and traffic.medium is None:
        return UNASSIGNED.name, campaign_name(traffic)
    return classifier.classify(traffic).name, campaign_name(traffic)


def days_of(first: object, last: object) -> Iterator[str]:
    """Yield every day from first to last, both included."""
    try:
        start = date.fromisoformat(str(first))
        end = date.fromisoformat(str(last)) if last is not None else start
    except ValueError:
        return
    for number in range(min((end - start).days + 1, MAX_DAYS)):
        yield (start + timedelta(days=number)).isoformat()


def spread(count: object, days: int) -> list[int | None]:
    """Share a count out over days so that it adds up; None stays None."""
    if not isinstance(count, int) or isinstance(count, bool):
        return [None] * days
    return [count // days + (1 if day < count % days else 0) for day in range(days)]


def text(value: object) -> str | None:
    """Return a text, or None for anything else."""
    return value if isinstance(value, str) else None
