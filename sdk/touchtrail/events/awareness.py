"""Events of the stage awareness: the first contacts, paid and earned, online and offline."""

from __future__ import annotations

from .base import Amount, Count, Currency, Event, EventSpec


class AdImpression(Event, frozen=True):
    """An advertisement was shown to the person; nobody clicked yet."""

    spec = EventSpec("ad_impression", "awareness", "impression")

    network: str | None = None
    campaign_id: str | None = None
    creative_id: str | None = None
    placement: str | None = None
    cost: Amount | None = None
    currency: Currency | None = None


class AdClick(Event, frozen=True):
    """An advertisement was clicked."""

    spec = EventSpec("ad_click", "awareness", "click")

    network: str | None = None
    campaign_id: str | None = None
    creative_id: str | None = None
    placement: str | None = None
    cost: Amount | None = None
    currency: Currency | None = None


class CampaignTouch(Event, frozen=True):
    """A campaign reached the person in a way no other event names (an app install, a QR code, a partner's report)."""

    spec = EventSpec("campaign_touch", "awareness", "click")

    campaign_id: str | None = None
    kind: str | None = None


class PromotionViewed(Event, frozen=True):
    """A promotion on the shop's own pages was seen."""

    spec = EventSpec("promotion_viewed", "awareness", "visit")

    promotion_id: str | None = None
    name: str | None = None
    creative: str | None = None
    position: str | None = None


class PromotionClicked(Event, frozen=True):
    """A promotion on the shop's own pages was clicked."""

    spec = EventSpec("promotion_clicked", "awareness", "visit")

    promotion_id: str | None = None
    name: str | None = None
    creative: str | None = None
    position: str | None = None


class EmailDelivered(Event, frozen=True):
    """A newsletter or other e-mail arrived in the person's mailbox."""

    spec = EventSpec("email_delivered", "awareness", "notice")

    campaign_id: str | None = None
    message_id: str | None = None
    subject: str | None = None


class EmailOpened(Event, frozen=True):
    """An e-mail was opened. Mail programs open by themselves: set ``machine`` where the sender says so."""

    spec = EventSpec("email_opened", "awareness", "impression")

    campaign_id: str | None = None
    message_id: str | None = None
    subject: str | None = None
    machine: bool = False


class EmailClicked(Event, frozen=True):
    """A link in an e-mail was clicked."""

    spec = EventSpec("email_clicked", "awareness", "click")

    campaign_id: str | None = None
    message_id: str | None = None
    subject: str | None = None
    link: str | None = None


class EmailBounced(Event, frozen=True):
    """An e-mail could not be delivered."""

    spec = EventSpec("email_bounced", "awareness", "none")

    campaign_id: str | None = None
    message_id: str | None = None
    reason: str | None = None


class EmailSpam(Event, frozen=True):
    """The person marked an e-mail as spam."""

    spec = EventSpec("email_spam", "awareness", "notice", signal="pain")

    campaign_id: str | None = None
    message_id: str | None = None


class EmailUnsubscribed(Event, frozen=True):
    """The person no longer wants the newsletter."""

    spec = EventSpec("email_unsubscribed", "awareness", "notice", signal="pain")

    campaign_id: str | None = None
    message_id: str | None = None
    list_id: str | None = None


class PushReceived(Event, frozen=True):
    """A push message arrived on the person's device."""

    spec = EventSpec("push_received", "awareness", "impression")

    campaign_id: str | None = None
    message_id: str | None = None


class PushTapped(Event, frozen=True):
    """A push message was tapped."""

    spec = EventSpec("push_tapped", "awareness", "click")

    campaign_id: str | None = None
    message_id: str | None = None


class SocialEngaged(Event, frozen=True):
    """The person liked, shared, followed or commented on a social network."""

    spec = EventSpec("social_engaged", "awareness", "encounter")

    network: str | None = None
    action: str | None = None
    post_id: str | None = None


class ReferralLinkVisited(Event, frozen=True):
    """A customer's personal recommendation link was followed."""

    spec = EventSpec("referral_link_visited", "awareness", "click")

    referral_code: str | None = None


class StoreVisited(Event, frozen=True):
    """The person came into a store."""

    spec = EventSpec("store_visited", "awareness", "encounter")

    store_id: str | None = None
    purpose: str | None = None


class CallReceived(Event, frozen=True):
    """The person phoned the shop."""

    spec = EventSpec("call_received", "awareness", "encounter")

    number: str | None = None
    topic: str | None = None
    duration_s: Count | None = None


class EventAttended(Event, frozen=True):
    """The person came to a fair, a workshop or another event."""

    spec = EventSpec("event_attended", "awareness", "encounter")

    event: str | None = None
    place: str | None = None


class PrintAdSeen(Event, frozen=True):
    """The person says, or a code on the paper shows, that a printed advertisement was seen."""

    spec = EventSpec("print_ad_seen", "awareness", "impression")

    publication: str | None = None
    code: str | None = None


class RecommendationReceived(Event, frozen=True):
    """Somebody recommended the shop or a product to the person."""

    spec = EventSpec("recommendation_received", "awareness", "encounter")

    from_whom: str | None = None
    sku: str | None = None


class MediaFlightRan(Event, frozen=True):
    """A print, radio or poster campaign ran. It has no person: only its time can be compared with the numbers.

    Args:
        starts_on: first day, `2026-11-01`.
        ends_on: last day, included.
        cost: what the whole flight cost.
    """

    spec = EventSpec("media_flight_ran", None, "none", is_personless=True)

    medium: str
    name: str | None = None
    region: str | None = None
    starts_on: str | None = None
    ends_on: str | None = None
    cost: Amount | None = None
    currency: Currency | None = None


class AdSpendReported(Event, frozen=True):
    """What advertising cost on one day or over a span of days; it has no person.

    Args:
        starts_on: first day, `2026-11-01`.
        ends_on: last day, included; absent = ``starts_on``.
        amount: what was spent over the whole span.
        source: the `utm_source` its clicks carry; with ``medium`` and ``campaign`` it decides the channel.
        channel: the channel's name, where source and medium cannot tell it.
    """

    spec = EventSpec("ad_spend_reported", None, "none", is_personless=True)

    starts_on: str
    amount: Amount
    currency: Currency
    ends_on: str | None = None
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    channel: str | None = None
    impressions: Count | None = None
    clicks: Count | None = None
