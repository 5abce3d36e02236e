"""A year in a small shop, the same for the same seed, with the truth beside it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta

import msgspec
from msgspec.structs import replace

from .background import report_costs, run_media_flights, send_bots
from .ledger import ShopBooks
from .people import make_people
from .road import Road
from .schedule import Calendar
from .sending import Recorder, Sending
from .truth import Counts, Truth, share_revenue

RESENT_SHARE = 0.015
"""How many events are sent once more because their acknowledgement was lost."""


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, as the shop's systems report it, and what the simulation knows.

    Args:
        sendings: in the order of arrival.
        end: the last day, included.
    """

    seed: int
    people: int
    days: int
    end: date
    sendings: tuple[Sending, ...]
    truth: Truth

    def __iter__(self) -> Iterator[Sending]:
        return iter(self.sendings)

    def __len__(self) -> int:
        return len(self.sendings)

    @property
    def sources(self) -> tuple[str, ...]:
        """Every sender, sorted; each needs a write key."""
        return tuple(sorted({sending.source for sending in self.sendings}))


def simulate(*, seed: int = 2026, people: int = 3_000, days: int = 365, end: date = date(2026, 10, 31)) -> Simulation:
    """Simulate ``people`` over the ``days`` up to and including ``end`` (UTC).

    The same arguments give the same sendings, ids included, whatever the machine.
    """
    rng = random.Random(seed)
    calendar = Calendar(end, days, rng)
    rec = Recorder(rng, calendar.end_ms)
    books = ShopBooks()
    for person in make_people(people, rng):
        Road(rec, calendar, books, person).walk()
    bot_runs = send_bots(rec, calendar, people // 75)
    run_media_flights(rec, calendar)
    report_costs(rec, calendar, books)
    sendings = _order(rec)
    return Simulation(
        seed=seed, people=people, days=days, end=end, sendings=sendings, truth=_tell(rec, books, sendings, bot_runs)
    )


def _order(rec: Recorder) -> tuple[Sending, ...]:
    """Return what arrives, in order of arrival, some of it twice."""
    resent = [
        replace(
            sending, arrives_at=sending.arrives_at + timedelta(seconds=rec.rng.randrange(10, 7_200)), repeat="event"
        )
        for sending in rec.sendings
        if rec.rng.random() < RESENT_SHARE
    ]
    return tuple(sorted(rec.sendings + resent, key=lambda sending: (sending.arrives_at, sending.event_id)))


def _tell(rec: Recorder, books: ShopBooks, sendings: tuple[Sending, ...], bot_runs: int) -> Truth:
    orders = {order.order_id: order.freeze() for order in books.orders.values()}
    return Truth(
        person_of=rec.person_of,
        owners=_find_owners(rec),
        touch_channel=rec.touch_channel,
        real_time=rec.real_time,
        orders=orders,
        caused_revenue=share_revenue(orders.values()),
        counts=Counts(
            sendings=len(sendings),
            events=len(rec.sendings),
            repeated_events=len(sendings) - len(rec.sendings),
            repeated_facts=sum(sending.repeat == "fact" for sending in rec.sendings),
            late=sum(sending.is_late for sending in rec.sendings),
            wrong_clock=len(rec.real_time),
            bots=sum(sending.is_bot for sending in rec.sendings),
            bot_runs=bot_runs,
            nobody=sum(not sending.is_bot and sending.event_id not in rec.person_of for sending in rec.sendings),
        ),
    )


def _find_owners(rec: Recorder) -> dict[tuple[str, str], frozenset[int]]:
    owners: dict[tuple[str, str], set[int]] = {}
    for sending in rec.sendings:
        person = rec.person_of.get(sending.event_id)
        if person is None:
            continue
        ids = dict(sending.identifiers or {})
        if sending.anonymous_id:
            ids["anonymous_id"] = sending.anonymous_id
        if sending.customer_id:
            ids["customer_id"] = sending.customer_id
        for pair in ids.items():
            owners.setdefault(pair, set()).add(person)
    return {pair: frozenset(people) for pair, people in owners.items()}
