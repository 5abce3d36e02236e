"""One-time links and sessions: how long they live, and that nothing but what was made here lets in."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.services.sessions import (
    LINK_LIFE_S,
    MOST_LINKS,
    MOST_SESSIONS,
    SESSION_IDLE_S,
    SESSION_LIFE_S,
    Sessions,
    csrf_token_of,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(clock)


def begin(sessions: Sessions) -> str:
    token = sessions.start(sessions.generation)
    assert token is not None
    return token


def test_a_link_lets_in_once(sessions: Sessions) -> None:
    link = sessions.issue_link()
    assert sessions.is_open(link)
    token = sessions.redeem(link)
    assert token is not None
    assert sessions.find(token) is not None
    assert not sessions.is_open(link)
    assert sessions.redeem(link) is None


def test_of_many_who_use_a_link_at_once_one_gets_in(sessions: Sessions) -> None:
    link, tokens, gate = sessions.issue_link(), [], threading.Barrier(8)

    def use() -> None:
        gate.wait()
        tokens.append(sessions.redeem(link))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(tokens), tokens.count(None)) == (8, 7)


@pytest.mark.parametrize(("age_s", "is_open"), [(0, True), (LINK_LIFE_S - 1, True), (LINK_LIFE_S, False)])
def test_a_link_ends_after_fifteen_minutes(sessions: Sessions, clock: Clock, age_s: float, is_open: bool) -> None:
    link = sessions.issue_link()
    clock.now += age_s
    assert sessions.is_open(link) is is_open
    assert (sessions.redeem(link) is not None) is is_open


def test_a_session_ends_twelve_hours_after_it_was_last_used(sessions: Sessions, clock: Clock) -> None:
    used, unused = begin(sessions), begin(sessions)
    clock.now += SESSION_IDLE_S - 1
    assert sessions.find(used) is not None
    clock.now += 1
    assert sessions.find(used) is not None
    assert sessions.find(unused) is None
    assert len(sessions) == 1


def test_a_session_ends_after_seven_days_however_much_it_is_used(sessions: Sessions, clock: Clock) -> None:
    token = begin(sessions)
    hours = 0
    while sessions.find(token) is not None:
        clock.now += 3600
        hours += 1
    assert hours * 3600 == SESSION_LIFE_S


def test_what_ended_does_not_come_back_with_the_clock(sessions: Sessions, clock: Clock) -> None:
    token = begin(sessions)
    clock.now += SESSION_IDLE_S
    assert sessions.find(token) is None
    clock.now -= SESSION_IDLE_S
    assert sessions.find(token) is None


@given(st.text())
def test_no_token_that_was_not_made_here_is_a_session_or_a_link(text: str) -> None:
    sessions = Sessions()
    link, token = sessions.issue_link(), begin(sessions)
    assert sessions.find(text) is None
    assert not sessions.is_open(text)
    assert sessions.redeem(text) is None
    assert sessions.find(link) is None
    assert sessions.redeem(token) is None
    assert sessions.find(token) is not None


def test_tokens_are_256_random_bits_and_none_is_kept(sessions: Sessions) -> None:
    links = {sessions.issue_link() for _ in range(MOST_LINKS)}
    tokens = {begin(sessions) for _ in range(50)}
    assert (len(links), len(tokens)) == (MOST_LINKS, 50)
    for token in links | tokens:
        assert len(token.partition("_")[2]) == 43  # 32 bytes in base64
    kept = repr(vars(sessions))
    assert not [token for token in links | tokens if token in kept or token[4:] in kept]


def test_the_csrf_token_is_of_one_session_and_is_not_what_is_kept_of_it(sessions: Sessions) -> None:
    first, second = begin(sessions), begin(sessions)
    found = [sessions.find(token) for token in (first, second)]
    assert [session.csrf_token for session in found if session] == [csrf_token_of(first), csrf_token_of(second)]
    assert len({text for session in found if session for text in (session.csrf_token, session.token_hash)}) == 4


def test_all_end_together_links_as_well(sessions: Sessions) -> None:
    token, link = begin(sessions), sessions.issue_link()
    before = sessions.generation
    sessions.end_all()
    assert sessions.find(token) is None
    assert sessions.redeem(link) is None
    assert sessions.start(before) is None, "somebody was let in by what was right before"
    assert sessions.find(begin(sessions)) is not None


def test_one_that_is_ended_leaves_the_others(sessions: Sessions) -> None:
    first, second = begin(sessions), begin(sessions)
    sessions.end(first)
    sessions.end("nonsense")
    assert sessions.find(first) is None
    assert sessions.find(second) is not None


def test_memory_is_bounded_and_what_was_used_last_stays(sessions: Sessions) -> None:
    first = begin(sessions)
    second = begin(sessions)
    for _ in range(MOST_SESSIONS - 2):
        begin(sessions)
    assert sessions.find(first) is not None
    begin(sessions)
    assert len(sessions) == MOST_SESSIONS
    assert sessions.find(second) is None
    assert sessions.find(first) is not None
    oldest = sessions.issue_link()
    links = [sessions.issue_link() for _ in range(MOST_LINKS)]
    assert not sessions.is_open(oldest)
    assert all(sessions.is_open(link) for link in links)
