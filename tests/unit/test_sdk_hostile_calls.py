"""Hostile values in every place of every call and every event: none raises or hangs, all are delivered or counted.

What strict clients take is held against the collector's own check.
"""

from __future__ import annotations

import asyncio
import enum
import faulthandler
import inspect
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hostile_values import KINDS, Maker, Panic, Panicking, nested
from touchtrail import Client, Consent, Context, EventRefusedError, Page, use_context
from touchtrail._envelope import kind_of
from touchtrail._strict import check_as_collector
from touchtrail.events import VOCABULARY
from touchtrail.testing import ScriptedTransport
from touchtrail_collector.domain.batch import read_batch
from touchtrail_collector.domain.event import EventChecker, EventRejected
from touchtrail_collector.domain.privacy import Pseudonymiser

CALLS = 5_000
LONGEST_CALL_S = 10.0
CHECKER = EventChecker(VOCABULARY, Pseudonymiser(b"secret"))
FACTS = [name for name in inspect.signature(Client.track).parameters if name not in ("self", "event", "properties")]
OCCASION = ["occurred_at", "event_id"]


def track_a_name(client: Client, make: Maker) -> bool:
    name = make.chance.choice(["clicked", "order_placed", "product_viewed", "page_viewed"])
    given = make.some(FACTS, 0.12) | make.some(["properties"], 0.7)
    return client.track(name, **{"anonymous_id": "a-1"} | given)


def track_own_properties(client: Client, make: Maker) -> bool:
    return client.track("clicked", properties={"p": make.value(), "q": 1}, customer_id="c-1")


def track_something(client: Client, make: Maker) -> bool:
    return client.track(event=make.value(), **{"anonymous_id": "a-1"} | make.some([*FACTS, "properties"], 0.1))


def track_a_struct(client: Client, make: Maker) -> bool:
    # The report of losses is the client's own: told from the shop's events by its name below.
    kind = make.chance.choice([kind for name, kind in VOCABULARY.items() if name != "events_lost"])
    needed = [field.name for field in msgspec.structs.fields(kind) if field.required]
    fields = dict.fromkeys(needed, "x") | make.some(list(kind.__struct_fields__), 0.25)
    return client.track(kind(**fields), **{"customer_id": "c-1"} | make.some(FACTS, 0.05))


def identify(client: Client, make: Maker) -> bool:
    own = make.some(["email", "phone", "loyalty_card", "traits"], 0.5)
    return client.identify(**{"customer_id": "c-1"} | own | make.some(FACTS, 0.1))


def alias(client: Client, make: Maker) -> bool:
    first, second = (make.value() if make.chance.random() < 0.6 else "c-1" for _ in range(2))
    return client.alias(first, second, **make.some(OCCASION))


def page(client: Client, make: Maker) -> bool:
    own = make.some(["url", "title", "referrer", "name", "category"], 0.5)
    return client.page(**{"anonymous_id": "a-1"} | own | make.some(FACTS, 0.1))


def track_in_a_context(client: Client, make: Maker) -> bool:
    with (
        client.context(**make.some(list(Context.__struct_fields__), 0.4)),
        use_context(Context(session_id="s")) if make.chance.random() < 0.3 else nullcontext(),
    ):
        return client.track("clicked")


CALLERS: list[Callable[[Client, Maker], bool]] = [
    track_a_name, track_own_properties, track_something, track_a_struct, identify, alias, page, track_in_a_context,
]  # fmt: skip


