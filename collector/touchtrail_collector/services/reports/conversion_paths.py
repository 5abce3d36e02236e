"""The paths before the orders of a report, from derived data, with what it takes to trace them back."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...domain.attribution import Conversions, PathRule, Paths, PathSet, Touches, build_paths
from ...settings import AttributionSettings
from ...store.engine import Query
from ...store.questions import CONTACTS, OrderRow, Orders
from .channel_list import ChannelList
from .period import BEGINNING_MS, ETERNITY_MS
from .scope import Frame, ReportParameters

_DAY_MS = 86_400_000
_IMPRESSION = CONTACTS.index("impression")


LookbackDays = Annotated[int, msgspec.Meta(ge=1, le=3650)]
"""The same range as that of the setting `attribution.lookback_days`."""


class WindowParameters(ReportParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which touches belong to an order.

    Args:
        lookback_days: a touch belongs to an order placed up to this many days of 24 hours later, ends included;
            this and the next two are as in the settings where absent.
        repeat: `full`: every order looks back the whole window. `since_last`: back to the person's previous order.
        impressions: False leaves out what was only seen.
        path: `all`: every touch. `exposure`: touches of one channel in a row count once, as the first of them.
    """

    lookback_days: LookbackDays | None = None
    repeat: Literal["full", "since_last"] | None = None
    impressions: bool | None = None
    path: Literal["all", "exposure"] = "all"


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """`WindowParameters` with nothing left open; stands in the result."""

    lookback_days: int
    repeat: Literal["full", "since_last"]
    impressions: bool
    path: Literal["all", "exposure"]


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Orders and what counts of them; the arrays are aligned with ``orders``.

    Args:
        orders: every order people have placed, as `load_orders` gives them.
        reported: which get a path.
        values: what each is worth in the report.
    """

    orders: list[OrderRow]
    reported: NDArray[np.bool_]
    values: NDArray[np.int64]


class OrderPaths(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of the reported orders.

    Args:
        path_set: ``conversion_ids`` are places in ``orders``; values are what ``values`` said.
        orders: every order people have placed, by time and order id.
    """

    path_set: PathSet
    orders: list[OrderRow]
    channels: ChannelList

    @property
    def converted(self) -> NDArray[np.bool_]:
        """Which paths end in an order; they come before those that do not."""
        return self.path_set.paths.converted


def resolve_window(parameters: WindowParameters, settings: AttributionSettings) -> Window:
    """Return the window with what the parameters leave open filled from the settings."""
    given = {name: getattr(parameters, name) for name in ("lookback_days", "repeat", "impressions")}
    defaults = {name: getattr(settings, name) for name in given}
    chosen = {name: defaults[name] if value is None else value for name, value in given.items()}
    return Window(path=parameters.path, **chosen)


def load_orders(query: Query, frame: Frame) -> list[OrderRow]:
    """Return every order of the shop's people, also before the period: `since_last` and customers look at those."""
    return query.ask(Orders(shop_id=frame.shop_id, start_ms=BEGINNING_MS, end_ms=ETERNITY_MS))


def placed_in(orders: list[OrderRow], frame: Frame) -> NDArray[np.bool_]:
    """Return which orders were placed in the period, in the report's currency."""
    inside = (frame.start_ms <= order.placed_at < frame.end_ms for order in orders)
    currency = frame.scope.currency
    return np.array([hit and order.currency == currency for hit, order in zip(inside, orders, strict=True)], np.bool_)


def gather_paths(
    query: Query,
    frame: Frame,
    window: Window,
    selection: Selection,
    *,
    open_paths: bool = False,
) -> OrderPaths:
    """Return the path of each reported order.

    Args:
        open_paths: also the touches in the period of people who did not order.
    """
    rule = PathRule(lookback_days=window.lookback_days, repeat=window.repeat)
    channels = ChannelList(query)
    placed = np.array([order.placed_at for order in selection.orders], np.int64)
    touches = _load_touches(query, frame, window, channels, (placed[selection.reported], open_paths))
    conversions = Conversions(
        person_ids=np.array([order.person_id for order in selection.orders], np.int64),
        at_ms=placed,
        value_minor=selection.values,
        conversion_ids=np.arange(len(selection.orders)),
        reported=selection.reported,
    )
    path_set = build_paths(
        touches,
        conversions,
        channels.channels,
        rule,
        observed_ms=_observed(frame, touches) if open_paths else None,
    )
    if window.path == "exposure":
        path_set = collapse_repeats(path_set)
    return OrderPaths(path_set=path_set, orders=selection.orders, channels=channels)


def collapse_repeats(path_set: PathSet) -> PathSet:
    """Return the paths with touches of one channel in a row counted once, as the first of them."""
    paths = path_set.paths
    starts = paths.offsets[:-1][np.diff(paths.offsets) > 0]
    kept = np.diff(paths.channel_codes, prepend=-1) != 0
    kept[starts] = True
    counted = np.concatenate(([0], np.cumsum(kept)))
    collapsed = Paths(
        channels=paths.channels,
        offsets=counted[paths.offsets].astype(np.int64),
        channel_codes=paths.channel_codes[kept],
        ages_ms=paths.ages_ms[kept],
        converted=paths.converted,
        value_minor=paths.value_minor,
        weight=paths.weight,
    )
    return msgspec.structs.replace(path_set, paths=collapsed, touch_ids=path_set.touch_ids[kept])


def _load_touches(
    query: Query,
    frame: Frame,
    window: Window,
    channels: ChannelList,
    wanted: tuple[NDArray[np.int64], bool],
) -> Touches:
    """Read the creditable touches that can lie on a path, of the shop's people only."""
    placed, open_paths = wanted
    start_ms = int(placed.min(initial=ETERNITY_MS)) - window.lookback_days * _DAY_MS
    end_ms = int(placed.max(initial=BEGINNING_MS)) + 1
    if open_paths:
        start_ms, end_ms = min(start_ms, frame.start_ms), max(end_ms, frame.end_ms)
    columns = query.touches(start_ms=start_ms, end_ms=end_ms)
    _, kept = frame.people.places(columns.person_ids)
    if not window.impressions:
        kept &= columns.contacts != _IMPRESSION
    return Touches(
        person_ids=columns.person_ids[kept],
        at_ms=columns.at_ms[kept],
        channel_codes=channels.codes(columns.channel_ids[kept]),
        touch_ids=columns.seqs[kept],
    )


def _observed(frame: Frame, touches: Touches) -> tuple[int, int]:
    """Return the first and last moment people were watched; an open end is the last touch there is."""
    last = int(touches.at_ms.max(initial=0)) if frame.end_ms == ETERNITY_MS else frame.end_ms - 1
    return frame.start_ms, last
