"""Events at the edge: reads a request's bytes, checks each event against the vocabulary, says what is wrong."""

from __future__ import annotations

import codecs
import json
import re
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from touchtrail.context import Campaign, Consent, Device, Page
from touchtrail.errors import CurrencyError
from touchtrail.events import ConsentGiven, ConsentWithdrawn, Event
from touchtrail.money import exponent

from .privacy import IP_NAMES, Pseudonymiser, may_hold_address, may_name_member
from .property_names import NameFit, move_to_overflow
from .wording import PATH, explain, in_words

MAX_BATCH = 2_500
MANY_COMMAS = 250_000
"""A body with more is looked through before it is taken apart; with more objects and arrays than the next, refused."""
MANY_BRACKETS = 100_000
MEND_BYTES = 1_000_000
MAX_DEPTH = 16
MAX_PROPERTIES = 64
MAX_USER_AGENT_CHARS = 512
MAX_AMOUNT = Decimal(10) ** 12
MAX_QUANTITY = 1_000_000
"""Pieces of one line; what is beyond is a mistake, and must not make a sum that no column holds."""
CONSENT_EVENTS = frozenset({ConsentGiven.spec.name, ConsentWithdrawn.spec.name})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
OLDEST_MS = 946_684_800_000  # 2000-01-01: an earlier time is a broken clock, not a memory
NEWEST_MS = 4_102_444_800_000  # 2100-01-01

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Identifiers = dict[
    Annotated[str, msgspec.Meta(min_length=1, max_length=64)], Annotated[str, msgspec.Meta(max_length=256)]
]
Time = Annotated[datetime, msgspec.Meta(tz=True)]


