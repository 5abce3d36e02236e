"""The tables that can be exported: their columns, how each value reads, and the rows one by one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ...domain.dataset import Column, Dataset

TABLES: dict[str, tuple[str, tuple[Column, ...]]] = {
    "touchpoints": (
        "SELECT t.person_id, p.customer_id, t.position, t.at, t.name, t.stage, t.moment, t.contact, t.creditable,"
        " c.name, c.medium, t.campaign, t.session_id FROM touchpoints t JOIN persons p USING (person_id)"
        " LEFT JOIN channels c USING (channel_id) ORDER BY t.person_id, t.position",
        (
            Column("person_id", "integer"), Column("customer_id"), Column("position", "integer"), Column("at", "time"),
            Column("event"), Column("stage"), Column("moment"), Column("contact"), Column("creditable", "boolean"),
            Column("channel"), Column("medium"), Column("campaign"), Column("session_id", "integer"),
        ),
    ),
    "orders": (
        "SELECT o.order_id, o.person_id, p.customer_id, o.state, o.placed_at, o.paid_at, o.shipped_at, o.delivered_at,"
        " o.closed_at, o.currency, o.gross_minor, o.goods_minor, o.tax_minor, o.shipping_minor, o.discount_minor,"
        " o.cancelled_minor, o.refunded_minor, o.charged_back_minor, o.net_minor, o.pieces, o.coupon_codes"
        " FROM orders o JOIN persons p USING (person_id) ORDER BY o.placed_at, o.order_id",
        (
            Column("order_id"), Column("person_id", "integer"), Column("customer_id"), Column("state"),
            Column("placed_at", "time"), Column("paid_at", "time"), Column("shipped_at", "time"),
            Column("delivered_at", "time"), Column("closed_at", "time"), Column("currency"), Column("gross", "money"),
            Column("goods", "money"), Column("tax", "money"), Column("shipping", "money"), Column("discount", "money"),
            Column("cancelled", "money"), Column("refunded", "money"), Column("charged_back", "money"),
            Column("net", "money"), Column("pieces", "integer"), Column("coupon_codes"),
        ),
    ),
    "order_changes": (
        "SELECT c.order_id, c.n, c.at, c.kind, o.currency, c.amount_minor, c.reason FROM order_changes c"
        " JOIN orders o USING (shop_id, order_id) ORDER BY c.at, c.order_id, c.n",
        (
            Column("order_id"), Column("n", "integer"), Column("at", "time"), Column("kind"), Column("currency"),
            Column("amount", "money"), Column("reason"),
        ),
    ),
    "persons": (
        "SELECT person_id, customer_id, first_seen, last_seen, stage, events, sessions, orders, is_bot, traits"
        " FROM persons ORDER BY person_id",
        (
            Column("person_id", "integer"), Column("customer_id"), Column("first_seen", "time"),
            Column("last_seen", "time"), Column("stage"), Column("events", "integer"), Column("sessions", "integer"),
            Column("orders", "integer"), Column("is_bot", "boolean"), Column("traits"),
        ),
    ),
    "sessions": (
        "SELECT s.session_id, s.person_id, s.started_at, s.ended_at, s.events, c.name, s.campaign, s.landing_url,"
        " s.device_kind FROM sessions s JOIN channels c USING (channel_id) ORDER BY s.started_at, s.session_id",
        (
            Column("session_id", "integer"), Column("person_id", "integer"), Column("started_at", "time"),
            Column("ended_at", "time"), Column("events", "integer"), Column("channel"), Column("campaign"),
            Column("landing_url"), Column("device_kind"),
        ),
    ),
    "signals": (
        "SELECT s.person_id, s.at, s.kind, s.polarity, s.score, s.scale, s.stage, c.name, s.subject FROM signals s"
        " LEFT JOIN channels c USING (channel_id) ORDER BY s.at, s.seq",
        (
            Column("person_id", "integer"), Column("at", "time"), Column("kind"), Column("polarity"),
            Column("score", "real"), Column("scale", "real"), Column("stage"), Column("channel"), Column("subject"),
        ),
    ),
    "identity_links": (
        "SELECT person_id, kind, value, reason, linked_at FROM identity_links"
        " ORDER BY person_id, linked_at, kind, value",
        (
            Column("person_id", "integer"), Column("kind"), Column("value"), Column("reason"),
            Column("linked_at", "time"),
        ),
    ),
    "costs": (
        "SELECT k.day, c.name, k.campaign, k.currency, k.amount_minor, k.impressions, k.clicks FROM costs k"
        " JOIN channels c USING (channel_id) ORDER BY k.day, c.name, k.seq",
        (
            Column("day"), Column("channel"), Column("campaign"), Column("currency"), Column("amount", "money"),
            Column("impressions", "integer"), Column("clicks", "integer"),
        ),
    ),
    "events": (
        "SELECT e.seq, s.name, e.event_id, e.name, e.occurred_at, e.sent_at, e.received_at, e.body FROM events e"
        " JOIN sources s USING (source_id) ORDER BY e.seq",
        (
            Column("seq", "integer"), Column("source"), Column("event_id"), Column("name"),
            Column("occurred_at", "time"), Column("sent_at", "time"), Column("received_at", "time"), Column("body"),
        ),
    ),
}  # fmt: skip
"""Name: statement and columns."""


def read_table(reader: sqlite3.Connection, name: str) -> Dataset:
    """Return a table as a dataset whose rows are read while they are written. Raises KeyError."""
    statement, columns = TABLES[name]
    return Dataset(name=name, columns=columns, rows=iterate(reader, statement))


def count_rows(reader: sqlite3.Connection, name: str) -> int:
    """Return how many rows a table has. Raises KeyError."""
    statement, _ = TABLES[name]
    return int(reader.execute(f"SELECT count(*) FROM ({statement})").fetchone()[0])


def iterate(reader: sqlite3.Connection, statement: str) -> Iterator[tuple[object, ...]]:
    """Yield rows one by one."""
    yield from reader.execute(statement)
