"""From the cart to the order: at the checkout, at the till, on the phone."""

from __future__ import annotations

import random
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from touchtrail import events
from touchtrail.events import Line

from .catalogue import (
    CURRENCY,
    FREE_SHIPPING_FROM_MINOR,
    SHARED_COUPONS,
    SHIPPING_MINOR,
    STORES,
    VAT_PERCENT,
    GiftWrapChosen,
    Product,
)
from .ledger import OpenOrder, ShopBooks
from .people import Person
from .sending import MINUTE_MS, SECOND_MS, Recorder, Voice, to_decimal_text
from .truth import split_amount
from .visit import Visit

PAYMENTS = ("paypal", "card", "invoice", "sofort")
VOUCHER_MINOR = 1_000


class Basket(msgspec.Struct, frozen=True, kw_only=True):
    """What is bought, worked out to the cent."""

    lines: list[Line]
    line_minor: list[int]
    goods_minor: int
    discount_minor: int
    shipping_minor: int
    tax_minor: int
    coupon: str | None

    @property
    def total_minor(self) -> int:
        """What the customer pays; prices contain the tax."""
        return self.goods_minor - self.discount_minor + self.shipping_minor


class Occasion(msgspec.Struct, frozen=True, kw_only=True):
    """A moment away from the shop's pages in which somebody buys, with what led to it (``TrueOrder.causes``)."""

    person: Person
    at_ms: int
    causes: Mapping[str, float]


def fill_basket(
    rng: random.Random, person: Person, product: Product, coupon: str | None, *, ships: bool = True
) -> Basket:
    """Put ``product`` and perhaps more of what the person likes into a basket."""
    picked = {product.sku: product}
    while rng.random() < 0.35 and len(picked) < 4:
        other = rng.choice(person.liked)
        picked[other.sku] = other
    quantities = [2 if rng.random() < 0.06 else 1 for _ in picked]
    prices = [item.price_minor * pieces for item, pieces in zip(picked.values(), quantities, strict=True)]
    goods = sum(prices)
    discount = 0 if coupon is None else goods // 10 if coupon.endswith("10") else min(goods, VOUCHER_MINOR // 2)
    if coupon is not None and coupon.startswith("GW-"):
        discount = min(goods, VOUCHER_MINOR)
    shipping = SHIPPING_MINOR if ships and goods - discount < FREE_SHIPPING_FROM_MINOR else 0
    vat = VAT_PERCENT[person.country]
    parts = split_amount(goods - discount, {str(index): float(price) for index, price in enumerate(prices)})
    return Basket(
        lines=[
            Line(
                sku=item.sku,
                name=item.name,
                quantity=pieces,
                unit_price=to_decimal_text(item.price_minor),
                category=item.category,
            )
            for item, pieces in zip(picked.values(), quantities, strict=True)
        ],
        line_minor=list(parts.values()),
        goods_minor=goods,
        discount_minor=discount,
        shipping_minor=shipping,
        tax_minor=round((goods - discount + shipping) * vat / (100 + vat)),
        coupon=coupon,
    )


def order_event(order_id: str, basket: Basket, payment: str, store: str | None = None) -> events.OrderPlaced:
    """Return what a shop reports of a new order."""
    return events.OrderPlaced(
        order_id=order_id,
        currency=CURRENCY,
        total=to_decimal_text(basket.total_minor),
        goods=to_decimal_text(basket.goods_minor),
        tax=to_decimal_text(basket.tax_minor),
        shipping=to_decimal_text(basket.shipping_minor),
        discount=to_decimal_text(basket.discount_minor),
        coupon_codes=[basket.coupon] if basket.coupon else None,
        lines=basket.lines,
        payment_method=payment,
        store_id=store,
    )


