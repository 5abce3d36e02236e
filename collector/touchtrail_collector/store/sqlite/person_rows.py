"""Persons as rows of the derived tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from ...domain.journey import Road
from ...domain.order import Order
from ...domain.person import Person

Row = tuple[object, ...]

PERSON_TABLES = ("identity_links", "sessions", "touchpoints", "signals", "orders", "order_changes", "persons")
"""Every table that is derived per person; persons last, because the others are found through it."""


class PersonRows:
    """Collects the rows of every table.

    Args:
        channel_ids: the id of every channel by name.
    """

    def __init__(self, channel_ids: Mapping[str, int]) -> None:
        self._channel_ids = channel_ids
        self._rows: dict[str, list[Row]] = {table: [] for table in PERSON_TABLES}

    def tables(self) -> Iterator[tuple[str, Sequence[Row]]]:
        """Yield each table that has rows, with them."""
        return ((table, rows) for table, rows in self._rows.items() if rows)

    def add_person(self, cluster_id: int, person: Person) -> None:
        """Take a person's rows."""
        p = person
        traits = None if p.traits is None else msgspec.json.encode(p.traits).decode()
        self._rows["persons"].append(
            (p.person_id, cluster_id, p.shop_id, p.customer_id, p.first_seen, p.last_seen, p.stage, p.events,
             len(p.road.sessions), len(p.orders), p.is_bot, traits, len(p.road.touchpoints), p.builder.stage)
        )  # fmt: skip
        self._rows["identity_links"].extend((p.person_id, k.kind, k.value, k.reason, k.at, k.seq) for k in p.links)
        self.add_road(p.person_id, p.road)
        for order in p.orders:
            self._add_order(p.person_id, order)

    def add_road(self, person_id: int, road: Road, first_position: int = 1) -> None:
        """Take the rows of a road, or of the end of one."""
        ids = self._channel_ids
        self._rows["sessions"].extend(
            (s.session_id, person_id, s.source_id, s.started_at, s.ended_at, s.events, ids[s.channel.name], s.campaign,
             s.landing_url, s.device_kind)
            for s in road.sessions
        )  # fmt: skip
        self._rows["touchpoints"].extend(
            (t.seq, person_id, position, t.at, t.name, t.stage, t.moment, t.contact, t.creditable,
             None if t.channel is None else ids[t.channel.name],
             None if t.session is None else t.session.session_id, t.campaign)
            for position, t in enumerate(road.touchpoints, first_position)
        )  # fmt: skip
        self._rows["signals"].extend(
            (s.seq, person_id, s.at, s.kind, s.polarity, s.score, s.scale, s.stage,
             None if s.channel is None else ids[s.channel.name], s.subject)
            for s in road.signals
        )  # fmt: skip

    def _add_order(self, person_id: int, order: Order) -> None:
        o = order
        codes = msgspec.json.encode(o.coupon_codes).decode() if o.coupon_codes else None
        self._rows["orders"].append(
            (o.shop_id, o.order_id, person_id, o.state, o.placed_at, o.paid_at, o.shipped_at, o.delivered_at,
             o.closed_at, o.currency, o.gross_minor, o.goods_minor, o.tax_minor, o.shipping_minor, o.discount_minor,
             o.cancelled_minor, o.refunded_minor, o.charged_back_minor, o.net_minor, o.pieces, codes, o.reports,
             o.conflicts)
        )  # fmt: skip
        self._rows["order_changes"].extend(
            (o.shop_id, o.order_id, n, person_id, c.at, c.kind, c.amount_minor, c.reason, c.seq)
            for n, c in enumerate(o.changes, 1)
        )
