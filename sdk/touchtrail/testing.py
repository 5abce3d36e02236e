"""For a shop's own tests: a client that collects instead of sending, and a transport that answers as scripted."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from ._delivery import Delivery
from ._envelope import Kind
from ._transport import Reply, Transport
from ._worker import Health
from .client import AsyncClient, Client, Tracker
from .errors import TransportError
from .events import Event
from .options import Options

if TYPE_CHECKING:
    from typing import Unpack

    from ._arguments import GivenOptions

__all__ = [
    "Capturing",
    "CapturingAsyncClient",
    "CapturingClient",
    "Reply",
    "ScriptedTransport",
    "Tracked",
    "Transport",
    "assert_not_tracked",
    "assert_tracked",
    "assert_tracked_in_order",
]

Wire = dict[str, Any]
Answer = Reply | Exception | Callable[[list[Wire]], Reply]


class Tracked(msgspec.Struct, frozen=True, kw_only=True):
    """One event a ``CapturingClient`` took.

    Args:
        event: read back as the collector would; None for a shop's own event, and for one the collector would reject.
        wire: the whole event as it would stand on the wire.
    """

    name: str
    event: Event | None
    wire: Wire


class Capturing(Tracker):
    """What ``CapturingClient`` and ``CapturingAsyncClient`` share: they send nothing and keep every event.

    Strict unless told otherwise: an event the collector would reject raises ``EventRefusedError``.

    Args:
        clock: as for ``Client``.
        given: any field of ``Options`` beside address and key.

    Attributes:
        events: what was tracked, oldest first; ``events.clear()`` forgets it.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, **given: Unpack[GivenOptions]) -> None:
        self.events: list[Tracked] = []
        given.setdefault("strict", True)
        given["memory_only"] = True
        super().__init__("http://capturing.invalid", key="capturing", transport=_Nowhere(), clock=clock, **given)

    def _deliver(self, transport: Transport | None) -> Delivery:
        return _Collecting(self.options, self.events, transport, self._clock)


class _Collecting(Delivery):
    """Ends at a list."""

    def __init__(
        self, options: Options, events: list[Tracked], transport: Transport | None, clock: Callable[[], float]
    ) -> None:
        super().__init__(options, "", transport=transport, clock=clock, tells_of_losses=False)
        self._events = events

    def keep(self, payload: bytes, kind: Kind) -> None:
        self.check(payload, kind)
        wire = msgspec.json.decode(payload)
        self._events.append(Tracked(name=kind.name, event=_read_back(wire, kind), wire=wire))

    def flush(self, timeout_s: float) -> bool:
        return True

    def health(self) -> Health:
        return msgspec.structs.replace(super().health(), tracked=len(self._events))


class CapturingClient(Capturing, Client):
    """A ``Client`` for tests; give it to the code under test in the place of the real one.

    Example:
        >>> from touchtrail import events
        >>> with CapturingClient() as client:
        ...     client.track(events.ProductViewed(sku="SKU-1"), anonymous_id="a-1")
        True
        >>> assert_tracked(client, events.ProductViewed, sku="SKU-1", anonymous_id="a-1").name
        'product_viewed'
    """


class CapturingAsyncClient(Capturing, AsyncClient):
    """``CapturingClient`` in the place of an ``AsyncClient``."""