def abandon_cart(visit: Visit, product: Product) -> None:
    """Put something into the cart and leave it there."""
    _add_to_cart(visit, product)
    roll = visit.rng.random()
    if roll < 0.3:
        visit.report(events.CartItemRemoved(sku=product.sku, name=product.name))
    elif roll < 0.6:
        visit.go("/warenkorb")
        visit.report(events.CartViewed(total=to_decimal_text(product.price_minor), currency=CURRENCY))
    elif roll < 0.75:
        visit.report(events.CheckoutStarted(total=to_decimal_text(product.price_minor), currency=CURRENCY))
        visit.report(events.CheckoutStepViewed(step=1, name="Adresse"))
    person = visit.person
    if visit.signed_in and visit.rng.random() < 0.6:
        voice = Voice(source="shop-server", person=person.number, customer_id=person.customer_id)
        visit.rec.add(
            voice,
            events.CartAbandoned(total=to_decimal_text(product.price_minor), currency=CURRENCY),
            visit.now + 60 * MINUTE_MS,
        )


def buy_online(visit: Visit, books: ShopBooks, product: Product, causes: Mapping[str, float]) -> OpenOrder | None:
    """Go through the checkout; return the order, or None when the simulation ends before it is placed."""
    rng, person = visit.rng, visit.person
    _add_to_cart(visit, product)
    coupon = _try_coupon(visit)
    basket = fill_basket(rng, person, product, coupon)
    visit.go("/kasse")
    visit.report(
        events.CheckoutStarted(total=to_decimal_text(basket.total_minor), currency=CURRENCY, lines=basket.lines)
    )
    is_guest = not (person.wants_account or person.customer_id)
    if not visit.signed_in and not is_guest:
        is_new = person.customer_id is None
        visit.sign_in()
        if is_new:
            visit.introduce()
    payment = rng.choice(PAYMENTS)
    _go_through_steps(visit, payment)
    order_id = books.next_order_id(visit.now, "G")
    if rng.random() < 0.05:
        visit.mood *= 0.5
        visit.report(
            events.PaymentFailed(
                order_id=order_id,
                method=payment,
                reason="declined",
                amount=to_decimal_text(basket.total_minor),
                currency=CURRENCY,
            )
        )
    if visit.now >= visit.rec.end_ms:
        return None
    order = _open_order(books, basket, Occasion(person=person, at_ms=visit.now, causes=causes), order_id)
    order.is_guest = is_guest
    _report_order(visit, order, order_event(order_id, basket, payment))
    return order


def buy_in_store(rec: Recorder, books: ShopBooks, voice: Voice, occasion: Occasion) -> OpenOrder | None:
    """Buy at the till: known by the loyalty card, else by the code on the receipt only."""
    person, at_ms, rng = occasion.person, occasion.at_ms, rec.rng
    if at_ms >= rec.end_ms:
        return None
    basket = fill_basket(rng, person, rng.choice(person.liked), None, ships=False)
    order = _open_order(books, basket, occasion, books.next_order_id(at_ms, "T"))
    order.is_till = True
    order.receipt_code = f"R{rng.getrandbits(40):010X}"
    known = {**(voice.identifiers or {}), "receipt_code": order.receipt_code}
    speaks = replace(voice, source="till", anonymous_id=None, identifiers=known, device=None)
    rec.add(speaks, order_event(order.order_id, basket, "card", rng.choice(STORES)), at_ms)
    total = to_decimal_text(basket.total_minor)
    paid = events.OrderPaid(order_id=order.order_id, amount=total, currency=CURRENCY, method="card")
    if rec.add(speaks, paid, at_ms + 20 * SECOND_MS):
        order.state = "paid"
    return order


def buy_on_phone(rec: Recorder, books: ShopBooks, occasion: Occasion) -> OpenOrder | None:
    """Order on the phone: the agent types it into the shop's server."""
    person, at_ms = occasion.person, occasion.at_ms
    if at_ms >= rec.end_ms:
        return None
    basket = fill_basket(rec.rng, person, rec.rng.choice(person.liked), None)
    order = _open_order(books, basket, occasion, books.next_order_id(at_ms, "P"))
    order.is_guest = person.customer_id is None
    known = {"phone": person.phone, "email": person.email}
    voice = Voice(source="shop-server", person=person.number, customer_id=person.customer_id, identifiers=known)
    rec.add(voice, order_event(order.order_id, basket, "invoice"), at_ms)
    return order


