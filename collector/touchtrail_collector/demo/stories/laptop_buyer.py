"""The laptop buyer: five visits before the order, and the shop that asks afterwards how it is going.

Jonas searches for "new Windows laptops" and finds a post of the shop's blog; two days later he searches the brand and
compares prices; he reads the detailed review on the blog; he looks for a coupon code; he searches "buy ... online",
clicks an ad and orders with the coupon. Two weeks after the parcel an e-mail asks how it is going and gives tips; a
personal offer follows; he recommends the shop.

Sessions (one anonymous id, 30 minutes, a new campaign or foreign referrer begins one):

| # | day | begins with | channel | touch of the order |
|---|---|---|---|---|
| 1 | 0 | google.de → blog post | Organic Search | yes |
| 2 | 2 | google.de → brand page | Organic Search | yes |
| 3 | 4 | bookmark → review | Direct | yes |
| 4 | 6, 18:00 | coupon site, awin link | Affiliates | yes |
| 5 | 6, 20:30 | google.de ad with gclid | Paid Search | yes; the way back from PayPal belongs to it |
| 6 | 30 | newsletter link | Email | no: after the order, and the landing of a click reported apart |

The order: goods 1,149.99 - coupon 50.00 = 1,099.99, five touches on its path.

- linear: 109,999 / 5 = 21,999.8 each; five times 21,999 leaves 4 cents, which go to the earliest four touches. So
  22,000 each for both searches, Direct and Affiliates, 21,999 for the ad.
- position 40/20/40: ends 43,999.6 each, middles 7,333.27 each; the floors leave 2 cents, which go to the largest
  remainders, the two ends. Search has one end and one middle: 44,000 + 7,333.
- first: the blog post's search. last = last non-direct: the ad, because Direct was not the last touch.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from touchtrail import events as touch
from touchtrail.context import Campaign
from touchtrail.events import Line

from ..sending import Sending
from .story import Expected, ExpectedOrder, Scene, Step, follow_link, knows, make_browser, make_sender, open_page

CUSTOMER: Final = "jonas-7"
EMAIL: Final = "jonas@mail.example"
ORDER: Final = "L-1001"
GOOGLE: Final = "https://www.google.de/"
CLICK: Final = "CjwK-laptop-1"
LAPTOP: Final = Line(sku="NB-14", name="Notebook 14", unit_price="1149.99", category="Computer/Laptops")


def events(start: datetime) -> tuple[Sending, ...]:
    """Return the story's sendings in the order of arrival; it lasts 33 days from the day of ``start``."""
    scene = Scene("laptop_buyer", start)
    _research(scene)
    _order_laptop(scene)
    _follow_up(scene)
    return scene.sendings


def _order_laptop(scene: Scene) -> None:
    browser = make_browser("laptop-browser", "desktop")
    scene.at(6, "20:30")
    page = open_page(f"/p/nb-14?utm_source=google&utm_medium=cpc&utm_campaign=laptops&gclid={CLICK}", GOOGLE)
    scene.say(browser, touch.ProductViewed(sku="NB-14", name="Notebook 14", price="1149.99", currency="EUR"), page)
    cart = follow_link("/cart")
    scene.say(browser, touch.CartItemAdded(sku="NB-14", price="1149.99", currency="EUR"), cart)
    scene.say(browser, touch.CouponEntered(coupon_code="NEUSTART50"), cart)
    scene.say(browser, touch.CouponApplied(coupon_code="NEUSTART50", discount="50.00", currency="EUR"), cart)
    checkout = follow_link("/checkout")
    scene.say(browser, touch.CheckoutStarted(total="1099.99", currency="EUR", lines=[LAPTOP]), checkout)
    jonas = knows(browser, CUSTOMER, email=EMAIL)
    scene.say(jonas, touch.CustomerSignedIn(method="password"), checkout)
    scene.say(jonas, touch.PaymentInfoAdded(method="paypal"), checkout)
    scene.say(jonas, touch.PageViewed(name="Zurück von PayPal"), open_page("/checkout/done", "https://www.paypal.com/"))
    scene.say(jonas, _order(), follow_link("/checkout/done"))


def _research(scene: Scene) -> None:
    browser = make_browser("laptop-browser", "desktop")
    scene.at(0, "19:10")
    scene.say(
        browser,
        touch.ContentViewed(content_id="neue-windows-laptops", kind="blog"),
        open_page("/blog/neue-windows-laptops", GOOGLE),
    )
    scene.say(browser, touch.ProductListViewed(list_id="laptops", category="Computer/Laptops"), follow_link("/laptops"))
    scene.at(2, "12:05")
    scene.say(
        browser, touch.ProductListViewed(list_id="marke", category="Computer/Laptops"), open_page("/marke", GOOGLE)
    )
    scene.say(browser, touch.ComparisonViewed(skus=["NB-14", "NB-15"]), follow_link("/vergleich"))
    scene.say(browser, touch.ProductViewed(sku="NB-14", price="1149.99", currency="EUR"), follow_link("/p/nb-14"))
    scene.at(4, "21:40")
    scene.say(browser, touch.ReviewRead(sku="NB-14"), open_page("/blog/test-notebook-14"))
    scene.at(6, "18:00")
    coupon_site = open_page(
        "/gutschein?utm_source=awin&utm_medium=affiliate&utm_campaign=coupons&awc=awc-laptop-1",
        "https://www.coupons.example/",
    )
    scene.say(browser, touch.PageViewed(name="Gutschein"), coupon_site)


