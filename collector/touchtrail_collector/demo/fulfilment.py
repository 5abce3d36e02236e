"""What happens after an order: parcels, returns, cancellations, disputes, surveys, reviews, recommendations."""

from __future__ import annotations

from msgspec.structs import replace

from touchtrail import events
from touchtrail.events import Event

from .catalogue import CURRENCY
from .ledger import OpenOrder, Referral, ShopBooks
from .people import Gadget, Person
from .sending import DAY_MS, HOUR_MS, MINUTE_MS, Recorder, Voice, to_decimal_text


class Aftermath:
    """Everything that follows one order, in the order in which it happens; what would happen after the end does not.

    Args:
        gadget: a device of the person's, on which reviews are written and parcels looked up.
    """

    def __init__(self, rec: Recorder, books: ShopBooks, person: Person, order: OpenOrder, gadget: Gadget) -> None:
        self.rec = rec
        self.rng = rec.rng
        self.books = books
        self.person = person
        self.order = order
        self.gadget = gadget
        self.now = order.placed_ms
        self.is_happy = self.rng.random() > person.persona.returns
        customer_id = None if order.is_guest else person.customer_id
        known = {"order_id": order.order_id}
        self.server = Voice(source="shop-server", person=person.number, customer_id=customer_id, identifiers=known)

    def unfold(self) -> None:
        """Let the order take its course."""
        if self.order.is_till:
            self._after_till()
            return
        self._say(events.OrderPaid(order_id=self.order.order_id, currency=CURRENCY), 3 * MINUTE_MS, state="paid")
        self._update()
        if self.rng.random() < 0.045 and not self._cancel():
            return
        self._ship()
        if not self.is_happy:
            self._return()
        elif self.rng.random() < 0.012:
            self._dispute()
        self._serve()
        self._reward()
        self._ask()
        self._subscribe()

    def _say(self, event: Event, after_ms: int, voice: Voice | None = None, *, state: str | None = None) -> bool:
        """Record an event some time after the one before; an order's state changes only if it was in time."""
        self.now += after_ms
        is_recorded = self.rec.add(voice or self.server, event, self.now) is not None
        if is_recorded and state in ("paid", "shipped", "delivered"):
            self.order.state = state  # type: ignore[assignment]
        return is_recorded

    def _hours(self, low: int, high: int) -> int:
        return self.rng.randrange(low * 60, high * 60) * MINUTE_MS

    def _update(self) -> None:
        if self.rng.random() < 0.02:
            order = self.order
            total = to_decimal_text(order.gross_minor)
            update = events.OrderUpdated(order_id=order.order_id, currency=CURRENCY, total=total, lines=order.lines)
            self._say(update, self._hours(1, 3))

    def _cancel(self) -> bool:
        """Cancel before shipping, wholly or in part; return True when something is left to send."""
        order = self.order
        is_partial = len(order.lines) > 1 and self.rng.random() < 0.35
        amount = order.line_minor[-1] if is_partial else order.left_minor
        event = events.OrderCancelled(
            order_id=order.order_id,
            amount=to_decimal_text(amount) if is_partial or self.rng.random() < 0.5 else None,
            currency=CURRENCY,
            lines=order.lines[-1:] if is_partial else None,
            reason="out_of_stock" if is_partial else "changed_mind",
            by="shop" if is_partial else "customer",
            cancellation_id=f"C-{order.order_id}",
        )
        if self._say(event, self._hours(2, 20)):
            order.cancel(amount)
        return is_partial

    def _ship(self) -> None:
        order_id = self.order.order_id
        if self.rng.random() < 0.04:
            self._say(events.OrderPickupReady(order_id=order_id, store_id="muenchen"), self._hours(20, 40))
        else:
            self._say(events.OrderShipped(order_id=order_id, carrier="dhl"), self._hours(10, 40), state="shipped")
            if self.rng.random() < 0.35:
                self._say(events.ParcelTracked(order_id=order_id, carrier="dhl"), self._hours(6, 20))
        self._say(events.OrderDelivered(order_id=order_id), self._hours(20, 60), state="delivered")

    def _return(self) -> None:
        order, rng = self.order, self.rng
        return_id = f"RT-{order.order_id}"
        is_partial = len(order.lines) > 1 and rng.random() < 0.7
        lines = order.lines[:1] if is_partial else None
        reason = rng.choice(("too_small", "too_big", "not_as_described", "defect", "dislike"))
        asked = events.ReturnRequested(order_id=order.order_id, return_id=return_id, lines=lines, reason=reason)
        self._say(asked, self._hours(20, 200))
        if rng.random() < 0.04:
            self._say(
                events.ReturnRejected(order_id=order.order_id, return_id=return_id, reason="worn"), self._hours(60, 120)
            )
            return
        if rng.random() < 0.08:
            self._say(events.ExchangeCreated(order_id=order.order_id, lines=lines), self._hours(60, 120))
            return
        received = events.ReturnReceived(order_id=order.order_id, return_id=return_id, lines=lines)
        order.is_received = self._say(received, self._hours(60, 150))
        self._refund(order.line_minor[0] if is_partial else order.left_minor, is_partial, reason)

    def _refund(self, amount: int, is_partial: bool, reason: str) -> None:
        order, rng = self.order, self.rng
        amount = min(amount, order.left_minor)
        event = events.OrderRefunded(
            order_id=order.order_id,
            amount=to_decimal_text(amount) if is_partial or rng.random() < 0.6 else None,
            currency=CURRENCY,
            reason=reason,
            refund_id=f"RF-{order.order_id}",
        )
        if self._say(event, self._hours(3, 50)):
            order.refund(amount)
            if rng.random() < 0.25:
                webhook = replace(self.server, source="webhook", repeat="fact", delay_s=rng.randrange(5, 9_000))
                self._say(event, 0, webhook)

    def _dispute(self) -> None:
        order, chargeback_id = self.order, f"CB-{self.order.order_id}"
        amount = order.left_minor
        opened = events.ChargebackOpened(order_id=order.order_id, reason="not_received", chargeback_id=chargeback_id)
        if not self._say(opened, self._hours(200, 500)):
            return
        order.charge_back(amount)
        is_won = self.rng.random() < 0.4
        resolved = events.ChargebackResolved(order_id=order.order_id, won=is_won, chargeback_id=chargeback_id)
        if self._say(resolved, self._hours(200, 400)) and is_won:
            order.win_dispute(amount)

    def _serve(self) -> None:
        rng, person = self.rng, self.person
        if rng.random() > (0.05 if self.is_happy else 0.3):
            return
        ticket = f"HD-{self.order.order_id}"
        desk = Voice(source="helpdesk", person=person.number, identifiers={"email": person.email})
        if rng.random() < 0.3:
            self._say(events.ComplaintMade(topic="quality", order_id=self.order.order_id), self._hours(1, 30), desk)
        self._say(
            events.SupportTicketOpened(ticket_id=ticket, topic="return", order_id=self.order.order_id),
            self._hours(1, 30),
            desk,
        )
        self._say(
            events.SupportTicketResolved(ticket_id=ticket, duration_s=rng.randrange(600, 90_000)),
            self._hours(2, 40),
            desk,
        )

    def _reward(self) -> None:
        rng, person = self.rng, self.person
        if self.order.is_guest:
            return
        crm = Voice(source="shop-server", person=person.number, customer_id=person.customer_id)
        points = self.order.gross_minor // 1_000
        if rng.random() < 0.5 and self._say(
            events.LoyaltyPointsEarned(points=points, order_id=self.order.order_id), HOUR_MS, crm
        ):
            person.points += points
        if person.points >= 30:
            self._say(events.TierChanged(tier="gipfel", previous_tier="huette"), HOUR_MS, crm)
            self._say(events.LoyaltyPointsRedeemed(points=20), HOUR_MS, crm)
            person.points -= 30
        if rng.random() < 0.15:
            code = f"GW-{rng.getrandbits(48):012X}"
            voucher = events.VoucherReceived(coupon_code=code, value="10.00", currency=CURRENCY)
            if self._say(voucher, HOUR_MS, replace(crm, identifiers={"coupon_code": code, "email": person.email})):
                person.vouchers.append((self.now, code))

    def _ask(self) -> None:
        rng, person = self.rng, self.person
        survey = Voice(
            source="survey",
            person=person.number,
            identifiers={"email": person.email, "order_id": self.order.order_id},
            delay_s=rng.choice((0, 0, 7_200)),
        )
        if rng.random() < 0.22:
            self._say(self._answer(), self._hours(24, 200), survey)
        if rng.random() < 0.06:
            feedback = events.FeedbackGiven(
                score=rng.choice((4, 5)) if self.is_happy else rng.choice((1, 2, 3)), topic="product"
            )
            self._say(feedback, self._hours(5, 60), survey)
        if rng.random() < 0.14:
            self._review(self.order.lines[0].sku, {})
        if self.is_happy:
            self._recommend()

    def _answer(self) -> events.SurveyAnswered:
        rng = self.rng
        kind = rng.choice(("nps", "csat", "ces"))
        if kind == "nps":
            score = rng.choice((8, 9, 9, 10, 10)) if self.is_happy else rng.choice((2, 4, 5, 6, 7))
            return events.SurveyAnswered(kind="nps", score=score)
        best = 5 if kind == "csat" else 7
        score = best - rng.choice((0, 0, 1)) if self.is_happy else rng.randrange(1, best - 1)
        return events.SurveyAnswered(kind="csat" if best == 5 else "ces", score=score)

    def _review(self, sku: str, known: dict[str, str]) -> None:
        """Write a review on one's own device; ``known`` is what the form asks for (a receipt code)."""
        gadget, person = self.gadget, self.person
        voice = Voice(
            source=gadget.source,
            person=person.number,
            anonymous_id=gadget.anonymous_id,
            customer_id=person.customer_id,
            identifiers=known or None,
            device=gadget.device,
            clock_offset_s=gadget.clock_offset_s,
        )
        rating = self.rng.choice((4.0, 4.5, 5.0)) if self.is_happy else self.rng.choice((1.0, 2.0, 2.5, 3.0))
        self._say(events.ProductReviewed(sku=sku, rating=rating), self._hours(5, 100), voice)

    def _recommend(self) -> None:
        rng, person = self.rng, self.person
        if rng.random() < 0.05:
            survey = Voice(source="survey", person=person.number, identifiers={"email": person.email})
            self._say(events.ProductRecommended(sku=self.order.lines[0].sku, via="friends"), self._hours(5, 90), survey)
        if rng.random() < 0.14 and person.customer_id is not None:
            person.referral_code = person.referral_code or f"FREUND-{person.number}"
            crm = Voice(source="shop-server", person=person.number, customer_id=person.customer_id)
            sent = events.ReferralSent(referral_code=person.referral_code, via="whatsapp")
            if self._say(sent, self._hours(5, 90), crm):
                self.books.referrals.append(
                    Referral(
                        code=person.referral_code,
                        person=person.number,
                        customer_id=person.customer_id,
                        sent_ms=self.now,
                    )
                )
        if person.orders >= 2 and rng.random() < 0.1:
            crm = Voice(
                source="shop-server",
                person=person.number,
                customer_id=person.customer_id,
                identifiers={"email": person.email},
            )
            self._say(events.AffiliateJoined(programme="awin"), DAY_MS, crm)

    def _subscribe(self) -> None:
        """Take out a subscription for socks, which some pause, renew or give up."""
        rng, person = self.rng, self.person
        if rng.random() > 0.02 or person.customer_id is None:
            return
        number, plan, price = f"ABO-{self.order.order_id}", "socken", "9.90"
        crm = Voice(source="shop-server", person=person.number, customer_id=person.customer_id)
        started = events.SubscriptionStarted(subscription_id=number, plan=plan, amount=price, currency=CURRENCY)
        renewed = events.SubscriptionRenewed(subscription_id=number, plan=plan, amount=price, currency=CURRENCY)
        self._say(started, DAY_MS, crm)
        for _ in range(rng.randrange(0, 4)):
            self._say(renewed, 30 * DAY_MS, crm)
        if rng.random() < 0.3:
            self._say(events.SubscriptionPaused(subscription_id=number, plan=plan), 10 * DAY_MS, crm)
        if rng.random() < 0.4:
            given_up = events.SubscriptionCancelled(subscription_id=number, plan=plan, reason="enough_socks")
            self._say(given_up, 20 * DAY_MS, crm)

    def _after_till(self) -> None:
        """A receipt's code, typed in at home, is what ties the purchase in the store to a browser."""
        rng = self.rng
        self.order.state = (
            "delivered"
            if self._say(
                events.OrderDelivered(order_id=self.order.order_id), MINUTE_MS, replace(self.server, source="till")
            )
            else self.order.state
        )
        if not self.is_happy and rng.random() < 0.5:
            self._refund(self.order.left_minor, False, "dislike")
        if rng.random() < 0.35 and self.order.receipt_code:
            self._review(self.order.lines[0].sku, {"receipt_code": self.order.receipt_code})
