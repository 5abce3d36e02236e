"""Events at the edge: checks each event of a request against the vocabulary, says what is wrong."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import msgspec

from touchtrail.context import Campaign, Consent, Device, Page
from touchtrail.events import ConsentGiven, ConsentWithdrawn, Event

from .address import may_hold_address
from .amount import MoneyCheck, money_check
from .batch import DECODE_ERRORS, describe
from .privacy import IP_NAMES, MAX_CONTACTS, CrowdedError, Pseudonymiser, Scrub, count_contacts, may_name_member
from .property_names import NameFit, move_to_overflow
from .typed_event import as_written, is_flat, typed_decoder
from .wire_time import NEWEST_MS, OLDEST_MS, Time, replace_leap, to_ms
from .wording import explain

MAX_DEPTH = 16
MAX_PROPERTIES = 64
MAX_USER_AGENT_CHARS = 512
MAX_NAME_CHARS = 2_048
OPEN_PATHS = frozenset({"properties", "properties.extra", "page"})
CONSENT_EVENTS = frozenset({ConsentGiven.spec.name, ConsentWithdrawn.spec.name})
NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,63}\Z"
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Identifiers = dict[
    Annotated[str, msgspec.Meta(min_length=1, max_length=64)], Annotated[str, msgspec.Meta(max_length=256)]
]


class WireEvent(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One event as it is sent (contracts.md, "Event on the wire")."""

    event_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    name: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
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


class Own(msgspec.Struct):
    """What `has_extra` reads of an event's properties."""

    extra: Any = None


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


class CheckedEvent(typing.NamedTuple):
    """An event that may be kept; ``body`` is its JSON text without anything that must not be kept in clear."""

    event_id: str
    name: str
    occurred_at: int
    anonymous_id: str | None
    customer_id: str | None
    body: str


# In C: to make a named tuple by its name is a Python function.
checked_event = partial(tuple.__new__, CheckedEvent)
WIRE_DECODER = msgspec.json.Decoder(WireEvent)
AGREEMENT_DECODER = msgspec.json.Decoder(Agreement)
EXTRA_DECODER = msgspec.json.Decoder(Own)
ANY_DECODER = msgspec.json.Decoder(dict[str, Any])


class Kind(typing.NamedTuple):
    """What the checker knows of one declared kind of event."""

    decoder: msgspec.json.Decoder[Event]
    written: msgspec.json.Decoder[Any] | None
    check_money: MoneyCheck | None
    fields: tuple[str, ...]
    is_personless: bool
    is_flat: bool


