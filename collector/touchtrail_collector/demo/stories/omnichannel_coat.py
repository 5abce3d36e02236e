"""The omnichannel coat: three devices, a chat and a store, one person, one order.

Aylin clicks a Facebook ad on the tablet and lands on a product page that is slow and confusing; she has the coat sent
to her by e-mail. The next day, on the laptop, a helpful agent answers in the chat. Two days later she tries the coat
on in the store, where her loyalty card is scanned, and buys it on her phone's browser minutes later, because the
coupon is valid online only.

What ties her devices together: tablet → e-mail address (form) → laptop (chat); the store knows the loyalty card, and
so does her account, into which she signs in on the phone.

Sessions: tablet (Paid Social), laptop (Direct), phone (Direct).

The order: coat 249.90 - 15 % = 212.41. Touches on its path, in order:

| # | touch | channel | why |
|---|---|---|---|
| 1 | ad_click | Paid Social | the landing 40 s later is this click's: no second touch |
| 2 | product_viewed, laptop | Direct | first event of a session nobody sent her to |
| 3 | chat_started | Chat | an encounter, inside the laptop's session |
| 4 | store_visited | Store | an encounter |
| 5 | store_product_tried | Store | an encounter |
| 6 | product_viewed, phone | Direct | first event of the third session |

- linear: 21,241 / 6 = 3,540.17: one cent is left over and goes to the earliest touch, the ad.
- position 40/20/40: ends 8,496.4, middles 20 % / 4 = 1,062.05 each; one cent is left, the largest remainder is .4 at
  both ends, the earlier one gets it: ad 8,497; Direct 1,062 + 8,496; Chat 1,062; Store 2,124.
- last touch is Direct (the phone); last non-direct passes over it: trying it on in the store.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from touchtrail import events as touch
from touchtrail.context import Campaign
from touchtrail.events import Line

from ..sending import Sending
from .story import Expected, ExpectedOrder, Scene, Step, follow_link, knows, make_browser, make_sender, open_page

CUSTOMER: Final = "aylin-3"
EMAIL: Final = "aylin@mail.example"
CARD: Final = "GW-CARD-0815"
ORDER: Final = "C-2001"
CLICK: Final = "fb-coat-1"
COAT: Final = Line(sku="MT-1", name="Wintermantel", unit_price="249.90", category="Jacken/Winter")


def events(start: datetime) -> tuple[Sending, ...]:
    """Return the story's sendings in the order of arrival; it lasts 7 days from the day of ``start``."""
    scene = Scene("omnichannel_coat", start)
    _click_ad(scene)
    _chat(scene)
    _try_on(scene)
    _order_on_phone(scene)
    return scene.sendings


def _click_ad(scene: Scene) -> None:
    tablet = make_browser("coat-tablet", "tablet")
    clicked = knows(tablet, click_id=CLICK)
    ad = Campaign(source="facebook", medium="paid_social", name="maentel")
    scene.at(0, "20:10")
    scene.say(make_sender("ads", click_id=CLICK), touch.AdClick(network="meta", campaign_id="maentel"), None, ad)
    query = f"utm_source=facebook&utm_medium=paid_social&utm_campaign=maentel&fbclid={CLICK}"
    page = open_page(f"/p/mt-1?{query}", "https://l.facebook.com/")
    scene.say(clicked, touch.ProductViewed(sku="MT-1", price="249.90", currency="EUR"), page)
    scene.say(tablet, touch.PageSlow(duration_ms=6_400, metric="LCP"), page)
    scene.say(tablet, touch.RageClicked(element="#groesse", clicks=7), page)
    scene.say(knows(tablet, email=EMAIL), touch.LeadCaptured(form="send-to-me"), page)


def _chat(scene: Scene) -> None:
    laptop = make_browser("coat-laptop", "desktop")
    page = open_page("/p/mt-1")
    helpdesk = make_sender("helpdesk", email=EMAIL)
    scene.at(1, "12:30")
    scene.say(laptop, touch.ProductViewed(sku="MT-1", price="249.90", currency="EUR"), page)
    scene.say(knows(laptop, email=EMAIL), touch.ChatStarted(conversation_id="ch-9", topic="size"), page)
    scene.say(helpdesk, touch.ChatMessageSent(conversation_id="ch-9"))
    scene.say(helpdesk, touch.ChatMessageReceived(conversation_id="ch-9", agent_id="mira"))
    scene.say(helpdesk, touch.ChatEnded(conversation_id="ch-9", score=5, duration_s=240))


