"""Files of orders: a row is an order with all that happened to it, or one line of it."""

from __future__ import annotations

from touchtrail_collector.api import FileEvent, FileProblem

from ._csv_event_id import EventIds
from ._csv_kind import FileKind, Items, Rows
from ._csv_row import CONTEXT_COLUMNS, PERSON_COLUMNS, Event, Row, RowError, split_texts

AMOUNTS = ("total", "goods", "tax", "shipping", "discount")
LINE_COLUMNS = ("sku", "name", "quantity", "unit_price", "category")
TIMES = {
    "placed_at": "order_placed",
    "paid_at": "order_paid",
    "shipped_at": "order_shipped",
    "delivered_at": "order_delivered",
    "cancelled_at": "order_cancelled",
    "refunded_at": "order_refunded",
}
"""The event of each column with a time, in the order of an order's life."""
FOLLOWING = {
    "order_paid": {"method": "payment_method"},
    "order_shipped": {"carrier": "carrier"},
    "order_delivered": {},
    "order_cancelled": {"amount": "cancelled_amount", "reason": "reason", "cancellation_id": "cancellation_id"},
    "order_refunded": {"amount": "refunded_amount", "reason": "reason", "refund_id": "refund_id"},
}
"""The column of each property; a cancellation or refund without an amount is all of the order."""
REDUCTIONS = {"cancelled_at": "cancelled_amount", "refunded_at": "refunded_amount"}
OTHERS = ("currency", "coupon_codes", "payment_method", "store_id", "carrier", "reason", "cancellation_id", "refund_id")
KNOWN = (
    *("order_id", *TIMES, *AMOUNTS, *REDUCTIONS.values(), *OTHERS),
    *LINE_COLUMNS,
    *PERSON_COLUMNS,
    *CONTEXT_COLUMNS,
)


class OrderRows:
    """The consecutive rows of one order.

    Args:
        broken: the line beside them that could not be read and may belong to the order too.
    """

    def __init__(self, first: Row, broken: int | None = None) -> None:
        self.rows = [first]
        self.broken = broken

    @property
    def order_id(self) -> str | None:
        """The order's number."""
        return self.rows[0].text("order_id")


def read_orders(rows: Rows, ids: EventIds) -> Items:
    """Yield the events of each order; an order of which a line cannot be read is left out as a whole.

    Half an order would be kept under the order's number for good; one that is left out comes with the next import
    of the repaired file.
    """
    current: OrderRows | None = None
    broken: int | None = None
    for row in rows:
        if isinstance(row, FileProblem):
            yield row
            broken = row.line
            if current is not None:
                current.broken = current.broken or broken
            continue
        if current is not None and current.order_id == row.text("order_id") and row.has_column("sku"):
            current.rows.append(row)
        else:
            if current is not None:
                yield from close_order(current, ids)
            current = OrderRows(row, broken)
        broken = None
    if current is not None:
        yield from close_order(current, ids)


def close_order(order: OrderRows, ids: EventIds) -> Items:
    """Yield an order's events, or why there are none."""
    first = order.rows[0]
    try:
        if order.broken is not None and first.has_column("sku"):
            raise first.error(None, f"the order is left out: line {order.broken} beside it could not be read")
        for event in order_events(order.rows):
            # Columns of the shop's own, such as a state, change while the order does not: they are no part of the id.
            content = {**event, "properties": {k: v for k, v in event["properties"].items() if k != "extra"}}
            yield FileEvent(event={"event_id": ids.of(content), **event}, line=first.line)
    except RowError as error:
        yield error.problem


def order_events(rows: list[Row]) -> list[Event]:
    """Return everything the rows tell of one order. Raises: RowError."""
    row = merge_rows(rows)
    order_id = row.required("order_id", "the order's number")
    events: list[Event] = []
    for column, name in TIMES.items():
        occurred_at = row.moment(column)
        if occurred_at is None:
            check_no_amount(row, column)
            continue
        properties = {"order_id": order_id, **(placed(row, rows) if name == "order_placed" else followed(row, name))}
        events.append({"name": name, "occurred_at": occurred_at, **row.person(), "properties": properties})
    if not events:
        raise row.error(None, "the order has no time; expected one of " + ", ".join(TIMES))
    if events[0]["name"] == "order_placed":
        events[0] |= row.context({})
    if extra := {name: text for name, text in row.cells.items() if name not in KNOWN}:
        events[0]["properties"]["extra"] = extra
    return events


def merge_rows(rows: list[Row]) -> Row:
    """Return one row with what the rows of an order say of the order. Raises: RowError, when two disagree."""
    first = rows[0]
    if len(rows) == 1:
        return first
    cells = dict(first.cells)
    lines = dict.fromkeys(cells, first.line)
    for row in rows[1:]:
        for name, text in row.cells.items():
            if name in LINE_COLUMNS:
                continue
            if name in KNOWN and cells.get(name, text) != text:
                message = f"{text!r} differs from {cells[name]!r} in line {lines[name]} of the same order"
                raise row.error(name, message)
            cells.setdefault(name, text)
            lines.setdefault(name, row.line)
    return first.with_cells(cells)


def placed(row: Row, rows: list[Row]) -> Event:
    """Return the properties of `order_placed`. Raises: RowError."""
    currency = row.currency()
    if currency is None:
        raise row.error(
            "currency", "expected a currency's code such as EUR; --option currency=EUR sets it for all rows"
        )
    properties: Event = {"currency": currency}
    properties |= {name: row.size(name) if name == "discount" else row.amount(name) for name in AMOUNTS}
    properties["coupon_codes"] = row.read("coupon_codes", split_texts)
    properties["lines"] = order_lines(rows)
    properties |= {name: row.text(name) for name in ("payment_method", "store_id")}
    return {name: value for name, value in properties.items() if value}


def order_lines(rows: list[Row]) -> list[Event]:
    """Return the order's lines, one per row with an article. Raises: RowError."""
    lines = []
    for row in rows:
        if not any(row.text(name) for name in LINE_COLUMNS):
            continue
        line: Event = {"sku": row.required("sku", "the article number of the line")}
        line |= {"name": row.text("name"), "quantity": row.count("quantity"), "unit_price": row.amount("unit_price")}
        line["category"] = row.text("category")
        lines.append({name: value for name, value in line.items() if value is not None})
    return lines


def followed(row: Row, name: str) -> Event:
    """Return the properties of what happened to an order later. Raises: RowError."""
    columns = FOLLOWING[name]
    properties: Event = {field: row.text(column) for field, column in columns.items() if field != "amount"}
    if "amount" in columns and (amount := row.size(columns["amount"])) is not None:
        properties |= {"amount": amount, "currency": row.currency()}
    return {field: value for field, value in properties.items() if value is not None}


def check_no_amount(row: Row, column: str) -> None:
    """Refuse an amount that went back at no time; exports write 0 where nothing did. Raises: RowError."""
    amount = row.size(REDUCTIONS[column]) if column in REDUCTIONS else None
    if amount is not None and amount.strip("0.") != "":
        raise row.error(column, f"the cell is empty, but {REDUCTIONS[column]} is {amount}; expected a time")


ORDERS = FileKind(
    name="orders",
    required=(("order_id",), tuple(TIMES)),
    known=KNOWN,
    read=read_orders,
)
