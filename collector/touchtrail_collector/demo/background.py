"""What happens around people: crawlers, media flights, and what advertising costs."""

from __future__ import annotations

from datetime import timedelta

from touchtrail import events
from touchtrail.context import Device, Page

from .catalogue import CURRENCY, GUIDES, PRODUCTS, SHOP
from .ledger import ShopBooks
from .people import make_anonymous_id
from .schedule import Calendar
from .sending import DAY_MS, HOUR_MS, SECOND_MS, Recorder, Voice, to_decimal_text
from .traffic import BOT_AGENTS, ORIGINS

_SPENDS = {origin.spend.campaign: origin.spend for origin in ORIGINS if origin.spend is not None}


def send_bots(rec: Recorder, calendar: Calendar, runs: int) -> int:
    """Let crawlers fetch page after page; they never buy. Return how many runs there were."""
    paths = [f"/p/{product.sku.lower()}" for product in PRODUCTS] + [f"/ratgeber/{guide}" for guide in GUIDES]
    for _ in range(runs):
        at_ms = calendar.pick_start()
        agent = rec.rng.choice(BOT_AGENTS)
        voice = Voice(
            source="web", anonymous_id=f"bot-{make_anonymous_id(rec.rng)}", device=Device(user_agent=agent), is_bot=True
        )
        for _ in range(rec.rng.randrange(20, 90)):
            path = rec.rng.choice(paths)
            rec.add(voice, events.PageViewed(name=path), at_ms, Page(url=SHOP + path, path=path))
            at_ms += rec.rng.randrange(1, 20) * SECOND_MS
    return runs


def report_costs(rec: Recorder, calendar: Calendar, books: ShopBooks) -> None:
    """Report each campaign's costs: the search campaigns per day, social networks per week."""
    voice = Voice(source="ads")
    spans: dict[tuple[int, str], list[int]] = {}
    for (day, campaign), spent in books.spend.items():
        length = 7 if campaign == "lookbook" else 1
        start = day - (day - calendar.start_ms // DAY_MS) % length
        cost = spent.cost_minor + spent.impressions * _SPENDS[campaign].thousand_minor // 100
        entry = spans.setdefault((start, campaign), [0, 0, 0])
        for index, amount in enumerate((cost, spent.impressions, spent.clicks)):
            entry[index] += amount
    last_day = calendar.end_ms // DAY_MS - 1
    for (start, campaign), (cost, impressions, clicks) in sorted(spans.items()):
        spend = _SPENDS[campaign]
        first = calendar.first_day + timedelta(days=start - calendar.start_ms // DAY_MS)
        last = min(start + (6 if campaign == "lookbook" else 0), last_day)
        event = events.AdSpendReported(
            starts_on=first.isoformat(),
            ends_on=(first + timedelta(days=last - start)).isoformat() if last > start else None,
            amount=to_decimal_text(cost),
            currency=CURRENCY,
            source=spend.source,
            medium=spend.medium,
            campaign=spend.campaign,
            impressions=impressions,
            clicks=clicks,
        )
        rec.add(voice, event, (last + 1) * DAY_MS - HOUR_MS)


def run_media_flights(rec: Recorder, calendar: Calendar) -> None:
    """Run a radio and a print campaign: nobody can be linked to them, only their time can be compared."""
    voice = Voice(source="ads")
    flights = (
        ("radio", "Bergfrühling", "Oberbayern", 0.4, 14, 420_000),
        ("print", "Bergwelt Winter", "DACH", 0.8, 30, 280_000),
    )
    for medium, name, region, part, days, cost in flights:
        first = calendar.first_day + timedelta(days=int(part * calendar.days))
        event = events.MediaFlightRan(
            medium=medium,
            name=name,
            region=region,
            starts_on=first.isoformat(),
            ends_on=(first + timedelta(days=days - 1)).isoformat(),
            cost=to_decimal_text(cost),
            currency=CURRENCY,
        )
        rec.add(voice, event, calendar.start_ms + int(part * calendar.days) * DAY_MS + 8 * HOUR_MS)
