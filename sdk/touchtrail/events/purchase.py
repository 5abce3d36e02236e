"""Events of the stage purchase: cart, coupon, checkout, order."""

from __future__ import annotations

from .base import Amount, Count, Currency, Event, EventSpec, Line


class CartItemAdded(Event, frozen=True):
    """A product was put into the cart."""

    spec = EventSpec("cart_item_added", "purchase", "visit")

    sku: str
    name: str | None = None
    quantity: Count = 1
    price: Amount | None = None
    currency: Currency | None = None
    cart_id: str | None = None


class CartItemRemoved(Event, frozen=True):
    """A product was taken out of the cart."""

    spec = EventSpec("cart_item_removed", "purchase", "visit")

    sku: str
    name: str | None = None
    quantity: Count = 1
    price: Amount | None = None
    currency: Currency | None = None
    cart_id: str | None = None


class CartViewed(Event, frozen=True):
    """The cart was looked at."""

    spec = EventSpec("cart_viewed", "purchase", "visit")

    cart_id: str | None = None
    total: Amount | None = None
    currency: Currency | None = None
    lines: list[Line] | None = None


class CartAbandoned(Event, frozen=True):
    """A cart was left behind, as the shop itself defines it."""

    spec = EventSpec("cart_abandoned", "purchase", "notice", signal="pain")

    cart_id: str | None = None
    total: Amount | None = None
    currency: Currency | None = None


class CouponEntered(Event, frozen=True):
    """A coupon code was typed in."""

    spec = EventSpec("coupon_entered", "purchase", "visit")

    coupon_code: str
    order_id: str | None = None
    cart_id: str | None = None


class CouponApplied(Event, frozen=True):
    """A coupon code was accepted."""

    spec = EventSpec("coupon_applied", "purchase", "visit", signal="gain")

    coupon_code: str
    order_id: str | None = None
    cart_id: str | None = None
    discount: Amount | None = None
    currency: Currency | None = None


class CouponDenied(Event, frozen=True):
    """A coupon code was refused."""

    spec = EventSpec("coupon_denied", "purchase", "visit", signal="pain")

    coupon_code: str
    order_id: str | None = None
    cart_id: str | None = None
    reason: str | None = None


class CouponRemoved(Event, frozen=True):
    """A coupon was taken out of the cart."""

    spec = EventSpec("coupon_removed", "purchase", "visit")

    coupon_code: str
    order_id: str | None = None
    cart_id: str | None = None


class CheckoutStarted(Event, frozen=True):
    """The person went to the checkout: the moment before the decision."""

    spec = EventSpec("checkout_started", "purchase", "visit", moment="first")

    cart_id: str | None = None
    total: Amount | None = None
    currency: Currency | None = None
    lines: list[Line] | None = None


class CheckoutStepViewed(Event, frozen=True):
    """A step of the checkout was seen."""

    spec = EventSpec("checkout_step_viewed", "purchase", "visit")

    step: Count
    name: str | None = None
    cart_id: str | None = None


class CheckoutStepCompleted(Event, frozen=True):
    """A step of the checkout was done."""

    spec = EventSpec("checkout_step_completed", "purchase", "visit")

    step: Count
    name: str | None = None
    cart_id: str | None = None


class ShippingInfoAdded(Event, frozen=True):
    """The way of shipping was chosen."""

    spec = EventSpec("shipping_info_added", "purchase", "visit")

    method: str | None = None
    cart_id: str | None = None


class PaymentInfoAdded(Event, frozen=True):
    """The way of payment was chosen."""

    spec = EventSpec("payment_info_added", "purchase", "visit")

    method: str | None = None
    cart_id: str | None = None


class PaymentFailed(Event, frozen=True):
    """A payment did not go through."""

    spec = EventSpec("payment_failed", "purchase", "visit", signal="pain")

    order_id: str | None = None
    method: str | None = None
    reason: str | None = None
    amount: Amount | None = None
    currency: Currency | None = None


class OrderPlaced(Event, frozen=True):
    """An order was placed; it may be unpaid.

    Args:
        order_id: the shop's order number, the same in every event about this order.
        total: what the customer has to pay: goods - discount + tax (where prices are net) + shipping.
            Absent = worked out from ``goods`` or ``lines`` in the same way.
        goods: sum of the lines before discount.
        tax: tax contained in or added to the total, kept apart.
        discount: how much coupons and reductions took off; not negative.
        coupon_codes: every code that was used.
    """

    spec = EventSpec("order_placed", "purchase", "visit", moment="first")

    order_id: str
    currency: Currency
    total: Amount | None = None
    goods: Amount | None = None
    tax: Amount | None = None
    shipping: Amount | None = None
    discount: Amount | None = None
    coupon_codes: list[str] | None = None
    lines: list[Line] | None = None
    payment_method: str | None = None
    store_id: str | None = None


class OrderPaid(Event, frozen=True):
    """An order was paid."""

    spec = EventSpec("order_paid", "purchase", "notice")

    order_id: str
    amount: Amount | None = None
    currency: Currency | None = None
    method: str | None = None


class OrderUpdated(Event, frozen=True):
    """An order was changed after it was placed; what is given replaces what was known."""

    spec = EventSpec("order_updated", "purchase", "notice")

    order_id: str
    currency: Currency | None = None
    total: Amount | None = None
    goods: Amount | None = None
    tax: Amount | None = None
    shipping: Amount | None = None
    discount: Amount | None = None
    coupon_codes: list[str] | None = None
    lines: list[Line] | None = None