class WireEvent(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One event as it is sent (contracts.md, "Event on the wire")."""

    event_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}\Z")]
    occurred_at: Time | None = None
    anonymous_id: Id | None = None
    customer_id: Id | None = None
    session_id: Id | None = None
    page: Page | None = None
    campaign: Campaign | None = None
    device: Device | None = None
    consent: Consent | None = None
    identifiers: Identifiers | None = None
    properties: msgspec.Raw = msgspec.Raw(b"{}")


class Agreement(msgspec.Struct):
    """What `has_consent` reads of an event; everything else in it may be wrong."""

    consent: Consent


class Batch(msgspec.Struct, kw_only=True):
    """A request's body. Unknown members are ignored: they carry no event."""

    events: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    sent_at: Time | None = None


class EventRejected(Exception):
    """One event cannot be kept as it is.

    Attributes:
        code: stable, for programs (collector/README.md lists them).
        field: dotted path of the field at fault, or None.
        message: for people: what is wrong and what to write instead.
        event_id: the event's id where it could be read.
    """

    def __init__(self, code: str, field: str | None, message: str, event_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.message = message
        self.event_id = event_id


class BodyUnreadable(Exception):
    """A request's body is not a batch of events; nothing of it is kept.

    Attributes:
        field: the member at fault, `sent_at`, or None.
    """

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


class CheckedEvent(typing.NamedTuple):
    """An event that may be kept; ``body`` is its JSON text without anything that must not be kept in clear."""

    event_id: str
    name: str
    occurred_at: int
    anonymous_id: str | None
    customer_id: str | None
    body: str


BATCH_DECODER = msgspec.json.Decoder(Batch)
LIST_DECODER = msgspec.json.Decoder(list[msgspec.Raw])
WIRE_DECODER = msgspec.json.Decoder(WireEvent)
AGREEMENT_DECODER = msgspec.json.Decoder(Agreement)
ANY_DECODER = msgspec.json.Decoder(dict[str, Any])
# RecursionError on depth and UnicodeDecodeError on bad UTF-8 are no DecodeErrors (reliability.md).
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_batch(body: bytes, limit: int = MAX_BATCH) -> tuple[list[msgspec.Raw], datetime | None]:
    """Split a body into its events' bytes: a batch object, an array, or a single event.

    Half an emoji or a NaN makes a body no JSON; it is mended, so that one bad event does not sink its batch.

    Raises: BodyUnreadable, also for more than ``limit`` events.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body.strip():
        raise BodyUnreadable("invalid_json", "the body is empty")
    if has_too_many(body, limit):
        raise BodyUnreadable("batch_too_large", f"the batch is too large; send at most {limit} events in one request")
    try:
        batch = split_batch(body)
    except BodyUnreadable as unreadable:
        mended = mend_json(body) if unreadable.code == "invalid_json" else None
        if mended is None:
            raise
        batch = split_batch(mended)
    if len(batch[0]) > limit:
        message = f"the batch has {len(batch[0])} events; send at most {limit} in one request"
        raise BodyUnreadable("batch_too_large", message)
    return batch


def has_too_many(body: bytes, limit: int) -> bool:
    """True for a batch of so many things that taking it apart would fill the memory; False is no promise.

    Five million bytes hold two million events, `{},{},…`, of which each costs sixty bytes before it is looked at.
    """
    if body.count(b",") < MANY_COMMAS:
        return False
    if body.count(b"{") + body.count(b"[") > MANY_BRACKETS:
        return True
    top = 1 if body.lstrip()[:1] == b"[" else 2
    depth = found = place = 0
    while match := (TO_COMMA if depth == top else TO_BRACKET).match(body, place):
        place = match.end()
        mark = body[place - 1 : place]
        if mark == b",":
            found += 1
            if found >= limit:
                return True
        else:
            depth += 1 if mark in (b"{", b"[") else -1
    return False


def mend_json(body: bytes) -> bytes | None:
    """Return a body without what Python's reader lets pass and JSON does not know; None when that is not its fault.

    Half a surrogate becomes U+FFFD (browsers send it when a title is cut inside an emoji), NaN and Infinity become
    text, which only the event they stand in is rejected for. Not for large bodies: Python's reader makes ten times as
    much of them, and who sends half a surrogate sends little.
    """
    if len(body) > MEND_BYTES:
        return None
    try:
        value = json.loads(body.decode(), parse_constant=str)
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def split_batch(body: bytes) -> tuple[list[msgspec.Raw], datetime | None]:
    """Do the same for a body that is JSON. Raises: BodyUnreadable."""
    try:
        if body.lstrip()[:1] == b"[":
            return LIST_DECODER.decode(body), None
        batch = BATCH_DECODER.decode(body)
    except msgspec.ValidationError as error:
        at = PATH.search(text := str(error))
        field = at["path"].lstrip(".") or None if at else None
        wrong = f"{field or 'it'} {in_words(text[: at.start()] if at else text)}"
        raise BodyUnreadable("invalid_batch", f"the body is no batch of events: {wrong}", field) from None
    except DECODE_ERRORS as error:
        raise BodyUnreadable("invalid_json", f"the body is not JSON: {describe(error)}") from None
    if batch.events is msgspec.UNSET:
        return [msgspec.Raw(body)], batch.sent_at
    return batch.events, batch.sent_at


def describe(error: BaseException) -> str:
    """Return a decode error in one short line."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)[:200]


def to_ms(at: datetime) -> int:
    """Return a time as UTC milliseconds."""
    return (at - EPOCH) // MILLISECOND


class EventChecker:
    """Checks events against the vocabulary.

    Args:
        event_types: every declared event by name; an event of any other name is kept as a custom event.
        pseudonymiser: hashes what must not be kept in clear.
        event_limit_bytes: an event that is larger is rejected.
    """

    def __init__(
        self, event_types: Mapping[str, type[Event]], pseudonymiser: Pseudonymiser, *, event_limit_bytes: int = 65_536
    ) -> None:
        self._decoders = {name: msgspec.json.Decoder(kind) for name, kind in event_types.items()}
        self._amounts = {name: amount_fields(kind) for name, kind in event_types.items()}
        self._fields = {name: kind.__struct_fields__ for name, kind in event_types.items()}
        self._personless = {name for name, kind in event_types.items() if kind.spec.is_personless}
        self._pseudonymiser = pseudonymiser
        self._limit = event_limit_bytes

    def check(
        self, raw: bytes | msgspec.Raw, *, now_ms: int, needs_consent: bool = False, names: NameFit | None = None
    ) -> CheckedEvent:
        """Return the event as it is kept.

        Args:
            now_ms: stands in for a missing ``occurred_at``.
            needs_consent: True rejects events of people who did not agree to analytics. What says that they agreed
                or withdrew is let through, and so are facts that are about nobody.
            names: bounds the property names of the sender's own; None = there is no bound.

        Raises: EventRejected.
        """
        raw = bytes(raw)
        if len(raw) > self._limit:
            raise EventRejected("too_large", None, f"the event has {len(raw)} bytes; the limit is {self._limit}")
        wire = self._decode(raw)
        if needs_consent and not self._is_agreed(wire):
            message = "this sender's mode is consent_required: only events with consent.analytics true are kept"
            raise EventRejected("no_consent", "consent.analytics", message, wire.event_id)
        if (
            wire.identifiers
            or tells_too_much(wire)
            or may_hold_address(raw)
            or (self._has_own_names(wire) and may_name_member(raw))
        ):
            raw, wire = self._pseudonymise(raw, wire)
        try:
            properties = self._check_properties(wire)
            if not (wire.anonymous_id or wire.customer_id or wire.identifiers or wire.name in self._personless):
                check_identity(properties)
            occurred_at = now_ms if wire.occurred_at is None else to_ms(wire.occurred_at)
            if not OLDEST_MS <= occurred_at <= NEWEST_MS:
                raise EventRejected("invalid_value", "occurred_at", "occurred_at must lie between 2000 and 2100")
        except EventRejected as error:
            error.event_id = wire.event_id
            raise
        if names is not None:
            raw = fit_names(raw, properties, names)
        return CheckedEvent(
            wire.event_id, wire.name, occurred_at, wire.anonymous_id, wire.customer_id, raw.decode("utf-8")
        )

    def _decode(self, raw: bytes) -> WireEvent:
        try:
            wire = WIRE_DECODER.decode(raw)
            # What could be decoded is nested nowhere else but in there.
            refuse_depth(bytes(wire.properties), MAX_DEPTH - 1)
            return wire
        except msgspec.ValidationError as error:
            refuse_depth(raw, MAX_DEPTH)
            fault = explain(error, "", WireEvent.__struct_fields__)
            raise EventRejected(fault.code, fault.field, fault.message, find_event_id(raw)) from None
        except DECODE_ERRORS as error:
            refuse_depth(raw, MAX_DEPTH)
            raise EventRejected("invalid_json", None, f"the event is not JSON: {describe(error)}") from None

    def _has_own_names(self, wire: WireEvent) -> bool:
        """True unless it is a standard event to which the shop added nothing: that has no room for a phone number."""
        properties = bytes(wire.properties)
        return wire.name not in self._decoders or b'"extra"' in properties or b'"traits"' in properties

    def _is_agreed(self, wire: WireEvent) -> bool:
        if wire.name in self._personless:
            return not (wire.anonymous_id or wire.customer_id or wire.identifiers)
        return wire.name in CONSENT_EVENTS or (wire.consent is not None and wire.consent.analytics is True)

    def _pseudonymise(self, raw: bytes, wire: WireEvent) -> tuple[bytes, WireEvent]:
        changed = bool(wire.identifiers)
        if wire.identifiers:
            hide = self._pseudonymiser.identifier
            wire.identifiers = {
                kind: hide(kind, value) for kind, value in wire.identifiers.items() if kind.lower() not in IP_NAMES
            }
        device = wire.device
        if device is not None and tells_too_much(wire):
            agent = device.user_agent and device.user_agent[:MAX_USER_AGENT_CHARS]
            wire.device = msgspec.structs.replace(device, ip=None, user_agent=agent)
            changed = True
        if changed:
            raw = msgspec.json.encode(wire)
        scrubbed = self._pseudonymiser.scrub(self._pseudonymiser.scrub_members(raw))
        return (raw, wire) if scrubbed == raw else (scrubbed, self._decode(scrubbed))

    def _check_properties(self, wire: WireEvent) -> Any:
        decoder = self._decoders.get(wire.name)
        try:
            properties: Any = (decoder or ANY_DECODER).decode(wire.properties)
        except msgspec.ValidationError as error:
            fault = explain(error, "properties", self._fields.get(wire.name, ()))
            raise EventRejected(fault.code, fault.field, fault.message) from None
        except DECODE_ERRORS as error:
            raise EventRejected("invalid_json", "properties", f"properties: {describe(error)}") from None
        if decoder is None:
            check_count(properties, "properties")
        else:
            check_count(getattr(properties, "extra", None), "properties.extra")
            for check in self._amounts[wire.name]:
                check(properties)
        return properties


def fit_names(raw: bytes, properties: Any, names: NameFit) -> bytes:
    """Return an event with no more property names of its sender's own than there is room for."""
    is_custom = isinstance(properties, dict)
    own = properties if is_custom else properties.extra
    if own and (superfluous := names.find_superfluous(own)):
        return move_to_overflow(raw, "properties" if is_custom else "extra", superfluous)
    return raw


def tells_too_much(wire: WireEvent) -> bool:
    """True when the device's address is given, or a user agent longer than any browser's."""
    device = wire.device
    return device is not None and (
        device.ip is not None or (device.user_agent is not None and len(device.user_agent) > MAX_USER_AGENT_CHARS)
    )


def check_count(properties: Mapping[str, Any] | None, path: str) -> None:
    """An event has a bounded number of properties of the shop's own."""
    if properties is not None and len(properties) > MAX_PROPERTIES:
        raise EventRejected("too_large", path, f"an event has at most {MAX_PROPERTIES} {path}")


def check_identity(properties: Any) -> None:
    """An event that names no person may still name an order, which has one."""
    order_id = properties.get("order_id") if isinstance(properties, dict) else getattr(properties, "order_id", None)
    if not order_id:
        raise EventRejected(
            "no_identity", "anonymous_id", "an event needs anonymous_id, customer_id or one of identifiers"
        )


def amount_fields(kind: type[msgspec.Struct], path: str = "properties") -> list[Callable[[Any], None]]:
    """Return one check per field of the struct that holds money or its currency, lines included."""
    checks: list[Callable[[Any], None]] = []
    for field in msgspec.structs.fields(kind):
        names = repr(field.type)
        if "Decimal" in names:
            checks.append(amount_check(field.name, f"{path}.{field.name}"))
        elif "Line" in names and "list" in names:
            checks.append(lines_check(field.name, f"{path}.{field.name}"))
        elif field.name == "currency":
            checks.append(check_currency)
    return checks


def amount_check(name: str, path: str) -> Callable[[Any], None]:
    """Return a check that a field holds no money, or a sane amount of it."""

    def check(properties: Any) -> None:
        amount = getattr(properties, name)
        if amount is not None and not (amount.is_finite() and 0 <= amount <= MAX_AMOUNT):
            raise EventRejected(
                "invalid_value",
                path,
                f"{path} must be between 0 and {MAX_AMOUNT:f}; money going back is order_refunded",
            )

    return check


def check_currency(properties: Any) -> None:
    """Amounts in a currency nobody knows the minor unit of would count as nothing."""
    if properties.currency is not None:
        try:
            exponent(properties.currency)
        except CurrencyError as error:
            raise EventRejected("invalid_value", "properties.currency", str(error)) from None


def lines_check(name: str, path: str) -> Callable[[Any], None]:
    """Return a check of the prices and quantities of order lines."""

    def check(properties: Any) -> None:
        for number, line in enumerate(getattr(properties, name) or ()):
            where, price = f"{path}[{number}]", line.unit_price
            if price is not None and not (price.is_finite() and 0 <= price <= MAX_AMOUNT):
                raise EventRejected(
                    "invalid_value", f"{where}.unit_price", f"{where}.unit_price must be between 0 and {MAX_AMOUNT:f}"
                )
            if line.quantity > MAX_QUANTITY:
                raise EventRejected(
                    "invalid_value", f"{where}.quantity", f"{where}.quantity must be between 0 and {MAX_QUANTITY}"
                )

    return check


def find_name(raw: bytes) -> str | None:
    """Return what an event or a vendor's call is called, where that can be read; for lists of rejects."""
    try:
        item = ANY_DECODER.decode(raw)
    except DECODE_ERRORS:
        return None
    names = [name for member in ("name", "event", "type") if isinstance(name := item.get(member), str)]
    return names[0][:64] if names else None


def find_event_id(raw: bytes) -> str | None:
    """Return the id of an event that does not fit, so that its sender can find it."""
    try:
        event_id = ANY_DECODER.decode(raw).get("event_id")
    except DECODE_ERRORS:
        return None
    return event_id[:128] if isinstance(event_id, str) else None


def has_consent(raw: bytes) -> bool:
    """True when an event that does not fit says all the same that its person agreed to analytics."""
    try:
        return AGREEMENT_DECODER.decode(raw).consent.analytics is True
    except DECODE_ERRORS:
        return False


def refuse_depth(raw: bytes, limit: int) -> None:
    """Raise EventRejected for JSON text that is nested more than so many levels deep."""
    if raw.count(b"{") + raw.count(b"[") > limit and depth_of(raw) > limit:
        raise EventRejected("too_deep", None, f"the event is nested deeper than {MAX_DEPTH} levels") from None


def depth_of(raw: bytes) -> int:
    """Return how deeply objects and arrays are nested, strings left out."""
    depth = deepest = 0
    for mark in STRING_OR_BRACKET.findall(raw):
        if mark in (b"{", b"["):
            depth += 1
            deepest = max(deepest, depth)
        elif mark in (b"}", b"]"):
            depth -= 1
    return deepest


# Possessive, and a string that does not end counts to the end: no body makes it look twice at the same byte.
STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)
TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[\[\]{}]', re.DOTALL)
TO_COMMA = re.compile(rb'(?:[^",\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[,\[\]{}]', re.DOTALL)
