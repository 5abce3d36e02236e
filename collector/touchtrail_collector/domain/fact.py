"""Facts: stored events as the derivation reads them, with the time corrected where a clock was wrong."""

from __future__ import annotations

from typing import Any

import msgspec

from touchtrail.context import Campaign

SKEW_TOLERANCE_MS = 5_000


class FactPage(msgspec.Struct, gc=False):
    url: str | None = None
    referrer: str | None = None


class FactDevice(msgspec.Struct, gc=False):
    kind: str | None = None
    user_agent: str | None = None


class FactBody(msgspec.Struct, gc=False):
    """The parts of an event's body that anything is derived from."""

    anonymous_id: str | None = None
    customer_id: str | None = None
    page: FactPage | None = None
    campaign: Campaign | None = None
    device: FactDevice | None = None
    identifiers: dict[str, str] | None = None
    properties: dict[str, Any] = {}


class NodeBody(msgspec.Struct, gc=False):
    """The parts of an event's body that hold identifiers; the rest is passed over without making anything of it."""

    anonymous_id: str | None = None
    customer_id: str | None = None
    identifiers: dict[str, str] | None = None
    properties: NodeProperties | None = None


class NodeProperties(msgspec.Struct, gc=False):
    """The properties that identify."""

    order_id: Any = None
    coupon_code: Any = None
    coupon_codes: Any = None


Node = tuple[str, str]
"""An identifier: its kind and its value."""

HIDDEN = "[hidden]"
"""Stands in rejects for texts with addresses of which there were too many."""

NOT_AN_ID = frozenset(
    {"", "0", "-1", "null", "none", "nil", "nan", "undefined", "unknown", "anonymous", "guest", "test", "(not set)",
     "00000000-0000-0000-0000-000000000000", "[object object]", "true", "false", HIDDEN}
)  # fmt: skip
"""What broken trackers send instead of an id; it would make one person of everybody."""

MAX_ID_CHARS = 256
"""What is longer is no id but a text."""

MAX_COUPONS = 20
"""So many codes of one event connect it with others: more are no coupons of a customer."""

LONGEST_NOT_AN_ID = max(map(len, NOT_AN_ID)) + 4  # blanks around it

PHONE_NAMES = frozenset(
    {"phone", "phone_number", "phonenumber", "mobile", "mobile_phone", "mobile_number", "telephone", "telefon", "tel"}
    | {"fax", "handy"}
)
"""What senders call a phone number: an identifier, a trait or a property of such a name is kept as a hash only."""

KIND_NAMES = {
    **dict.fromkeys(PHONE_NAMES, "phone"),
    "order_id": "order",
    "coupon_code": "coupon",
    "receipt_code": "receipt",
    "click_id": "click",
    "anonymous_id": "anonymous",
    "customer_id": "customer",
}


class Fact(msgspec.Struct, gc=False):
    """One event of the log.

    Args:
        seq: place in the order of arrival.
        at: when it happened, UTC milliseconds, corrected for a wrong clock.
        body: what it says.
        nodes: the identifiers it names, those left out that identify nobody.
    """

    seq: int
    source_id: int
    shop_id: int
    event_id: str
    name: str
    at: int
    body: FactBody
    nodes: list[Node] = []

    def order(self) -> tuple[int, str, int]:
        """Sort key of a person's road: time, then the event's id, so that the order of arrival does not matter."""
        return (self.at, self.event_id, self.source_id)


BODY_DECODER = msgspec.json.Decoder(FactBody)
NODE_BODY_DECODER = msgspec.json.Decoder(NodeBody)


def corrected_time(
    occurred_at: int, sent_at: int | None, received_at: int, tolerance_ms: int = SKEW_TOLERANCE_MS
) -> int:
    """Return when an event happened by the collector's clock.

    The sender's clock is trusted unless its ``sent_at`` and our ``received_at`` differ by more than the tolerance;
    then the difference is how wrong it is (the rule of Segment's spec, `receivedAt - (sentAt - originalTimestamp)`).
    No event happens after it was received.
    """
    if sent_at is not None and abs(received_at - sent_at) > tolerance_ms:
        occurred_at += received_at - sent_at
    return min(occurred_at, received_at)