def kind_of(struct: type[Event]) -> Kind:
    """Return what the checker needs of a struct."""
    fields = msgspec.structs.fields(struct)
    written = as_written(struct)
    return Kind(
        decoder=msgspec.json.Decoder(struct),
        written=None if written in (None, struct) else msgspec.json.Decoder(written),
        check_money=money_check(fields),
        fields=struct.__struct_fields__,
        is_personless=struct.spec.is_personless,
        is_flat=is_flat(fields),
    )


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
        self._kinds = {name: kind_of(struct) for name, struct in event_types.items()}
        self._typed = typed_decoder(WireEvent, event_types, NAME_PATTERN)
        self._pseudonymiser = pseudonymiser
        self._limit = event_limit_bytes

    def check(
        self,
        raw: bytes | msgspec.Raw,
        *,
        now_ms: int,
        needs_consent: bool = False,
        names: NameFit | None = None,
        has_no_address: bool = False,
    ) -> CheckedEvent:
        """Return the event as it is kept.

        Args:
            now_ms: stands in for a missing ``occurred_at``.
            needs_consent: True rejects events of people who did not agree to analytics. What says that they agreed
                or withdrew is let through, and so are facts that are about nobody: without ``extra`` both, and the
                latter without ids, page, device and campaign.
            names: bounds the property names of the sender's own; None = there is no bound.
            has_no_address: True where `may_hold_address` is known to be False; asked once for a whole request, it
                costs a tenth.

        Raises: EventRejected.
        """
        raw = bytes(raw)
        if len(raw) > self._limit:
            raise EventRejected("too_large", None, f"the event has {len(raw)} bytes; the limit is {self._limit}")
        if typed := self._read_plain(raw, has_no_address):
            if needs_consent:
                self._refuse_unagreed(typed)
            wire, properties = typed, typed.properties
            occurred_at = self._check_values(wire, properties, now_ms)
        else:
            raw, wire, properties, occurred_at = self._check_odd(raw, now_ms, needs_consent)
        if names is not None:
            raw = fit_names(raw, properties, names)
        return checked_event(
            (wire.event_id, wire.name, occurred_at, wire.anonymous_id, wire.customer_id, raw.decode("utf-8"))
        )

    def _check_odd(self, raw: bytes, now_ms: int, needs_consent: bool) -> tuple[bytes, WireEvent, Any, int]:
        """Check an event step by step; return its text as it is kept, what is in it, its properties and its time."""
        raw, wire = self._decode_any(raw)
        if needs_consent:
            self._refuse_unagreed(wire)
        given_id = wire.event_id
        try:
            if self._tells_too_much(raw, wire):
                raw, wire = self._pseudonymise(raw, wire)
            properties = self._decode_properties(wire)
            return raw, wire, properties, self._check_values(wire, properties, now_ms)
        except EventRejected as error:
            error.event_id = given_id  # as its sender knows it
            raise

    def _read_plain(self, raw: bytes, has_no_address: bool) -> Any:
        """Return a standard event as its own type, the properties too; None for what needs a closer look."""
        if self._typed is None or (not has_no_address and may_hold_address(raw)):
            return None
        try:
            wire = self._typed.decode(raw)
        except DECODE_ERRORS:
            return None
        if wire.identifiers or (wire.device and has_long_device(wire.device)):
            return None
        if wire.properties.extra is None and self._kinds[wire.name].is_flat:
            return wire
        return None if may_name_member(raw) or is_too_deep(raw, MAX_DEPTH) else wire

    def _decode_any(self, raw: bytes) -> tuple[bytes, WireEvent]:
        """Decode an event, one of a leap second too, which no clock of ours knows."""
        try:
            return raw, self._decode(raw)
        except EventRejected as error:
            # Read only where it is the fault: all other events need not be looked through for it.
            if error.field != "occurred_at" or (mended := replace_leap(raw)) == raw:
                raise
        return mended, self._decode(mended)

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

    def _refuse_unagreed(self, wire: WireEvent) -> None:
        if not self._is_agreed(wire):
            message = "this sender's mode is consent_required: only events with consent.analytics true are kept"
            raise EventRejected("no_consent", "consent.analytics", message, wire.event_id)

    def _tells_too_much(self, raw: bytes, wire: WireEvent) -> bool:
        if wire.identifiers or (wire.device and has_long_device(wire.device)) or may_hold_address(raw):
            return True
        # A standard event to which the shop added nothing has no room for a phone number.
        has_room = wire.name not in self._kinds or b'"extra"' in raw or b'"traits"' in raw
        return has_room and may_name_member(raw)

    def _is_agreed(self, wire: WireEvent) -> bool:
        if wire.consent is not None and wire.consent.analytics is True:
            return True
        if wire.name in CONSENT_EVENTS:
            return not has_extra(wire.properties)
        return self._is_personless(wire.name) and is_about_nobody(wire)

    def _pseudonymise(self, raw: bytes, wire: WireEvent) -> tuple[bytes, WireEvent]:
        try:
            return self._hide(raw, wire, Scrub(self._pseudonymiser))
        except CrowdedError:
            field = find_fullest(ANY_DECODER.decode(raw), "")
            message = f"{field} names too many people: an event has at most {MAX_CONTACTS} addresses and phone numbers"
            raise EventRejected("too_large", field, message) from None

    def _hide(self, raw: bytes, wire: WireEvent, scrub: Scrub) -> tuple[bytes, WireEvent]:
        event_id = self._pseudonymiser.event_id(wire.event_id)
        changed = bool(wire.identifiers) or event_id != wire.event_id
        wire.event_id = event_id
        if wire.identifiers:
            hide = scrub.identifier
            wire.identifiers = {
                kind: hide(kind, value) for kind, value in wire.identifiers.items() if kind.lower() not in IP_NAMES
            }
        device = wire.device
        if device is not None and has_long_device(device):
            agent = device.user_agent and device.user_agent[:MAX_USER_AGENT_CHARS]
            wire.device = msgspec.structs.replace(device, ip=None, user_agent=agent)
            changed = True
        if changed:
            raw = msgspec.json.encode(wire)
        scrubbed = scrub.scrub(scrub.scrub_members(raw))
        return (raw, wire) if scrubbed == raw else (scrubbed, self._decode(scrubbed))

    def _is_personless(self, name: str) -> bool:
        kind = self._kinds.get(name)
        return kind is not None and kind.is_personless

    def _decode_properties(self, wire: WireEvent) -> Any:
        kind = self._kinds.get(wire.name)
        try:
            properties = (kind.decoder if kind else ANY_DECODER).decode(wire.properties)
            # Whether an amount is written as it should be cannot be told from what it became.
            return kind.written.decode(wire.properties) if kind and kind.written else properties
        except msgspec.ValidationError as error:
            fault = explain(error, "properties", kind.fields if kind else ())
            raise EventRejected(fault.code, fault.field, fault.message, wire.event_id) from None
        except DECODE_ERRORS as error:
            message = f"properties: {describe(error)}"
            raise EventRejected("invalid_json", "properties", message, wire.event_id) from None

    def _check_values(self, wire: WireEvent, properties: Any, now_ms: int) -> int:
        """Check what no type says, and return the event's time."""
        kind = self._kinds.get(wire.name)
        try:
            if kind is None:
                check_count(properties, "properties")
            else:
                if properties.extra is not None:
                    check_count(properties.extra, "properties.extra")
                if kind.check_money and (fault := kind.check_money(properties)):
                    raise EventRejected(fault.code, fault.field, fault.message)
            if not (wire.anonymous_id or wire.customer_id or wire.identifiers or (kind and kind.is_personless)):
                check_identity(properties)
            occurred_at = now_ms if wire.occurred_at is None else to_ms(wire.occurred_at)
            if not OLDEST_MS <= occurred_at <= NEWEST_MS:
                raise EventRejected("invalid_value", "occurred_at", "occurred_at must lie between 2000 and 2100")
        except EventRejected as error:
            error.event_id = wire.event_id
            raise
        return occurred_at


