"""Sofia's running shoes: one pair because of a friend, the second because of the first run.

Sofia, a hobby jogger, is told of a shoe by a friend (nobody notices). She reads a thread in a runners' forum and
follows its link, reads a review on a portal (zero moment of truth), types the shop's address and orders as a guest
(first). She follows the parcel, has it in three days with a voucher, and the first run is a joy (second). Weeks later
a reminder comes by e-mail, she searches the shop, on her phone this time, and orders a second pair in another colour
with the voucher. Then she writes a review and recommends the shoe to everybody (third).

A survey in the parcel asks how she heard of the shop: friend and portal arrive five days after they happened, and
after the order. What counts is when they happened.

Ties: laptop → e-mail address (guest order); phone → the same address, and the voucher's code that only she was given.

Sessions: laptop (Referral), laptop (Direct), phone (Organic Search).

First order 129.90, touches: Word of Mouth (friend), Referral (forum visit), Referral (review on the portal, told in
the survey: no device, so a contact of its own), Direct.

- linear: 12,990 / 4 = 3,247.5: two cents are left over for the earliest two: 3,248 | 3,248 + 3,247 | 3,247.
- position 40/20/40: 5,196 | 1,299 + 1,299 | 5,196, without a remainder.
- last touch Direct; last non-direct the portal.

Second order 134.95 - 10.00 = 124.95, 40 days after the friend: outside 30 days lie all touches of the first order, so
both repeat rules agree. Touches: the reminder that was opened (Email, an impression) and the search.

- linear = position with two touches: 12,495 / 2 = 6,247.5; the cent goes to the earlier one: Email 6,248, search 6,247.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from touchtrail import events as touch
from touchtrail.context import Campaign
from touchtrail.events import Line

from ..sending import Sending
from .story import Expected, ExpectedOrder, Scene, Step, follow_link, knows, make_browser, make_sender, open_page

EMAIL: Final = "sofia@mail.example"
FIRST: Final = "S-3001"
SECOND: Final = "S-3002"
VOUCHER: Final = "SOFIA-7Q4K-2MXD"
RED: Final = Line(sku="RS-1-ROT", name="Laufschuh rot", unit_price="129.90", category="Schuhe/Laufen")
BLUE: Final = Line(sku="RS-1-BLAU", name="Laufschuh blau", unit_price="134.95", category="Schuhe/Laufen")


def events(start: datetime) -> tuple[Sending, ...]:
    """Return the story's sendings in the order of arrival; it lasts 46 days from the day of ``start``."""
    scene = Scene("running_shoes", start)
    _hear_and_read(scene)
    _order_first(scene)
    _run(scene)
    _order_second(scene)
    _tell_others(scene)
    return scene.sendings


def _hear_and_read(scene: Scene) -> None:
    survey = replace(make_sender("survey", email=EMAIL), delay_s=5 * 86_400)
    scene.at(0, "18:00")
    scene.say(survey, touch.RecommendationReceived(from_whom="friend", sku=RED.sku))
    laptop = make_browser("shoes-laptop", "desktop")
    scene.at(1, "20:15")
    thread = open_page("/p/rs-1", "https://laufforum.example/thread/4711")
    scene.say(laptop, touch.ProductViewed(sku=RED.sku, price="129.90", currency="EUR"), thread)
    scene.at(2, "21:00")
    portal = Campaign(source="schuhtest.example", medium="referral")
    scene.say(survey, touch.ReviewRead(sku=RED.sku, portal="schuhtest.example"), None, portal)


def _order_first(scene: Scene) -> None:
    laptop = make_browser("shoes-laptop", "desktop")
    guest = knows(laptop, email=EMAIL, order_id=FIRST)
    scene.at(3, "19:30")
    scene.say(laptop, touch.ProductViewed(sku=RED.sku, price="129.90", currency="EUR"), open_page("/p/rs-1"))
    scene.say(laptop, touch.CartItemAdded(sku=RED.sku, price="129.90", currency="EUR"), follow_link("/cart"))
    checkout = follow_link("/checkout")
    scene.say(laptop, touch.CheckoutStarted(total="129.90", currency="EUR", lines=[RED]), checkout)
    order = touch.OrderPlaced(
        order_id=FIRST, currency="EUR", total="129.90", goods="129.90", shipping="0.00", tax="20.74", lines=[RED]
    )
    scene.say(guest, order, checkout)
    server = make_sender("shop-server", order_id=FIRST)
    scene.say(server, touch.OrderPaid(order_id=FIRST, amount="129.90", currency="EUR", method="invoice"))


def _run(scene: Scene) -> None:
    server = make_sender("shop-server", order_id=FIRST)
    survey = make_sender("survey", email=EMAIL, order_id=FIRST)
    scene.at(4, "13:00")
    scene.say(server, touch.OrderShipped(order_id=FIRST, carrier="dhl"))
    scene.at(5, "12:00")
    scene.say(server, touch.ParcelTracked(order_id=FIRST, carrier="dhl"))
    scene.at(6, "11:00")
    scene.say(server, touch.OrderDelivered(order_id=FIRST))
    voucher = touch.VoucherReceived(coupon_code=VOUCHER, value="10.00", currency="EUR", order_id=FIRST)
    scene.say(make_sender("shop-server", email=EMAIL, coupon_code=VOUCHER), voucher)
    scene.at(7, "08:30")
    scene.say(survey, touch.FeedbackGiven(score=5, topic="first run", sku=RED.sku, order_id=FIRST))
    scene.say(survey, touch.SurveyAnswered(kind="nps", score=10, order_id=FIRST))


