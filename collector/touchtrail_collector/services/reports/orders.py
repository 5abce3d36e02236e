"""The report `orders`: what was ordered, what of it stayed, and where senders disagree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated

import msgspec
import numpy as np

from ...store.questions import OrderChangeRow, OrderChanges, OrderRow
from .context import ReportContext
from .conversion_paths import load_orders
from .order_totals import OrderTotals, total_orders
from .period import Months
from .scope import Frame, OtherCurrency, ReportParameters, ReportScope, open_frame, other_currencies
from .table import Table, TableColumn, struct_rows

STATES = ("placed", "paid", "shipped", "delivered", "cancelled", "returned", "refunded", "charged_back")


class OrdersParameters(ReportParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be asked.

    Args:
        limit: how many orders to list, newest first; conflicts likewise.
    """

    limit: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 20


class StateRow(msgspec.Struct, frozen=True, kw_only=True):
    """Orders of the period that are in one state now."""

    state: str
    orders: int
    gross_minor: int
    net_minor: int


class OrderMonth(msgspec.Struct, frozen=True, kw_only=True):
    """One calendar month of the report's time zone; months without anything are left out.

    Args:
        orders … net_minor: of orders placed in the month, as known now.
        booked_minor: what all orders changed by in the month, whenever they were placed: the month in the books.
    """

    month: str
    orders: int
    gross_minor: int
    cancelled_minor: int
    refunded_minor: int
    charged_back_minor: int
    net_minor: int
    booked_minor: int


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One order as the ledger has it now; times in UTC milliseconds.

    Args:
        reports: how many events told of its placing. conflicts: how many of them told of another amount.
    """

    order_id: str
    person_id: int
    state: str
    placed_at_ms: int
    gross_minor: int
    cancelled_minor: int
    refunded_minor: int
    charged_back_minor: int
    net_minor: int
    reports: int
    conflicts: int


class OrdersReport(msgspec.Struct, frozen=True, kw_only=True):
    """Orders placed in the period, in the report's currency.

    Args:
        booked_minor: what all orders changed by in the period, whenever they were placed.
        states: in the order an order passes them.
        orders: newest first. conflicts: those whose senders reported different amounts, newest first.
        conflicting_orders: how many there are in all.
    """

    scope: ReportScope
    limit: int
    totals: OrderTotals
    booked_minor: int
    states: tuple[StateRow, ...]
    months: tuple[OrderMonth, ...]
    orders: tuple[LedgerRow, ...]
    conflicting_orders: int
    conflicts: tuple[LedgerRow, ...]
    other_currencies: tuple[OtherCurrency, ...]


def orders(context: ReportContext, parameters: OrdersParameters) -> OrdersReport:
    """Sum and list the orders of the period."""
    frame = open_frame(context, parameters)
    currency = frame.scope.currency
    inside = [order for order in load_orders(context.query, frame) if frame.start_ms <= order.placed_at < frame.end_ms]
    own = [order for order in inside if order.currency == currency]
    span = OrderChanges(shop_id=frame.shop_id, start_ms=frame.start_ms, end_ms=frame.end_ms)
    changes = [change for change in context.query.ask(span) if change.currency == currency]
    newest = own[::-1]
    conflicting = [order for order in newest if order.conflicts]
    return OrdersReport(
        scope=frame.scope,
        limit=parameters.limit,
        totals=total_orders(own),
        booked_minor=sum(change.amount_minor for change in changes),
        states=_by_state(own),
        months=_by_month(frame, own, changes),
        orders=tuple(_ledger_row(order) for order in newest[: parameters.limit]),
        conflicting_orders=len(conflicting),
        conflicts=tuple(_ledger_row(order) for order in conflicting[: parameters.limit]),
        other_currencies=other_currencies(inside, currency),
    )


def _by_state(own: list[OrderRow]) -> tuple[StateRow, ...]:
    groups: defaultdict[str, list[OrderRow]] = defaultdict(list)
    for order in own:
        groups[order.state].append(order)
    ranking = {state: place for place, state in enumerate(STATES)}
    return tuple(
        StateRow(
            state=state,
            orders=len(groups[state]),
            gross_minor=sum(order.gross_minor for order in groups[state]),
            net_minor=sum(order.net_minor for order in groups[state]),
        )
        for state in sorted(groups, key=lambda state: (ranking.get(state, len(STATES)), state))
    )


def _by_month(frame: Frame, own: list[OrderRow], changes: list[OrderChangeRow]) -> tuple[OrderMonth, ...]:
    placed_at = np.array([order.placed_at for order in own], np.int64)
    changed_at = np.array([change.at for change in changes], np.int64)
    months = Months(frame.zone, placed_at, changed_at)
    booked = months.total(changed_at, np.array([change.amount_minor for change in changes], np.int64))
    groups: defaultdict[int, list[OrderRow]] = defaultdict(list)
    for order, month in zip(own, months.index(placed_at).tolist(), strict=True):
        groups[month].append(order)
    has_change = months.count(changed_at)
    return tuple(
        OrderMonth(month=label, booked_minor=int(booked[place]), **msgspec.structs.asdict(total_orders(groups[place])))
        for place, label in enumerate(months.labels)
        if place in groups or has_change[place]
    )


def _ledger_row(order: OrderRow) -> LedgerRow:
    return LedgerRow(
        order_id=order.order_id,
        person_id=order.person_id,
        state=order.state,
        placed_at_ms=order.placed_at,
        gross_minor=order.gross_minor,
        cancelled_minor=order.cancelled_minor,
        refunded_minor=order.refunded_minor,
        charged_back_minor=order.charged_back_minor,
        net_minor=order.net_minor,
        reports=order.reports,
        conflicts=order.conflicts,
    )


_AMOUNTS = (
    TableColumn("gross_minor", "Gross", "money"),
    TableColumn("cancelled_minor", "Cancelled", "money"),
    TableColumn("refunded_minor", "Refunded", "money"),
    TableColumn("charged_back_minor", "Charged back", "money"),
    TableColumn("net_minor", "Net", "money"),
)
_STATES = (
    TableColumn("state", "State"),
    TableColumn("orders", "Orders", "integer"),
    TableColumn("gross_minor", "Gross", "money"),
    TableColumn("net_minor", "Net", "money"),
)
_MONTHS = (
    TableColumn("month", "Month"),
    TableColumn("orders", "Orders", "integer"),
    *_AMOUNTS,
    TableColumn("booked_minor", "Booked", "money"),
)
_LEDGER = (
    TableColumn("order_id", "Order"),
    TableColumn("placed_at_ms", "Placed", "time"),
    TableColumn("state", "State"),
    *_AMOUNTS,
)
_CONFLICTS = (
    TableColumn("order_id", "Order"),
    TableColumn("placed_at_ms", "Placed", "time"),
    TableColumn("gross_minor", "Gross taken", "money"),
    TableColumn("reports", "Reports", "integer"),
    TableColumn("conflicts", "Conflicts", "integer"),
)


def orders_tables(report: OrdersReport) -> tuple[Table, ...]:
    """Return the orders by state, by month and one by one, and the conflicts where there are any."""
    total = ("Total", report.totals.orders, report.totals.gross_minor, report.totals.net_minor)
    booked = "Booked: what all orders changed by in the month, whenever they were placed."
    listed = f"The {len(report.orders)} newest of {report.totals.orders:,}."
    disagreed = f"{report.conflicting_orders:,} orders of which senders reported different amounts."
    tables = [
        _table(report, "states", "Orders by state", _STATES, report.states),
        _table(report, "months", "By month", _MONTHS, report.months),
        _table(report, "ledger", "Ledger", _LEDGER, report.orders),
        _table(report, "conflicts", "Conflicts", _CONFLICTS, report.conflicts),
    ]
    notes = (_others(report), booked, listed, disagreed)
    noted = [msgspec.structs.replace(table, note=note) for table, note in zip(tables, notes, strict=True)]
    noted[0] = msgspec.structs.replace(noted[0], total=total)
    return tuple(noted if report.conflicts else noted[:3])


def _table(
    report: OrdersReport, name: str, title: str, columns: tuple[TableColumn, ...], structs: Iterable[msgspec.Struct]
) -> Table:
    return Table(
        name=name,
        title=title,
        columns=columns,
        rows=struct_rows(structs, columns),
        currency=report.scope.currency,
        time_zone=report.scope.time_zone,
    )


def _others(report: OrdersReport) -> str | None:
    parts = [
        f"{other.orders} in {other.currency} ({other.net_minor} net minor units)" for other in report.other_currencies
    ]
    return f"Not among them: {', '.join(parts)}; name the currency to see them." if parts else None
