"""Requests sent without waiting for answers: each is answered, in order, however many come at once."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from test_slow_clients import (
    DEADLINES,
    HOST,
    PARSERS,
    PATIENCE_S,
    Serving,
    healthz,
    parse,
    read_answer,
    read_to_end,
    serving,
)

from accounting import read_door
from shop_events import wire_event

CLOSE = b"Connection: close\r\n"


@pytest.fixture(scope="module", params=PARSERS)
def collector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A collector with short deadlines, on each of the two parsers."""
    db = tmp_path_factory.mktemp(request.param) / "shop.db"
    with serving(db, PARSERS[request.param], **DEADLINES) as running:
        yield running
    assert "Traceback" not in running.errors.read_text()


def get(path: str, *headers: bytes) -> bytes:
    return f"GET {path} HTTP/1.1\r\n".encode() + HOST + b"".join(headers) + b"\r\n"


def post(collector: Serving, event_id: str, *headers: bytes, is_chunked: bool = False) -> bytes:
    """Return a request with one event."""
    body = json.dumps(wire_event(event_id)).encode()
    length = b"Transfer-Encoding: chunked\r\n" if is_chunked else b"Content-Length: %d\r\n" % len(body)
    if is_chunked:
        body = b"%x\r\n%b\r\n1;why=not\r\n \r\n0\r\nX-Trailer: yes\r\n\r\n" % (len(body), body)
    head = f"POST /v1/events HTTP/1.1\r\nAuthorization: Bearer {collector.key}\r\n".encode()
    return head + HOST + length + b"".join(headers) + b"\r\n" + body


def answers_to(collector: Serving, requests: bytes, *, ends: bool = False) -> bytes:
    """Send everything, as far as it is taken before the first answer, and return all answers."""
    with collector.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        sock.sendall(requests)
        if ends:
            sock.shutdown(socket.SHUT_WR)
        return read_to_end(sock)


def missing(answers: bytes) -> list[str]:
    """Return the paths of the answers 404, in their order."""
    return re.findall(r"there is nothing at (\S+?)\"", answers.decode())


@pytest.mark.parametrize("number", [65, 2_000])
def test_any_number_in_one_piece_is_answered_in_order(collector: Serving, number: int) -> None:
    paths = [f"/p-{place}" for place in range(number)]
    answers = answers_to(collector, b"".join(map(get, paths)) + get("/last", CLOSE))
    assert missing(answers) == [*paths, "/last"]
    assert answers.count(b"HTTP/1.1 ") == number + 1


@pytest.mark.parametrize("is_chunked", [False, True], ids=["with length", "chunked"])
def test_every_event_of_them_is_kept_once(collector: Serving, is_chunked: bool) -> None:
    before = read_door(collector.db).accepted
    ids = [f"pipe-{is_chunked}-{place}" for place in range(300)]
    requests = b"".join(post(collector, event_id, is_chunked=is_chunked) for event_id in ids)
    answers = answers_to(collector, requests + get("/last", CLOSE))
    assert answers.count(b'{"accepted":1,"duplicates":0,"rejected":[]}') == 300
    assert missing(answers) == ["/last"]
    assert read_door(collector.db).accepted - before == 300


def test_header_limits_count_for_each_of_them_alone(collector: Serving) -> None:
    """Together they are thirty times what one may have, and so much is read at once."""
    large = b"X-Large: " + b"x" * 30_000 + b"\r\n"
    paths = [f"/large-{place}" for place in range(30)]
    answers = answers_to(collector, b"".join(get(path, large) for path in paths) + get("/last", CLOSE))
    assert missing(answers) == [*paths, "/last"]
    many = b"".join(get("/few", b"X-Y: z\r\n" * 90) for _ in range(20))
    too_many = get("/many", b"X-Y: z\r\n" * 101)
    answers = answers_to(collector, many + too_many + get("/never"))
    assert answers.count(b"HTTP/1.1 404") == 20
    assert parse(answers[answers.rindex(b"HTTP/1.1 4") :])[2]["code"] == "headers_too_large"