def _try_on(scene: Scene) -> None:
    till = make_sender("till", loyalty_card=CARD)
    scene.at(3, "15:00")
    scene.say(till, touch.StoreVisited(store_id="muenchen"))
    scene.at(3, "15:10")
    scene.say(till, touch.StoreProductTried(sku="MT-1", store_id="muenchen"))


def _order_on_phone(scene: Scene) -> None:
    phone = make_browser("coat-phone", "mobile")
    aylin = knows(phone, CUSTOMER, email=EMAIL, loyalty_card=CARD)
    cart, checkout = follow_link("/cart"), follow_link("/checkout")
    scene.at(3, "15:25")
    scene.say(phone, touch.ProductViewed(sku="MT-1", price="249.90", currency="EUR"), open_page("/p/mt-1"))
    scene.say(phone, touch.CartItemAdded(sku="MT-1", price="249.90", currency="EUR"), cart)
    scene.say(phone, touch.CouponApplied(coupon_code="ONLINE15", discount="37.49", currency="EUR"), cart)
    scene.say(phone, touch.CheckoutStarted(total="212.41", currency="EUR", lines=[COAT]), checkout)
    scene.say(aylin, touch.CustomerSignedIn(method="password"), checkout)
    order = touch.OrderPlaced(
        order_id=ORDER,
        currency="EUR",
        total="212.41",
        goods="249.90",
        discount="37.49",
        shipping="0.00",
        tax="33.91",
        coupon_codes=["ONLINE15"],
        lines=[COAT],
        payment_method="card",
    )
    scene.say(aylin, order, checkout)
    server = make_sender("shop-server", CUSTOMER, order_id=ORDER)
    scene.say(server, touch.OrderPaid(order_id=ORDER, amount="212.41", currency="EUR", method="card"))
    scene.at(4, "14:00")
    scene.say(server, touch.OrderShipped(order_id=ORDER, carrier="dhl"))
    scene.at(6, "10:30")
    scene.say(server, touch.OrderDelivered(order_id=ORDER))


EXPECTED = Expected(
    people=1,
    sessions=3,
    road=(
        Step("ad_click", "awareness", "click", "Paid Social", None, True),
        Step("product_viewed", "consideration", "visit", "Paid Social"),
        # A slow page and rage clicks happen at any stage: they take the stage of what surrounds them.
        Step("page_slow", "consideration", "visit", "Paid Social"),
        Step("rage_clicked", "consideration", "visit", "Paid Social"),
        Step("lead_captured", "consideration", "visit", "Paid Social"),
        Step("product_viewed", "consideration", "visit", "Direct", None, True),
        Step("chat_started", "consideration", "encounter", "Chat", None, True),
        Step("chat_message_sent", "consideration", "notice", "Chat"),
        Step("chat_message_received", "consideration", "notice", "Chat"),
        Step("chat_ended", "consideration", "notice", "Chat"),
        Step("store_visited", "awareness", "encounter", "Store", None, True),
        Step("store_product_tried", "consideration", "encounter", "Store", None, True),
        Step("product_viewed", "consideration", "visit", "Direct", None, True),
        Step("cart_item_added", "purchase", "visit", "Direct"),
        Step("coupon_applied", "purchase", "visit", "Direct"),
        Step("checkout_started", "purchase", "visit", "Direct", "first"),
        Step("customer_signed_in", "retention", "visit", "Direct"),
        Step("order_placed", "purchase", "visit", "Direct", "first"),
        Step("order_paid", "purchase", "notice"),
        Step("order_shipped", "retention", "notice"),
        Step("order_delivered", "retention", "notice", None, "second"),
    ),
    orders=(ExpectedOrder(order_id=ORDER, state="delivered", gross_minor=21_241),),
    credit={
        "first_touch": {ORDER: {"Paid Social": 21_241}},
        "last_touch": {ORDER: {"Direct": 21_241}},
        "last_non_direct": {ORDER: {"Store": 21_241}},
        "linear": {ORDER: {"Paid Social": 3_541, "Direct": 7_080, "Chat": 3_540, "Store": 7_080}},
        "position_based": {ORDER: {"Paid Social": 8_497, "Direct": 9_558, "Chat": 1_062, "Store": 2_124}},
    },
    pains=("page_slow", "rage_clicked"),
    gains=("lead_captured", "chat_ended", "store_product_tried", "coupon_applied", "order_delivered"),
)