class Keeping(ScriptedTransport):
    """Keeps the bytes of every request."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []

    def send(self, body: bytes, headers: Mapping[str, str]) -> Any:
        self.bodies.append(body)
        return super().send(body, headers)


@pytest.fixture(autouse=True)
def no_test_hangs_in_silence() -> Iterator[None]:
    """What hangs inside C code ends with every thread's stack, not with a build that stands still."""
    faulthandler.dump_traceback_later(100, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def call_all(client: Client, make: Maker, calls: int) -> tuple[Counter[str], Counter[bool]]:
    """Make the calls; return how often each kind was called and how often it said what."""
    called: Counter[str] = Counter()
    said: Counter[bool] = Counter()
    for _ in range(calls):
        call = make.chance.choice(CALLERS)
        called[call.__name__] += 1
        began = time.perf_counter()
        try:
            answer = call(client, make)
        except EventRefusedError:
            assert client.options.strict
            answer = False
        assert time.perf_counter() - began < LONGEST_CALL_S, (call.__name__, "took too long")
        assert answer is True or answer is False, (call.__name__, answer)
        said[answer] += 1
    return called, said


def shops_events(transport: ScriptedTransport) -> list[dict[str, Any]]:
    """Return what was stored, without the client's own reports of losses."""
    return [event for event in transport.stored.values() if event["name"] != "events_lost"]


def rejected_by_the_collector(transport: ScriptedTransport) -> Counter[str]:
    """Return what the collector's own check says to everything that was delivered: code, field and how often."""
    found: Counter[str] = Counter()
    for event in shops_events(transport):
        try:
            CHECKER.check(msgspec.json.encode(event), now_ms=1_790_000_000_000)
        except EventRejected as rejected:
            root = ".".join((rejected.field or "-").split(".")[:2]).partition("[")[0]
            found[f"{rejected.code} {root}"] += 1
    return found


def assert_strict_judges_as_the_collector(found: list[dict[str, Any]]) -> None:
    """See that the client's own check and the collector's say the same of every event, both yes and no."""
    verdicts: Counter[tuple[bool, bool]] = Counter()
    for event in found:
        payload, both = msgspec.json.encode(event), []
        for check, error in (
            (lambda raw, name: check_as_collector(raw, kind_of(name)), EventRefusedError),
            (lambda raw, _: CHECKER.check(raw, now_ms=1_790_000_000_000), EventRejected),
        ):
            try:
                check(payload, event["name"])
            except error:
                both.append(False)
            else:
                both.append(True)
        assert both[0] == both[1], event
        verdicts[both[0], both[1]] += 1
    assert min(verdicts[True, True], verdicts[False, False]) >= 15


@pytest.mark.parametrize("seed", range(4))
def test_hostile_values_anywhere_raise_nothing_and_are_delivered_or_counted(tmp_path: Path, seed: int) -> None:
    make, transport = Maker(seed), Keeping()
    client = Client(
        "http://x",
        key="k",
        transport=transport,
        spool_dir=tmp_path,
        backoff_max_s=0.0,
        linger_s=0.0,
        gzip_above_bytes=2**40,
    )
    called, said = call_all(client, make, CALLS // 4)
    assert client.flush(30)
    health = client.health()
    assert (health.tracked, sum(health.refused.values())) == (said[True], said[False])
    assert health.delivered + health.duplicates == health.tracked
    assert (health.rejected, health.dropped) == (0, {})
    sent = [event for batch in transport.batches for event in batch if event["name"] != "events_lost"]
    assert len(sent) == health.tracked
    # Every request is JSON as the collector reads it, whatever stands in it.
    assert sum(len(read_batch(body)[0]) for body in transport.bodies) >= len(sent)
    client.close()
    print(f"{sum(make.made.values())} values of {len(make.made)} kinds, {said[True]} taken, {dict(health.refused)}")
    rejected = rejected_by_the_collector(transport)
    print(f"taken, but rejected by the collector: {dict(rejected)}")
    # Lengths, times and all that stands around the properties is refused at once, with ``strict`` or without.
    assert all(" properties" in fault for fault in rejected)
    assert min(called[call.__name__] for call in CALLERS) >= 100
    assert min(make.made[kind] for kind in KINDS) >= 30
    assert said[True] >= 120
    assert said[False] >= 150
    assert_strict_judges_as_the_collector(shops_events(transport))


def test_what_a_strict_client_takes_the_collector_takes(tmp_path: Path) -> None:
    make, transport = Maker(99), ScriptedTransport()
    with Client("http://x", key="k", transport=transport, spool_dir=tmp_path, strict=True) as client:
        _, said = call_all(client, make, 1_500)
        assert client.flush(20)
    assert said[True] >= 100
    assert len(shops_events(transport)) >= 100
    assert rejected_by_the_collector(transport) == {}


LIMITS_OF_THE_COLLECTOR: dict[str, dict[str, Any]] = {
    "an id of 129 characters": {"event_id": "e" * 129},
    "a name of 65 letters": {"event": "n" * 65},
    "a page that is text": {"page": "https://shop.example/"},
    "a page with a number": {"page": Page(url=7)},  # type: ignore[arg-type]
    "a device that is a mapping with a field nobody knows": {"device": {"colour": "red"}},
    "a consent that is text": {"consent": Consent(ads="yes")},  # type: ignore[arg-type]
    "an identifier that is a number": {"identifiers": {"email": 7}},
    "an identifier without a name": {"identifiers": {"": "x"}},
    "65 properties": {"properties": {f"p{number}": 1 for number in range(65)}},
    "nesting of 17": {"properties": {"deep": nested(15)}},
    "the last century": {"occurred_at": datetime(1999, 12, 31, tzinfo=UTC)},
    "the next century": {"occurred_at": datetime(2101, 1, 1, tzinfo=UTC)},
    "a currency nobody has": {"event": "order_placed", "properties": {"order_id": "1", "currency": "ABC"}},
    "a negative total": {"event": "order_placed", "properties": {"order_id": "1", "currency": "EUR", "total": "-1"}},
    "a name in an enumeration": {"event": enum.Enum("Names", {"VIEWED": "product_viewed"}, type=str).VIEWED},  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("call", LIMITS_OF_THE_COLLECTOR.values(), ids=LIMITS_OF_THE_COLLECTOR)
def test_strict_refuses_what_the_collector_would_reject(call: dict[str, Any]) -> None:
    """``strict`` promises to check every event as the collector will."""
    transport = ScriptedTransport()
    with (
        Client("http://x", key="k", transport=transport, memory_only=True, strict=True, linger_s=0.0) as client,
        suppress(EventRefusedError),
    ):
        client.track(**{"event": "clicked", "anonymous_id": "a"} | call)
        assert client.flush(5)
    assert rejected_by_the_collector(transport) == {}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, Panic])
@pytest.mark.parametrize("place", ["properties", "anonymous_id", "page"])
def test_an_order_to_stop_gets_through_another_panic_is_counted_and_the_sum_stays_right(
    tmp_path: Path, kind: type[BaseException], place: str
) -> None:
    class Ending:
        @property  # type: ignore[misc]
        def __class__(self) -> Any:
            raise kind

        def __bool__(self) -> bool:
            raise kind

    transport = ScriptedTransport()
    with Client("http://x", key="k", transport=transport, spool_dir=tmp_path, linger_s=0.0) as client:
        assert client.track("before", anonymous_id="a")
        given: dict[str, Any] = {"anonymous_id": "a"} | {place: {"x": Ending()} if place == "properties" else Ending()}
        answer = None
        try:
            answer = client.track("clicked", **given)
        except kind:
            assert kind is not Panic
        assert not answer
        assert client.track("after", anonymous_id="a")
        assert client.flush(5)
        health = client.health()
        assert (health.tracked, health.delivered) == (2, 2)
        assert sum(health.refused.values()) == (answer is False)
    assert [event["name"] for event in shops_events(transport)] == ["before", "after"]


def test_no_time_to_wait_raises() -> None:
    for timeout_s in (None, "5", float("nan"), float("inf"), -1, 10**400, b"", Panicking()):
        client = Client("http://x", key="k", transport=ScriptedTransport(), memory_only=True)
        assert client.flush(timeout_s) in (True, False)  # type: ignore[arg-type]
        assert client.close(timeout_s) in (True, False)  # type: ignore[arg-type]


def test_strict_names_the_cause() -> None:
    with (
        Client("http://x", key="k", transport=ScriptedTransport(), memory_only=True, strict=True) as client,
        pytest.raises(EventRefusedError, match="unexpected") as caught,
    ):
        client.track("clicked", anonymous_id=Panicking())  # type: ignore[arg-type]
    assert isinstance(caught.value.__cause__, Panic)


def test_at_the_end_of_the_shops_own_stack_nothing_of_ours_is_raised() -> None:
    reached: list[bool] = []
    ours: list[str] = []

    def dive(client: Client) -> None:
        try:
            reached.append(client.track("clicked", anonymous_id="a", properties={"x": [1.5]}))
        except RecursionError as problem:
            trace = problem.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None and trace.tb_frame.f_code.co_name != "dive":
                ours.append(trace.tb_frame.f_code.co_name)
        dive(client)

    with Client("http://x", key="k", transport=ScriptedTransport(), memory_only=True) as client:
        client.track("clicked", anonymous_id="a")
        with suppress(RecursionError):
            dive(client)
    assert ours == []
    assert reached.count(True) > 100
    assert reached.count(False) >= 1
