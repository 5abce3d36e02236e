"""The report `paths`: the ways of channels that lead to orders, and how many lead nowhere."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from .context import ReportContext
from .conversion_paths import (
    OrderPaths,
    Selection,
    Window,
    WindowParameters,
    gather_paths,
    load_orders,
    placed_in,
    resolve_window,
)
from .scope import OtherCurrency, ReportScope, open_frame, other_currencies
from .table import Table, TableColumn

_DAY_MS = 86_400_000


class PathsParameters(WindowParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be asked.

    Args:
        limit: how many different paths to list.
    """

    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 20


class PathRow(msgspec.Struct, frozen=True, kw_only=True):
    """One way to an order: the same channels in the same order.

    Args:
        path: channel names, oldest first; empty = orders without a touch in the window.
        conversions: orders placed in the period.
        share: of all conversions of the report.
        net_minor: what those orders are worth now.
        median_days: from the first touch to the order; None for the empty path.
        touches: touches on the path.
        not_converting: people without an order whose touches in the period follow the same path.
    """

    path: tuple[str, ...]
    conversions: int
    share: float
    net_minor: int
    median_days: float | None
    touches: int
    not_converting: int


class PathsReport(msgspec.Struct, frozen=True, kw_only=True):
    """The most frequent paths to an order.

    Args:
        conversions: orders placed in the period, in the report's currency.
        different_paths: among all of them; ``paths`` holds the most frequent.
        median_touches, median_days: over conversions with a touch; None without any.
        non_converting_paths: people with touches in the period who did not order (with `since_last`: or not since).
    """

    scope: ReportScope
    window: Window
    limit: int
    conversions: int
    net_minor: int
    different_paths: int
    median_touches: float | None
    median_days: float | None
    non_converting_paths: int
    paths: tuple[PathRow, ...]
    other_currencies: tuple[OtherCurrency, ...]


def paths(context: ReportContext, parameters: PathsParameters) -> PathsReport:
    """Rank the paths before the orders of the period."""
    frame = open_frame(context, parameters)
    window = resolve_window(parameters, context.attribution)
    orders = load_orders(context.query, frame)
    reported = placed_in(orders, frame)
    values = np.array([order.net_minor for order in orders], np.int64)
    selection = Selection(orders=orders, reported=reported, values=values)
    found = gather_paths(context.query, frame, window, selection, open_paths=True)
    groups = _group(found)
    converted = found.converted
    days = _days(found)
    lengths = np.diff(found.path_set.paths.offsets)[converted]
    held = lengths > 0
    inside = (order for order in orders if frame.start_ms <= order.placed_at < frame.end_ms)
    return PathsReport(
        scope=frame.scope,
        window=window,
        limit=parameters.limit,
        conversions=int(converted.sum()),
        net_minor=int(values[reported].sum()),
        different_paths=sum(bool(len(places)) for places, _ in groups.values()),
        median_touches=float(np.median(lengths[held])) if held.any() else None,
        median_days=float(np.median(days[converted][held])) if held.any() else None,
        non_converting_paths=int((~converted).sum()),
        paths=_rows(found, groups, days, parameters.limit),
        other_currencies=other_currencies(inside, frame.scope.currency),
    )


def _group(found: OrderPaths) -> dict[bytes, tuple[list[int], int]]:
    """Return, per sequence of channels, the paths that converted and how many did not."""
    columns = found.path_set.paths
    codes = columns.channel_codes.astype(np.uint16).tobytes()
    bounds, converted = (columns.offsets * 2).tolist(), columns.converted.tolist()
    places: dict[bytes, list[int]] = {}
    others: dict[bytes, int] = {}
    for path, hit in enumerate(converted):
        key = codes[bounds[path] : bounds[path + 1]]
        if hit:
            places.setdefault(key, []).append(path)
        else:
            others[key] = others.get(key, 0) + 1
    return {key: (members, others.get(key, 0)) for key, members in places.items()}


def _days(found: OrderPaths) -> NDArray[np.float64]:
    """Return days from each path's first touch to its end; 0 where it has no touch."""
    columns = found.path_set.paths
    held = np.diff(columns.offsets) > 0
    days = np.zeros(len(held))
    days[held] = columns.ages_ms[columns.offsets[:-1][held]] / _DAY_MS
    return days


def _rows(
    found: OrderPaths, groups: dict[bytes, tuple[list[int], int]], days: NDArray[np.float64], limit: int
) -> tuple[PathRow, ...]:
    columns = found.path_set.paths
    names = [channel.name for channel in columns.channels]
    total = int(found.converted.sum())
    # Frequent first; equally frequent ones by worth, then by their channels, so that the answer never wavers.
    ranking = sorted(
        groups, key=lambda key: (-len(groups[key][0]), -int(columns.value_minor[groups[key][0]].sum()), len(key), key)
    )
    rows = []
    for key in ranking[:limit]:
        members, others = groups[key]
        rows.append(
            PathRow(
                path=tuple(names[code] for code in np.frombuffer(key, np.uint16)),
                conversions=len(members),
                share=len(members) / total,
                net_minor=int(columns.value_minor[members].sum()),
                median_days=float(np.median(days[members])) if key else None,
                touches=len(key) // 2,
                not_converting=others,
            )
        )
    return tuple(rows)


_COLUMNS = (
    TableColumn("path", "Path"),
    TableColumn("conversions", "Orders", "integer"),
    TableColumn("share", "Share", "share"),
    TableColumn("net", "Net", "money"),
    TableColumn("median_days", "Days", "decimal"),
    TableColumn("touches", "Touches", "integer"),
    TableColumn("not_converting", "Without", "integer"),
)


def paths_tables(report: PathsReport) -> tuple[Table, ...]:
    """Return the paths as one table."""
    rows = tuple(
        (
            " > ".join(row.path) or "(none)",
            row.conversions,
            row.share,
            row.net_minor,
            row.median_days,
            row.touches,
            row.not_converting,
        )
        for row in report.paths
    )
    note = (
        f"{len(rows)} of {report.different_paths:,} different paths to {report.conversions:,} orders; "
        f"{report.non_converting_paths:,} people had touches but no order. Days: median from the first touch to the "
        "order. Without: people on the same path who did not order."
    )
    return (
        Table(
            name="paths",
            title="Paths to an order",
            columns=_COLUMNS,
            rows=rows,
            currency=report.scope.currency,
            note=note,
        ),
    )
