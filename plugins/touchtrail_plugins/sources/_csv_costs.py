"""Files of advertising costs: one row, what one campaign cost on one day or over a span of days."""

from __future__ import annotations

from typing import Any

from ._csv_cell import to_day, to_moment
from ._csv_kind import FileKind, each_row
from ._csv_row import Row

TEXTS = ("source", "medium", "campaign", "channel")
KNOWN = ("date", "start", "end", *TEXTS, "amount", "currency", "impressions", "clicks")


def to_cost(row: Row) -> dict[str, Any]:
    """Return a row as `ad_spend_reported`. Raises: RowError."""
    first = "date" if row.text("date") or not row.text("start") else "start"
    row.required(first, "a day such as 2026-11-21")
    starts_on, ends_on = row.read(first, to_day), row.read("end", to_day)
    assert starts_on is not None
    if ends_on is not None and ends_on < starts_on:
        raise row.error("end", f"the end {ends_on} lies before the beginning {starts_on}")
    row.required("amount", "what was spent, such as 129.90")
    currency = row.currency()
    if currency is None:
        raise row.error(
            "currency", "expected a currency's code such as EUR; --option currency=EUR sets it for all rows"
        )
    properties: dict[str, Any] = {"starts_on": starts_on, "amount": row.amount("amount"), "currency": currency}
    optional: dict[str, Any] = {
        "ends_on": ends_on,
        "impressions": row.count("impressions"),
        "clicks": row.count("clicks"),
    }
    optional |= {name: row.text(name) for name in TEXTS}
    optional["extra"] = {name: text for name, text in row.cells.items() if name not in KNOWN} or None
    properties |= {name: value for name, value in optional.items() if value is not None}
    return {
        "name": "ad_spend_reported",
        "occurred_at": to_moment(starts_on, row.format.zone),
        "properties": properties,
    }


COSTS = FileKind(
    name="costs",
    required=(("date", "start"), ("amount",)),
    known=KNOWN,
    read=each_row(to_cost),
)