def _add_to_cart(visit: Visit, product: Product) -> None:
    visit.report(
        events.CartItemAdded(
            sku=product.sku, name=product.name, price=to_decimal_text(product.price_minor), currency=CURRENCY
        )
    )


def _try_coupon(visit: Visit) -> str | None:
    """Try a voucher of one's own, or a code everybody knows; return the code that was accepted."""
    rng, person = visit.rng, visit.person
    if person.vouchers and person.vouchers[0][0] < visit.now and rng.random() < 0.7:
        code = person.vouchers.pop(0)[1]
    elif rng.random() < person.persona.coupon:
        code = rng.choice(SHARED_COUPONS)
    else:
        return None
    plain = visit.voice
    visit.voice = replace(plain, identifiers={**(plain.identifiers or {}), "coupon_code": code})
    visit.report(events.CouponEntered(coupon_code=code))
    is_denied = not code.startswith("GW-") and rng.random() < 0.2
    if is_denied:
        visit.report(events.CouponDenied(coupon_code=code, reason="expired"))
    else:
        visit.report(events.CouponApplied(coupon_code=code, currency=CURRENCY))
        if rng.random() < 0.03:
            visit.report(events.CouponRemoved(coupon_code=code))
            is_denied = True
    visit.voice = plain
    return None if is_denied else code


def _go_through_steps(visit: Visit, payment: str) -> None:
    rng = visit.rng
    if rng.random() < 0.5:
        visit.report(events.CheckoutStepCompleted(step=1, name="Adresse"))
    visit.report(events.ShippingInfoAdded(method="dhl"))
    if rng.random() < 0.05:
        visit.report(GiftWrapChosen(paper="sterne"))
    visit.report(events.PaymentInfoAdded(method=payment))
    if payment == "paypal" and not visit.is_app:
        # The way back from a payment page looks like a visit from another site; it must not take the credit.
        visit.go("/kasse/danke", "https://www.paypal.com/", f"token=EC-{rng.getrandbits(40):010X}")
        visit.report(events.PageViewed(name="Zurück von PayPal"))


def _report_order(visit: Visit, order: OpenOrder, event: events.OrderPlaced) -> None:
    """Report the order as the browser, the shop's server and a webhook see it; any of them may be missing."""
    rng, person = visit.rng, visit.person
    known = {"order_id": order.order_id, "email": person.email}
    server = Voice(
        source="shop-server",
        person=person.number,
        customer_id=None if order.is_guest else person.customer_id,
        identifiers=known,
        delay_s=rng.randrange(1, 5),
    )
    at_ms = visit.now
    is_blocked = rng.random() < 0.05
    if not is_blocked:
        knows_mail = order.is_guest and rng.random() < 0.8
        visit.voice = replace(visit.voice, identifiers=known) if knows_mail else visit.voice
        visit.report(event)
    if is_blocked or rng.random() < 0.4:
        visit.rec.add(server if is_blocked else replace(server, repeat="fact"), event, at_ms)
    if rng.random() < 0.15:
        webhook = replace(server, source="webhook", delay_s=rng.randrange(2, 3_000), repeat="fact")
        visit.rec.add(webhook, event, at_ms)


def _open_order(books: ShopBooks, basket: Basket, occasion: Occasion, order_id: str) -> OpenOrder:
    occasion.person.orders += 1
    order = OpenOrder(
        order_id=order_id,
        person=occasion.person.number,
        placed_ms=occasion.at_ms,
        gross_minor=basket.total_minor,
        lines=basket.lines,
        line_minor=basket.line_minor,
        causes=dict(occasion.causes),
    )
    books.orders[order_id] = order
    return order
