"""One visit to the demo shop's pages or app: landing, looking around, what goes wrong on the way."""

from __future__ import annotations

import random
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from touchtrail import events
from touchtrail.context import Campaign, Page
from touchtrail.events import Event

from .catalogue import CURRENCY, EMPTY_SEARCHES, GUIDES, SEARCHES, SHOP, Product, SizeAdvisorUsed
from .people import Gadget, Person
from .sending import SECOND_MS, Recorder, Voice, to_decimal_text
from .traffic import Landing


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """How a visit begins.

    Args:
        click_id: the advertising platform's or newsletter's id of the click that led here.
        campaign: what the tracker is told beside the address (a push message has none).
    """

    channel: str
    landing: Landing
    click_id: str | None = None
    campaign: Campaign | None = None


class Visit:
    """A person on a device: a clock that moves on, the page that is open, the voice that reports.

    Args:
        at_ms: when the first page opens.
        delay_s: how long after the facts the reports arrive (an app that was offline).
    """

    def __init__(self, rec: Recorder, person: Person, gadget: Gadget, at_ms: int, delay_s: int = 0) -> None:
        self.rec = rec
        self.rng: random.Random = rec.rng
        self.person = person
        self.gadget = gadget
        self.now = at_ms
        self.page: Page | None = None
        self.mood = 1.0
        self.signed_in = False
        self.voice = Voice(
            source=gadget.source,
            person=person.number,
            anonymous_id=gadget.anonymous_id,
            device=gadget.device,
            consent=person.consent,
            clock_offset_s=gadget.clock_offset_s,
            delay_s=delay_s,
        )

    @property
    def is_app(self) -> bool:
        """True in the shop's app, which has screens and no addresses."""
        return self.gadget.source == "app"

    def report(self, event: Event, campaign: Campaign | None = None) -> str | None:
        """Record an event on the open page, some seconds after the one before."""
        event_id = self.rec.add(self.voice, event, self.now, self.page, campaign)
        self.now += self.rng.randrange(4, 90) * SECOND_MS
        return event_id

    def go(self, path: str, referrer: str | None = None, query: str = "") -> None:
        """Open another page; without a referrer it is a link on the shop's own pages."""
        if not self.is_app:
            self.page = _make_page(path, referrer or SHOP + "/") if not query else _land(path, referrer, query)

    def arrive(self, entry: Entry) -> Product:
        """Open the landing page and report its event; return the product the person has in mind."""
        product = self.rng.choice(self.person.liked)
        path, event = self._choose_landing(entry.landing, product)
        query = entry.landing.query.replace("{click}", entry.click_id or "")
        if not self.is_app:
            self.page = _land(path, entry.landing.referrer, query)
        ordinary = self.voice
        if entry.click_id:
            self.voice = replace(ordinary, identifiers={"click_id": entry.click_id})
        self.rec.touch(self.report(event, entry.campaign), entry.channel)
        self.voice = ordinary
        return product

    def sign_in(self) -> None:
        """Sign in, and open an account first when there is none; from now on every event carries who it is."""
        person = self.person
        if person.customer_id is None:
            person.customer_id = f"K{10_000 + person.number}"
        known = {"email": person.email}
        if person.gives_phone:
            known["phone"] = person.phone
        if person.loyalty_card and person.card_is_linked:
            known["loyalty_card"] = person.loyalty_card
        self.voice = replace(self.voice, customer_id=person.customer_id, identifiers=known)
        self.signed_in = True
        self.report(events.CustomerSignedIn(method="password"))

    def introduce(self) -> None:
        """Report what the shop knows of the customer, as it does when an account is opened."""
        traits: dict[str, str | int | float | bool | None] = {
            "segment": self.person.persona.name,
            "country": self.person.country,
        }
        self.report(events.CustomerIdentified(traits=traits))

    def sign_out(self) -> None:
        """Leave the account."""
        self.report(events.CustomerSignedOut())
        self.voice = replace(self.voice, customer_id=None, identifiers=None)
        self.signed_in = False

    def look_around(self, product: Product) -> None:
        """See a few pages: searches, lists, products, reviews, and now and then something that annoys."""
        for _ in range(self.rng.choices((0, 1, 2, 3, 4), (24, 28, 24, 15, 9))[0]):
            self._look_once(product)
        if self.rng.random() < 0.13:
            self._stumble(product)

    def view(self, product: Product) -> None:
        """Open a product's page."""
        self.go(f"/p/{product.sku.lower()}")
        self.report(view_product(product))

    def _choose_landing(self, landing: Landing, product: Product) -> tuple[str, Event]:
        if self.is_app:
            return "/", events.ScreenViewed(name="Start")
        if landing.kind == "product":
            return f"/p/{product.sku.lower()}", view_product(product)
        if landing.kind == "list":
            category = product.category.split("/")[0]
            return f"/k/{category.lower()}", events.ProductListViewed(list_id=category, category=product.category)
        if landing.kind == "content":
            guide = self.rng.choice(GUIDES)
            return f"/ratgeber/{guide}", events.ContentViewed(content_id=guide, kind="guide")
        return "/", events.PageViewed(name="Startseite")

    def _look_once(self, product: Product) -> None:
        roll = self.rng.random()
        if roll < 0.42:
            self.view(self.rng.choice(self.person.liked))
        elif roll < 0.56:
            self._browse_list(product)
        elif roll < 0.66:
            self._search()
        elif roll < 0.76:
            self.report(events.ReviewRead(sku=product.sku))
        elif roll < 0.90:
            self._read_on(product)
        else:
            self._wish(product)

    def _browse_list(self, product: Product) -> None:
        category = product.category.split("/")[0]
        self.go(f"/k/{category.lower()}")
        self.report(events.ProductListViewed(list_id=category, category=product.category))
        if self.rng.random() < 0.3:
            self.report(
                events.ProductListFiltered(list_id=category, filters={"farbe": product.colours[0]}, sort="price")
            )
        if self.rng.random() < 0.4:
            self.report(events.ProductClicked(sku=product.sku, list_id=category, position=self.rng.randrange(1, 20)))

    def _search(self) -> None:
        if self.rng.random() < 0.14:
            query = self.rng.choice(EMPTY_SEARCHES)
            self.mood *= 0.7
            self.report(events.ProductSearched(query=query, results=0))
            self.report(events.SearchEmpty(query=query))
        else:
            self.report(events.ProductSearched(query=self.rng.choice(SEARCHES), results=self.rng.randrange(1, 40)))

    def _read_on(self, product: Product) -> None:
        roll = self.rng.random()
        if roll < 0.3:
            guide = self.rng.choice(GUIDES)
            self.go(f"/ratgeber/{guide}")
            self.report(events.ContentViewed(content_id=guide, kind="guide"))
        elif roll < 0.5:
            self.report(events.ComparisonViewed(skus=[product.sku, self.rng.choice(self.person.liked).sku]))
        elif roll < 0.7:
            self.report(events.PromotionViewed(promotion_id="saison", name="Saisonstart", position="home-1"))
            if self.rng.random() < 0.4:
                self.report(events.PromotionClicked(promotion_id="saison", name="Saisonstart", position="home-1"))
        elif roll < 0.85:
            self.report(SizeAdvisorUsed(size=self.rng.choice(("S", "M", "L")), sku=product.sku))
        else:
            self.report(events.ExperimentViewed(experiment_id="pdp-layout", variant=self.rng.choice("AB")))

    def _wish(self, product: Product) -> None:
        roll = self.rng.random()
        if roll < 0.55:
            self.report(events.WishlistItemAdded(sku=product.sku, name=product.name))
        elif roll < 0.7:
            self.report(events.WishlistItemMovedToCart(sku=product.sku, name=product.name))
        elif roll < 0.8:
            self.report(events.WishlistItemRemoved(sku=product.sku, name=product.name))
        elif roll < 0.95:
            self.report(events.ProductShared(sku=product.sku, via="whatsapp"))
        else:
            self.report(events.CartShared(via="whatsapp"))

    def _stumble(self, product: Product) -> None:
        roll = self.rng.random()
        self.mood *= 0.45
        if roll < 0.35:
            self.report(events.PageSlow(duration_ms=self.rng.randrange(3_000, 12_000), metric="LCP"))
        elif roll < 0.55:
            self.report(events.RageClicked(element="#groesse", clicks=self.rng.randrange(4, 12)))
        elif roll < 0.68:
            self.report(events.ScriptFailed(message="TypeError: x is undefined", where="/static/shop.js:1:20411"))
        else:
            self.report(events.StockOutSeen(sku=product.sku, name=product.name))
            if self.rng.random() < 0.4:
                self.report(events.BackInStockRequested(sku=product.sku))


def view_product(product: Product) -> events.ProductViewed:
    """Return the event of a product page."""
    return events.ProductViewed(
        sku=product.sku,
        name=product.name,
        category=product.category,
        brand=product.brand,
        price=to_decimal_text(product.price_minor),
        currency=CURRENCY,
    )


@lru_cache(maxsize=512)
def _make_page(path: str, referrer: str | None) -> Page:
    return Page(url=SHOP + path, referrer=referrer, path=path)


def _land(path: str, referrer: str | None, query: str) -> Page:
    return Page(url=f"{SHOP}{path}?{query}", referrer=referrer, path=path) if query else _make_page(path, referrer)
