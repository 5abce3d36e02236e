"""The report `journeys` as tables."""

from __future__ import annotations

from .journeys import Feeling, Journey, JourneysReport
from .table import Measure, Table, TableColumn, struct_rows

_PEOPLE = (
    TableColumn("person_id", "Person"),
    TableColumn("customer_id", "Customer"),
    TableColumn("stages", "Stages", "integer"),
    TableColumn("stage", "Furthest"),
    TableColumn("orders", "Orders", "integer"),
    TableColumn("touchpoints", "Contacts", "integer"),
    TableColumn("sessions", "Sessions", "integer"),
    TableColumn("last_seen_ms", "Last seen", "time"),
)
_STEPS = (
    TableColumn("at", "Time", "time"),
    TableColumn("stage", "Stage"),
    TableColumn("event", "Event"),
    TableColumn("channel", "Channel"),
    TableColumn("about", "About"),
    TableColumn("moment", "Moment"),
    TableColumn("feeling", "Feeling"),
)
_LINKS = (
    TableColumn("kind", "Identifier"),
    TableColumn("value", "Value"),
    TableColumn("reason", "Because"),
    TableColumn("linked_at_ms", "Since", "time"),
)
_ORDERS = (
    TableColumn("order", "Order"),
    TableColumn("at", "Time", "time"),
    TableColumn("what", "What"),
    TableColumn("amount", "Amount", "measure"),
    TableColumn("reason", "Reason"),
)


def journeys_tables(report: JourneysReport) -> tuple[Table, ...]:
    """Return the list of people, or the person's road, orders and identifiers."""
    zone = report.scope.time_zone
    if report.journey is not None:
        return _journey_tables(report.journey, zone)
    rows = struct_rows(report.people, _PEOPLE)
    note = f"See one whole: touchtrail report journeys --person person:{rows[0][0]}" if rows else None
    return (Table(name="people", title="People", columns=_PEOPLE, rows=rows, time_zone=zone, note=note),)


def _journey_tables(journey: Journey, zone: str) -> tuple[Table, ...]:
    who = f"Person {journey.person_id}" + (f", customer {journey.customer_id}" if journey.customer_id else "")
    currency = journey.orders[0].currency if journey.orders else None
    sessions = "1 session" if journey.sessions == 1 else f"{journey.sessions:,} sessions"
    events = "1 event" if journey.events == 1 else f"{journey.events:,} events"
    note = f"Furthest stage: {journey.stage or 'none'}; {sessions}, {events}."
    if journey.is_bot:
        note += " Taken for a robot: other reports leave this road out."
    return (
        Table(name="road", title=who, columns=_STEPS, rows=_road_rows(journey), time_zone=zone, note=note),
        Table(
            name="orders", title="Orders", columns=_ORDERS, rows=_order_rows(journey), time_zone=zone, currency=currency
        ),
        Table(
            name="identifiers",
            title="Why these are one person",
            columns=_LINKS,
            rows=struct_rows(journey.links, _LINKS),
            time_zone=zone,
        ),
    )


def _road_rows(journey: Journey) -> tuple[tuple[object, ...], ...]:
    """Touchpoints, and signals of events that are none, by time."""
    steps: list[tuple[int, int, tuple[object, ...]]] = [
        (
            step.at_ms,
            step.position,
            (step.at_ms, step.stage, step.name, step.channel, step.about, step.moment, _feeling(step.feeling)),
        )
        for step in journey.steps
    ]
    last = len(steps)
    steps += [
        (
            feeling.at_ms,
            last,
            (feeling.at_ms, feeling.stage, feeling.kind, None, feeling.subject, None, _feeling(feeling)),
        )
        for feeling in journey.feelings
    ]
    return tuple(row for _, _, row in sorted(steps, key=lambda step: step[:2]))


def _feeling(feeling: Feeling | None) -> str | None:
    if feeling is None:
        return None
    score = "" if feeling.score is None else f" {feeling.score:g}"
    return f"{feeling.polarity}{score}" + (f"/{feeling.scale:g}" if score and feeling.scale else "")


def _order_rows(journey: Journey) -> tuple[tuple[object, ...], ...]:
    """Each order with its state and what it is worth now, then its changes."""
    rows: list[tuple[object, ...]] = []
    for order in journey.orders:
        worth = Measure(order.net_minor, "money", order.currency)
        rows.append((order.order_id, order.placed_at_ms, f"now {order.state}", worth, ", ".join(order.coupon_codes)))
        rows += [
            ("", change.at_ms, change.kind, Measure(change.amount_minor, "money", order.currency), change.reason)
            for change in order.changes
        ]
    return tuple(rows)
