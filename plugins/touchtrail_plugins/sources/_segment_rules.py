"""What Segment's specification says of some events that a table of names cannot: money, filters, what is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from ._segment_values import to_decimal, to_text

ZERO = Decimal(0)
Properties = dict[str, Any]


def reckon_order(rest: Properties) -> None:
    """Give an order its ``goods`` and ``total``, whatever its client calls them.

    Segment's `total` includes tax and shipping, `revenue` and `subtotal` do not; `subtotal` has the discount taken
    off, of `revenue` the specification does not say, and its example has not. Where `total` is given too, the sums
    decide. `revenue` and `subtotal` stay in ``extra``.

    Source: segment-docs `src/connections/spec/ecommerce/v2.md`, "Order Completed".
    """
    discount = to_decimal(rest.get("discount"))
    if discount is not None and discount < 0:
        rest["discount"] = str(-discount)
    reckon_total(rest)
    goods = find_goods(rest)
    if goods is not None:
        rest.setdefault("goods", str(goods))


def reckon_total(rest: Properties) -> None:
    """Give an order or a checkout its ``total``: goods without the discount, with tax and shipping."""
    if "total" in rest:
        return
    if "value" in rest:
        rest["total"] = rest.pop("value")
        return
    goods = find_goods(rest)
    if goods is not None:
        rest["total"] = str(goods - abs(part(rest, "discount")) + part(rest, "tax") + part(rest, "shipping"))
    elif "revenue" in rest:
        rest["total"] = rest["revenue"]  # no number: the collector says so, instead of an order worth nothing


def reckon_amount(rest: Properties) -> None:
    """Give a refund or cancellation its ``amount``; clients that send it below zero mean the same."""
    if "amount" not in rest:
        reckon_total(rest)
        if "total" in rest:
            rest["amount"] = rest.pop("total")
    amount = to_decimal(rest.get("amount"))
    if amount is not None and amount < 0:
        rest["amount"] = str(-amount)


def find_goods(rest: Mapping[str, Any]) -> Decimal | None:
    """Return the sum of an order's goods before discount, as far as its properties tell."""
    discount = abs(part(rest, "discount"))
    subtotal, revenue = to_decimal(rest.get("subtotal")), to_decimal(rest.get("revenue"))
    base = revenue if subtotal is None else subtotal
    if base is None or not discount:
        return base
    total = to_decimal(rest.get("total"))
    if total is not None:
        shipping, tax = part(rest, "shipping"), part(rest, "tax")
        for surcharge in (tax + shipping, shipping):  # the second where prices contain the tax
            if base + surcharge == total:
                return base + discount
            if base - discount + surcharge == total:
                return base
    is_reduced = subtotal is not None or base + discount == sum_of_lines(rest.get("products"))
    return base + discount if is_reduced else base


def part(rest: Mapping[str, Any], name: str) -> Decimal:
    """Return one part of an order's money, 0 when it is not told."""
    return to_decimal(rest.get(name)) or ZERO


def sum_of_lines(products: Any) -> Decimal | None:
    """Return what the products cost together, or None when one does not say."""
    if not isinstance(products, list):
        return None
    total = ZERO
    for product in products:
        price = to_decimal(product.get("price")) if isinstance(product, dict) else None
        quantity = to_decimal(product.get("quantity", 1)) if isinstance(product, dict) else None
        if price is None or quantity is None:
            return None
        total += price * quantity
    return total


def write_query(rest: Properties) -> None:
    """Write a search query that is an object as JSON: Segment allows both."""
    query = rest.get("query")
    if isinstance(query, dict | list):
        rest["query"] = msgspec.json.encode(query).decode()


def name_filters(rest: Properties) -> None:
    """Turn Segment's lists of `{type, value}` into one mapping of filters and one text of the sort order."""
    filters = pairs_of(rest.get("filters"))
    if filters is not None:
        named: dict[str, str] = {}
        for kind, value in filters:
            named[kind] = f"{named[kind]}, {value}" if kind in named else value
        rest["filters"] = named
    sorts = pairs_of(rest.get("sorts"))
    if sorts is not None and "sort" not in rest:
        del rest["sorts"]
        rest["sort"] = ", ".join(f"{kind} {value}".strip() for kind, value in sorts)


def pairs_of(entries: Any) -> list[tuple[str, str]] | None:
    """Return type and value of every entry, or None when one is no such pair."""
    if not isinstance(entries, list):
        return None
    pairs = []
    for entry in entries:
        kind = to_text(entry.get("type")) if isinstance(entry, dict) else None
        value = to_text(entry.get("value", "")) if isinstance(entry, dict) else None
        if not isinstance(kind, str) or not isinstance(value, str | None):
            return None
        pairs.append((kind, value or ""))
    return pairs


def leave_out_text(rest: Properties) -> None:
    """Drop what was said in a chat: it is not part of the event (the vocabulary says so)."""
    rest.pop("message_body", None)


PREPARE: Mapping[str, Callable[[Properties], None]] = {
    "cart_viewed": reckon_total,
    "chat_ended": leave_out_text,
    "chat_message_received": leave_out_text,
    "chat_message_sent": leave_out_text,
    "chat_started": leave_out_text,
    "checkout_started": reckon_total,
    "order_cancelled": reckon_amount,
    "order_placed": reckon_order,
    "order_refunded": reckon_amount,
    "order_updated": reckon_order,
    "product_list_filtered": name_filters,
    "product_searched": write_query,
}
"""What is done to an event's properties before their names are looked up."""
