"""What the projector made of a log, to be compared: as it stands, or told without places in the log."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from touchtrail_collector.services.collector import Collector
from touchtrail_collector.store.sqlite.derived import TABLES
from touchtrail_collector.store.sqlite.store import now_ms


def store(
    collector: Collector, events: list[dict[str, Any]], source: str = "web", received_at: int | None = None
) -> None:
    """Put wire events into the log; every one of them must be good."""
    source_id = collector.store.ensure_source(source)
    prepared = collector.ingest.prepare(
        msgspec.json.encode(events), source_id=source_id, now_ms=received_at or now_ms()
    )
    assert prepared.rejected == [], prepared.rejected[:3]
    collector.store.append(prepared.events).result()


def dump(collector: Collector) -> dict[str, list[Any]]:
    """Return every derived table, and how far it goes."""
    with collector.store.reading() as reader:
        tables: dict[str, list[Any]] = {
            table: sorted(reader.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in TABLES
        }
        tables["meta"] = reader.execute(
            "SELECT name, value FROM meta WHERE name LIKE 'derived%' ORDER BY name"
        ).fetchall()
    return tables


def retold(collector: Collector) -> dict[str, Any]:
    """Return who is who, what they did and ordered, told by event ids: the same whatever arrived first."""
    with collector.store.reading() as reader:
        return {"people": people(reader), "orders": orders(reader), "costs": costs(reader)}


def people(reader: sqlite3.Connection) -> list[Any]:
    """Return each person's events, links and feelings; hashes are left out, as each database has its own."""
    ids = dict(reader.execute("SELECT seq, event_id FROM events"))
    found = []
    for person_id, *person in reader.execute(
        "SELECT person_id, customer_id, first_seen, last_seen, stage, events, sessions, orders, is_bot, traits FROM persons"
    ).fetchall():
        road = reader.execute(
            "SELECT t.seq, t.position, t.at, t.name, t.stage, t.contact, t.creditable, c.name, t.session_id, t.campaign"
            " FROM touchpoints t LEFT JOIN channels c USING (channel_id) WHERE person_id = ? ORDER BY position",
            (person_id,),
        ).fetchall()
        links = reader.execute(
            "SELECT kind, value, reason, linked_at, seq FROM identity_links WHERE person_id = ?", (person_id,)
        ).fetchall()
        signals = reader.execute("SELECT seq, kind, polarity, stage FROM signals WHERE person_id = ?", (person_id,))
        found.append(
            [
                person,
                [[ids[seq], *rest[:-2], ids.get(rest[-2]), rest[-1]] for seq, *rest in road],
                sorted(
                    [kind, value[:5] if value[:5] == "hmac:" else value, *rest, ids[seq]]
                    for kind, value, *rest, seq in links
                ),
                sorted([ids[seq], *rest] for seq, *rest in signals),
            ]
        )
    return sorted(found, key=repr)


def orders(reader: sqlite3.Connection) -> list[Any]:
    """Return every order without the number of its person, and its changes."""
    columns = [row[1] for row in reader.execute("PRAGMA table_info(orders)") if row[1] != "person_id"]
    rows = reader.execute(f"SELECT {', '.join(columns)} FROM orders ORDER BY shop_id, order_id").fetchall()
    changes = "SELECT order_id, n, at, kind, amount_minor, reason FROM order_changes ORDER BY shop_id, order_id, n"
    return [rows, reader.execute(changes).fetchall()]


def costs(reader: sqlite3.Connection) -> list[Any]:
    """Return every cost."""
    statement = (
        "SELECT e.event_id, k.day, c.name, k.amount_minor FROM costs k JOIN events e USING (seq)"
        " JOIN channels c USING (channel_id)"
    )
    return sorted(reader.execute(statement))