class ScriptedTransport:
    """Answers one request after the other as scripted, then stores everything like a collector.

    Args:
        answers: a reply, an exception to raise, or a function of the request's events that gives either.

    Example:
        >>> transport = ScriptedTransport([TransportError("down"), Reply(status=503)])
    """

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        self._answers = iter(answers)
        self.batches: list[list[Wire]] = []
        self.headers: list[dict[str, str]] = []
        self.stored: dict[str, Wire] = {}
        self.is_closed = False

    def send(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Answer as the script says."""
        if headers.get("Content-Encoding") == "gzip":
            body = zlib.decompress(body, 31)
        events: list[Wire] = msgspec.json.decode(body)["events"]
        self.batches.append(events)
        self.headers.append(dict(headers))
        answer = next(self._answers, self.store)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Reply) else answer(events)

    def store(self, events: list[Wire]) -> Reply:
        """Keep the events, each id once, and acknowledge them."""
        new = {event["event_id"]: event for event in events if event["event_id"] not in self.stored}
        self.stored |= new
        ack = {"accepted": len(new), "duplicates": len(events) - len(new), "rejected": []}
        return Reply(status=200, body=msgspec.json.encode(ack))

    def store_and_lose_the_ack(self, events: list[Wire]) -> Reply:
        """Keep the events, but let the client believe that nothing arrived."""
        self.store(events)
        raise TransportError("the connection broke off")

    def close(self) -> None:
        """Remember that the client let go."""
        self.is_closed = True


def assert_tracked(
    client: Capturing, kind: type[Event] | str, *, times: int | None = None, **fields: object
) -> Tracked:
    """Return the first event of the kind with these fields; the assertion error lists what there was instead.

    Args:
        kind: a struct of ``touchtrail.events``, or an event's name.
        times: how many there must be, at least 1; None = one or more.
        fields: fields of the event, of its properties or of the envelope (``customer_id``), and their values.
    """
    if times is not None and times < 1:
        raise ValueError("times must be at least 1; assert_not_tracked says that there was none")
    same_kind, matching = _find(client, kind, fields)
    if matching and times in (None, len(matching)):
        return matching[0]
    name = _name_of(kind)
    if not same_kind:
        raise AssertionError(f"no {name} was tracked, but {[tracked.name for tracked in client.events]}")
    seen = [{field: _value(tracked, field) for field in fields} for tracked in same_kind]
    if not matching:
        raise AssertionError(f"{name} was tracked {len(same_kind)} times, never with {fields}, but with {seen}")
    with_fields = f" with {fields}" if fields else ""
    raise AssertionError(f"{name}{with_fields} was tracked {len(matching)} times, not {times}")


def assert_not_tracked(client: Capturing, kind: type[Event] | str | None = None, **fields: object) -> None:
    """Check that no event of the kind with these fields was tracked; None = no event at all.

    Args:
        kind: as in ``assert_tracked``.
        fields: as in ``assert_tracked``; without them no event of the kind may be there.
    """
    if kind is None:
        matching = [one for one in client.events if _has(one, fields)]
    else:
        _, matching = _find(client, kind, fields)
    if matching:
        names = [tracked.name for tracked in matching]
        raise AssertionError(f"tracked although it should not have been: {names}, first {matching[0].wire}")


def assert_tracked_in_order(client: Capturing, *kinds: type[Event] | str) -> list[Tracked]:
    """Return one event of each kind, tracked in this order; others may lie between and around them."""
    found: list[Tracked] = []
    left = iter(client.events)
    for name in map(_name_of, kinds):
        following = next((tracked for tracked in left if tracked.name == name), None)
        if following is None:
            after = f" after {', '.join(tracked.name for tracked in found)}" if found else ""
            raise AssertionError(f"no {name}{after} in {[tracked.name for tracked in client.events]}")
        found.append(following)
    return found


def _name_of(kind: type[Event] | str) -> str:
    return kind if isinstance(kind, str) else kind.spec.name


def _find(client: Capturing, kind: type[Event] | str, fields: dict[str, object]) -> tuple[list[Tracked], list[Tracked]]:
    """Return the events of the kind, and those of them that have the fields."""
    name = _name_of(kind)
    same_kind = [tracked for tracked in client.events if tracked.name == name]
    return same_kind, [tracked for tracked in same_kind if _has(tracked, fields)]


def _has(tracked: Tracked, fields: dict[str, object]) -> bool:
    return all(_equals(_value(tracked, field), value) for field, value in fields.items())


def _read_back(wire: Wire, kind: Kind) -> Event | None:
    if kind.struct is None:
        return None
    try:
        return msgspec.convert(wire["properties"], kind.struct, strict=False)
    except msgspec.ValidationError:
        # Only without ``strict``: the shop's test wants to see what its code did, wrong as it is.
        return None


def _value(tracked: Tracked, field: str) -> object:
    if tracked.event is not None and field in tracked.event.__struct_fields__:
        return getattr(tracked.event, field)
    return tracked.wire["properties"].get(field, tracked.wire.get(field))


def _equals(actual: object, expected: object) -> bool:
    if isinstance(actual, Decimal) and isinstance(expected, str | int | float | Decimal):
        return actual == Decimal(str(expected))
    return actual == expected


class _Nowhere:
    def send(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        raise TransportError("a capturing client sends nothing")

    def close(self) -> None:
        pass


try:
    import pytest
except ImportError:  # unittest's users need no pytest
    pass
else:
    __all__ += ["touchtrail_async_client", "touchtrail_client"]

    @pytest.fixture
    def touchtrail_client() -> Iterator[CapturingClient]:
        """A ``CapturingClient`` for one test; import it into ``conftest.py`` to use it."""
        with CapturingClient() as client:
            yield client

    @pytest.fixture
    def touchtrail_async_client() -> Iterator[CapturingAsyncClient]:
        """A ``CapturingAsyncClient`` for one test; it needs no plugin for asynchronous tests."""
        client = CapturingAsyncClient()
        yield client
        client._delivery.close()
