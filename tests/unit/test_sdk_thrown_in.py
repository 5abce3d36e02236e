"""A signal handler's exception at each place in ``track`` where one can come: the shop gets it, and loses nothing.

``tests/e2e/test_sdk_ends.py`` throws them in by real signals, at random; here each place is visited once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import touchtrail
from spool_boxes import descriptors_into
from still_client import outbox_of, still
from touchtrail import Client
from touchtrail.errors import is_thrown_in
from touchtrail.testing import ScriptedTransport

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to see what is open")

SDK = os.path.dirname(touchtrail.__file__)
SEGMENT_BYTES = 4096
# No handler runs between a lock's being taken and ``with`` having it, nor as a generator nobody needs is closed.
NO_PLACES = ("__enter__", "acquire", "<genexpr>")


class TooLong(TimeoutError):
    """As ``signal.alarm`` is mostly used: an OSError, like the errors of a disk."""


class Stopped(BaseException):
    """As Ctrl-C is."""


class Interruption:
    """A signal that comes at one place: as a function of ours begins, or as one in C has just ended.

    Args:
        place: which of all places, from 0 on.
        kind: what its handler raises; None = nothing.

    Attributes:
        came: where it was; empty = there were not so many places.
        meanwhile: what the handler does first.
    """

    def __init__(self, place: int, kind: type[BaseException] | None) -> None:
        self._left = place
        self._kind = kind
        self.raises = kind is not None
        self.came = ""
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, frame: FrameType, event: str, function: object) -> None:
        name = getattr(function, "__name__", "?") if event == "c_return" else frame.f_code.co_name
        is_ours = frame.f_code.co_filename.startswith(SDK)
        if is_ours and event in ("call", "c_return") and name not in NO_PLACES and not self.came:
            self._left -= 1
            if self._left < 0:
                self.came = f"{event} {name}"
                self._handle(signal.SIGALRM, sys._getframe())

    def _handle(self, _: int, __: FrameType) -> None:
        self.meanwhile()
        if self._kind is not None:
            raise self._kind


def track(client: Client, event_id: str, size: int = 10) -> bool:
    return client.track("clicked", anonymous_id="a", event_id=event_id, properties={"x": "y" * size})


def begin(_: Client, __: Path) -> set[str]:
    return set()


def go_on(client: Client, _: Path) -> set[str]:
    assert track(client, "before")
    return {"before"}


def fill_the_file(client: Client, _: Path) -> set[str]:
    """Bring the file so far that the next event needs another."""
    assert track(client, "filler", SEGMENT_BYTES - 400)
    return {"filler"}


def close_the_file(client: Client, spool: Path) -> set[str]:
    """Close the file and its lock, as a program does that closes what it does not own."""
    assert track(client, "before")
    for number in descriptors_into(spool):
        os.close(number)
    return {"before"}


def close_the_full_file(client: Client, spool: Path) -> set[str]:
    return fill_the_file(client, spool) | close_the_file(client, spool)


PREPARATIONS = [begin, go_on, fill_the_file, close_the_file, close_the_full_file]


@pytest.mark.parametrize("kind", [TooLong, Stopped])
@pytest.mark.parametrize("prepare", PREPARATIONS)
def test_an_exception_at_any_place_of_track_reaches_the_shop_and_nothing_that_was_taken_is_lost(
    tmp_path: Path, prepare: Callable[[Client, Path], set[str]], kind: type[BaseException]
) -> None:
    visit_places(tmp_path, prepare, kind)


@pytest.mark.parametrize("size", [10, 1000])
@pytest.mark.parametrize("kind", [None, TooLong])
@pytest.mark.parametrize("prepare", PREPARATIONS)
def test_a_signal_handler_that_tracks_at_any_place_of_track_loses_neither_event(
    tmp_path: Path, prepare: Callable[[Client, Path], set[str]], kind: type[BaseException] | None, size: int
) -> None:
    visit_places(tmp_path, prepare, kind, nested_size=size)


def visit_places(
    folder: Path, prepare: Callable[[Client, Path], set[str]], kind: type[BaseException] | None, nested_size: int = 0
) -> None:
    places: list[str] = []
    while came := interrupt(folder / f"{len(places)}", prepare, Interruption(len(places), kind), nested_size):
        places.append(came)
    print(f"{len(places)} places")
    assert len(places) >= 15
    assert "c_return pwrite" in places


def interrupt(
    spool: Path, prepare: Callable[[Client, Path], set[str]], interruption: Interruption, nested_size: int
) -> str:
    """Interrupt one call of a client's life; return where.

    Args:
        nested_size: of what the handler tracks; 0 = it does not track.
    """
    spool.mkdir()
    collector = ScriptedTransport()
    with still(collector, spool, segment_bytes=SEGMENT_BYTES, max_spool_bytes=16 * SEGMENT_BYTES) as (client, sender):
        taken = prepare(client, spool)
        if nested_size:
            interruption.meanwhile = lambda: track(client, "nested", nested_size) and taken.add("nested")
        thrown = None
        try:
            sys.setprofile(interruption)
            if track(client, "interrupted"):
                taken.add("interrupted")
        except (TooLong, Stopped) as problem:
            thrown = problem
        finally:
            sys.setprofile(None)
        assert (thrown is not None) == (interruption.came != "" and interruption.raises), interruption.came
        assert ("nested" in taken) == (interruption.came != "" and nested_size > 0), interruption.came
        # In a thread of its own: a lock that stayed taken would not hold up this one.
        later = threading.Thread(target=lambda: taken.update(f"{n}" for n in range(30) if track(client, f"{n}", 300)))
        later.start()
        later.join(20)
        assert not later.is_alive(), interruption.came
        assert taken >= {f"{n}" for n in range(30)}, interruption.came
        assert outbox_of(client).is_durable(), interruption.came

        mark = outbox_of(client).mark()
        outbox_of(client).tend()
        while sender.step() is not None or outbox_of(client).has_pending():
            outbox_of(client).tend()
        health = client.health()
        # Called off when it was written already, it is delivered too.
        assert collector.stored.keys() - {"interrupted"} == taken - {"interrupted"}, interruption.came
        assert collector.stored.keys() >= taken, interruption.came
        assert outbox_of(client).is_settled_to(mark), interruption.came
        assert (health.dropped, health.refused, health.damaged_files) == ({}, {}, 0), interruption.came
        assert health.tracked == len(collector.stored), interruption.came
    seen = len(collector.stored)
    with still(collector, spool) as (heir, sender):
        outbox_of(heir).tend()
        while sender.step() is not None:
            pass
    assert len(collector.stored) == seen, interruption.came
    assert not list(spool.glob("*/*.seg")), interruption.came
    return interruption.came


@pytest.mark.parametrize("kind", [TooLong, Stopped])
@pytest.mark.parametrize("call", ["flush", "close"])
def test_an_exception_at_any_place_of_a_flush_or_close_holds_up_no_later_one(
    tmp_path: Path, call: str, kind: type[BaseException]
) -> None:
    places: list[str] = []
    while came := interrupt_end(tmp_path / f"{len(places)}", call, Interruption(len(places), kind)):
        places.append(came)
    print(f"{len(places)} places")
    assert len(places) >= 10


def interrupt_end(spool: Path, call: str, interruption: Interruption) -> str:
    """Interrupt one call by which a client with its thread at work is to send everything; return where."""
    collector = ScriptedTransport()
    client = Client(
        "http://collector.invalid", key="k", spool_dir=spool, transport=collector, linger_s=60, close_timeout_s=20
    )
    assert all(track(client, f"{n}") for n in range(3))
    with suppress(TooLong, Stopped):
        try:
            sys.setprofile(interruption)
            getattr(client, call)(20)
        finally:
            sys.setprofile(None)
    outcome: list[object] = []

    def end() -> None:
        if call == "flush":
            outcome.append(track(client, "3"))
        outcome.append(client.flush(20))
        outcome.append(client.close(20))

    later = threading.Thread(target=end)
    later.start()
    later.join(40)
    assert not later.is_alive(), interruption.came
    assert all(outcome), (interruption.came, outcome, client.health())
    assert collector.stored.keys() == {f"{n}" for n in range(3 + (call == "flush"))}, interruption.came
    assert client.health().tracked == client.health().delivered == len(collector.stored), interruption.came
    return interruption.came


class Curious:
    """A value that gives its own frame to a function that fails."""

    def __index__(self) -> int:
        return self.look(sys._getframe())

    __str__ = __repr__ = __float__ = __iter__ = __hash__ = __index__  # type: ignore[assignment]

    def look(self, _: FrameType) -> int:
        raise KeyError


class Endless:
    """A value that fails in a function whose gathered arguments became something that has no end."""

    def __index__(self) -> int:
        return self.fail(1, 2)

    __str__ = __repr__ = __float__ = __index__  # type: ignore[assignment]

    def fail(self, *given: object) -> int:
        given = iter(int, 1)  # type: ignore[assignment]
        raise KeyError(given)


def test_a_value_whose_arguments_became_something_else_is_refused_without_looking_at_that(tmp_path: Path) -> None:
    with still(ScriptedTransport(), tmp_path) as (client, _):
        assert not client.track("clicked", anonymous_id="a", properties={"x": Endless()})
        assert sum(client.health().refused.values()) == 1


def test_a_value_that_gives_its_frame_away_is_refused_as_any_other(tmp_path: Path) -> None:
    with still(ScriptedTransport(), tmp_path) as (client, _):
        given: Any = {"x": Curious()}
        assert not client.track("clicked", anonymous_id=Curious(), properties=given)  # type: ignore[arg-type]
        client.track("clicked", anonymous_id="a", occurred_at=Curious(), properties=given)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", ["function", "method", "any", "partial"])
def test_a_handler_of_any_shape_is_known_as_one(shape: str) -> None:
    class Handler:
        def method(self, number: int, frame: FrameType | None) -> None:
            raise TooLong

        def any(self, *given: object, strict: bool = True) -> None:
            raise TooLong

    def function(number: int, frame: FrameType | None) -> None:
        raise TooLong

    handlers: dict[str, Callable[..., None]] = {
        "function": function, "method": Handler().method, "any": Handler().any,
        "partial": partial(Handler.method, Handler()),
    }  # fmt: skip
    before = signal.signal(signal.SIGUSR1, handlers[shape])
    try:
        with pytest.raises(TooLong) as thrown:
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert is_thrown_in(thrown.value)
