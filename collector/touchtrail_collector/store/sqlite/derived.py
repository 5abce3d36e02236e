"""Writes and reads what is derived: clusters, persons, their roads and orders, costs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from sqlite_utils import Database

from ...domain.channel import Channel
from ...domain.cost import Cost
from ...domain.person import Person
from .migrations import run_script

TABLES = (
    "channels", "identity_nodes", "cluster_events", "persons", "identity_links", "sessions", "touchpoints", "signals",
    "orders", "order_changes", "costs",
)  # fmt: skip
"""Every derived table, in the order in which they are made."""

VIEWS = ("customer_journeys", "order_book")
PERSON_TABLES = ("identity_links", "sessions", "touchpoints", "signals", "orders", "order_changes", "persons")


class Update(msgspec.Struct):
    """One step of the projector, written in one transaction together with how far it got.

    Args:
        derived_seq: the place in the log up to which everything is derived.
        merged: cluster that went into another, old id to new id.
        rewritten: clusters whose derived rows are replaced.
        moved: clusters whose list of events is replaced: they were split.
        cluster_events: (cluster, place in the log) to add.
        nodes: (identifier, cluster, is_hub) to set.
        clusters: the persons of each cluster.
    """

    derived_seq: int
    merged: dict[int, int] = {}
    rewritten: set[int] = set()
    moved: set[int] = set()
    cluster_events: list[tuple[int, int]] = []
    nodes: list[tuple[str, int, int]] = []
    clusters: dict[int, list[Person]] = {}
    costs: list[Cost] = []


def marks(values: Sequence[object]) -> str:
    """Return as many question marks as there are values."""
    return ",".join("?" * len(values))


def chunks(values: Sequence[int] | Sequence[str], size: int = 500) -> Iterable[Sequence[int] | Sequence[str]]:
    """Return the values in slices that one statement can take."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def load_nodes(reader: sqlite3.Connection, nodes: Sequence[str]) -> dict[str, int]:
    """Return the cluster of each known identifier."""
    found: dict[str, int] = {}
    for chunk in chunks(nodes):
        found.update(
            reader.execute(f"SELECT node, cluster_id FROM identity_nodes WHERE node IN ({marks(chunk)})", chunk)
        )
    return found


def load_hubs(reader: sqlite3.Connection) -> set[str]:
    """Return the identifiers that connect nobody."""
    return {node for (node,) in reader.execute("SELECT node FROM identity_nodes WHERE cluster_id = -1")}


def load_cluster_seqs(reader: sqlite3.Connection, clusters: Sequence[int]) -> dict[int, list[int]]:
    """Return the places in the log of each cluster's events."""
    found: dict[int, list[int]] = {}
    for chunk in chunks(clusters):
        statement = f"SELECT cluster_id, seq FROM cluster_events WHERE cluster_id IN ({marks(chunk)})"
        for cluster_id, seq in reader.execute(statement, chunk):
            found.setdefault(cluster_id, []).append(seq)
    return found


def load_currencies(reader: sqlite3.Connection) -> dict[int, str]:
    """Return each shop's own currency."""
    return dict(reader.execute("SELECT shop_id, currency FROM shops").fetchall())


def get_meta(reader: sqlite3.Connection, name: str) -> str | None:
    """Return one of the file's own values."""
    row = reader.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def has_persons(reader: sqlite3.Connection) -> bool:
    """True when anybody is derived."""
    return reader.execute("SELECT 1 FROM persons LIMIT 1").fetchone() is not None


def set_meta(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Set one of the file's own values."""
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value)
    )


def reset(connection: sqlite3.Connection, signature: str) -> None:
    """Drop everything derived and begin anew; ``signature`` names the rules it will be derived with."""
    for view in VIEWS:
        connection.execute(f"DROP VIEW IF EXISTS {view}")
    for table in reversed(TABLES):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    run_script(Database(connection), "derived_schema")
    set_meta(connection, "derived_seq", "0")
    set_meta(connection, "derived_by", signature)


def ensure_channels(connection: sqlite3.Connection, channels: Iterable[Channel]) -> dict[str, int]:
    """Make sure that every channel has a row, and return their ids by name."""
    connection.executemany(
        "INSERT INTO channels (name, medium, online, is_direct) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(channel.name, channel.medium, channel.online, channel.is_direct) for channel in channels],
    )
    return dict(connection.execute("SELECT name, channel_id FROM channels").fetchall())