def _order_second(scene: Scene) -> None:
    mailer = make_sender("newsletter", email=EMAIL)
    reminder = Campaign(source="newsletter", medium="email", name="gutschein-erinnerung")
    scene.at(38, "09:00")
    scene.say(mailer, touch.EmailDelivered(campaign_id="gutschein-erinnerung"), None, reminder)
    scene.at(38, "21:10")
    scene.say(mailer, touch.EmailOpened(campaign_id="gutschein-erinnerung"), None, reminder)
    phone = make_browser("shoes-phone", "mobile")
    holder = knows(phone, coupon_code=VOUCHER)
    cart, checkout = follow_link("/cart"), follow_link("/checkout")
    scene.at(40, "20:00")
    found = open_page("/p/rs-1-blau", "https://www.google.de/")
    scene.say(phone, touch.ProductViewed(sku=BLUE.sku, price="134.95", currency="EUR"), found)
    scene.say(phone, touch.CartItemAdded(sku=BLUE.sku, price="134.95", currency="EUR"), cart)
    scene.say(holder, touch.CouponEntered(coupon_code=VOUCHER), cart)
    scene.say(holder, touch.CouponApplied(coupon_code=VOUCHER, discount="10.00", currency="EUR"), cart)
    scene.say(phone, touch.CheckoutStarted(total="124.95", currency="EUR", lines=[BLUE]), checkout)
    order = touch.OrderPlaced(
        order_id=SECOND,
        currency="EUR",
        total="124.95",
        goods="134.95",
        discount="10.00",
        shipping="0.00",
        tax="19.95",
        coupon_codes=[VOUCHER],
        lines=[BLUE],
    )
    scene.say(knows(phone, email=EMAIL, order_id=SECOND), order, checkout)
    server = make_sender("shop-server", order_id=SECOND)
    scene.say(server, touch.OrderPaid(order_id=SECOND, amount="124.95", currency="EUR", method="invoice"))


def _tell_others(scene: Scene) -> None:
    server = make_sender("shop-server", order_id=SECOND)
    sofia = make_sender("survey", email=EMAIL)
    scene.at(41, "15:00")
    scene.say(server, touch.OrderShipped(order_id=SECOND, carrier="dhl"))
    scene.at(43, "10:00")
    scene.say(server, touch.OrderDelivered(order_id=SECOND))
    scene.at(45, "19:00")
    scene.say(sofia, touch.ProductReviewed(sku=BLUE.sku, rating=5.0))
    scene.say(sofia, touch.ProductRecommended(sku=BLUE.sku, via="everybody"))
    scene.say(make_sender("shop-server", email=EMAIL), touch.ReferralSent(referral_code="SOFIA", via="whatsapp"))


EXPECTED = Expected(
    people=1,
    sessions=3,
    road=(
        Step("recommendation_received", "awareness", "encounter", "Word of Mouth", None, True),
        Step("product_viewed", "consideration", "visit", "Referral", None, True),
        # Told in a survey, not seen on a page of the shop's: a contact of its own.
        Step("review_read", "consideration", "encounter", "Referral", "zero", True),
        Step("product_viewed", "consideration", "visit", "Direct", None, True),
        Step("cart_item_added", "purchase", "visit", "Direct"),
        Step("checkout_started", "purchase", "visit", "Direct", "first"),
        Step("order_placed", "purchase", "visit", "Direct", "first"),
        Step("order_paid", "purchase", "notice"),
        Step("order_shipped", "retention", "notice"),
        Step("parcel_tracked", "retention", "notice", None, "second"),
        Step("order_delivered", "retention", "notice", None, "second"),
        Step("voucher_received", "retention", "notice"),
        Step("feedback_given", "retention", "notice", None, "second"),
        Step("survey_answered", "retention", "notice", None, "second"),
        Step("email_delivered", "awareness", "notice", "Email"),
        Step("email_opened", "awareness", "impression", "Email", None, True),
        Step("product_viewed", "consideration", "visit", "Organic Search", None, True),
        Step("cart_item_added", "purchase", "visit", "Organic Search"),
        Step("coupon_entered", "purchase", "visit", "Organic Search"),
        Step("coupon_applied", "purchase", "visit", "Organic Search"),
        Step("checkout_started", "purchase", "visit", "Organic Search", "first"),
        Step("order_placed", "purchase", "visit", "Organic Search", "first"),
        Step("order_paid", "purchase", "notice"),
        Step("order_shipped", "retention", "notice"),
        Step("order_delivered", "retention", "notice", None, "second"),
        Step("product_reviewed", "loyalty", "notice", None, "third"),
        Step("product_recommended", "loyalty", "notice", None, "third"),
        Step("referral_sent", "loyalty", "notice", None, "third"),
    ),
    orders=(
        ExpectedOrder(order_id=FIRST, state="delivered", gross_minor=12_990),
        ExpectedOrder(order_id=SECOND, state="delivered", gross_minor=12_495),
    ),
    credit={
        "first_touch": {FIRST: {"Word of Mouth": 12_990}, SECOND: {"Email": 12_495}},
        "last_touch": {FIRST: {"Direct": 12_990}, SECOND: {"Organic Search": 12_495}},
        "last_non_direct": {FIRST: {"Referral": 12_990}, SECOND: {"Organic Search": 12_495}},
        "linear": {
            FIRST: {"Word of Mouth": 3_248, "Referral": 6_495, "Direct": 3_247},
            SECOND: {"Email": 6_248, "Organic Search": 6_247},
        },
        "position_based": {
            FIRST: {"Word of Mouth": 5_196, "Referral": 2_598, "Direct": 5_196},
            SECOND: {"Email": 6_248, "Organic Search": 6_247},
        },
    },
    pains=(),
    gains=(
        "order_delivered",
        "voucher_received",
        "feedback_given",
        "nps",
        "coupon_applied",
        "order_delivered",
        "product_reviewed",
        "product_recommended",
        "referral_sent",
    ),
)
