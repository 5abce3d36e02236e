"""One person's road: contact after contact, online and offline, and now and then an order."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from touchtrail import events
from touchtrail.context import Campaign

from .catalogue import STORES
from .ledger import Referral, ShopBooks
from .people import Gadget, Person
from .purchase import Occasion, buy_in_store, buy_on_phone
from .schedule import Calendar
from .sending import DAY_MS, MINUTE_MS, SECOND_MS, Recorder, Voice
from .traffic import MET_EFFECT, ORIGINS, SEEN_EFFECT, VISIT_EFFECT, Landing, Spend
from .visit import Entry
from .visitor import Pull, Visitor

_AD_ORIGINS = tuple(origin for origin in ORIGINS if origin.spend is not None and origin.spend.thousand_minor)
_NEW_WEIGHTS = [origin.new for origin in ORIGINS]
_RETURNING_WEIGHTS = [origin.returning for origin in ORIGINS]
_FRIEND = Entry(
    channel="Customer Referral",
    landing=Landing(None, "utm_source=freunde&utm_medium=customer-referral&utm_campaign=freunde-werben", "home"),
)


class Road:
    """Walks one person through the simulated time.

    Args:
        books: the shop's, shared by all people.
    """

    def __init__(self, rec: Recorder, calendar: Calendar, books: ShopBooks, person: Person) -> None:
        self.rec = rec
        self.rng = rec.rng
        self.calendar = calendar
        self.books = books
        self.person = person
        self.visitor = Visitor(rec, books, person)
        self._contacts: tuple[tuple[Callable[[int], None], float], ...] = (
            (self.visit_pages, 0.52),
            (self.see_ad, 0.20),
            (self.get_push, 0.10),
            (self.go_to_store, 0.11),
            (self.call, 0.016),
            (self.like_post, 0.03),
            (self.hear_from_friend, 0.02),
            (self.see_print, 0.015),
            (self.attend_event, 0.008),
        )

    def walk(self) -> None:
        """Let the person live until they lose interest or time is up."""
        at_ms = self._start()
        while at_ms < self.rec.end_ms:
            self._pick_contact()(at_ms)
            if self.rng.random() < (0.07 if self.person.orders else 0.12):
                return
            at_ms = self.calendar.pick_next(max(at_ms, self.visitor.busy_until_ms), 7.0)

    def visit_pages(self, at_ms: int) -> None:
        """Come to the shop's pages from somewhere."""
        weights = _RETURNING_WEIGHTS if self.visitor.visits else _NEW_WEIGHTS
        origin = self.rng.choices(ORIGINS, weights)[0]
        gadget = self.visitor.pick_gadget()
        if gadget.source == "app":
            origin = ORIGINS[-1]
        landing = self.rng.choice(origin.landings)
        click_id = f"{self.rng.getrandbits(88):022x}" if "{click}" in landing.query else None
        entry = Entry(channel=origin.channel, landing=landing, click_id=click_id)
        if origin.spend is not None:
            self._pay_click(origin.spend, at_ms)
            if self.rng.random() < 0.4:
                self._report_click(entry, origin.spend, gadget, at_ms)
        self.visitor.visit(entry, origin.effect, gadget, at_ms)

    def see_ad(self, at_ms: int) -> None:
        """Be shown an advertisement, without a click."""
        origin = self.rng.choice(_AD_ORIGINS)
        spend = origin.spend
        assert spend is not None
        gadget = self.visitor.pick_gadget()
        day = self.books.spend_on(at_ms, spend.campaign)
        day.impressions += 1
        voice = self._platform_voice(gadget, 0.75)
        event = events.AdImpression(
            network=spend.network, campaign_id=spend.campaign, creative_id=f"{spend.campaign}-3"
        )
        self.visitor.meet(voice, event, at_ms, _see(origin.channel, _campaign(spend)))

    def get_newsletter(self, at_ms: int) -> None:
        """Get the newsletter, perhaps open it, perhaps click."""
        rng, person = self.rng, self.person
        campaign_id = f"nl-{(at_ms - self.calendar.start_ms) // (7 * DAY_MS):02d}"
        voice = Voice(
            source="newsletter",
            person=person.number,
            identifiers={"email": person.email},
            customer_id=person.customer_id,
        )
        message_id = f"{campaign_id}-{person.number}"
        if rng.random() < 0.02:
            self.rec.add(
                voice, events.EmailBounced(campaign_id=campaign_id, message_id=message_id, reason="mailbox_full"), at_ms
            )
            return
        self.rec.add(voice, events.EmailDelivered(campaign_id=campaign_id, message_id=message_id), at_ms)
        if rng.random() < 0.55:
            opened_ms = at_ms + rng.randrange(2, 600) * MINUTE_MS
            self.visitor.busy_until_ms = opened_ms
            campaign = Campaign(source="newsletter", medium="email", name=campaign_id)
            opened = events.EmailOpened(campaign_id=campaign_id, message_id=message_id, machine=rng.random() < 0.15)
            self.visitor.meet(
                voice, opened, opened_ms, Pull("Email", 0.0 if opened.machine else SEEN_EFFECT["Email"], campaign)
            )
            self._react_to_mail(voice, campaign, message_id, opened_ms)

    def get_push(self, at_ms: int) -> None:
        """Get a push message of the app, perhaps tap it."""
        app = next((gadget for gadget in self.person.gadgets if gadget.source == "app"), None)
        if app is None:
            return self.see_ad(at_ms)
        campaign = Campaign(source="firebase", medium="push", name="neuheiten")
        voice = self.visitor.speak(app)
        received = events.PushReceived(campaign_id="neuheiten")
        self.visitor.meet(voice, received, at_ms, _see("Mobile Push", campaign))
        if self.rng.random() < 0.25:
            tapped_ms = at_ms + 5 * MINUTE_MS
            self.rec.touch(
                self.rec.add(voice, events.PushTapped(campaign_id="neuheiten"), tapped_ms, None, campaign),
                "Mobile Push",
            )
            entry = Entry(channel="Mobile Push", landing=Landing(None, kind="home"), campaign=campaign)
            self.visitor.visit(entry, VISIT_EFFECT["Mobile Push"], app, tapped_ms + 4 * SECOND_MS)
        return None

    def go_to_store(self, at_ms: int) -> None:
        """Go to a store, try something on, perhaps buy."""
        person, rng = self.person, self.rng
        if not person.near_store:
            return self.visit_pages(at_ms)
        at_ms = self.calendar.pick_shop_hour(at_ms)
        known = {"loyalty_card": person.loyalty_card} if person.loyalty_card else None
        # The till's day goes to the collector in the evening.
        voice = Voice(source="till", person=person.number, identifiers=known, delay_s=rng.randrange(3, 12) * 3_600)
        store = rng.choice(STORES)
        self.visitor.desire.add(at_ms, "Store", MET_EFFECT["Store"])
        if known:
            self.rec.touch(self.rec.add(voice, events.StoreVisited(store_id=store), at_ms), "Store")
            if rng.random() < 0.4:
                tried = events.StoreProductTried(sku=rng.choice(person.liked).sku, store_id=store)
                self.rec.touch(self.rec.add(voice, tried, at_ms + 10 * MINUTE_MS), "Store")
        bought_ms = self.visitor.busy_until_ms = at_ms + 25 * MINUTE_MS
        causes = self.visitor.desire.causes(bought_ms)
        if rng.random() < self.visitor.desire.probability(causes, 1.0):
            self.visitor.finish(
                buy_in_store(self.rec, self.books, voice, Occasion(person=person, at_ms=bought_ms, causes=causes))
            )
        return None

    def call(self, at_ms: int) -> None:
        """Phone the shop, perhaps order there."""
        at_ms, person = self.calendar.pick_shop_hour(at_ms), self.person
        voice = Voice(source="phone", person=person.number, identifiers={"phone": person.phone})
        event = events.CallReceived(number="+49 89 555 100", topic="advice", duration_s=self.rng.randrange(40, 900))
        self.visitor.meet(voice, event, at_ms, _meet("Phone"))
        ordered_ms = self.visitor.busy_until_ms = at_ms + 12 * MINUTE_MS
        causes = self.visitor.desire.causes(ordered_ms)
        if self.rng.random() < self.visitor.desire.probability(causes, 1.3):
            self.visitor.finish(
                buy_on_phone(self.rec, self.books, Occasion(person=person, at_ms=ordered_ms, causes=causes))
            )

    def like_post(self, at_ms: int) -> None:
        """React to a post of the shop's on a social network, as an answer in a contest tells."""
        known = {"email": self.person.email}
        voice = Voice(source="social", person=self.person.number, identifiers=known)
        event = events.SocialEngaged(network="instagram", action="like")
        self.visitor.meet(voice, event, at_ms, _meet("Organic Social"))

    def hear_from_friend(self, at_ms: int) -> None:
        """Be told of the shop by a friend; reported days later, when a survey asks."""
        voice = self._survey_voice(self.rng.randrange(2, 20) * 86_400)
        event = events.RecommendationReceived(from_whom="friend", sku=self.rng.choice(self.person.liked).sku)
        self.visitor.meet(voice, event, at_ms, _meet("Word of Mouth"))

    def see_print(self, at_ms: int) -> None:
        """See an advertisement in a magazine, as a survey tells; or scan the code printed there."""
        if self.rng.random() < 0.3:
            scanned = Campaign(source="bergwelt", medium="print", name="bw-26")
            event = events.CampaignTouch(campaign_id="bw-26", kind="qr")
            phone = self.visitor.speak(self.visitor.web_gadget())
            self.visitor.meet(phone, event, at_ms, Pull("Print", MET_EFFECT["Print"], scanned))
            return
        voice = self._survey_voice(self.rng.randrange(1, 9) * 86_400)
        seen = events.PrintAdSeen(publication="Bergwelt", code="BW-26")
        self.visitor.meet(voice, seen, at_ms, _meet("Print"))

    def attend_event(self, at_ms: int) -> None:
        """Come to a running evening of the shop's."""
        known = {"email": self.person.email}
        voice = Voice(source="till", person=self.person.number, identifiers=known, delay_s=40_000)
        event = events.EventAttended(event="lauftreff", place="muenchen")
        self.visitor.busy_until_ms = self.calendar.pick_shop_hour(at_ms)
        self.visitor.meet(voice, event, self.visitor.busy_until_ms, _meet("Event"))

    def _start(self) -> int:
        at_ms = self.calendar.pick_start()
        referrals = self.books.referrals
        if referrals and self.rng.random() < 0.08:
            referral = self.rng.choice(referrals)
            clicked_ms = self.calendar.pick_next(referral.sent_ms, 3.0)
            self._follow_friend(referral, clicked_ms)
            return self.calendar.pick_next(clicked_ms, 7.0)
        return at_ms

    def _pick_contact(self) -> Callable[[int], None]:
        if not self.visitor.visits and self.rng.random() < 0.5:
            return self.visit_pages
        if self.person.is_subscribed and self.rng.random() < 0.4:
            return self.get_newsletter
        return self.rng.choices([do for do, _ in self._contacts], [weight for _, weight in self._contacts])[0]

    def _survey_voice(self, delay_s: int) -> Voice:
        return Voice(
            source="survey", person=self.person.number, identifiers={"email": self.person.email}, delay_s=delay_s
        )

    def _react_to_mail(self, voice: Voice, campaign: Campaign, message_id: str, opened_ms: int) -> None:
        rng = self.rng
        if rng.random() < 0.32:
            clicked_ms = opened_ms + rng.randrange(5, 120) * SECOND_MS
            click_id = f"{rng.getrandbits(64):016x}"
            clicks = replace(voice, identifiers={**(voice.identifiers or {}), "click_id": click_id})
            event = events.EmailClicked(campaign_id=campaign.name, message_id=message_id, link="/neu")
            self.rec.touch(self.rec.add(clicks, event, clicked_ms, None, campaign), "Email")
            landing = Landing(None, f"utm_source=newsletter&utm_medium=email&utm_campaign={campaign.name}", "list")
            entry = Entry(channel="Email", landing=landing, click_id=click_id)
            self.visitor.visit(entry, VISIT_EFFECT["Email"], self.visitor.web_gadget(), clicked_ms + 2 * SECOND_MS)
        elif rng.random() < 0.03:
            self.person.is_subscribed = False
            is_angry = rng.random() < 0.2
            event_kind = events.EmailSpam if is_angry else events.EmailUnsubscribed
            self.rec.add(voice, event_kind(campaign_id=campaign.name, message_id=message_id), opened_ms + 3 * MINUTE_MS)
            withdrawn = replace(voice, consent=replace(self.person.consent, ads=False))
            self.rec.add(withdrawn, events.ConsentWithdrawn(purposes=["ads"]), opened_ms + 4 * MINUTE_MS)

    def _follow_friend(self, referral: Referral, at_ms: int) -> None:
        """Follow a friend's link: the click names the code, the visit follows at once."""
        gadget = self.visitor.web_gadget()
        voice = self.visitor.speak(gadget)
        event = events.ReferralLinkVisited(referral_code=referral.code)
        self.visitor.meet(voice, event, at_ms, _meet("Customer Referral"))
        orders = self.person.orders
        self.visitor.visit(_FRIEND, 0.0, gadget, at_ms + 3 * SECOND_MS)
        if self.person.orders > orders:
            crm = Voice(source="shop-server", person=referral.person, customer_id=referral.customer_id)
            self.rec.add(crm, events.ReferralConverted(referral_code=referral.code), at_ms + DAY_MS)

    def _pay_click(self, spend: Spend, at_ms: int) -> None:
        day = self.books.spend_on(at_ms, spend.campaign)
        day.clicks += 1
        day.cost_minor += spend.click_minor

    def _report_click(self, entry: Entry, spend: Spend, gadget: Gadget, at_ms: int) -> None:
        """Report the click as the advertising platform does: it knows its click id, seldom the browser's id."""
        voice = self._platform_voice(gadget, 0.3)
        if entry.click_id:
            voice = replace(voice, identifiers={"click_id": entry.click_id})
        event = events.AdClick(network=spend.network, campaign_id=spend.campaign)
        clicked_ms = at_ms - 3 * SECOND_MS
        self.rec.touch(self.rec.add(voice, event, clicked_ms, None, _campaign(spend)), entry.channel)

    def _platform_voice(self, gadget: Gadget, known_share: float) -> Voice:
        """Return an advertising platform's voice: it knows the shop's id of the browser, or only an id of its own."""
        voice = self.visitor.speak(gadget, "ads")
        if self.rng.random() < known_share:
            return voice
        return replace(voice, anonymous_id=f"px-{gadget.anonymous_id[:12]}")


def _campaign(spend: Spend) -> Campaign:
    return Campaign(source=spend.source, medium=spend.medium, name=spend.campaign)


def _see(channel: str, campaign: Campaign) -> Pull:
    return Pull(channel, SEEN_EFFECT[channel], campaign)


def _meet(channel: str) -> Pull:
    return Pull(channel, MET_EFFECT[channel])