def read_fact(  # noqa: PLR0913, PLR0917 - one parameter per column: a struct between would cost a third of the reading
    seq: int,
    source_id: int,
    shop_id: int,
    event_id: str,
    name: str,
    occurred_at: int,
    sent_at: int | None,
    received_at: int,
    body: str,
    tolerance_ms: int = SKEW_TOLERANCE_MS,
) -> Fact:
    """Return the fact of a stored event (the columns of `StoredEvent`, in their order)."""
    at = corrected_time(occurred_at, sent_at, received_at, tolerance_ms)
    decoded = BODY_DECODER.decode(body)
    return Fact(seq, source_id, shop_id, event_id, name, at, decoded, nodes_of(decoded))


def read_nodes(body: str) -> list[Node]:
    """Return the identifiers of a stored event, as `read_fact` would, in half the time."""
    decoded = NODE_BODY_DECODER.decode(body)
    nodes = envelope_nodes(decoded)
    properties = decoded.properties
    if properties is not None:
        nodes.extend(property_nodes(properties.order_id, properties.coupon_code, properties.coupon_codes))
    return without_nobodies(nodes)


def identifies_nobody(value: str) -> bool:
    """True for what stands in an id's place without being one."""
    return len(value) <= LONGEST_NOT_AN_ID and value.strip().lower() in NOT_AN_ID


def nodes_of(body: FactBody) -> list[Node]:
    """Return the identifiers an event names, those left out that identify nobody."""
    nodes = envelope_nodes(body)
    properties = body.properties
    if "order_id" in properties or "coupon_code" in properties or "coupon_codes" in properties:
        nodes.extend(
            property_nodes(properties.get("order_id"), properties.get("coupon_code"), properties.get("coupon_codes"))
        )
    return without_nobodies(nodes)


def envelope_nodes(body: FactBody | NodeBody) -> list[Node]:
    """Return the identifiers beside the properties."""
    nodes: list[Node] = []
    if body.anonymous_id is not None:
        nodes.append(("anonymous", body.anonymous_id))
    if body.customer_id is not None:
        nodes.append(("customer", body.customer_id))
    if body.identifiers:
        nodes.extend(identifier_node(kind, value) for kind, value in body.identifiers.items())
    return nodes


def property_nodes(order_id: Any, coupon_code: Any, coupon_codes: Any) -> list[Node]:
    """Return the identifiers among the properties."""
    nodes: list[Node] = []
    if order_id is not None and len(number := str(order_id)) <= MAX_ID_CHARS:
        nodes.append(("order", number))
    if coupon_code is not None or coupon_codes is not None:
        given = [coupon_code, *(coupon_codes if isinstance(coupon_codes, list) else ())]
        codes = [coupon_key(code) for code in given if isinstance(code, str) and len(code) <= MAX_ID_CHARS]
        nodes.extend(("coupon", code) for code in codes[:MAX_COUPONS])
    return nodes


def without_nobodies(nodes: list[Node]) -> list[Node]:
    """Return the nodes that identify somebody; nearly always all of them."""
    for node in nodes:
        # Written out, as a call for each id of each event would cost more than the look-up.
        if len(node[1]) <= LONGEST_NOT_AN_ID and node[1].strip().lower() in NOT_AN_ID:
            return [node for node in nodes if not identifies_nobody(node[1])]
    return nodes


def order_id_of(properties: dict[str, Any]) -> str | None:
    """Return the number of the order an event is about; None where the number identifies no order.

    The same numbers are left out as in `nodes_of`: events of one order must always meet in one place.
    """
    given = properties.get("order_id")
    number = None if given is None else str(given)
    return None if number is None or len(number) > MAX_ID_CHARS or identifies_nobody(number) else number


def identifier_node(kind: str, value: str) -> Node:
    """Return the node of one of the envelope's ``identifiers``."""
    return ("coupon", coupon_key(value)) if kind == "coupon_code" else (KIND_NAMES.get(kind, kind), value)


def coupon_key(code: str) -> str:
    """Return a coupon code as it is compared: people type it in any case and with blanks."""
    return code.strip().upper()
