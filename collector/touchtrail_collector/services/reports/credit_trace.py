"""Opens one order's credit down to the touches and events it is for."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from ...errors import ReportError
from ...store.engine import Query
from ...store.journey_questions import Steps
from .conversion_paths import OrderPaths
from .credited_orders import CreditedOrders


class TouchCredit(msgspec.Struct, frozen=True, kw_only=True):
    """What one model gives one touch: millionths of the conversion, and money."""

    model: str
    conversions_micro: int
    revenue_minor: int


class CreditedTouch(msgspec.Struct, frozen=True, kw_only=True):
    """One touch on the path of an order.

    Args:
        seq: the event's place in the log.
        at_ms: UTC milliseconds.
        age_ms: from the touch to the order.
        credits: in the order of the report's models.
    """

    seq: int
    name: str
    channel: str
    contact: str
    at_ms: int
    age_ms: int
    campaign: str | None
    credits: tuple[TouchCredit, ...]


def trace_order(
    query: Query, paths: OrderPaths, order_id: str, credited: Sequence[CreditedOrders]
) -> tuple[CreditedTouch, ...]:
    """Return the touches of one order, oldest first; none when it had no touch in the window.

    Raises: ReportError when the order is not among those the report credits.
    """
    ids = [place for place, order in enumerate(paths.orders) if order.order_id == order_id]
    found = np.flatnonzero(np.isin(paths.path_set.conversion_ids, ids))
    if not ids or not len(found):
        why = (
            "it is not credited with these parameters (period, currency, as-of date)" if ids else "no person placed it"
        )
        raise ReportError(f"order {order_id!r} is not in this report: {why}", parameter="order")
    path = int(found[0])
    columns = paths.path_set.paths
    span = range(int(columns.offsets[path]), int(columns.offsets[path + 1]))
    steps = {step.seq: step for step in query.ask(Steps(person_id=int(paths.path_set.person_ids[path])))}
    touches = []
    for touch in span:
        step = steps[int(paths.path_set.touch_ids[touch])]
        touches.append(
            CreditedTouch(
                seq=step.seq,
                name=step.name,
                channel=columns.channels[columns.channel_codes[touch]].name,
                contact=step.contact,
                at_ms=step.at,
                age_ms=int(columns.ages_ms[touch]),
                campaign=step.campaign,
                credits=tuple(_touch_credit(credit, touch) for credit in credited),
            )
        )
    return tuple(touches)


def _touch_credit(credit: CreditedOrders, touch: int) -> TouchCredit:
    return TouchCredit(
        model=credit.chosen.model.name,
        conversions_micro=int(credit.micro[touch]),
        revenue_minor=int(credit.money_minor[touch]),
    )
