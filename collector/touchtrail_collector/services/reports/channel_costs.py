"""What channels cost in a period, in the report's currency and in others."""

from __future__ import annotations

import msgspec

from ...store.engine import Query
from ...store.questions import Costs
from .channel_list import ChannelList
from .scope import Frame


class OtherCost(msgspec.Struct, frozen=True, kw_only=True):
    """Costs of the period in a currency the report is not in."""

    channel: str
    currency: str
    amount_minor: int


class ChannelCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one channel cost; what the advertiser counted, where it was reported."""

    amount_minor: int
    impressions: int | None
    clicks: int | None


def load_costs(
    query: Query, frame: Frame, channels: ChannelList
) -> tuple[dict[int, ChannelCost], tuple[OtherCost, ...]]:
    """Return costs by channel code, and those in other currencies by channel name."""
    own: dict[int, ChannelCost] = {}
    others = []
    for row in query.ask(Costs(shop_id=frame.shop_id, first_day=frame.days[0], last_day=frame.days[1])):
        code = channels.code(row.channel_id)
        if row.currency == frame.scope.currency:
            own[code] = ChannelCost(amount_minor=row.amount_minor, impressions=row.impressions, clicks=row.clicks)
        else:
            name = channels.channels[code].name
            others.append(OtherCost(channel=name, currency=row.currency, amount_minor=row.amount_minor))
    return own, tuple(sorted(others, key=lambda cost: (cost.channel, cost.currency)))
