"""The report `attribution`: which channels earned the orders, by each model, net of what was taken back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec
import numpy as np

from ...domain.attribution import MICRO
from ...domain.channel import NO_TOUCH
from .channel_costs import ChannelCost, OtherCost, load_costs
from .context import ReportContext
from .conversion_paths import OrderPaths, Selection, Window, WindowParameters, gather_paths, load_orders, resolve_window
from .credit_trace import CreditedTouch, trace_order
from .credited_orders import Basis, CreditedOrders, check_against_books, credit_orders, value_orders
from .model_choice import ModelUsed, choose_models
from .period import load_zone, local_time
from .scope import OtherCurrency, ReportScope, open_frame, other_currencies
from .table import Table, TableColumn


class AttributionParameters(WindowParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be asked.

    Args:
        model: names of models; none = all there are.
        set: parameters of models, `position_based.first=0.5`.
        as_of: what orders were worth at the end of this day; absent = as far as is known.
        basis: `order_date`: orders placed in the period, with their net value. `change_date`: what orders changed by
            in the period, whenever they were placed; takebacks are negative, and periods add up.
        order: an order number whose credit is opened down to its touches.
    """

    model: tuple[str, ...] = ()
    set: dict[str, str] = msgspec.field(default_factory=dict)
    as_of: date | None = None
    basis: Basis = "order_date"
    order: str | None = None


class ModelCredit(msgspec.Struct, frozen=True, kw_only=True):
    """What one model gives one channel.

    Args:
        conversions_micro: millionths of conversions.
        revenue_minor: may be negative on `change_date`.
        roas: revenue for one unit of cost; None without cost.
        cpa_minor: cost of one conversion, rounded; None without cost or without a conversion.
    """

    model: str
    conversions_micro: int
    revenue_minor: int
    roas: float | None
    cpa_minor: int | None


class ChannelCredit(msgspec.Struct, frozen=True, kw_only=True):
    """One channel, or `(none)` for orders without a touch in the window.

    Args:
        medium, online: None for `(none)`.
        touches: touches on the paths of the credited orders; one that two orders share counts twice.
        cost_minor: what the channel cost in the period; None = no cost was reported.
        credits: in the order of the report's models.
    """

    channel: str
    medium: str | None
    online: bool | None
    touches: int
    cost_minor: int | None
    credits: tuple[ModelCredit, ...]


class AttributionReport(msgspec.Struct, frozen=True, kw_only=True):
    """Credit per channel and model.

    Args:
        as_of: None = as far as is known, which is what had been received at ``scope.known_until_ms``.
        conversions: orders placed in the period, also those taken back later: their revenue is what is taken back.
        revenue_minor: what the credits of each model that conserves credit sum to, exactly.
        cost_minor: all costs of the period.
        channels: by the first model's revenue; `(none)` last, when there is any.
        touches: of the order that was asked for; None where none was.
    """

    scope: ReportScope
    window: Window
    models: tuple[ModelUsed, ...]
    basis: Basis
    as_of: date | None
    conversions: int
    revenue_minor: int
    cost_minor: int
    channels: tuple[ChannelCredit, ...]
    other_currencies: tuple[OtherCurrency, ...]
    other_costs: tuple[OtherCost, ...]
    order: str | None
    touches: tuple[CreditedTouch, ...] | None


def attribution(context: ReportContext, parameters: AttributionParameters) -> AttributionReport:
    """Share the value of orders among the touches before them.

    Raises: ReportError for an unknown model, a wrong model parameter, an order that is not in the report, or sums
        that differ from the ledger. ModelError when a model fails.
    """
    query = context.query
    frame = open_frame(context, parameters)
    window = resolve_window(parameters, context.attribution)
    chosen = choose_models(context.models, parameters.model, parameters.set)
    orders = load_orders(query, frame)
    valuation = value_orders(query, frame, orders, basis=parameters.basis, as_of=parameters.as_of)
    open_paths = any(model.model.needs_non_converting for model in chosen)
    selection = Selection(orders=orders, reported=valuation.reported, values=valuation.until_minor)
    paths = gather_paths(query, frame, window, selection, open_paths=open_paths)
    credited = [credit_orders(paths, valuation, model) for model in chosen]
    check_against_books(query, frame, valuation, credited)
    costs, other_costs = load_costs(query, frame, paths.channels)
    inside = (order for order in orders if frame.start_ms <= order.placed_at < frame.end_ms)
    return AttributionReport(
        scope=frame.scope,
        window=window,
        models=tuple(model.used for model in chosen),
        basis=parameters.basis,
        as_of=parameters.as_of,
        conversions=valuation.conversions,
        revenue_minor=valuation.revenue_minor,
        cost_minor=sum(cost.amount_minor for cost in costs.values()),
        channels=_channel_rows(paths, credited, costs),
        other_currencies=other_currencies(inside, frame.scope.currency),
        other_costs=other_costs,
        order=parameters.order,
        touches=None if parameters.order is None else trace_order(query, paths, parameters.order, credited),
    )


