"""One person as the shop meets them: devices, visits, and the wish to buy that grows and fades."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from touchtrail import events
from touchtrail.context import Campaign
from touchtrail.events import Event

from .desire import Desire
from .fulfilment import Aftermath
from .ledger import OpenOrder, ShopBooks
from .people import Gadget, Person, make_anonymous_id
from .purchase import abandon_cart, buy_online
from .sending import DAY_MS, HOUR_MS, SECOND_MS, Recorder, Voice
from .traffic import MET_EFFECT
from .visit import Entry, Visit


class Pull(msgspec.Struct, frozen=True):
    """What a contact outside the shop's pages does: its channel, its true effect, the campaign it names."""

    channel: str
    effect: float
    campaign: Campaign | None = None


class Visitor:
    """The person's state between contacts.

    Args:
        books: the shop's, shared by all people.
    """

    def __init__(self, rec: Recorder, books: ShopBooks, person: Person) -> None:
        self.rec = rec
        self.rng = rec.rng
        self.books = books
        self.person = person
        self.desire = Desire(person.propensity)
        self.visits = 0
        self.busy_until_ms = 0

    def meet(self, voice: Voice, event: Event, at_ms: int, pull: Pull) -> None:
        """Record a contact outside the shop's pages, and let it have its effect."""
        self.desire.add(at_ms, pull.channel, pull.effect)
        self.rec.touch(self.rec.add(voice, event, at_ms, None, pull.campaign), pull.channel)

    def speak(self, gadget: Gadget, source: str | None = None) -> Voice:
        """Return the voice of one of the person's devices; ``source`` names another sender that knows its id."""
        return Voice(
            source=source or gadget.source,
            person=self.person.number,
            anonymous_id=gadget.anonymous_id,
            device=gadget.device,
            clock_offset_s=0 if source else gadget.clock_offset_s,
        )

    def pick_gadget(self) -> Gadget:
        """Return a device at hand; now and then its cookies are gone and it has a new id."""
        gadget = self.rng.choice(self.person.gadgets)
        if gadget.source == "web" and not gadget.is_shared and self.rng.random() < 0.05:
            gadget.anonymous_id = make_anonymous_id(self.rng)
        return gadget

    def web_gadget(self) -> Gadget:
        """Return the person's main browser."""
        return next(gadget for gadget in self.person.gadgets if gadget.source == "web")

    def visit(self, entry: Entry, effect: float, gadget: Gadget, at_ms: int) -> None:
        """Visit the shop's pages: look around, perhaps sign up, chat, fill a cart, buy."""
        rng, person = self.rng, self.person
        self.visits += 1
        self.desire.add(at_ms, entry.channel, effect)
        is_offline = gadget.source == "app" and rng.random() < 0.3
        visit = Visit(self.rec, person, gadget, at_ms, rng.randrange(1, 60) * 3_600 if is_offline else 0)
        product = visit.arrive(entry)
        if person.customer_id is not None and rng.random() < (0.7 if gadget.is_shared else 0.25):
            visit.sign_in()
        visit.look_around(product)
        if rng.random() < 0.025:
            self._chat(visit)
        self._subscribe(visit)
        causes = self.desire.causes(visit.now)
        if rng.random() < self.desire.probability(causes, visit.mood):
            self.finish(buy_online(visit, self.books, product, causes))
        elif rng.random() < 0.09:
            abandon_cart(visit, product)
        if visit.signed_in and (gadget.is_shared or rng.random() < 0.1):
            visit.sign_out()
        self.busy_until_ms = visit.now

    def finish(self, order: OpenOrder | None) -> None:
        """Let an order take its course, and start to wish anew."""
        if order is None:
            return
        self.desire.satisfy()
        gadget = next(gadget for gadget in self.person.gadgets if not gadget.is_shared)
        Aftermath(self.rec, self.books, self.person, order, gadget).unfold()

    def _subscribe(self, visit: Visit) -> None:
        """Sign up for the newsletter, link the loyalty card, choose about cookies: what the footer offers."""
        rng, person = self.rng, self.person
        if self.visits == 1 and rng.random() < 0.3:
            visit.report(events.ConsentGiven(purposes=["analytics"], version="2026-01"))
        if not person.is_subscribed and rng.random() < 0.13:
            person.is_subscribed = True
            plain = visit.voice
            visit.voice = replace(plain, identifiers={**(plain.identifiers or {}), "email": person.email})
            visit.report(events.LeadCaptured(form="newsletter"))
            visit.voice = plain
            self._follow_lead(visit.now)
        if visit.signed_in and person.loyalty_card and not person.card_is_linked and rng.random() < 0.6:
            person.card_is_linked = True
            linked = {**(visit.voice.identifiers or {}), "loyalty_card": person.loyalty_card}
            visit.voice = replace(visit.voice, identifiers=linked)
            visit.introduce()

    def _follow_lead(self, at_ms: int) -> None:
        roll = self.rng.random()
        voice = Voice(source="shop-server", person=self.person.number, identifiers={"email": self.person.email})
        if roll < 0.1:
            self.rec.add(voice, events.LeadQualified(reason="confirmed"), at_ms + HOUR_MS)
            self.rec.add(voice, events.LeadConverted(), at_ms + 2 * DAY_MS)
        elif roll < 0.13:
            self.rec.add(voice, events.LeadDisqualified(reason="bounced"), at_ms + HOUR_MS)

    def _chat(self, visit: Visit) -> None:
        rng, person = self.rng, self.person
        conversation = f"ch-{rng.getrandbits(40):010x}"
        plain = visit.voice
        if rng.random() < 0.5:
            visit.voice = replace(plain, identifiers={**(plain.identifiers or {}), "email": person.email})
        self.desire.add(visit.now, "Chat", MET_EFFECT["Chat"])
        self.rec.touch(visit.report(events.ChatStarted(conversation_id=conversation, topic="size")), "Chat")
        visit.voice = plain
        desk = Voice(source="helpdesk", person=person.number, anonymous_id=plain.anonymous_id)
        for event in (
            events.ChatMessageSent(conversation_id=conversation),
            events.ChatMessageReceived(conversation_id=conversation, agent_id="agent-2"),
            events.ChatEnded(
                conversation_id=conversation, score=rng.choice((3, 4, 5, 5)), duration_s=rng.randrange(60, 900)
            ),
        ):
            self.rec.add(desk, event, visit.now)
            visit.now += rng.randrange(10, 90) * SECOND_MS
