"""The report `channels`: what each channel brings, by kind of contact, and how people feel there."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...domain.channel import NO_TOUCH
from ...store.questions import CONTACTS, Sessions, Signals
from .channel_costs import ChannelCost, OtherCost, load_costs
from .channel_list import ChannelList
from .context import ReportContext
from .conversion_paths import Selection, Window, WindowParameters, gather_paths, load_orders, placed_in, resolve_window
from .period import BEGINNING_MS
from .scope import Frame, ReportScope, distinct, open_frame
from .table import Table, TableColumn, struct_rows

Int64s = NDArray[np.int64]


class ChannelsParameters(WindowParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be asked; the window says how far back an order's last touch may lie."""


class ChannelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One channel, or `(none)` for orders without a touch in the window.

    Args:
        visits, clicks, impressions, encounters, notices: touchpoints in the period by kind of contact.
        persons: people with any of these.
        first_contacts: people whose very first touchpoint it was, in the period.
        last_touch_orders: orders of the period, in the report's currency, whose last touch it was.
        cost_minor: None = none was reported. ``paid_impressions`` and ``paid_clicks`` as the advertiser counted them.
    """

    channel: str
    medium: str | None
    online: bool | None
    sessions: int
    visits: int
    clicks: int
    impressions: int
    encounters: int
    notices: int
    persons: int
    first_contacts: int
    last_touch_orders: int
    pain_signals: int
    gain_signals: int
    cost_minor: int | None
    paid_impressions: int | None
    paid_clicks: int | None


class ChannelsReport(msgspec.Struct, frozen=True, kw_only=True):
    """Channels with anything to show, most people first; `(none)` last."""

    scope: ReportScope
    window: Window
    channels: tuple[ChannelRow, ...]
    other_costs: tuple[OtherCost, ...]


def channels(context: ReportContext, parameters: ChannelsParameters) -> ChannelsReport:
    """Count what came through each channel in the period."""
    frame = open_frame(context, parameters)
    window = resolve_window(parameters, context.attribution)
    listed = ChannelList(context.query)
    counts = _contact_counts(context, frame, listed)
    counts["last_touch_orders"], untouched = _last_touches(context, frame, window)
    counts |= _session_and_signal_counts(context, frame, listed)
    costs, other_costs = load_costs(context.query, frame, listed)
    rows = [_row(listed, code, counts, costs.get(code)) for code in range(len(listed))]
    kept = [row for row, filled in rows if filled]
    kept.sort(key=lambda row: (-row.persons, -row.last_touch_orders, row.channel))
    return ChannelsReport(
        scope=frame.scope, window=window, channels=(*kept, *_none_row(untouched)), other_costs=other_costs
    )


def _contact_counts(context: ReportContext, frame: Frame, listed: ChannelList) -> dict[str, Int64s]:
    """Count touchpoints, people and first contacts per channel."""
    # From the beginning: whether a touchpoint is a person's first cannot be told from the period alone.
    touches = context.query.touches(start_ms=BEGINNING_MS, end_ms=frame.end_ms, creditable_only=False)
    places, kept = frame.people.places(touches.person_ids)
    is_first = np.diff(touches.person_ids, prepend=-1) != 0
    # Some contacts came through no channel: a parcel on its way, a return. They are a first contact all the same.
    kept &= (touches.at_ms >= frame.start_ms) & (touches.channel_ids > 0)
    codes, size = listed.codes(touches.channel_ids), len(listed)
    table = np.bincount(codes[kept] * len(CONTACTS) + touches.contacts[kept], minlength=size * len(CONTACTS))
    pairs = distinct(places[kept] * size + codes[kept])
    counts = dict(zip((f"{contact}s" for contact in CONTACTS), table.reshape(size, -1).T, strict=True))
    counts["persons"] = np.bincount(pairs % size, minlength=size)
    counts["first_contacts"] = np.bincount(codes[kept & is_first], minlength=size)
    return counts


def _session_and_signal_counts(context: ReportContext, frame: Frame, listed: ChannelList) -> dict[str, Int64s]:
    owners, _, channel_ids = context.query.columns(Sessions(start_ms=frame.start_ms, end_ms=frame.end_ms))
    _, known = frame.people.places(owners)
    span = Signals(shop_id=frame.shop_id, start_ms=frame.start_ms, end_ms=frame.end_ms)
    _, signal_channels, pain, gain = context.query.columns(span)
    size = len(listed)
    return {
        "sessions": np.bincount(listed.codes(channel_ids[known]), minlength=size),
        "pain_signals": np.bincount(listed.codes(signal_channels[(pain == 1) & (signal_channels > 0)]), minlength=size),
        "gain_signals": np.bincount(listed.codes(signal_channels[(gain == 1) & (signal_channels > 0)]), minlength=size),
    }


def _last_touches(context: ReportContext, frame: Frame, window: Window) -> tuple[Int64s, int]:
    """Return orders per channel of their last touch, and orders without one."""
    orders = load_orders(context.query, frame)
    values = np.zeros(len(orders), np.int64)
    selection = Selection(orders=orders, reported=placed_in(orders, frame), values=values)
    found = gather_paths(context.query, frame, window, selection)
    paths = found.path_set.paths
    held = np.diff(paths.offsets) > 0
    last = paths.channel_codes[paths.offsets[1:][held] - 1]
    return np.bincount(last, minlength=len(paths.channels)), int((~held).sum())


def _row(
    listed: ChannelList, code: int, counts: dict[str, Int64s], cost: ChannelCost | None
) -> tuple[ChannelRow, bool]:
    channel = listed.channels[code]
    numbers = {name: int(column[code]) for name, column in counts.items()}
    row = ChannelRow(
        channel=channel.name,
        medium=channel.medium,
        online=channel.online,
        cost_minor=None if cost is None else cost.amount_minor,
        paid_impressions=None if cost is None else cost.impressions,
        paid_clicks=None if cost is None else cost.clicks,
        **numbers,
    )
    return row, cost is not None or any(numbers.values())


def _none_row(untouched: int) -> tuple[ChannelRow, ...]:
    if not untouched:
        return ()
    zeros = dict.fromkeys(("sessions", "visits", "clicks", "impressions", "encounters", "notices", "persons"), 0)
    return (
        ChannelRow(
            channel=NO_TOUCH,
            medium=None,
            online=None,
            first_contacts=0,
            last_touch_orders=untouched,
            pain_signals=0,
            gain_signals=0,
            cost_minor=None,
            paid_impressions=None,
            paid_clicks=None,
            **zeros,
        ),
    )


_TRAFFIC = (
    TableColumn("channel", "Channel"),
    TableColumn("medium", "Medium"),
    TableColumn("persons", "People", "integer"),
    TableColumn("first_contacts", "First", "integer"),
    TableColumn("sessions", "Sessions", "integer"),
    TableColumn("last_touch_orders", "Orders", "integer"),
    TableColumn("pain_signals", "Pain", "integer"),
    TableColumn("gain_signals", "Gain", "integer"),
    TableColumn("cost_minor", "Cost", "money"),
)
_CONTACTS = (
    TableColumn("channel", "Channel"),
    *(TableColumn(f"{contact}s", f"{contact.capitalize()}s", "integer") for contact in CONTACTS),
    TableColumn("paid_impressions", "Paid impr.", "integer"),
    TableColumn("paid_clicks", "Paid clicks", "integer"),
)


def channels_tables(report: ChannelsReport) -> tuple[Table, ...]:
    """Return the channels twice: what they brought, and contacts by kind."""
    currency = report.scope.currency
    note = (
        "First: people whose first contact it was. Orders: those whose last touch it was, "
        f"up to {report.window.lookback_days} days before."
    )
    return (
        Table(
            name="channels",
            title="Channels",
            columns=_TRAFFIC,
            rows=struct_rows(report.channels, _TRAFFIC),
            currency=currency,
            note=note,
        ),
        Table(
            name="contacts",
            title="Contacts by kind",
            columns=_CONTACTS,
            rows=struct_rows((row for row in report.channels if row.channel != NO_TOUCH), _CONTACTS),
        ),
    )
