"""Events of the stage retention: fulfilment, returns, service, subscriptions, surveys."""

from __future__ import annotations

from typing import Literal

from .base import Amount, Count, Currency, Event, EventSpec, Line


class OrderShipped(Event, frozen=True):
    """An order, or a part of it, left the warehouse."""

    spec = EventSpec("order_shipped", "retention", "notice")

    order_id: str
    carrier: str | None = None
    lines: list[Line] | None = None


class ParcelTracked(Event, frozen=True):
    """The person looked where the parcel is."""

    spec = EventSpec("parcel_tracked", "retention", "notice", moment="second")

    order_id: str | None = None
    carrier: str | None = None


class OrderDelivered(Event, frozen=True):
    """An order arrived."""

    spec = EventSpec("order_delivered", "retention", "notice", moment="second", signal="gain")

    order_id: str
    lines: list[Line] | None = None


class OrderPickupReady(Event, frozen=True):
    """An order can be collected in the store."""

    spec = EventSpec("order_pickup_ready", "retention", "notice")

    order_id: str
    store_id: str | None = None


class OrderCancelled(Event, frozen=True):
    """An order was cancelled, as a whole or in part.

    Args:
        amount: how much of the order's total was cancelled. Absent = the sum of ``lines``; both absent = all
            that is left of the order.
        by: who cancelled: `customer`, `shop`, `payment`, …
        cancellation_id: the shop's number of this cancellation; tells two equal ones apart from one reported twice.
    """

    spec = EventSpec("order_cancelled", "retention", "notice", signal="pain")

    order_id: str
    amount: Amount | None = None
    currency: Currency | None = None
    lines: list[Line] | None = None
    reason: str | None = None
    by: str | None = None
    cancellation_id: str | None = None


class ReturnRequested(Event, frozen=True):
    """The person announced that goods come back."""

    spec = EventSpec("return_requested", "retention", "notice", signal="pain")

    order_id: str
    return_id: str | None = None
    lines: list[Line] | None = None
    reason: str | None = None


class ReturnReceived(Event, frozen=True):
    """Returned goods arrived. The money goes back with ``order_refunded``."""

    spec = EventSpec("return_received", "retention", "notice")

    order_id: str
    return_id: str | None = None
    lines: list[Line] | None = None


class ReturnRejected(Event, frozen=True):
    """A return was refused."""

    spec = EventSpec("return_rejected", "retention", "notice", signal="pain")

    order_id: str
    return_id: str | None = None
    reason: str | None = None


class ExchangeCreated(Event, frozen=True):
    """Returned goods are exchanged for others."""

    spec = EventSpec("exchange_created", "retention", "notice")

    order_id: str
    new_order_id: str | None = None
    lines: list[Line] | None = None


class OrderRefunded(Event, frozen=True):
    """Money went back to the customer.

    Args:
        amount: how much. Absent = the sum of ``lines``; both absent = all that is left of the order.
        refund_id: the shop's number of this refund; tells two equal refunds apart from one reported twice.
    """

    spec = EventSpec("order_refunded", "retention", "notice")

    order_id: str
    amount: Amount | None = None
    currency: Currency | None = None
    lines: list[Line] | None = None
    reason: str | None = None
    refund_id: str | None = None


class ChargebackOpened(Event, frozen=True):
    """The customer's bank took the money back. ``amount`` absent = all that is left of the order."""

    spec = EventSpec("chargeback_opened", "retention", "notice", signal="pain")

    order_id: str
    amount: Amount | None = None
    currency: Currency | None = None
    reason: str | None = None
    chargeback_id: str | None = None


class ChargebackResolved(Event, frozen=True):
    """A chargeback was decided; ``won`` says whether the shop keeps the money."""

    spec = EventSpec("chargeback_resolved", "retention", "notice")

    order_id: str
    won: bool
    chargeback_id: str | None = None


class CustomerIdentified(Event, frozen=True):
    """Now it is known who the person is; the ids stand in the envelope.

    Args:
        traits: what the shop knows of the customer, `{"segment": "hobby jogger"}`.
    """

    spec = EventSpec("customer_identified", "retention", "none")

    traits: dict[str, str | int | float | bool | None] | None = None


class CustomerSignedIn(Event, frozen=True):
    """A customer signed in."""

    spec = EventSpec("customer_signed_in", "retention", "visit")

    method: str | None = None


class CustomerSignedOut(Event, frozen=True):
    """A customer signed out."""

    spec = EventSpec("customer_signed_out", "retention", "visit")


class SupportTicketOpened(Event, frozen=True):
    """The person asked the shop for help."""

    spec = EventSpec("support_ticket_opened", "retention", "notice", signal="pain")

    ticket_id: str | None = None
    topic: str | None = None
    order_id: str | None = None


class SupportTicketResolved(Event, frozen=True):
    """A request for help was settled."""

    spec = EventSpec("support_ticket_resolved", "retention", "notice", moment="second", signal="gain")

    ticket_id: str | None = None
    duration_s: Count | None = None
    order_id: str | None = None


class SubscriptionStarted(Event, frozen=True):
    """A subscription began."""

    spec = EventSpec("subscription_started", "retention", "notice", signal="gain")

    subscription_id: str
    plan: str | None = None
    amount: Amount | None = None
    currency: Currency | None = None


class SubscriptionRenewed(Event, frozen=True):
    """A subscription was renewed."""

    spec = EventSpec("subscription_renewed", "retention", "notice", signal="gain")

    subscription_id: str
    plan: str | None = None
    amount: Amount | None = None
    currency: Currency | None = None


class SubscriptionPaused(Event, frozen=True):
    """A subscription was paused."""

    spec = EventSpec("subscription_paused", "retention", "notice")

    subscription_id: str
    plan: str | None = None


class SubscriptionCancelled(Event, frozen=True):
    """A subscription was given up."""

    spec = EventSpec("subscription_cancelled", "retention", "notice", signal="pain")

    subscription_id: str
    plan: str | None = None
    reason: str | None = None


class SurveyAnswered(Event, frozen=True):
    """A survey question was answered with a number.

    Args:
        kind: `nps` (0-10), `csat` (1-5 unless ``scale`` says otherwise), `ces` (1-7, 7 = very easy).
        score: the answer.
        scale: the highest answer that could be given; absent = the usual one of the kind.
    """

    spec = EventSpec("survey_answered", "retention", "notice", moment="second", signal="scored")

    kind: Literal["nps", "csat", "ces"]
    score: Count
    scale: Count | None = None
    order_id: str | None = None
    comment: str | None = None


class VoucherReceived(Event, frozen=True):
    """The person was given a voucher; its code links the next order to them where it is unique."""

    spec = EventSpec("voucher_received", "retention", "notice", signal="gain")

    coupon_code: str | None = None
    value: Amount | None = None
    currency: Currency | None = None
    order_id: str | None = None


class FeedbackGiven(Event, frozen=True):
    """The person said how they like the product or the service.

    Args:
        score: 1 (bad) to ``scale`` (good).
    """

    spec = EventSpec("feedback_given", "retention", "notice", moment="second", signal="scored")

    score: Count | None = None
    scale: Count = 5
    topic: str | None = None
    sku: str | None = None
    order_id: str | None = None


class ComplaintMade(Event, frozen=True):
    """The person complained."""

    spec = EventSpec("complaint_made", "retention", "notice", signal="pain")

    topic: str | None = None
    order_id: str | None = None
    sku: str | None = None
