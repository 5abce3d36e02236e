"""What all touchpoint events share: the struct they inherit from and the facts known of each kind."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    # What a caller may write for an amount of money. A float is taken as the decimal it prints as.
    Amount = Decimal | int | float | str
else:
    # What a decoder accepts: msgspec reads a JSON string or number as Decimal without going through a float.
    Amount = Decimal

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""A whole number that every reader of JSON can hold."""

Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
"""ISO 4217 code, upper case."""

Stage = Literal["awareness", "consideration", "purchase", "retention", "loyalty"]
Contact = Literal["visit", "click", "impression", "encounter", "notice", "none"]
Moment = Literal["zero", "first", "second", "third"]
Polarity = Literal["pain", "gain", "scored"]

STAGES: tuple[Stage, ...] = ("awareness", "consideration", "purchase", "retention", "loyalty")


class EventSpec(NamedTuple):
    """What the vocabulary says of one kind of event.

    Args:
        name: the canonical name on the wire, ``noun_verbed``.
        stage: the stage of the customer journey it belongs to; None = takes the stage of its surroundings.
        contact: how it counts as a contact between a person and the shop.
            ``visit`` happens on a page or screen and belongs to a session, whose channel it carries;
            ``click`` leads to a visit; ``impression`` was seen without a click; ``encounter`` is a contact of
            its own (store, phone, chat, word of mouth); ``notice`` stands on the road but never earns credit;
            ``none`` is no contact at all.
        moment: the moment of truth it belongs to, if any.
        signal: the feeling it tells of; ``scored`` = its score decides.
        is_personless: True for facts about the market, not about a person: they need no id.
    """

    name: str
    stage: Stage | None
    contact: Contact
    moment: Moment | None = None
    signal: Polarity | None = None
    is_personless: bool = False


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One immutable fact about a person and the shop; subclasses are the vocabulary.

    Args:
        extra: the shop's own data about the event. A key that is not a field belongs here: the collector
            rejects unknown fields, because a misspelt field would otherwise be lost without a word.
    """

    spec: ClassVar[EventSpec]

    extra: dict[str, Any] | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of an order, a cart or a refund.

    Args:
        sku: the shop's article number.
        quantity: pieces, at least 1.
        unit_price: price of one piece as the customer sees it, in the event's currency.
        category: the shop's category path, `Shoes/Running`.
    """

    sku: str
    name: str | None = None
    quantity: Count = 1
    unit_price: Amount | None = None
    category: str | None = None
    extra: dict[str, Any] | None = None
