"""The report `overview`: do enough people see us, are they the right ones, do they feel well, do they order?"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...store.questions import OrderRow, Sessions, Signals, Surveys, TouchColumns
from .context import ReportContext
from .conversion_paths import load_orders
from .order_totals import Buyers, OrderTotals, count_buyers, total_orders
from .period import Months
from .scope import Frame, OtherCurrency, ReportParameters, ReportScope, distinct, open_frame, other_currencies
from .survey import Interval, SurveyResult, summarise_surveys, wilson

Int64s = NDArray[np.int64]


class OverviewParameters(ReportParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be asked: nothing besides what all reports share."""


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Do enough people see us?

    Args:
        persons: people with a touchpoint in the period.
        new_persons: of these, those first seen in it.
        returning_persons: the others.
    """

    persons: int
    new_persons: int
    returning_persons: int
    sessions: int
    touchpoints: int


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """Are they the right ones? Shares are of ``Reach.persons``, with Wilson intervals; None when there is nobody.

    Args:
        identified: people known by a customer id.
        customers: people who have ever ordered, until the end of the period.
        new_conversion_rate, returning_conversion_rate: share of new (returning) people who ordered in the period.
    """

    identified: int
    customers: int
    new_share: float | None
    customer_share: float | None
    new_conversion_rate: float | None
    returning_conversion_rate: float | None


class Experience(msgspec.Struct, frozen=True, kw_only=True):
    """Do they feel well?

    Args:
        pain_signals, gain_signals: experience signals of each polarity.
        surveys: one result per kind and scale of survey.
        answers_left_out: survey answers on a scale their kind does not have.
    """

    pain_signals: int
    gain_signals: int
    surveys: tuple[SurveyResult, ...]
    answers_left_out: int


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """Do visits become orders that stay orders? Amounts are of orders placed in the period, as known now.

    Args:
        buyers: people with a touchpoint in the period who also placed an order in it, in any currency.
        conversion_rate: buyers among people; ``conversion_interval`` is Wilson's.
        average_order_minor: gross of an order, rounded; None without orders.
        kept_share: net of gross.
        repeat_rate: of those who ordered in the period, the share with two orders or more until its end.
    """

    totals: OrderTotals
    buyers: int
    new_buyers: int
    conversion_rate: float | None
    conversion_interval: Interval | None
    average_order_minor: int | None
    kept_share: float | None
    repeat_rate: float | None


class MonthRow(msgspec.Struct, frozen=True, kw_only=True):
    """One calendar month of the report's time zone, `2026-11`; months without anything are left out.

    Args:
        orders, gross_minor, net_minor: of orders placed in the month, as known now.
    """

    month: str
    persons: int
    new_persons: int
    sessions: int
    touchpoints: int
    orders: int
    gross_minor: int
    net_minor: int
    pain_signals: int
    gain_signals: int


class OverviewReport(msgspec.Struct, frozen=True, kw_only=True):
    """The four questions, and the same by month."""

    scope: ReportScope
    reach: Reach
    fit: Fit
    experience: Experience
    conversion: Conversion
    months: tuple[MonthRow, ...]
    other_currencies: tuple[OtherCurrency, ...]


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in the period, as columns."""

    person_places: Int64s
    touched_at: Int64s
    session_started_at: Int64s
    signal_at: Int64s
    pain: Int64s
    gain: Int64s
    orders: list[OrderRow]


def overview(context: ReportContext, parameters: OverviewParameters) -> OverviewReport:
    """Answer the four questions for the period."""
    frame = open_frame(context, parameters)
    orders = load_orders(context.query, frame)
    buyers = count_buyers(orders, frame.start_ms, frame.end_ms)
    inside = [order for order in orders if frame.start_ms <= order.placed_at < frame.end_ms]
    seen = _look(context, frame, [order for order in inside if order.currency == frame.scope.currency])
    reached = distinct(seen.person_places)
    span = {"shop_id": frame.shop_id, "start_ms": frame.start_ms, "end_ms": frame.end_ms}
    surveys, left_out = summarise_surveys(context.query.ask(Surveys(**span)))
    return OverviewReport(
        scope=frame.scope,
        reach=_reach(frame, seen, reached),
        fit=_fit(frame, reached, buyers),
        experience=Experience(
            pain_signals=int(seen.pain.sum()),
            gain_signals=int(seen.gain.sum()),
            surveys=surveys,
            answers_left_out=left_out,
        ),
        conversion=_conversion(frame, reached, seen, buyers),
        months=_months(frame, seen),
        other_currencies=other_currencies(inside, frame.scope.currency),
    )