def write_update(connection: sqlite3.Connection, update: Update, channel_ids: Mapping[str, int]) -> None:
    """Apply one step inside the caller's transaction."""
    replaced = [(cluster,) for cluster in sorted(update.rewritten)]
    for table in PERSON_TABLES:
        connection.executemany(
            f"DELETE FROM {table} WHERE person_id IN (SELECT person_id FROM persons WHERE cluster_id = ?)", replaced
        )
    merged = [(new, old) for old, new in sorted(update.merged.items())]
    connection.executemany("UPDATE cluster_events SET cluster_id = ? WHERE cluster_id = ?", merged)
    connection.executemany("UPDATE identity_nodes SET cluster_id = ? WHERE cluster_id = ?", merged)
    connection.executemany(
        "DELETE FROM cluster_events WHERE cluster_id = ?", [(cluster,) for cluster in sorted(update.moved)]
    )
    connection.executemany(
        "INSERT INTO cluster_events (cluster_id, seq) VALUES (?, ?) ON CONFLICT DO NOTHING", update.cluster_events
    )
    connection.executemany(
        "INSERT INTO identity_nodes (node, cluster_id, is_hub) VALUES (?, ?, ?)"
        " ON CONFLICT (node) DO UPDATE SET cluster_id = excluded.cluster_id, is_hub = excluded.is_hub",
        update.nodes,
    )
    for statement, rows in person_rows(update.clusters, channel_ids):
        connection.executemany(statement, rows)
    connection.executemany(
        f"INSERT OR REPLACE INTO costs VALUES ({marks(Cost.__struct_fields__)})",
        [
            (
                c.seq,
                c.day,
                c.shop_id,
                channel_ids[c.channel],
                c.campaign,
                c.amount_minor,
                c.currency,
                c.impressions,
                c.clicks,
            )
            for c in update.costs
        ],
    )
    set_meta(connection, "derived_seq", str(update.derived_seq))


def person_rows(
    clusters: Mapping[int, Sequence[Person]], channel_ids: Mapping[str, int]
) -> list[tuple[str, list[tuple[object, ...]]]]:
    """Return the rows of every table that is derived per person, each with its statement."""
    persons: list[tuple[object, ...]] = []
    links: list[tuple[object, ...]] = []
    sessions: list[tuple[object, ...]] = []
    touchpoints: list[tuple[object, ...]] = []
    signals: list[tuple[object, ...]] = []
    orders: list[tuple[object, ...]] = []
    changes: list[tuple[object, ...]] = []
    for cluster_id, members in clusters.items():
        for p in members:
            person_id = p.person_id
            traits = None if p.traits is None else msgspec.json.encode(p.traits).decode()
            persons.append(
                (person_id, cluster_id, p.shop_id, p.customer_id, p.first_seen, p.last_seen, p.stage, p.events,
                 len(p.road.sessions), len(p.orders), p.is_bot, traits)
            )  # fmt: skip
            links.extend((person_id, k.kind, k.value, k.reason, k.at, k.seq) for k in p.links)
            sessions.extend(
                (s.session_id, person_id, s.source_id, s.started_at, s.ended_at, s.events, channel_ids[s.channel.name],
                 s.campaign, s.landing_url, s.device_kind)
                for s in p.road.sessions
            )  # fmt: skip
            touchpoints.extend(
                (t.seq, person_id, position, t.at, t.name, t.stage, t.moment, t.contact, t.creditable,
                 None if t.channel is None else channel_ids[t.channel.name],
                 None if t.session is None else t.session.session_id, t.campaign)
                for position, t in enumerate(p.road.touchpoints, 1)
            )  # fmt: skip
            signals.extend(
                (s.seq, person_id, s.at, s.kind, s.polarity, s.score, s.scale, s.stage,
                 None if s.channel is None else channel_ids[s.channel.name], s.subject)
                for s in p.road.signals
            )  # fmt: skip
            for o in p.orders:
                codes = msgspec.json.encode(o.coupon_codes).decode() if o.coupon_codes else None
                orders.append(
                    (o.shop_id, o.order_id, person_id, o.state, o.placed_at, o.paid_at, o.shipped_at, o.delivered_at,
                     o.closed_at, o.currency, o.gross_minor, o.goods_minor, o.tax_minor, o.shipping_minor,
                     o.discount_minor, o.cancelled_minor, o.refunded_minor, o.charged_back_minor, o.net_minor, o.pieces,
                     codes, o.reports, o.conflicts)
                )  # fmt: skip
                changes.extend(
                    (o.shop_id, o.order_id, n, person_id, c.at, c.kind, c.amount_minor, c.reason, c.seq)
                    for n, c in enumerate(o.changes, 1)
                )
    tables = {
        "persons": persons, "identity_links": links, "sessions": sessions, "touchpoints": touchpoints,
        "signals": signals, "orders": orders, "order_changes": changes,
    }  # fmt: skip
    return [(f"INSERT INTO {table} VALUES ({marks(rows[0])})", rows) for table, rows in tables.items() if rows]
