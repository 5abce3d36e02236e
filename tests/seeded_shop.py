"""A database whose derived tables are filled by hand: reports are tested against literals one can add up."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self

import msgspec

from touchtrail_collector.domain.attribution import AttributionModel
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.derivation_rules import rules_of
from touchtrail_collector.services.reports import REPORTS, ReportContext
from touchtrail_collector.settings import Settings
from touchtrail_collector.store.sqlite.database import open_writing_connection
from touchtrail_collector.store.sqlite.queries import SqliteQuery
from touchtrail_collector.store.sqlite.reader import open_reader
from touchtrail_plugins.channels import default as default_channels
from touchtrail_plugins.models import first_touch, last_non_direct, last_touch, linear, position_based, time_decay

MODELS = {
    f"model.{module.__name__.rpartition('.')[2]}": module
    for module in (first_touch, last_touch, last_non_direct, linear, position_based, time_decay)
}
CHANNELS = {
    1: ("Direct", "owned", 1, 1),
    2: ("Email", "owned", 1, 0),
    3: ("Paid Search", "paid", 1, 0),
    4: ("Display", "paid", 1, 0),
    5: ("Store", "owned", 0, 0),
}
RULES = rules_of(PluginHost.of({"channel.default": default_channels}), Settings())
"""What a database says it was derived with."""
CHANNEL_IDS = {name: channel_id for channel_id, (name, *_) in CHANNELS.items()}


def ms(text: str) -> int:
    """Return UTC milliseconds of `2026-03-01` or `2026-03-01T10:00`."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@cache
def _empty_database() -> Path:
    """Make the schema once per run: migrating takes longer than most tests."""
    path = Path(tempfile.mkdtemp(prefix="touchtrail-test-")) / "empty.db"
    open_writing_connection(path).close()
    return path


