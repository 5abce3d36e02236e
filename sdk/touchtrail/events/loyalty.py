"""Events of the stage loyalty: coming back on purpose and telling others."""

from __future__ import annotations

from .base import Count, Event, EventSpec


class ProductReviewed(Event, frozen=True):
    """The person wrote a review.

    Args:
        rating: 1 (bad) to ``scale`` (good); a half star is allowed.
    """

    spec = EventSpec("product_reviewed", "loyalty", "notice", moment="third", signal="scored")

    sku: str | None = None
    rating: float | None = None
    scale: Count = 5
    review_id: str | None = None
    order_id: str | None = None


class ProductRecommended(Event, frozen=True):
    """The person recommended the shop or a product to others."""

    spec = EventSpec("product_recommended", "loyalty", "notice", moment="third", signal="gain")

    sku: str | None = None
    via: str | None = None


class ReferralSent(Event, frozen=True):
    """The person sent a recommendation link."""

    spec = EventSpec("referral_sent", "loyalty", "notice", moment="third", signal="gain")

    referral_code: str | None = None
    via: str | None = None


class ReferralConverted(Event, frozen=True):
    """Somebody the person recommended us to became a customer."""

    spec = EventSpec("referral_converted", "loyalty", "notice", moment="third", signal="gain")

    referral_code: str | None = None
    order_id: str | None = None


class LoyaltyPointsEarned(Event, frozen=True):
    """The person earned loyalty points."""

    spec = EventSpec("loyalty_points_earned", "loyalty", "notice", signal="gain")

    points: Count
    order_id: str | None = None


class LoyaltyPointsRedeemed(Event, frozen=True):
    """The person paid with loyalty points."""

    spec = EventSpec("loyalty_points_redeemed", "loyalty", "notice", signal="gain")

    points: Count
    order_id: str | None = None


class TierChanged(Event, frozen=True):
    """The person's tier in the loyalty programme changed."""

    spec = EventSpec("tier_changed", "loyalty", "notice")

    tier: str
    previous_tier: str | None = None


class AffiliateJoined(Event, frozen=True):
    """The person became a partner who recommends the shop."""

    spec = EventSpec("affiliate_joined", "loyalty", "notice", moment="third", signal="gain")

    programme: str | None = None
