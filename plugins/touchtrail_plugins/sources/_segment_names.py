"""What Segment calls an event or a property, and what the vocabulary calls it.

Source: segment-docs `src/connections/spec/{ecommerce,ecommerce/v2,email,live-chat,mobile,ab-testing,b2b-saas}.md`.
"""

from __future__ import annotations

from collections.abc import Mapping

from touchtrail_collector.api import events


def squash(name: str) -> str:
    """Return a name without what spellings differ in: `Order Completed`, `order_completed`, `orderCompleted`."""
    return "".join(filter(str.isalnum, name)).lower()


SEGMENT_NAMES: Mapping[str, tuple[str, ...]] = {
    "campaign_touch": ("Install Attributed",),
    "cart_item_added": ("Product Added", "Added Product"),
    "cart_item_removed": ("Product Removed", "Removed Product"),
    "cart_shared": ("Cart Shared", "Shared Cart"),
    "cart_viewed": ("Cart Viewed", "Viewed Cart"),
    "chat_ended": ("Live Chat Conversation Ended",),
    "chat_message_received": ("Live Chat Message Received",),
    "chat_message_sent": ("Live Chat Message Sent",),
    "chat_started": ("Live Chat Conversation Started",),
    "checkout_started": ("Checkout Started", "Started Checkout", "Order Started", "Started Order"),
    "checkout_step_completed": ("Checkout Step Completed", "Completed Checkout Step"),
    "checkout_step_viewed": ("Checkout Step Viewed", "Viewed Checkout Step"),
    "coupon_applied": ("Coupon Applied", "Applied Coupon"),
    "coupon_denied": ("Coupon Denied", "Denied Coupon"),
    "coupon_entered": ("Coupon Entered", "Entered Coupon"),
    "coupon_removed": ("Coupon Removed", "Removed Coupon"),
    "customer_signed_in": ("Signed In", "User Signed In"),
    "customer_signed_out": ("Signed Out", "User Signed Out"),
    "email_bounced": ("Email Bounced",),
    "email_clicked": ("Email Link Clicked", "Email Clicked"),
    "email_delivered": ("Email Delivered",),
    "email_opened": ("Email Opened",),
    "email_spam": ("Email Marked as Spam",),
    "email_unsubscribed": ("Unsubscribed", "Email Unsubscribed"),
    "experiment_viewed": ("Experiment Viewed", "Viewed Experiment"),
    "lead_captured": ("Signed Up", "User Signed Up"),
    "order_cancelled": ("Order Cancelled", "Order Canceled", "Cancelled Order", "Canceled Order"),
    "order_placed": ("Order Completed", "Completed Order"),
    "order_refunded": ("Order Refunded", "Refunded Order"),
    "order_updated": ("Order Updated", "Updated Order"),
    "payment_info_added": ("Payment Info Entered", "Entered Payment Info"),
    "product_clicked": ("Product Clicked", "Clicked Product"),
    "product_list_filtered": ("Product List Filtered", "Filtered Product List"),
    "product_list_viewed": ("Product List Viewed", "Viewed Product List", "Viewed Product Category"),
    "product_reviewed": ("Product Reviewed", "Reviewed Product"),
    "product_searched": ("Products Searched", "Searched Products"),
    "product_shared": ("Product Shared", "Shared Product"),
    "product_viewed": ("Product Viewed", "Viewed Product"),
    "promotion_clicked": ("Promotion Clicked", "Clicked Promotion"),
    "promotion_viewed": ("Promotion Viewed", "Viewed Promotion"),
    "push_received": ("Push Notification Received",),
    "push_tapped": ("Push Notification Tapped",),
    "referral_sent": ("Invite Sent", "Sent Invite"),
    "subscription_started": ("Trial Started",),
    "wishlist_item_added": ("Product Added to Wishlist", "Added Product to Wishlist"),
    "wishlist_item_moved_to_cart": ("Wishlist Product Added to Cart", "Added Wishlist Product to Cart"),
    "wishlist_item_removed": ("Product Removed from Wishlist", "Removed Product from Wishlist"),
}
"""Segment's names, those of its first specification included, by the standard event's name."""

CANONICAL: Mapping[str, str] = {squash(name): name for name in events.VOCABULARY} | {
    squash(spoken): name for name, spellings in SEGMENT_NAMES.items() for spoken in spellings
}
"""The standard event by the squashed name a client sent."""

_PRODUCT = ("product_id", "id")

ALIASES: Mapping[str, tuple[str, ...]] = {
    "sku": _PRODUCT,
    "unit_price": ("price",),
    "order_id": ("transaction_id",),
    "cart_id": ("checkout_id",),
    "lines": ("products",),
    "coupon_code": ("coupon_id", "coupon"),
    "coupon_codes": ("coupon", "coupons"),
    "via": ("share_via",),
    "message_id": ("email_id",),
    "subject": ("email_subject",),
    "link": ("link_url",),
    "promotion_id": ("id",),
    "variant": ("variation_id", "variation_name"),
    "experiment_id": ("experiment_name",),
}
"""Segment's names of a property by the vocabulary's; the vocabulary's own name is always tried first."""

EVENT_ALIASES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "chat_ended": {"duration_s": ("conversation_duration",)},
    "customer_signed_in": {"method": ("type",)},
    "lead_captured": {"form": ("type",)},
    "order_placed": {"order_id": ("transaction_id", "id")},
    "payment_info_added": {"method": ("payment_method",)},
    "product_viewed": {"variant": ()},
    "subscription_started": {"plan": ("trial_plan_name",), "subscription_id": ("trial_id",)},
}
"""Names that hold for one event only; they replace those of `ALIASES`."""


def spellings_of(event: str, field: str) -> tuple[str, ...]:
    """Return the squashed names a client may use for a property of a standard event, the best one first."""
    others = EVENT_ALIASES.get(event, {}).get(field, ALIASES.get(field, ()))
    return tuple(squash(name) for name in (field, *others))