def _order() -> touch.OrderPlaced:
    return touch.OrderPlaced(
        order_id=ORDER,
        currency="EUR",
        total="1099.99",
        goods="1149.99",
        discount="50.00",
        shipping="0.00",
        tax="175.63",
        coupon_codes=["NEUSTART50"],
        lines=[LAPTOP],
        payment_method="paypal",
    )


def _follow_up(scene: Scene) -> None:
    server = make_sender("shop-server", CUSTOMER, email=EMAIL, order_id=ORDER)
    mailer = make_sender("newsletter", CUSTOMER, email=EMAIL)
    scene.say_again(server, _order())
    scene.say(server, touch.OrderPaid(order_id=ORDER, amount="1099.99", currency="EUR", method="paypal"))
    scene.at(7, "15:00")
    scene.say(server, touch.OrderShipped(order_id=ORDER, carrier="dhl"))
    scene.at(9, "11:20")
    scene.say(server, touch.OrderDelivered(order_id=ORDER))
    tips = Campaign(source="newsletter", medium="email", name="wie-laeuft-es")
    scene.at(23, "09:00")
    scene.say(mailer, touch.EmailDelivered(campaign_id="wie-laeuft-es"), None, tips)
    scene.at(23, "18:30")
    scene.say(mailer, touch.EmailOpened(campaign_id="wie-laeuft-es"), None, tips)
    scene.say(make_sender("survey", CUSTOMER, email=EMAIL), touch.SurveyAnswered(kind="csat", score=5, order_id=ORDER))
    offer = Campaign(source="newsletter", medium="email", name="nur-fuer-dich")
    scene.at(30, "09:00")
    scene.say(mailer, touch.EmailDelivered(campaign_id="nur-fuer-dich"), None, offer)
    scene.at(30, "20:00")
    scene.say(mailer, touch.EmailClicked(campaign_id="nur-fuer-dich", link="/p/maus"), None, offer)
    mouse = open_page("/p/maus?utm_source=newsletter&utm_medium=email&utm_campaign=nur-fuer-dich")
    browser = make_browser("laptop-browser", "desktop")
    scene.say(browser, touch.ProductViewed(sku="MS-1", name="Maus", price="29.90", currency="EUR"), mouse)
    scene.at(32, "17:00")
    survey = make_sender("survey", CUSTOMER, email=EMAIL)
    scene.say(survey, touch.ProductRecommended(sku="NB-14", via="friends"))


EXPECTED = Expected(
    people=1,
    sessions=6,
    road=(
        Step("content_viewed", "consideration", "visit", "Organic Search", "zero", True),
        Step("product_list_viewed", "consideration", "visit", "Organic Search"),
        Step("product_list_viewed", "consideration", "visit", "Organic Search", None, True),
        Step("comparison_viewed", "consideration", "visit", "Organic Search", "zero"),
        Step("product_viewed", "consideration", "visit", "Organic Search"),
        Step("review_read", "consideration", "visit", "Direct", "zero", True),
        Step("page_viewed", "consideration", "visit", "Affiliates", None, True),
        Step("product_viewed", "consideration", "visit", "Paid Search", None, True),
        Step("cart_item_added", "purchase", "visit", "Paid Search"),
        Step("coupon_entered", "purchase", "visit", "Paid Search"),
        Step("coupon_applied", "purchase", "visit", "Paid Search"),
        Step("checkout_started", "purchase", "visit", "Paid Search", "first"),
        Step("customer_signed_in", "retention", "visit", "Paid Search"),
        Step("payment_info_added", "purchase", "visit", "Paid Search"),
        # Back from the payment page: the same session, not a referral from paypal.com.
        Step("page_viewed", "consideration", "visit", "Paid Search"),
        Step("order_placed", "purchase", "visit", "Paid Search", "first"),
        Step("order_paid", "purchase", "notice"),
        Step("order_shipped", "retention", "notice"),
        Step("order_delivered", "retention", "notice", None, "second"),
        Step("email_delivered", "awareness", "notice", "Email"),
        Step("email_opened", "awareness", "impression", "Email", None, True),
        Step("survey_answered", "retention", "notice", None, "second"),
        Step("email_delivered", "awareness", "notice", "Email"),
        Step("email_clicked", "awareness", "click", "Email", None, True),
        # The landing of the click just reported: one touch, not two.
        Step("product_viewed", "consideration", "visit", "Email"),
        Step("product_recommended", "loyalty", "notice", None, "third"),
    ),
    orders=(ExpectedOrder(order_id=ORDER, state="delivered", gross_minor=109_999),),
    credit={
        "first_touch": {ORDER: {"Organic Search": 109_999}},
        "last_touch": {ORDER: {"Paid Search": 109_999}},
        "last_non_direct": {ORDER: {"Paid Search": 109_999}},
        "linear": {ORDER: {"Organic Search": 44_000, "Direct": 22_000, "Affiliates": 22_000, "Paid Search": 21_999}},
        "position_based": {
            ORDER: {"Organic Search": 51_333, "Direct": 7_333, "Affiliates": 7_333, "Paid Search": 44_000}
        },
    },
    pains=(),
    gains=("coupon_applied", "order_delivered", "csat", "product_recommended"),
)
