"""For a shop's own tests: a client that collects instead of sending, and a transport that answers as scripted."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from ._envelope import Kind
from ._transport import Reply, Transport
from ._worker import Health
from .client import Client
from .errors import TransportError
from .events import Event

__all__ = ["CapturingClient", "Reply", "ScriptedTransport", "Tracked", "Transport", "assert_tracked"]

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


class CapturingClient(Client):
    """A ``Client`` that sends nothing and keeps every event in ``events``.

    Strict unless told otherwise: an event the collector would reject raises ``EventRefusedError``.
    """

    def __init__(self, **given: Any) -> None:
        self.events: list[Tracked] = []
        given.setdefault("strict", True)
        given["memory_only"] = True
        super().__init__("http://capturing.invalid", key="capturing", transport=_Nowhere(), **given)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Return True: nothing ever waits."""
        return True

    def health(self) -> Health:
        """Count what was collected as tracked."""
        return msgspec.structs.replace(super().health(), tracked=len(self.events))

    def _keep(self, payload: bytes, kind: Kind) -> None:
        self._check(payload, kind)
        wire = msgspec.json.decode(payload)
        self.events.append(Tracked(name=kind.name, event=_read_back(wire, kind), wire=wire))


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


def assert_tracked(client: CapturingClient, kind: type[Event] | str, **fields: object) -> Tracked:
    """Return the first event of the kind with these fields; the assertion error lists what there was instead.

    Args:
        kind: a struct of ``touchtrail.events``, or an event's name.
        fields: fields of the event, of its properties or of the envelope (``customer_id``), and their values.
    """
    name = kind if isinstance(kind, str) else kind.spec.name
    same_kind = [tracked for tracked in client.events if tracked.name == name]
    for tracked in same_kind:
        if all(_equals(_value(tracked, field), value) for field, value in fields.items()):
            return tracked
    if not same_kind:
        raise AssertionError(f"no {name} was tracked, but {[tracked.name for tracked in client.events]}")
    seen = [{field: _value(tracked, field) for field in fields} for tracked in same_kind]
    raise AssertionError(f"{name} was tracked {len(same_kind)} times, never with {fields}, but with {seen}")


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
    __all__ += ["touchtrail_client"]

    @pytest.fixture
    def touchtrail_client() -> Iterator[CapturingClient]:
        """A ``CapturingClient`` for one test; import it into ``conftest.py`` to use it."""
        with CapturingClient() as client:
            yield client
