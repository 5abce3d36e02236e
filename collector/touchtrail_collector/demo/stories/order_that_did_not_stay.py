"""The order that did not stay: credit given at the order is taken back, on the day it happens and per touchpoint.

Ben is shown a display ad and does not click. Three days later he opens the newsletter, clicks, and orders a jacket and
a pair of trousers, 99.95 each. The jacket is sent and comes back; its money is refunded, and a webhook reports the
same refund once more. The trousers never became available: the shop cancels the rest.

Session: one, the landing of the newsletter's click.

The order 199.90, touches: Display (seen only), Email (opened), Email (clicked; the landing is this click's).

| day | change | amount | linear: Display / Email | position 40/20/40: Display / Email |
|---|---|---|---|---|
| 3 | placed | +199.90 | 66.64 / 133.26 | 79.96 / 119.94 |
| 12 | refunded | -99.95 | -33.32 / -66.63 | -39.98 / -59.97 |
| 20 | cancelled | -99.95 | -33.32 / -66.63 | -39.98 / -59.97 |
| | net | 0.00 | 0.00 / 0.00 | 0.00 / 0.00 |

19,990 / 3 = 6,663.33: the odd cent goes to the earliest touch, Display. 9,995 / 3 = 3,331.67: two odd cents, to the two
earliest: Display 3,332, Email 3,332 + 3,331. Sharing each change by itself and taking the difference of the shares of
what is left give the same figures here, so both manners of counting agree.

On the basis of the order's day everything is credited to day 3 and falls to 0 as the as-of date moves on; on the basis
of the change's day, day 3 keeps its 199.90 and days 12 and 20 show what was taken back.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from touchtrail import events as touch
from touchtrail.context import Campaign
from touchtrail.events import Line

from ..sending import Sending
from .story import (
    Expected,
    ExpectedChange,
    ExpectedOrder,
    Scene,
    Step,
    follow_link,
    knows,
    make_browser,
    make_sender,
    open_page,
)

EMAIL: Final = "ben@mail.example"
ORDER: Final = "R-4001"
CLICK: Final = "nl-stay-1"
JACKET: Final = Line(sku="JK-1", name="Softshelljacke", unit_price="99.95", category="Jacken/Softshell")
TROUSERS: Final = Line(sku="HS-1", name="Tourenhose", unit_price="99.95", category="Hosen/Wandern")


def events(start: datetime) -> tuple[Sending, ...]:
    """Return the story's sendings in the order of arrival; it lasts 21 days from the day of ``start``."""
    scene = Scene("order_that_did_not_stay", start)
    _see_and_click(scene)
    _order(scene)
    _send_back(scene)
    return scene.sendings


def _see_and_click(scene: Scene) -> None:
    banner = Campaign(source="criteo", medium="display", name="jacken")
    # The advertising platform is told the browser's id by the shop's pixel.
    ads = replace(make_browser("stay-browser", "desktop"), source="ads")
    seen = touch.AdImpression(network="criteo", campaign_id="jacken", placement="nachrichten.example")
    scene.at(0, "07:45")
    scene.say(ads, seen, None, banner)
    issue = Campaign(source="newsletter", medium="email", name="herbst")
    mailer = make_sender("newsletter", email=EMAIL)
    scene.at(3, "09:00")
    scene.say(mailer, touch.EmailDelivered(campaign_id="herbst"), None, issue)
    scene.at(3, "19:00")
    scene.say(mailer, touch.EmailOpened(campaign_id="herbst"), None, issue)
    clicked = make_sender("newsletter", email=EMAIL, click_id=CLICK)
    scene.say(clicked, touch.EmailClicked(campaign_id="herbst", link="/jacken"), None, issue)


def _order(scene: Scene) -> None:
    browser = make_browser("stay-browser", "desktop")
    guest = knows(browser, email=EMAIL, order_id=ORDER)
    landing = open_page("/jacken?utm_source=newsletter&utm_medium=email&utm_campaign=herbst")
    scene.say(knows(browser, click_id=CLICK), touch.ProductListViewed(list_id="jacken"), landing)
    cart, checkout = follow_link("/cart"), follow_link("/checkout")
    scene.say(browser, touch.CartItemAdded(sku="JK-1", price="99.95", currency="EUR"), cart)
    scene.say(browser, touch.CartItemAdded(sku="HS-1", price="99.95", currency="EUR"), cart)
    scene.say(browser, touch.CheckoutStarted(total="199.90", currency="EUR", lines=[JACKET, TROUSERS]), checkout)
    order = touch.OrderPlaced(
        order_id=ORDER,
        currency="EUR",
        total="199.90",
        goods="199.90",
        shipping="0.00",
        tax="31.92",
        lines=[JACKET, TROUSERS],
        payment_method="invoice",
    )
    scene.say(guest, order, checkout)
    scene.say_again(make_sender("shop-server", email=EMAIL, order_id=ORDER), order)