class SeededShop:
    """Writes rows; each method returns the id others may need. Used in a ``with`` block, which closes what was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._readers: list[sqlite3.Connection] = []
        shutil.copyfile(_empty_database(), path)
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA synchronous = OFF")  # hundreds of single inserts, and no power cut to survive
        self._seq = 0
        self._positions: dict[int, int] = {}
        self.insert("sources", source_id=1, shop_id=1, name="web", created_at=0)
        self.insert("meta", name="derived_rules", value=msgspec.json.encode(RULES).decode())
        for channel_id, (name, medium, online, is_direct) in CHANNELS.items():
            self.insert("channels", channel_id=channel_id, name=name, medium=medium, online=online, is_direct=is_direct)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self.db, *self._readers):
            connection.close()

    def insert(self, table: str, **row: Any) -> None:
        names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
        self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", row)

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def person(self, person_id: int, first_seen: str = "2026-01-01", **row: Any) -> int:
        at = ms(first_seen)
        given: dict[str, Any] = {"shop_id": 1, "customer_id": None, "last_seen": ms("2026-12-31"), "stage": None}
        given |= {"events": 1, "sessions": 0, "orders": 0, "is_bot": 0, "traits": None} | row
        self.insert("persons", person_id=person_id, cluster_id=person_id, first_seen=at, **given)
        return person_id

    def touch(self, person_id: int, at: str, channel: str | None, contact: str = "visit", **row: Any) -> int:
        seq = self.next_seq()
        position = self._positions[person_id] = self._positions.get(person_id, 0) + 1
        given: dict[str, Any] = {"name": "page_viewed", "stage": "consideration", "moment": None, "creditable": 1}
        given |= {"session_id": None, "campaign": None, "position": position, "seq": seq} | row
        channel_id = None if channel is None else CHANNEL_IDS[channel]
        self.insert("touchpoints", person_id=person_id, at=ms(at), contact=contact, channel_id=channel_id, **given)
        return seq

    def order(
        self, order_id: str, person_id: int, at: str | None, gross: int, *, changes: tuple[Any, ...] = (), **row: Any
    ) -> str:
        """``changes``: (time, kind, amount) after the placing; the order's sums follow from them."""
        sums = {
            kind: -sum(amount for _, other, amount in changes if other == kind)
            for kind in ("cancelled", "refunded", "charged_back")
        }
        given: dict[str, Any] = {f"{kind}_minor": amount for kind, amount in sums.items()}
        given |= {"state": "paid", "currency": "EUR", "shop_id": 1, "pieces": 1, "reports": 1, "conflicts": 0}
        given |= dict.fromkeys(("goods_minor", "tax_minor", "shipping_minor", "discount_minor"), 0)
        given |= {"net_minor": gross - sum(sums.values())} | row
        placed_at = None if at is None else ms(at)
        self.insert("orders", order_id=order_id, person_id=person_id, placed_at=placed_at, gross_minor=gross, **given)
        whole = ((at, "placed", gross), *changes) if at is not None else changes
        for n, (when, kind, amount) in enumerate(whole, 1):
            self.insert(
                "order_changes", shop_id=given["shop_id"], order_id=order_id, n=n, person_id=person_id,
                at=ms(when), kind=kind, amount_minor=amount, reason=None, seq=self.next_seq(),
            )  # fmt: skip
        return order_id

    def signal(self, person_id: int, at: str, kind: str, polarity: str, **row: Any) -> int:
        given: dict[str, Any] = {"score": None, "scale": None, "stage": None, "channel_id": None, "subject": None}
        given |= {"seq": self.next_seq()} | row
        self.insert("signals", person_id=person_id, at=ms(at), kind=kind, polarity=polarity, **given)
        return int(given["seq"])

    def session(self, person_id: int, at: str, channel: str) -> None:
        started_at = ms(at)
        self.insert(
            "sessions", session_id=self.next_seq(), person_id=person_id, source_id=1, started_at=started_at,
            ended_at=started_at + 60_000, events=1, channel_id=CHANNEL_IDS[channel],
        )  # fmt: skip

    def cost(self, day: str, channel: str, amount: int, currency: str = "EUR", **row: Any) -> None:
        self.insert(
            "costs", seq=self.next_seq(), day=day, shop_id=1, channel_id=CHANNEL_IDS[channel], amount_minor=amount,
            currency=currency, **row,
        )  # fmt: skip

    def event(
        self, name: str, received: str, *, age: timedelta = timedelta(0), skew: timedelta = timedelta(0), **row: Any
    ) -> int:
        """``age``: how long before it was received it occurred; ``skew``: how far the sender's clock is behind."""
        seq = self.next_seq()
        at = ms(received)
        given: dict[str, Any] = {"source_id": 1, "event_id": f"e{seq}", "anonymous_id": "a", "body": "{}", "seq": seq}
        given |= {
            "occurred_at": at - int(age.total_seconds() * 1000),
            "sent_at": at - int(skew.total_seconds() * 1000),
        } | row
        self.insert("events", name=name, received_at=at, **given)
        return seq

    def derived_until(self, seq: int) -> None:
        self.db.execute("UPDATE meta SET value = ? WHERE name = 'derived_seq'", (str(seq),))

    def context(self, models: Mapping[str, AttributionModel] | None = None, **given: Any) -> ReportContext:
        """Open what is there now for reports, with the six first-party models."""
        if models is None:
            models = PluginHost.of(MODELS).attribution_models()
        reader: sqlite3.Connection = open_reader(self.path)
        self._readers.append(reader)
        return ReportContext(query=SqliteQuery(reader), models=models, **given)

    def report(self, name: str, context: ReportContext | None = None, **texts: str | list[str]) -> Any:
        """Run a report as its callers do: from texts."""
        values = {key: [text] if isinstance(text, str) else text for key, text in texts.items()}
        report = REPORTS[name]
        return report.run(context or self.context(), report.read_parameters(values))
