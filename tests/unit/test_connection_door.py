"""Who is let in when all places are taken, and who has to make room."""

from __future__ import annotations

import asyncio

import pytest

from touchtrail_collector.settings import ServerSettings
from touchtrail_collector.web.connections import Door


class Guest:
    """A connection that does what it is told."""

    def __init__(self, address: str, since: float, *, idle: bool = False, sending: bool = False) -> None:
        self.address = address
        self.waits_since = since
        self.is_idle = idle
        self.is_sending = sending
        self.looks: list[float] = []
        self.was_told_to_go = False
        self.was_aborted = False

    def look(self, now: float) -> None:
        self.looks.append(now)

    def make_room(self) -> None:
        self.was_told_to_go = True

    def abort(self) -> None:
        self.was_aborted = True


def idle(address: str, since: float) -> Guest:
    return Guest(address, since, idle=True)


def sending(address: str, since: float) -> Guest:
    return Guest(address, since, sending=True)


def busy(address: str, since: float) -> Guest:
    return Guest(address, since)


def gone_when(newcomer: str, *guests: Guest) -> tuple[bool, list[int]]:
    """Return whether a newcomer gets into a house full of these, and the places of those who had to go."""

    async def come() -> bool:
        door = Door(ServerSettings(connection_limit=len(guests)))
        loop = asyncio.get_running_loop()
        assert all(door.admit(guest, loop) for guest in guests)
        is_in = door.admit(busy(newcomer, 99.0), loop)
        assert len(door) == len(guests)
        return is_in

    is_in = asyncio.run(come())
    return is_in, [place for place, guest in enumerate(guests) if guest.was_told_to_go]


@pytest.mark.parametrize(
    ("guests", "expected"),
    [
        pytest.param([busy("a", 1), idle("b", 3), idle("c", 2)], (True, [2]), id="who idled longest goes"),
        pytest.param([idle("new", 1), busy("a", 0)], (True, [0]), id="idle ones go even to their own address"),
        pytest.param([sending("a", 5), sending("a", 4), sending("b", 1)], (True, [1]), id="of the crowd the oldest"),
        pytest.param([sending("new", 1), sending("new", 2)], (False, []), id="the crowd itself is refused"),
        pytest.param([sending("a", 1), sending("b", 2)], (False, []), id="equal shares stay"),
        pytest.param([sending("a", 1), sending("a", 2), sending("new", 3)], (False, []), id="one more is no crowd"),
        pytest.param([busy("a", 1), busy("a", 2), busy("a", 3)], (False, []), id="who is being answered stays"),
        pytest.param([busy("a", 1), sending("a", 9), busy("a", 3)], (True, [1]), id="of the crowd one that sends"),
    ],
)
def test_a_place_is_made_fairly_or_not_at_all(guests: list[Guest], expected: tuple[bool, list[int]]) -> None:
    assert gone_when("new", *guests) == expected


def test_places_are_counted_through_every_way_of_leaving() -> None:
    async def live() -> None:
        loop = asyncio.get_running_loop()
        door = Door(ServerSettings(connection_limit=3))
        first, second, third = (busy("a", since) for since in range(3))
        assert all(door.admit(guest, loop) for guest in (first, second, third))
        assert not door.admit(busy("b", 9.0), loop)
        door.left(first)
        door.left(first)
        door.show_out(second, loop)
        assert len(door) == 1
        door.left(second)
        assert all(door.admit(busy("b", 9.0), loop) for _ in range(2))
        assert len(door) == 3

    asyncio.run(live())


def test_so_many_may_hang_about_after_they_were_refused_and_no_more() -> None:
    async def refuse() -> list[Guest]:
        door = Door(ServerSettings(connection_limit=2))
        refused = [busy("a", since) for since in range(5)]
        for guest in refused:
            door.show_out(guest, asyncio.get_running_loop())
        return refused

    assert [guest.was_aborted for guest in asyncio.run(refuse())] == [False, False, True, True, True]


def test_all_are_looked_at_several_times_per_deadline_until_the_last_has_left() -> None:
    async def watch() -> tuple[Guest, Guest, int]:
        loop = asyncio.get_running_loop()
        door = Door(ServerSettings(headers_timeout_s=0.3, body_timeout_s=60, answer_timeout_s=60))
        inside, leaving = busy("a", 0), busy("a", 0)
        door.admit(inside, loop)
        door.show_out(leaving, loop)
        await asyncio.sleep(0.3)
        door.left(inside)
        door.left(leaving)
        seen = len(inside.looks)
        await asyncio.sleep(0.1)
        return inside, leaving, seen

    inside, leaving, seen = asyncio.run(watch())
    assert seen >= 4
    assert abs(len(leaving.looks) - seen) <= 1
    assert len(inside.looks) == seen
