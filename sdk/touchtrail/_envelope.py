"""Event to bytes: the wire form, event ids and times, and what makes an event refused."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from math import isfinite
from operator import index
from typing import Any, Final, Literal, NamedTuple, SupportsIndex, get_args, get_origin

import msgspec

from .errors import EventRefusedError
from .events import VOCABULARY, Event

BROWSE: Final = 0
CART: Final = 1
ORDER: Final = 2
SHED_ORDER: Final = (BROWSE, CART, ORDER)
"""Classes of events in the order in which they are given up when the spool is full."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_DECIMAL: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
ID_LENGTH: Final = 200


class Envelope(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One event as it stands on the wire; what is None is left out."""

    event_id: str
    name: str
    occurred_at: str
    anonymous_id: Any = None
    customer_id: Any = None
    session_id: Any = None
    page: Any = None
    campaign: Any = None
    device: Any = None
    consent: Any = None
    identifiers: Any = None
    properties: Any = None


class Kind(NamedTuple):
    """What tracking needs to know of an event's name.

    Args:
        has_person: whether the event is about a person, and so must carry an id.
        shed_class: ``BROWSE``, ``CART`` or ``ORDER``.
        struct: the vocabulary's struct; None for a custom event.
    """

    name: str
    has_person: bool
    shed_class: int
    struct: type[Event] | None


class EventIds:
    """Makes UUIDv7 texts that grow strictly, whatever the clock does.

    Each millisecond draws 62 new random bits and counts its ids in the 12 bits before them; a clock that stands or
    goes back, and a 4,097th id, make the next millisecond begin early.

    Args:
        now_ns: the time of day in nanoseconds since 1970.

    Source:
        RFC 9562, section 5.7 and section 6.2 method 1 (fixed-length dedicated counter).
    """

    _IDS_PER_MS: Final = 4096

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self.reseed()

    def reseed(self) -> None:
        """Draw everything random anew: a forked child must not go on with its parent's."""
        # RLock: a signal handler may track an event while the code it interrupted makes an id.
        self._lock = threading.RLock()
        self._begin_ms(0)

    def next(self) -> str:
        """Return a new id in the canonical form with dashes."""
        now_ms = self._now_ns() // 1_000_000
        ms, prefix, take_number, suffix = self._state
        # The counter is a C iterator: taking a number needs no lock, which would cost as much as all the rest.
        number = take_number() if now_ms <= ms else self._IDS_PER_MS
        while number >= self._IDS_PER_MS:
            with self._lock:
                if self._state[0] == ms:
                    self._begin_ms(max(now_ms, ms + 1))
                ms, prefix, take_number, suffix = self._state
            number = take_number()
        return f"{prefix}{number:03x}{suffix}"

    def _begin_ms(self, ms: int) -> None:
        low = f"{int.from_bytes(os.urandom(8), 'big') & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000:016x}"
        prefix = f"{ms >> 16 & 0xFFFF_FFFF:08x}-{ms & 0xFFFF:04x}-7"
        self._state = (ms, prefix, count().__next__, f"-{low[:4]}-{low[4:]}")


_ids = EventIds()
new_event_id = _ids.next
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.reseed)

_last_second: tuple[int, str] = (-1, "")


def rfc3339(epoch_ms: int) -> str:
    """Return UTC milliseconds since 1970 as ``2026-11-21T10:00:00.000Z``."""
    global _last_second  # noqa: PLW0603 - one tuple, replaced whole: formatting a second costs more than an event
    second = epoch_ms // 1000
    known, text = _last_second
    if known != second:
        text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        _last_second = (second, text)
    return f"{text}{epoch_ms % 1000:03d}Z"