def _channel_rows(
    paths: OrderPaths, credited: Sequence[CreditedOrders], costs: dict[int, ChannelCost]
) -> tuple[ChannelCredit, ...]:
    columns = paths.path_set.paths
    on_order_paths = np.repeat(paths.converted, np.diff(columns.offsets))
    touches = np.bincount(columns.channel_codes[on_order_paths], minlength=len(columns.channels))
    rows = []
    for code, channel in enumerate(columns.channels):
        cost = costs[code].amount_minor if code in costs else None
        if touches[code] or cost is not None:
            rows.append(
                ChannelCredit(
                    channel=channel.name,
                    medium=channel.medium,
                    online=channel.online,
                    touches=int(touches[code]),
                    cost_minor=cost,
                    credits=tuple(_model_credit(credit, code, cost) for credit in credited),
                )
            )
    rows.sort(key=lambda row: (-row.credits[0].revenue_minor, -row.credits[0].conversions_micro, row.channel))
    return (*rows, *_none_row(credited))


def _model_credit(credit: CreditedOrders, code: int, cost_minor: int | None) -> ModelCredit:
    micro, revenue = int(credit.channel_micro[code]), int(credit.channel_money_minor[code])
    return ModelCredit(
        model=credit.chosen.model.name,
        conversions_micro=micro,
        revenue_minor=revenue,
        roas=revenue / cost_minor if cost_minor else None,
        cpa_minor=(cost_minor * MICRO + micro // 2) // micro if cost_minor and micro else None,
    )


def _none_row(credited: Sequence[CreditedOrders]) -> tuple[ChannelCredit, ...]:
    if not (credited[0].none_micro or credited[0].none_money_minor):
        return ()
    shares = tuple(
        ModelCredit(
            model=credit.chosen.model.name,
            conversions_micro=credit.none_micro,
            revenue_minor=credit.none_money_minor,
            roas=None,
            cpa_minor=None,
        )
        for credit in credited
    )
    return (ChannelCredit(channel=NO_TOUCH, medium=None, online=None, touches=0, cost_minor=None, credits=shares),)


def attribution_tables(report: AttributionReport) -> tuple[Table, ...]:
    """Return the report as tables: revenue, conversions, costs, and the touches of the order asked for."""
    tables = [_model_table(report, "revenue"), _model_table(report, "conversions")]
    if any(row.cost_minor is not None for row in report.channels):
        tables.append(_model_table(report, "roas"))
    if report.touches is not None:
        tables.append(_touch_table(report))
    return tuple(tables)


def _model_table(report: AttributionReport, name: str) -> Table:
    titles = {"revenue": "Revenue by channel", "conversions": "Conversions by channel", "roas": "Return on ad spend"}
    fields = {"revenue": "revenue_minor", "conversions": "conversions_micro", "roas": "roas"}
    kinds = {"revenue": "money", "conversions": "micro", "roas": "decimal"}
    columns = [TableColumn("channel", "Channel")]
    if name == "roas":
        columns.append(TableColumn("cost", "Cost", "money"))
    columns += [TableColumn(model.name, model.name.replace("_", " "), kinds[name]) for model in report.models]  # type: ignore[arg-type]
    rows = []
    for row in report.channels:
        if name != "roas" or row.cost_minor is not None:
            start = (row.channel, row.cost_minor) if name == "roas" else (row.channel,)
            rows.append((*start, *(getattr(credit, fields[name]) for credit in row.credits)))
    sums = (sum(row[place] for row in rows) for place in range(1, len(columns))) if name != "roas" else ()
    return Table(
        name=name,
        title=titles[name],
        columns=tuple(columns),
        rows=tuple(rows),
        total=("Total", *sums) if rows and name != "roas" else None,
        currency=report.scope.currency,
        time_zone=report.scope.time_zone,
        note=_note(report) if name == "revenue" else None,
    )


def _note(report: AttributionReport) -> str:
    window = report.window
    seen = "impressions count" if window.impressions else "impressions do not count"
    worth = _known(report) if report.as_of is None else f"as of {report.as_of}"
    basis = "orders by the day they were placed" if report.basis == "order_date" else "changes by the day they happened"
    return f"Look-back {window.lookback_days} days, repeat {window.repeat}, {seen}; {basis}, net of returns {worth}."


def _known(report: AttributionReport) -> str:
    at_ms, zone = report.scope.known_until_ms, report.scope.time_zone
    if at_ms is None:
        return "as far as is known"
    return f"as far as was known on {local_time(at_ms, load_zone(zone)):%Y-%m-%d at %H:%M}"


def _touch_table(report: AttributionReport) -> Table:
    columns = (
        TableColumn("at", "Time", "time"),
        TableColumn("name", "Event"),
        TableColumn("channel", "Channel"),
        TableColumn("seq", "Seq", "integer"),
        *(TableColumn(model.name, model.name.replace("_", " "), "money") for model in report.models),
    )
    rows = tuple(
        (touch.at_ms, touch.name, touch.channel, touch.seq, *(credit.revenue_minor for credit in touch.credits))
        for touch in report.touches or ()
    )
    return Table(
        name="touches",
        title=f"Credit of order {report.order}",
        columns=columns,
        rows=rows,
        currency=report.scope.currency,
        time_zone=report.scope.time_zone,
        note=None if rows else "The order had no touch in the look-back window: its credit is in (none).",
    )