def fit_names(raw: bytes, properties: Any, names: NameFit) -> bytes:
    """Return an event with no more property names of its sender's own than there is room for."""
    is_custom = isinstance(properties, dict)
    own = properties if is_custom else properties.extra
    if own and (superfluous := names.find_superfluous(own)):
        return move_to_overflow(raw, "properties" if is_custom else "extra", superfluous)
    return raw


def is_about_nobody(wire: WireEvent) -> bool:
    """True when an event holds nothing but its own facts: no id, nothing of a visit, nothing its sender made up."""
    if wire.anonymous_id or wire.customer_id or wire.session_id or wire.identifiers:
        return False
    if wire.page is not None or wire.campaign is not None or wire.device is not None:
        return False
    return not has_extra(wire.properties)


def has_extra(properties: Any) -> bool:
    """True when there is anything in the sender's own properties, decoded or not; False for what cannot be read."""
    if not isinstance(properties, msgspec.Raw):
        return bool(properties.extra)
    try:
        return bool(EXTRA_DECODER.decode(properties).extra)
    except DECODE_ERRORS:  # whoever decodes them says so
        return False


def has_long_device(device: Device) -> bool:
    """True when the device's address is given, or a user agent longer than any browser's."""
    return device.ip is not None or (device.user_agent is not None and len(device.user_agent) > MAX_USER_AGENT_CHARS)


def check_count(properties: Mapping[str, Any], path: str) -> None:
    """An event has a bounded number of properties of the shop's own."""
    if len(properties) > MAX_PROPERTIES:
        raise EventRejected("too_large", path, f"an event has at most {MAX_PROPERTIES} {path}")


def check_identity(properties: Any) -> None:
    """An event that names no person may still name an order, which has one."""
    order_id = properties.get("order_id") if isinstance(properties, dict) else getattr(properties, "order_id", None)
    if not order_id:
        raise EventRejected(
            "no_identity", "anonymous_id", "an event needs anonymous_id, customer_id or one of identifiers"
        )


def find_fullest(members: Mapping[str, Any], path: str) -> str:
    """Return the path of the member that names most people; the sender's own members are looked at one by one."""
    name = max(members, key=lambda member: count_contacts(msgspec.json.encode({member: members[member]})))
    inner, value = f"{path}.{name}".lstrip("."), members[name]
    return find_fullest(value, inner) if inner in OPEN_PATHS and isinstance(value, dict) and value else inner


def find_name(raw: bytes) -> str | None:
    """Return what an event or a vendor's call is called, where that can be read; for lists of rejects.

    It is cut far behind what is shown of it: an address in it must stay one until it is hashed.
    """
    try:
        item = ANY_DECODER.decode(raw)
    except DECODE_ERRORS:
        return None
    names = [name for member in ("name", "event", "type") if isinstance(name := item.get(member), str)]
    return names[0][:MAX_NAME_CHARS] if names else None


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
    if is_too_deep(raw, limit):
        raise EventRejected("too_deep", None, f"the event is nested deeper than {MAX_DEPTH} levels") from None


def is_too_deep(raw: bytes, limit: int) -> bool:
    """Say so of JSON text that is nested more than so many levels deep."""
    return raw.count(b"{") + raw.count(b"[") > limit and depth_of(raw) > limit


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