def _look(context: ReportContext, frame: Frame, orders: list[OrderRow]) -> _Seen:
    query = context.query
    touches: TouchColumns = query.touches(start_ms=frame.start_ms, end_ms=frame.end_ms, creditable_only=False)
    places, known = frame.people.places(touches.person_ids)
    owners, started_at, _ = query.columns(Sessions(start_ms=frame.start_ms, end_ms=frame.end_ms))
    signals = query.columns(Signals(shop_id=frame.shop_id, start_ms=frame.start_ms, end_ms=frame.end_ms))
    return _Seen(
        person_places=places[known],
        touched_at=touches.at_ms[known],
        session_started_at=started_at[frame.people.places(owners)[1]],
        signal_at=signals[0],
        pain=signals[2],
        gain=signals[3],
        orders=orders,
    )


def _reach(frame: Frame, seen: _Seen, reached: Int64s) -> Reach:
    new = int((frame.people.first_seen[reached] >= frame.start_ms).sum())
    return Reach(
        persons=len(reached),
        new_persons=new,
        returning_persons=len(reached) - new,
        sessions=len(seen.session_started_at),
        touchpoints=len(seen.touched_at),
    )


def _fit(frame: Frame, reached: Int64s, buyers: Buyers) -> Fit:
    new = frame.people.first_seen[reached] >= frame.start_ms
    bought = _among(frame, reached, buyers.person_ids)
    customers = int(_among(frame, reached, buyers.customer_ids).sum())
    return Fit(
        identified=int(frame.people.identified[reached].sum()),
        customers=customers,
        new_share=_share(int(new.sum()), len(reached)),
        customer_share=_share(customers, len(reached)),
        new_conversion_rate=_share(int((bought & new).sum()), int(new.sum())),
        returning_conversion_rate=_share(int((bought & ~new).sum()), int((~new).sum())),
    )


def _conversion(frame: Frame, reached: Int64s, seen: _Seen, buyers: Buyers) -> Conversion:
    totals = total_orders(seen.orders)
    bought = int(_among(frame, reached, buyers.person_ids).sum())
    return Conversion(
        totals=totals,
        buyers=bought,
        new_buyers=buyers.new_buyers,
        conversion_rate=_share(bought, len(reached)),
        conversion_interval=wilson(bought, len(reached)) if len(reached) else None,
        average_order_minor=(2 * totals.gross_minor + totals.orders) // (2 * totals.orders) if totals.orders else None,
        kept_share=_share(totals.net_minor, totals.gross_minor),
        repeat_rate=_share(buyers.repeat_buyers, buyers.buyers),
    )


def _months(frame: Frame, seen: _Seen) -> tuple[MonthRow, ...]:
    placed_at = np.array([order.placed_at for order in seen.orders], np.int64)
    months = Months(frame.zone, seen.touched_at, seen.session_started_at, seen.signal_at, placed_at)
    if not months.labels:
        return ()
    persons, new_persons = _persons_by_month(frame, seen, months)
    gross = np.array([order.gross_minor for order in seen.orders], np.int64)
    net = np.array([order.net_minor for order in seen.orders], np.int64)
    columns = {
        "persons": persons,
        "new_persons": new_persons,
        "sessions": months.count(seen.session_started_at),
        "touchpoints": months.count(seen.touched_at),
        "orders": months.count(placed_at),
        "gross_minor": months.total(placed_at, gross),
        "net_minor": months.total(placed_at, net),
        "pain_signals": months.total(seen.signal_at, seen.pain),
        "gain_signals": months.total(seen.signal_at, seen.gain),
    }
    return tuple(
        MonthRow(month=label, **{name: int(column[place]) for name, column in columns.items()})
        for place, label in enumerate(months.labels)
        if any(column[place] for column in columns.values())
    )


def _persons_by_month(frame: Frame, seen: _Seen, months: Months) -> tuple[Int64s, Int64s]:
    """Return, per month, people with a touchpoint in it and those of them first seen in it."""
    size = len(months.labels)
    pairs = distinct(seen.person_places * size + months.index(seen.touched_at))
    person, month = pairs // size, pairs % size
    born = months.index(frame.people.first_seen[person])
    # The first month may begin before the period does.
    new = (born == month) & (frame.people.first_seen[person] >= frame.start_ms)
    return np.bincount(month, minlength=size), np.bincount(month[new], minlength=size)


def _among(frame: Frame, reached: Int64s, person_ids: frozenset[int]) -> NDArray[np.bool_]:
    wanted = np.fromiter(person_ids, np.int64, len(person_ids))
    return np.isin(frame.people.ids[reached], wanted)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