def occurred_text(moment: datetime) -> str:
    """Return a point in time as the wire has it.

    Raises:
        EventRefusedError: no datetime, or one without a time zone.
    """
    if not isinstance(moment, datetime):
        raise EventRefusedError("bad_time", "occurred_at must be a datetime with a time zone, or None for now")
    if moment.utcoffset() is None:
        raise EventRefusedError("naive_time", "occurred_at has no time zone; use datetime.now(UTC) or set tzinfo")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def text_id(value: object, field: str) -> str | None:
    """Return an id as text; a number or UUID becomes text, because shops' customer numbers often are numbers.

    Raises:
        EventRefusedError: anything else, or longer than 200 characters.
    """
    if isinstance(value, str):
        text: str = str.__str__(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        text = int.__repr__(value) if abs(value) < 2**128 else "x" * (ID_LENGTH + 1)
    elif type(value).__module__ == "uuid":
        text = str(value)
    elif value is None:
        return None
    else:
        raise EventRefusedError("bad_id", f"{field} must be text")
    if len(text) > ID_LENGTH:
        raise EventRefusedError("bad_id", f"{field} is longer than {ID_LENGTH} characters")
    return text or None


def kind_of(event: object) -> Kind:
    """Return what is known of an event: a struct of the vocabulary, one of a plugin, or a custom event's name.

    Raises:
        EventRefusedError: neither, or a name that is no identifier.
    """
    known = _kinds.get(event if type(event) is str else type(event))
    return _learn_kind(event) if known is None else known


def encode(envelope: Envelope, max_bytes: int) -> bytes:
    """Return the event as JSON.

    Raises:
        EventRefusedError: a value JSON has no form for, an amount that is no number, or too many bytes.
    """
    properties = envelope.properties
    try:
        plan = _plans.get(type(properties)) or _learn_plan(type(properties))
        if plan.amounts or plan.loose:
            _check_numbers(properties, plan)
        payload = _encoder.encode(envelope)
    except (TypeError, ValueError, OverflowError, RecursionError, NotImplementedError):
        raise EventRefusedError("not_serialisable", "a value has no JSON form, or is nested too deeply") from None
    if len(payload) > max_bytes:
        raise EventRefusedError("too_large", f"the event takes {len(payload)} bytes, more than {max_bytes}")
    return payload


def check_as_collector(payload: bytes, kind: Kind) -> None:
    """Decode the event's properties as strictly as the collector does.

    Raises:
        EventRefusedError: with the field that is wrong.
    """
    if kind.struct is None:
        return
    try:
        raw = _properties_decoder.decode(payload).properties
        msgspec.json.decode(raw, type=kind.struct)
    except msgspec.ValidationError as problem:
        raise EventRefusedError("invalid", f"{kind.name}: {problem}") from None


def assemble(payloads: Iterable[bytes], sent_at_ms: int) -> bytes:
    """Return the request's body around events that are encoded already."""
    return b'{"sent_at":"%b","events":[%b]}' % (rfc3339(sent_at_ms).encode(), b",".join(payloads))


class _Properties(msgspec.Struct):
    properties: msgspec.Raw = msgspec.Raw(b"{}")


class _Plan(NamedTuple):
    """Which fields of a kind of value can hold numbers that JSON or the collector could not take.

    Args:
        amounts: fields for money.
        loose: fields that may hold a float or anything at all, by themselves or inside.
    """

    amounts: tuple[str, ...]
    loose: tuple[str, ...]


_HOLDS_NO_FLOAT: Final = {str, int, bool, type(None)}
_plans: dict[type, _Plan] = {}
_properties_decoder = msgspec.json.Decoder(_Properties)


def _plain(value: object) -> object:
    """Return what msgspec can write of a value it does not know: subclasses of plain types, number-likes."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, SupportsIndex):
        return index(value)
    raise NotImplementedError


_encoder = msgspec.json.Encoder(enc_hook=_plain)


def _learn_kind(event: object) -> Kind:
    if isinstance(event, Event):
        return _kinds.setdefault(type(event), _kind_of_struct(type(event)))
    if not isinstance(event, str) or not _NAME.fullmatch(event):
        raise EventRefusedError("bad_name", "an event is a struct of touchtrail.events or a name such as gift_wrapped")
    # Not remembered: names may come from anywhere, and a cache that grows is a leak.
    return Kind(str.__str__(event), True, CART, None)


def _kind_of_struct(struct: type[Event]) -> Kind:
    spec = struct.spec
    return Kind(spec.name, spec.contact != "none" or spec.stage is not None, _shed_class(struct), struct)


def _shed_class(struct: type[Event]) -> int:
    """Money, consent and identities last, plain looking around first, carts and paid contacts between."""
    spec = struct.spec
    if spec.stage in ("retention", "loyalty") or spec.contact == "none" or spec.name.startswith(("order_", "payment_")):
        return ORDER
    if spec.stage == "purchase" or spec.contact in ("click", "encounter"):
        return CART
    return BROWSE


def _learn_plan(kind: type) -> _Plan:
    if not issubclass(kind, msgspec.Struct):
        return _plans.setdefault(kind, _Plan((), ("values",)))
    leaves = {field.name: _leaves(field.type) for field in msgspec.structs.fields(kind)}
    amounts = tuple(name for name, types in leaves.items() if Decimal in types)
    loose = tuple(name for name, types in leaves.items() if name not in amounts and not types <= _HOLDS_NO_FLOAT)
    return _plans.setdefault(kind, _Plan(amounts, loose))


def _leaves(kind: Any) -> set[Any]:
    """Return the types a declared type is made of: ``{str, NoneType}`` for ``list[str] | None``."""
    if get_origin(kind) is Literal:
        return {type(choice) for choice in get_args(kind)}
    parts = kind.__args__ if hasattr(kind, "__metadata__") else get_args(kind)
    return set().union(*(_leaves(part) for part in parts)) if parts else {kind}


def _check_numbers(owner: object, plan: _Plan) -> None:
    """Raise EventRefusedError for an amount that is none and for a number that is NaN or infinite."""
    if not isinstance(owner, msgspec.Struct):
        _check_inside(owner)
        return
    for name in plan.amounts:
        value = getattr(owner, name)
        if value is not None and not _is_amount(value):
            raise EventRefusedError("bad_amount", f"{name} must be a finite number or a decimal text such as 129.90")
    for name in plan.loose:
        value = getattr(owner, name)
        if value is not None:
            _check_inside(value)


def _check_inside(value: object) -> None:
    # JSON has no NaN: unchecked, a float's would become null and a Decimal's a word.
    if isinstance(value, float | Decimal):
        if not isfinite(value):
            raise EventRefusedError("not_finite", "NaN and Infinity have no JSON form")
    elif isinstance(value, msgspec.Struct):
        _check_numbers(value, _plans.get(type(value)) or _learn_plan(type(value)))
    else:
        for part in _parts(value):
            if not isinstance(part, str | int):
                _check_inside(part)


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple | set | frozenset) else ()


def _is_amount(value: object) -> bool:
    if isinstance(value, str):
        # The usual "129.90" without the cost of the pattern.
        is_plain = value.isascii() and value.replace(".", "", 1).isdigit()
        return is_plain or _DECIMAL.fullmatch(value) is not None
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, Decimal):
        return value.is_finite()
    return isinstance(value, int) and not isinstance(value, bool)


_kinds: dict[object, Kind] = {struct: _kind_of_struct(struct) for struct in VOCABULARY.values()}
_kinds |= {name: _kinds[struct] for name, struct in VOCABULARY.items()}