def _send_back(scene: Scene) -> None:
    server = make_sender("shop-server", order_id=ORDER)
    scene.at(4, "10:00")
    scene.say(server, touch.OrderPaid(order_id=ORDER, amount="199.90", currency="EUR", method="invoice"))
    scene.at(5, "12:00")
    scene.say(server, touch.OrderShipped(order_id=ORDER, carrier="dhl", lines=[JACKET]))
    scene.at(7, "11:00")
    scene.say(server, touch.OrderDelivered(order_id=ORDER, lines=[JACKET]))
    scene.at(8, "18:00")
    back = touch.ReturnRequested(order_id=ORDER, return_id="RT-1", lines=[JACKET], reason="too_small")
    scene.say(server, back)
    scene.at(11, "09:00")
    scene.say(server, touch.ReturnReceived(order_id=ORDER, return_id="RT-1", lines=[JACKET]))
    refund = touch.OrderRefunded(
        order_id=ORDER, amount="99.95", currency="EUR", lines=[JACKET], reason="too_small", refund_id="RF-1"
    )
    scene.at(12, "10:00")
    scene.say(server, refund)
    scene.say_again(make_sender("webhook", order_id=ORDER), refund)
    scene.at(20, "16:00")
    rest = touch.OrderCancelled(order_id=ORDER, reason="out_of_stock", by="shop", cancellation_id="C-1")
    scene.say(server, rest)


EXPECTED = Expected(
    people=1,
    sessions=1,
    road=(
        Step("ad_impression", "awareness", "impression", "Display", None, True),
        Step("email_delivered", "awareness", "notice", "Email"),
        Step("email_opened", "awareness", "impression", "Email", None, True),
        Step("email_clicked", "awareness", "click", "Email", None, True),
        Step("product_list_viewed", "consideration", "visit", "Email"),
        Step("cart_item_added", "purchase", "visit", "Email"),
        Step("cart_item_added", "purchase", "visit", "Email"),
        Step("checkout_started", "purchase", "visit", "Email", "first"),
        Step("order_placed", "purchase", "visit", "Email", "first"),
        Step("order_paid", "purchase", "notice"),
        Step("order_shipped", "retention", "notice"),
        Step("order_delivered", "retention", "notice", None, "second"),
        Step("return_requested", "retention", "notice"),
        Step("return_received", "retention", "notice"),
        Step("order_refunded", "retention", "notice"),
        Step("order_cancelled", "retention", "notice"),
    ),
    # What took the last cent away names the state: the cancellation.
    orders=(
        ExpectedOrder(
            order_id=ORDER, state="cancelled", gross_minor=19_990, cancelled_minor=9_995, refunded_minor=9_995
        ),
    ),
    # The net is 0 at the end, so every model credits nothing; what it credited before stands in `changes`.
    credit={
        model: {ORDER: {}} for model in ("first_touch", "last_touch", "last_non_direct", "linear", "position_based")
    },
    pains=("return_requested", "order_cancelled"),
    gains=("order_delivered",),
    changes=(
        ExpectedChange(
            order_id=ORDER,
            after_days=3,
            kind="placed",
            amount_minor=19_990,
            credit={
                "first_touch": {"Display": 19_990},
                "last_touch": {"Email": 19_990},
                "last_non_direct": {"Email": 19_990},
                "linear": {"Display": 6_664, "Email": 13_326},
                "position_based": {"Display": 7_996, "Email": 11_994},
            },
        ),
        *(
            ExpectedChange(
                order_id=ORDER,
                after_days=day,
                kind=kind,
                amount_minor=-9_995,
                credit={
                    "first_touch": {"Display": -9_995},
                    "last_touch": {"Email": -9_995},
                    "last_non_direct": {"Email": -9_995},
                    "linear": {"Display": -3_332, "Email": -6_663},
                    "position_based": {"Display": -3_998, "Email": -5_997},
                },
            )
            for day, kind in ((12, "refunded"), (20, "cancelled"))
        ),
    ),
)
