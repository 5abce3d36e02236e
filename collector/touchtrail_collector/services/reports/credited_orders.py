"""What orders are worth on which basis, and each model's credit for them, held against the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...domain.attribution import MICRO, apply_model, channel_totals, credit_micro, credit_money
from ...errors import ReportError
from ...store.engine import Query
from ...store.questions import Booked, OrderRow, OrderValues
from .conversion_paths import OrderPaths
from .model_choice import ChosenModel
from .period import BEGINNING_MS, ETERNITY_MS, end_of_day_ms
from .scope import Frame

Basis = Literal["order_date", "change_date"]
Int64s = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Valuation(msgspec.Struct, frozen=True, kw_only=True):
    """What every order of a shop counts for in one report, aligned with the list of orders.

    Args:
        reported: the order is credited.
        placed: it was placed in the period, so it is one of the report's conversions.
        before_minor: what was credited before the period begins; 0 on `order_date`.
        until_minor: what it is worth in the end; the report credits the difference.
        as_of_ms: changes from this moment on are not known yet.
    """

    basis: Basis
    reported: Mask
    placed: Mask
    before_minor: Int64s
    until_minor: Int64s
    as_of_ms: int

    @property
    def conversions(self) -> int:
        """How many orders were placed in the period."""
        return int(self.placed.sum())

    @property
    def revenue_minor(self) -> int:
        """What all credit must sum to."""
        return int((self.until_minor - self.before_minor)[self.reported].sum())


class CreditedOrders(msgspec.Struct, frozen=True, kw_only=True):
    """One model's credit.

    Args:
        micro, money_minor: one per touch of the paths.
        channel_micro, channel_money_minor: the same added up per channel.
        none_micro, none_money_minor: the bucket of orders without a touch.
    """

    chosen: ChosenModel
    micro: Int64s
    money_minor: Int64s
    channel_micro: Int64s
    channel_money_minor: Int64s
    none_micro: int
    none_money_minor: int


def value_orders(query: Query, frame: Frame, orders: list[OrderRow], *, basis: Basis, as_of: date | None) -> Valuation:
    """Return what each order counts for.

    On `change_date` an order's credit for the period is the credit of its value at the end minus that of its value
    at the beginning, so that the credit of successive periods adds up to the whole, touch by touch.

    Raises: ReportError naming an order whose changes do not sum to its net amount.
    """
    as_of_ms = end_of_day_ms(as_of, frame.zone)
    until_ms = as_of_ms if basis == "order_date" else min(frame.end_ms, as_of_ms)
    before_ms = BEGINNING_MS if basis == "order_date" else min(frame.start_ms, until_ms)
    rows = query.ask(OrderValues(shop_id=frame.shop_id, before_ms=before_ms, until_ms=until_ms))
    values = {row.order_id: (row.before_minor, row.until_minor) for row in rows}
    pairs = [values.get(order.order_id, (0, 0)) for order in orders]
    before, until = np.array(pairs, np.int64).reshape(-1, 2).T
    if until_ms == ETERNITY_MS:
        _check_ledger(orders, until)
    at_ms = np.array([order.placed_at for order in orders], np.int64)
    own = np.array([order.currency == frame.scope.currency for order in orders], np.bool_)
    placed = own & (at_ms >= frame.start_ms) & (at_ms < min(frame.end_ms, as_of_ms))
    return Valuation(
        basis=basis,
        reported=placed if basis == "order_date" else placed | (own & (before != until)),
        placed=placed,
        before_minor=np.ascontiguousarray(before),
        until_minor=np.ascontiguousarray(until),
        as_of_ms=as_of_ms,
    )


def credit_orders(paths: OrderPaths, valuation: Valuation, chosen: ChosenModel) -> CreditedOrders:
    """Run one model and turn its shares into integers.

    Raises: ModelError when the model fails.
    """
    columns = paths.path_set.paths
    shares = apply_model(chosen.model, columns, chosen.parameters)
    order = paths.path_set.conversion_ids
    converted = order >= 0
    counted = converted & valuation.placed[order] if len(valuation.placed) else converted
    before, until = (_per_path(values, order) for values in (valuation.before_minor, valuation.until_minor))
    conserve = chosen.model.conserves_credit
    micro = credit_micro(shares, columns.offsets, converted=counted, conserve=conserve)
    money = credit_money(shares, columns.offsets, until, conserve=conserve)
    if before.any():
        money = money - credit_money(shares, columns.offsets, before, conserve=conserve)
    totals = channel_totals(columns, micro, money)
    untouched = np.diff(columns.offsets) == 0
    return CreditedOrders(
        chosen=chosen,
        micro=micro,
        money_minor=money,
        channel_micro=totals.micro,
        channel_money_minor=totals.value_minor,
        none_micro=MICRO * int((untouched & counted).sum()),
        none_money_minor=int((until - before)[untouched].sum()),
    )


def check_against_books(query: Query, frame: Frame, valuation: Valuation, credited: Iterable[CreditedOrders]) -> None:
    """Hold what was credited against the ledger, which is asked again in another way.

    Raises: ReportError naming the figures that differ. It means a fault in the derived data or in this program,
        and a wrong number must not be shown.
    """
    booked = _ask_booked(query, frame, valuation)
    if booked != valuation.revenue_minor:
        raise ReportError(
            f"orders are worth {valuation.revenue_minor} {frame.scope.currency} minor units, their ledger says"
            f" {booked}; run `touchtrail rebuild`, and report it if it stays"
        )
    for credit in credited:
        if not credit.chosen.model.conserves_credit:
            continue
        micro = int(credit.channel_micro.sum()) + credit.none_micro
        money = int(credit.channel_money_minor.sum()) + credit.none_money_minor
        if (micro, money) != (valuation.conversions * MICRO, valuation.revenue_minor):
            raise ReportError(
                f"{credit.chosen.model.name} credits {micro} millionths of conversions and {money} minor units of"
                f" {valuation.conversions} orders worth {valuation.revenue_minor}; please report this"
            )


def _check_ledger(orders: list[OrderRow], sums: Int64s) -> None:
    for order, changed in zip(orders, sums.tolist(), strict=True):
        if order.net_minor != changed:
            raise ReportError(
                f"order {order.order_id}: its changes sum to {changed} {order.currency} minor units, its net amount is"
                f" {order.net_minor}; run `touchtrail rebuild`, and report it if it stays"
            )


def _ask_booked(query: Query, frame: Frame, valuation: Valuation) -> int:
    by_order = valuation.basis == "order_date"
    question = Booked(
        shop_id=frame.shop_id,
        currency=frame.scope.currency,
        placed_start_ms=frame.start_ms if by_order else BEGINNING_MS,
        placed_end_ms=min(frame.end_ms, valuation.as_of_ms) if by_order else ETERNITY_MS,
        start_ms=BEGINNING_MS if by_order else frame.start_ms,
        end_ms=valuation.as_of_ms if by_order else min(frame.end_ms, valuation.as_of_ms),
    )
    return query.ask(question)[0].amount_minor


def _per_path(values: Int64s, order: Int64s) -> Int64s:
    """Return each path's value; paths that did not convert are worth nothing."""
    if not len(values):
        return np.zeros(len(order), np.int64)
    return np.where(order >= 0, values[order], 0)
