"""The demo shop's books: every order while it is still open to change."""

from __future__ import annotations

from datetime import datetime

import msgspec

from touchtrail.events import Line

from .sending import to_datetime
from .truth import OrderState, TrueOrder


class OpenOrder(msgspec.Struct, kw_only=True):
    """One order of the simulated shop; amounts are minor units, VAT included.

    Args:
        causes: see ``TrueOrder.causes``.
        is_guest: ordered without an account: later reports know the order number and the e-mail address only.
        is_received: returned goods have arrived.
        receipt_code: printed on the till's receipt.
    """

    order_id: str
    person: int
    placed_ms: int
    gross_minor: int
    lines: list[Line]
    line_minor: list[int]
    causes: dict[str, float]
    is_guest: bool = False
    is_till: bool = False
    is_received: bool = False
    receipt_code: str | None = None
    state: OrderState = "placed"
    cancelled_minor: int = 0
    refunded_minor: int = 0
    charged_back_minor: int = 0

    @property
    def left_minor(self) -> int:
        """What has not been taken back yet."""
        return self.gross_minor - self.cancelled_minor - self.refunded_minor - self.charged_back_minor

    def cancel(self, amount_minor: int) -> None:
        """Take back what was never sent."""
        self.cancelled_minor += amount_minor
        self._close("cancelled")

    def refund(self, amount_minor: int) -> None:
        """Give money back."""
        self.refunded_minor += amount_minor
        self._close("returned" if self.is_received else "refunded")

    def charge_back(self, amount_minor: int) -> None:
        """Lose money to the customer's bank, until the dispute is won."""
        self.charged_back_minor += amount_minor
        self._close("charged_back")

    def win_dispute(self, amount_minor: int) -> None:
        """Get back what the customer's bank had taken."""
        self.charged_back_minor -= amount_minor
        self.state = "delivered"

    def _close(self, state: OrderState) -> None:
        if self.left_minor == 0:
            self.state = state

    def freeze(self) -> TrueOrder:
        """Return the order as it stands now."""
        return TrueOrder(
            order_id=self.order_id,
            person=self.person,
            placed_at=to_datetime(self.placed_ms),
            state=self.state,
            gross_minor=self.gross_minor,
            cancelled_minor=self.cancelled_minor,
            refunded_minor=self.refunded_minor,
            charged_back_minor=self.charged_back_minor,
            causes=self.causes,
        )


class Referral(msgspec.Struct, frozen=True, kw_only=True):
    """A recommendation link a customer sent to friends."""

    code: str
    person: int
    customer_id: str
    sent_ms: int


class SpendDay(msgspec.Struct, kw_only=True):
    """What one campaign did on one day."""

    impressions: int = 0
    clicks: int = 0
    cost_minor: int = 0


class ShopBooks:
    """What the whole simulated shop shares: orders, recommendation links, advertising costs."""

    def __init__(self) -> None:
        self.orders: dict[str, OpenOrder] = {}
        self.referrals: list[Referral] = []
        self.spend: dict[tuple[int, str], SpendDay] = {}
        self._numbers: dict[int, int] = {}

    def next_order_id(self, at_ms: int, prefix: str) -> str:
        """Return the next free order number of the day, `G-260412-017`."""
        day: datetime = to_datetime(at_ms)
        key = at_ms // 86_400_000
        self._numbers[key] = self._numbers.get(key, 0) + 1
        return f"{prefix}-{day:%y%m%d}-{self._numbers[key]:03d}"

    def spend_on(self, at_ms: int, campaign_key: str) -> SpendDay:
        """Return the day's account of a campaign."""
        return self.spend.setdefault((at_ms // 86_400_000, campaign_key), SpendDay())
