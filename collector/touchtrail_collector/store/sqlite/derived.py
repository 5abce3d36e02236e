"""Writes and reads what is derived: clusters, persons, their roads and orders, costs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlite_utils import Database

from ...domain.channel import Channel
from ...domain.cost import Cost
from ...domain.person import Person
from ...domain.tail import Extension
from .migrations import run_script
from .person_rows import PERSON_TABLES, PersonRows
from .rows import insert_rows

TABLES = (
    "channels", "identity_nodes", "cluster_events", "persons", "identity_links", "sessions", "touchpoints", "signals",
    "orders", "order_changes", "costs",
)  # fmt: skip
"""Every derived table, in the order in which they are made."""

VIEWS = ("customer_journeys", "order_book")


class PersonRow(NamedTuple):
    """The numbers of a person that new events change."""

    person_id: int
    last_seen: int
    stage: str | None
    events: int
    sessions: int
    touchpoints: int
    is_bot: int
    last_stage: str | None


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
        extensions: what is put behind the roads of other persons.
    """

    derived_seq: int
    merged: dict[int, int] = {}
    rewritten: set[int] = set()
    moved: set[int] = set()
    cluster_events: list[tuple[int, int]] = []
    nodes: list[tuple[str, int, int]] = []
    clusters: dict[int, list[Person]] = {}
    extensions: list[Extension] = []
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
    remove_persons(connection, sorted(update.rewritten))
    merged = [(new, old) for old, new in sorted(update.merged.items())]
    connection.executemany("UPDATE cluster_events SET cluster_id = ? WHERE cluster_id = ?", merged)
    connection.executemany("UPDATE identity_nodes SET cluster_id = ? WHERE cluster_id = ?", merged)
    connection.executemany(
        "DELETE FROM cluster_events WHERE cluster_id = ?", [(cluster,) for cluster in sorted(update.moved)]
    )
    insert_rows(connection, "INSERT INTO cluster_events", update.cluster_events, "ON CONFLICT DO NOTHING")
    insert_rows(
        connection,
        "INSERT INTO identity_nodes (node, cluster_id, is_hub)",
        update.nodes,
        "ON CONFLICT (node) DO UPDATE SET cluster_id = excluded.cluster_id, is_hub = excluded.is_hub",
    )
    rows = PersonRows(channel_ids)
    for cluster_id, members in update.clusters.items():
        for person in members:
            rows.add_person(cluster_id, person)
    for extension in update.extensions:
        rows.add_road(extension.tail.person_id, extension.road, extension.first_position)
    for table, own in rows.tables():
        insert_rows(connection, f"INSERT INTO {table}", own)
    lengthen_persons(connection, update.extensions)
    costs = [
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
    ]
    insert_rows(connection, "INSERT OR REPLACE INTO costs", costs)
    set_meta(connection, "derived_seq", str(update.derived_seq))


def remove_persons(connection: sqlite3.Connection, clusters: Sequence[int]) -> None:
    """Delete everything derived of the persons of these clusters."""
    for chunk in chunks(clusters):
        found = connection.execute(f"SELECT person_id FROM persons WHERE cluster_id IN ({marks(chunk)})", chunk)
        person_ids = [row[0] for row in found]
        for own in chunks(person_ids):
            for table in PERSON_TABLES:
                connection.execute(f"DELETE FROM {table} WHERE person_id IN ({marks(own)})", own)


def lengthen_persons(connection: sqlite3.Connection, extensions: Sequence[Extension]) -> None:
    """Set the numbers of persons whose road went on, and of sessions that did."""
    connection.executemany(
        "UPDATE persons SET last_seen = ?, stage = ?, events = ?, sessions = ?, touchpoints = ?, last_stage = ?"
        " WHERE person_id = ?",
        [
            (e.last_seen, e.stage, e.events, e.sessions, e.touchpoints, e.last_stage, e.tail.person_id)
            for e in extensions
        ],
    )
    connection.executemany(
        "UPDATE sessions SET ended_at = ?, events = ? WHERE session_id = ?",
        [went_on for extension in extensions for went_on in extension.continued],
    )


def load_lone_persons(reader: sqlite3.Connection, clusters: Sequence[int]) -> dict[int, PersonRow]:
    """Return the person of each of these clusters that holds exactly one."""
    found: dict[int, list[PersonRow]] = {}
    for chunk in chunks(clusters):
        statement = (
            "SELECT cluster_id, person_id, last_seen, stage, events, sessions, touchpoints, is_bot, last_stage"
            f" FROM persons WHERE cluster_id IN ({marks(chunk)})"
        )
        for cluster_id, *row in reader.execute(statement, chunk):
            found.setdefault(cluster_id, []).append(PersonRow._make(row))
    return {cluster_id: rows[0] for cluster_id, rows in found.items() if len(rows) == 1}