@pytest.mark.parametrize("size", [1, 3, 7, 1_000])
def test_pieces_may_end_anywhere(collector: Serving, size: int) -> None:
    requests = [
        get("/a"),
        post(collector, f"cut-{size}"),
        post(collector, f"chunks-{size}", is_chunked=True),
        get("/b"),
    ]
    whole = b"".join(requests) * (1 if size < 7 else 3) + get("/last", CLOSE)
    with collector.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(0, len(whole), size):
            sock.sendall(whole[place : place + size])
            if place % 97 == 0:
                time.sleep(0.001)
        answers = read_to_end(sock)
    times = 1 if size < 7 else 3
    assert missing(answers) == ["/a", "/b"] * times + ["/last"]
    assert answers.count(b"HTTP/1.1 200") == 2 * times


def test_what_is_owed_comes_before_the_error_that_ends_the_connection(collector: Serving) -> None:
    good = [post(collector, f"owed-{place}", is_chunked=place % 2 == 1) for place in range(90)]
    answers = answers_to(collector, b"".join(good) + b"complete nonsense\r\n\r\n" + get("/never"))
    status, headers, body = parse(answers[answers.rindex(b"HTTP/1.1 4") :])
    assert answers.count(b'{"accepted":1,') == 90
    assert (status, body["code"], headers["connection"]) == (400, "malformed_request", "close")
    assert missing(answers) == []


def test_who_ends_its_own_sending_is_answered_all_the_same(collector: Serving) -> None:
    paths = [f"/half-{place}" for place in range(100)]
    answers = answers_to(collector, b"".join(map(get, paths)), ends=True)
    assert missing(answers) == paths
    answers = answers_to(collector, post(collector, "half"), ends=True)
    assert parse(answers)[2]["accepted"] == 1
    assert parse(answers_to(collector, post(collector, "half-a-request")[:-5], ends=True))[0] == 400


def test_nothing_is_answered_behind_a_request_that_was_to_be_the_last(collector: Serving) -> None:
    first, ignored = post(collector, "the-last-one", CLOSE), post(collector, "one-too-many") * 50
    answers = answers_to(collector, first + ignored)
    assert answers.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in answers.lower()


def test_the_deadline_of_a_request_behind_others_is_its_own(collector: Serving) -> None:
    begun = b"GET /slow HTTP/1.1\r\n" + HOST
    with collector.connect() as sock:
        began = time.monotonic()
        sock.sendall(b"".join(get("/quick") for _ in range(100)) + begun)
        answers = read_to_end(sock)
    assert 0.95 <= time.monotonic() - began <= PATIENCE_S
    assert answers.count(b"HTTP/1.1 404") == 100
    assert parse(answers[answers.rindex(b"HTTP/1.1 4") :])[2]["code"] == "request_timeout"


def test_a_request_to_speak_another_protocol_is_answered_in_this_one(collector: Serving) -> None:
    """RFC 9110, section 7.8: who does not know the other one ignores the wish."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    answers = answers_to(collector, (get("/up", upgrade) + post(collector, "up")) * 2 + get("/last", CLOSE))
    assert missing(answers) == ["/up", "/up", "/last"]
    assert answers.count(b"HTTP/1.1 200") == 2


def test_a_large_request_behind_another_is_no_large_header(collector: Serving) -> None:
    def batch(*ids: str) -> bytes:
        body = json.dumps([wire_event(event_id, properties={"name": "x" * 200}) for event_id in ids]).encode()
        head = f"POST /v1/events HTTP/1.1\r\nAuthorization: Bearer {collector.key}\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + HOST + b"\r\n" + body

    with collector.connect() as sock:
        for number in range(10):
            sock.sendall(batch(f"small-{number}"))
            time.sleep(0.001 * (number % 3))  # while the first is answered
            sock.sendall(batch(*(f"large-{number}-{place}" for place in range(200))))
            assert [read_answer(sock)[2]["accepted"] for _ in range(2)] == [1, 200]


def test_requests_without_end_that_nobody_reads_the_answers_of_do_not_fill_the_memory(collector: Serving) -> None:
    flood = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 5_000
    sent = 0
    with collector.connect() as sock, suppress(ConnectionResetError, BrokenPipeError):
        while sent < 30_000_000:
            sock.sendall(flood)
            sent += len(flood)
    assert healthz(collector)[0] == 200
    print(f"{sent / 1e6:.1f} MB sent; RSS at most {collector.memory_mb('VmHWM'):.0f} MB")
    assert sent >= len(flood)
    assert collector.memory_mb("VmHWM") <= 200
