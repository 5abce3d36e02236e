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


class FactBody(msgspec.Struct):
    """The parts of an event's body that anything is derived from."""

    anonymous_id: str | None = None
    customer_id: str | None = None
    page: FactPage | None = None
    campaign: Campaign | None = None
    device: FactDevice | None = None
    identifiers: dict[str, str] | None = None
    properties: dict[str, Any] = {}


Node = tuple[str, str]
"""An identifier: its kind and its value."""

NOT_AN_ID = frozenset(
    {"", "0", "-1", "null", "none", "nil", "nan", "undefined", "unknown", "anonymous", "guest", "test", "(not set)",
     "00000000-0000-0000-0000-000000000000", "[object object]", "true", "false"}
)  # fmt: skip
"""What broken trackers send instead of an id; it would make one person of everybody."""

LONGEST_NOT_AN_ID = max(map(len, NOT_AN_ID))

KIND_NAMES = {
    "order_id": "order",
    "coupon_code": "coupon",
    "receipt_code": "receipt",
    "click_id": "click",
    "anonymous_id": "anonymous",
    "customer_id": "customer",
}


class Fact(msgspec.Struct):
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


def read_fact(
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


def identifies_nobody(value: str) -> bool:
    """True for what stands in an id's place without being one."""
    return len(value) <= LONGEST_NOT_AN_ID and value.strip().lower() in NOT_AN_ID


def nodes_of(body: FactBody) -> list[Node]:
    """Return the identifiers an event names, those left out that identify nobody."""
    nodes: list[Node] = []
    if body.anonymous_id is not None:
        nodes.append(("anonymous", body.anonymous_id))
    if body.customer_id is not None:
        nodes.append(("customer", body.customer_id))
    if body.identifiers:
        nodes.extend(identifier_node(kind, value) for kind, value in body.identifiers.items())
    properties = body.properties
    if properties:
        order_id = properties.get("order_id")
        if order_id is not None:
            nodes.append(("order", str(order_id)))
        if "coupon_code" in properties or "coupon_codes" in properties:
            nodes.extend(coupon_nodes(properties))
    for node in nodes:
        # Written out, as a call for each id of each event would cost more than the look-up.
        if len(node[1]) <= LONGEST_NOT_AN_ID and node[1].strip().lower() in NOT_AN_ID:
            return [node for node in nodes if not identifies_nobody(node[1])]
    return nodes


def identifier_node(kind: str, value: str) -> Node:
    """Return the node of one of the envelope's ``identifiers``."""
    return ("coupon", coupon_key(value)) if kind == "coupon_code" else (KIND_NAMES.get(kind, kind), value)


def coupon_key(code: str) -> str:
    """Return a coupon code as it is compared: people type it in any case and with blanks."""
    return code.strip().upper()


def coupon_nodes(properties: dict[str, Any]) -> list[Node]:
    """Return the coupon codes an event names; case and blanks do not count."""
    codes = properties.get("coupon_codes")
    given = [properties.get("coupon_code"), *(codes if isinstance(codes, list) else ())]
    return [("coupon", coupon_key(code)) for code in given if isinstance(code, str)]
