"""Event to bytes: the wire form, event ids and times, and what makes an event refused."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import count
from operator import length_hint
from typing import Any, Final

import msgspec

from ._limits import ID_LENGTH, MOST_PROPERTIES, NAME_LENGTH, NEWEST, OLDEST
from ._plain import amounts, tidy, tidy_struct
from .context import Campaign, Consent, Device, Page
from .errors import EventRefusedError, is_thrown_in
from .events import VOCABULARY, Event

BROWSE: Final = 0
CART: Final = 1
ORDER: Final = 2
SHED_ORDER: Final = (BROWSE, CART, ORDER)
"""Classes of events in the order in which they are given up when the spool is full."""

_NAME: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{NAME_LENGTH - 1}}}")


TOO_MANY: Final = f"an event has at most {MOST_PROPERTIES} properties of the shop's own"


class Envelope(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One event as it stands on the wire; what is None is left out."""

    event_id: str
    name: str
    occurred_at: str | None = None
    anonymous_id: Any = None
    customer_id: Any = None
    session_id: Any = None
    page: Any = None
    campaign: Any = None
    device: Any = None
    consent: Any = None
    identifiers: Any = None
    properties: Any = None


class Kind(msgspec.Struct, frozen=True):
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

    Each second draws 62 new random bits and counts its ids in the 12 bits before them; a clock that stands or goes
    back, and a 4,097th id, make the next window begin early. So the time in an id is when its window began, at most
    a second before the id was made.

    Args:
        now_ns: the time of day in nanoseconds since 1970.

    Source:
        RFC 9562, section 5.7, section 6.1 (a timestamp may be altered for performance) and section 6.2 method 1
        (fixed-length dedicated counter).
    """

    # New random bits and a formatted time for each id cost 25 µs where calls are rare and caches cold, this 4 µs.
    _WINDOW_NS: Final = 1_000_000_000

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self.reseed()

    def reseed(self) -> None:
        """Draw everything random anew: a forked child must not go on with its parent's."""
        # RLock: a signal handler may track an event while the code it interrupted makes an id.
        self._lock = threading.RLock()
        self._begin_window(0, -self._WINDOW_NS)

    def next(self) -> str:
        """Return a new id in the canonical form with dashes."""
        now_ns = self._now_ns()
        until_ns, ms, prefix, take_number, suffix = self._state
        # The counter is a C iterator: taking a number needs no lock, which would cost as much as all the rest.
        number = take_number() if now_ns < until_ns else _IDS_PER_WINDOW
        while number >= _IDS_PER_WINDOW:
            with self._lock:
                if self._state[1] == ms:
                    self._begin_window(max(now_ns // 1_000_000, ms + 1), now_ns)
                until_ns, ms, prefix, take_number, suffix = self._state
            number = take_number()
        return f"{prefix}{_HEX[number]}{suffix}"

    def _begin_window(self, ms: int, now_ns: int) -> None:
        low = f"{int.from_bytes(os.urandom(8), 'big') & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000:016x}"
        prefix = f"{ms >> 16 & 0xFFFF_FFFF:08x}-{ms & 0xFFFF:04x}-7"
        self._state = (now_ns + self._WINDOW_NS, ms, prefix, count().__next__, f"-{low[:4]}-{low[4:]}")


_DIGITS: Final = "0123456789abcdef"
# Ready-made endings: looking one up is several times cheaper than formatting a number, above all with cold caches.
_HEX: Final = [a + b + c for a in _DIGITS for b in _DIGITS for c in _DIGITS]
_IDS_PER_WINDOW: Final = len(_HEX)
_MILLISECONDS: Final = [f".{ms:03d}Z" for ms in range(1000)]
_ids = EventIds()
new_event_id = _ids.next
reseed_event_ids = _ids.reseed
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.reseed)

_OLDEST_S: Final = datetime.fromisoformat(OLDEST).timestamp()
_NEWEST_S: Final = datetime.fromisoformat(NEWEST).timestamp()
_last_second: tuple[float, str] = (-1.0, "")


def rfc3339(epoch_ms: int) -> str:
    """Return UTC milliseconds since 1970 as ``2026-11-21T10:00:00.000Z``."""
    global _last_second  # noqa: PLW0603 - one tuple, replaced whole: formatting a second costs more than an event
    second = epoch_ms // 1000
    known, text = _last_second
    if known != second:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        # Only a time that an event can have: ``now_text`` looks at no others.
        if _OLDEST_S <= second < _NEWEST_S:
            _last_second = (float(second), text)
    return text + _MILLISECONDS[epoch_ms % 1000]


def now_text(epoch_s: float) -> str | None:
    """Return seconds since 1970 as ``rfc3339`` does, without whole numbers of more than a machine word.

    None for a clock that shows no time between 2000 and 2100: without one, the event gets the time when it is sent.
    """
    second, text = _last_second
    since_s = epoch_s - second
    # Floats all along: a whole number among them would be converted each time.
    if 0.0 <= since_s < 1.0:
        return text + _MILLISECONDS[int(since_s * 1000.0)]
    return rfc3339(int(epoch_s * 1000)) if _OLDEST_S <= epoch_s < _NEWEST_S else None


def occurred_text(moment: datetime) -> str:
    """Return a point in time as the wire has it.

    Raises:
        EventRefusedError: no datetime, one without a time zone, or not between 2000 and 2100: an earlier time is a
            broken clock, not a memory.
    """
    if not isinstance(moment, datetime):
        raise EventRefusedError("bad_time", "occurred_at must be a datetime with a time zone, or None for now")
    if moment.utcoffset() is None:
        raise EventRefusedError("naive_time", "occurred_at has no time zone; use datetime.now(UTC) or set tzinfo")
    try:
        text = moment.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"
    except OverflowError:
        text = ""
    if not OLDEST <= text <= NEWEST:
        raise EventRefusedError("bad_time", "occurred_at must lie between 2000 and 2100")
    return text


def text_id(value: object, field: str, longest: int = ID_LENGTH) -> str | None:
    """Return an id as text; a number or UUID becomes text, because shops' customer numbers often are numbers.

    Raises:
        EventRefusedError: anything else, or longer than the collector takes.
    """
    if isinstance(value, str):
        text: str = str.__str__(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        text = int.__repr__(value) if abs(value) < 2**128 else "x" * (longest + 1)
    elif type(value).__module__ == "uuid":
        text = str(value)
    elif value is None:
        return None
    else:
        raise EventRefusedError("bad_id", f"{field} must be text")
    if len(text) > longest:
        raise EventRefusedError("bad_id", f"{field} is longer than {longest} characters")
    return text or None


def kind_of(event: object) -> Kind:
    """Return what is known of an event: a struct of the vocabulary, one of a plugin, or a custom event's name.

    Raises:
        EventRefusedError: neither, or a name that is no identifier.
    """
    # A text that is too long for a name is not even hashed.
    known = _kinds.get(event if type(event) is str and len(event) <= NAME_LENGTH else type(event))
    return _learn_kind(event) if known is None else known


def names_order(event: object, properties: object) -> bool:
    """Say whether an event names an order: then the order says whose it is, as with a refund from the accounts."""
    if isinstance(event, Event):
        return bool(getattr(event, "order_id", None))
    return isinstance(properties, Mapping) and bool(properties.get("order_id"))


def encode(envelope: Envelope, max_bytes: int) -> bytes:
    """Return the event as JSON.

    Raises:
        EventRefusedError: a value JSON has no form for, an amount that is no number, too many bytes or properties, or
            something around the properties that is not of the type it is declared as.
    """
    properties = envelope.properties
    try:
        amount_names = amounts.get(type(properties))
        if amount_names is None:
            envelope.properties = tidied = tidy(properties, max_bytes)
        else:
            envelope.properties = tidied = tidy_struct(properties, amount_names, max_bytes)
        own = tidied if type(tidied) is dict else tidied.extra if tidied is not properties else None
        if type(own) is dict and len(own) > MOST_PROPERTIES:
            raise EventRefusedError("too_large", TOO_MANY)
        page = envelope.page
        if page is not None and not (type(page) is Page and _is_plain_page(page, max_bytes)):
            envelope.page = _fit(page, Page, max_bytes)
        if not (envelope.identifiers is envelope.campaign is envelope.device is envelope.consent is None):
            _tidy_rest(envelope, max_bytes)
        payload = _encoder.encode(envelope)
    except (TypeError, ValueError, OverflowError, RecursionError, NotImplementedError) as problem:
        if is_thrown_in(problem):
            raise
        raise EventRefusedError("not_serialisable", "a value has no JSON form, or is nested too deeply") from None
    if len(payload) > max_bytes:
        raise EventRefusedError("too_large", f"the event takes {len(payload)} bytes, more than {max_bytes}")
    return payload


def _is_plain_page(page: Page, most: int) -> bool:
    # Most events have one: written out, this takes half the time of the way for the others.
    return (
        ((text := page.url) is None or (type(text) is str and len(text) <= most))
        and ((text := page.referrer) is None or (type(text) is str and len(text) <= most))
        and ((text := page.title) is None or (type(text) is str and len(text) <= most))
        and ((text := page.path) is None or (type(text) is str and len(text) <= most))
    )


def _is_plain(values: tuple[Any, ...], plain: frozenset[object], most: int) -> bool:
    return plain.issuperset(map(type, values)) and sum(map(length_hint, values)) <= most


def _tidy_rest(envelope: Envelope, max_bytes: int) -> None:
    for name, shape, plain in _SHAPES:
        value = getattr(envelope, name)
        if value is not None and not (type(value) is shape and _is_plain(_values_of(value), plain, max_bytes)):
            setattr(envelope, name, _fit(value, shape, max_bytes))
    if envelope.identifiers is not None:
        envelope.identifiers = _identifiers(tidy(envelope.identifiers, max_bytes))


def _fit(value: Any, shape: type, max_bytes: int) -> Any:
    """Return the value as the collector will read it: as a struct, also from a mapping that has its fields."""
    try:
        return msgspec.json.decode(_encoder.encode(tidy(value, max_bytes)), type=shape)
    except msgspec.ValidationError as problem:
        raise EventRefusedError("invalid", f"{shape.__name__.lower()}: {problem}") from None


def _identifiers(given: Any) -> dict[str, str]:
    if type(given) is not dict:
        raise EventRefusedError("invalid", "identifiers must be a mapping of names to texts")
    for kind, value in given.items():
        if type(kind) is not str or not 0 < len(kind) <= NAME_LENGTH:
            raise EventRefusedError("invalid", f"an identifier's name is a text of 1 to {NAME_LENGTH} characters")
        if type(value) is not str or len(value) > ID_LENGTH:
            text = text_id(value, "an identifier")
            if text is None:
                raise EventRefusedError("bad_id", "an identifier must be text")
            given[kind] = text
    return given


def assemble(payloads: Iterable[bytes], sent_at_ms: int) -> bytes:
    """Return the request's body around events that are encoded already."""
    return b'{"sent_at":"%b","events":[%b]}' % (rfc3339(sent_at_ms).encode(), b",".join(payloads))


_encoder = msgspec.json.Encoder()
_values_of = msgspec.structs.astuple
_TEXTS: Final = frozenset({str, type(None)})
_ANSWERS: Final = frozenset({bool, type(None)})
_SHAPES: Final = (("campaign", Campaign, _TEXTS), ("device", Device, _TEXTS), ("consent", Consent, _ANSWERS))
"""What stands beside the properties, its struct, and the types its fields have unless somebody got one wrong."""


def _learn_kind(event: object) -> Kind:
    if isinstance(event, Event):
        return _kinds.setdefault(type(event), _kind_of_struct(type(event)))
    # Plain text: a member of an enumeration is one as well, and may stand for a name of the vocabulary.
    name = str.__str__(event) if isinstance(event, str) else ""
    if not _NAME.fullmatch(name):
        raise EventRefusedError("bad_name", "an event is a struct of touchtrail.events or a name such as gift_wrapped")
    known = _kinds.get(name)
    if known is not None:
        return known
    kind = Kind(name, True, CART, None)
    # No more than a shop's own code has: names may come from anywhere, and a cache that grows is a leak.
    if type(event) is str and len(_kinds) < _MOST_KINDS:
        _kinds[name] = kind
    return kind


def _kind_of_struct(struct: type[Event]) -> Kind:
    spec = struct.spec
    return Kind(spec.name, not spec.is_personless, _shed_class(struct), struct)


def _shed_class(struct: type[Event]) -> int:
    """Money, consent and identities last, plain looking around first, carts and paid contacts between."""
    spec = struct.spec
    if spec.stage in ("retention", "loyalty") or spec.contact == "none" or spec.name.startswith(("order_", "payment_")):
        return ORDER
    if spec.stage == "purchase" or spec.contact in ("click", "encounter"):
        return CART
    return BROWSE


_kinds: dict[object, Kind] = {struct: _kind_of_struct(struct) for struct in VOCABULARY.values()}
_kinds |= {name: _kinds[struct] for name, struct in VOCABULARY.items()}
_MOST_KINDS: Final = len(_kinds) + 200
