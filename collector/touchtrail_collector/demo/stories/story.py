"""What a story is made of: a scene in which events are told one after the other, and the picture that is expected."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec

from touchtrail.context import Campaign, Device, Page
from touchtrail.events import Contact, Event, Moment, Stage

from ..people import DESKTOPS, PHONES, TABLETS
from ..sending import DAY_MS, MINUTE_MS, SECOND_MS, Recorder, Sending, Voice, to_ms
from ..truth import OrderState

SHOP = "https://shop.example"
"""Address of the shop in the stories."""

STEP_S = 40
"""Seconds between two events of a story that are told without a time."""

Credit = Mapping[str, int]


class Step(msgspec.Struct, frozen=True):
    """One contact of the road, in the order in which it happened.

    Args:
        channel: None where the story does not judge it: a notice has the channel of nothing.
        creditable: attribution may give it credit.
    """

    event: str
    stage: Stage
    contact: Contact
    channel: str | None = None
    moment: Moment | None = None
    creditable: bool = False


class ExpectedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """How an order must stand at the end; amounts are minor units."""

    order_id: str
    state: OrderState
    gross_minor: int
    cancelled_minor: int = 0
    refunded_minor: int = 0
    currency: str = "EUR"

    @property
    def net_minor(self) -> int:
        """Gross less what was cancelled and refunded."""
        return self.gross_minor - self.cancelled_minor - self.refunded_minor


class ExpectedChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change of an order's value and the credit it gives (or, below zero, takes back) on the day it happens.

    Args:
        after_days: the story's day on which it happens; the first day is 0.
        kind: as the table `order_changes` names it.
        credit: minor units per channel, by model.
    """

    order_id: str
    after_days: int
    kind: str
    amount_minor: int
    credit: Mapping[str, Credit]


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """The right picture of a story: what a report must show once everything was derived.

    Args:
        people: how many persons the events belong to.
        road: every contact but those of kind `none`, each fact once: sendings with ``repeat`` are left out.
        pains, gains: names of the events that carry such a signal, in order (a survey by its kind).
        credit: net credit by model and order, per channel in minor units, for the standard parameters: look-back
            ``lookback_days``, position 40/20/40, the end of the story as as-of date.
    """

    people: int
    sessions: int
    road: tuple[Step, ...]
    orders: tuple[ExpectedOrder, ...]
    credit: Mapping[str, Mapping[str, Credit]]
    pains: tuple[str, ...]
    gains: tuple[str, ...]
    changes: tuple[ExpectedChange, ...] = ()
    lookback_days: int = 30


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """One of the four stories.

    Args:
        events: returns the sendings in the order of arrival, for the day the story begins on.
        days: how long it lasts.
        look_at: what to look at in the reports once it was sent.
    """

    name: str
    title: str
    events: Callable[[datetime], tuple[Sending, ...]]
    expected: Expected
    days: int
    look_at: str


class Scene:
    """Tells a story's events. Ids depend on the story's name and on ``start`` only.

    Args:
        start: the story's first day, in UTC; the time of day is not used.
    """

    def __init__(self, name: str, start: datetime) -> None:
        day = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self._midnight_ms = to_ms(day)
        self._now_ms = self._midnight_ms
        self._rec = Recorder(random.Random(name), self._midnight_ms + 10_000 * DAY_MS)

    @property
    def sendings(self) -> tuple[Sending, ...]:
        """What was told, in the order of arrival."""
        return tuple(sorted(self._rec.sendings, key=lambda sending: (sending.arrives_at, sending.event_id)))

    def at(self, day: int, clock: str) -> None:
        """Go on at a time of a day, `at(3, "12:30")`; the first day is 0."""
        hours, minutes = clock.split(":")
        self._now_ms = self._midnight_ms + day * DAY_MS + (int(hours) * 60 + int(minutes)) * MINUTE_MS

    def say(self, voice: Voice, event: Event, page: Page | None = None, campaign: Campaign | None = None) -> None:
        """Tell an event; the next one follows some seconds later."""
        self._rec.add(voice, event, self._now_ms, page, campaign)
        self._now_ms += STEP_S * SECOND_MS

    def say_again(self, voice: Voice, event: Event) -> None:
        """Tell what another sender has told already: the same fact, an id of its own."""
        self.say(msgspec.structs.replace(voice, repeat="fact"), event)


def make_browser(anonymous_id: str, kind: str) -> Voice:
    """Return the voice of the tracker in a browser on a `desktop`, `mobile` or `tablet`."""
    agent = {"desktop": DESKTOPS, "mobile": PHONES, "tablet": TABLETS}[kind][0]
    device = Device(user_agent=agent, locale="de-DE", time_zone="Europe/Berlin", kind=kind)
    return Voice(source="web", person=0, anonymous_id=anonymous_id, device=device)


def make_sender(source: str, customer_id: str | None = None, **identifiers: str) -> Voice:
    """Return the voice of a sender that is no browser, and the ids it knows the person by."""
    return Voice(source=source, person=0, customer_id=customer_id, identifiers=identifiers or None)


def knows(voice: Voice, customer_id: str | None = None, **identifiers: str) -> Voice:
    """Return a browser's voice that knows who sits before it."""
    return msgspec.structs.replace(voice, customer_id=customer_id, identifiers=identifiers or None)


def open_page(path: str, referrer: str | None = None) -> Page:
    """Return a page of the shop's; without a referrer somebody typed its address."""
    return Page(url=SHOP + path, referrer=referrer, path=path.partition("?")[0])


def follow_link(path: str) -> Page:
    """Return a page of the shop's that was reached from another page of the shop's."""
    return open_page(path, SHOP + "/")
