"""Clients that offer another protocol with a request, as `curl --http2` and Java's own do: they are served all the
same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from test_slow_clients import HOST, PARSERS, Serving, parse, read_answer, read_to_end, serving

from accounting import read_door
from shop_events import wire_event

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJ==\r\n"

ENDING = {
    "close first": b"Connection: close, Upgrade\r\n",
    "close last": b"Connection: Upgrade, close\r\n",
    "two headers": b"Connection: close\r\nConnection: Upgrade\r\n",
    "two headers, close last": b"Connection: upgrade\r\nConnection: Close\r\n",
    "with more": b"Connection: Upgrade, HTTP2-Settings, close\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
}
AT_ONCE_S = 5.0
"""A busy machine's; whoever waited for a body that is there would wait for three times as long."""


@pytest.fixture(scope="module", params=PARSERS)
def collector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    db = tmp_path_factory.mktemp(request.param) / "shop.db"
    with serving(db, PARSERS[request.param]) as running:
        yield running
    assert "Traceback" not in running.errors.read_text()


def post(
    collector: Serving, event_id: str, offer: bytes, *, is_chunked: bool = False, version: str = "1.1"
) -> tuple[bytes, bytes]:
    """Return a request's headers and its body."""
    body = json.dumps(wire_event(event_id)).encode()
    framing = b"Transfer-Encoding: chunked\r\n" if is_chunked else b"Content-Length: %d\r\n" % len(body)
    if is_chunked:
        body = b"5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (body[:5], len(body) - 5, body[5:])
    head = f"POST /v1/events HTTP/{version}\r\nAuthorization: Bearer {collector.key}\r\n".encode()
    return head + HOST + framing + offer + b"\r\n", body


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET, b""], ids=["HTTP/2", "WebSocket", "nothing"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["with length", "chunked"])
@pytest.mark.parametrize("cuts", [(), (0,), (0, 1, 30), (-20, 3)], ids=repr)
def test_events_come_in_whatever_else_is_offered(
    collector: Serving, offer: bytes, is_chunked: bool, cuts: tuple[int, ...], request: pytest.FixtureRequest
) -> None:
    """Cut into pieces at some places around the end of the headers; twice on one connection."""
    before = read_door(collector.db).accepted
    with collector.connect() as sock:
        for number in range(2):
            head, body = post(collector, f"{request.node.name}-{number}", offer, is_chunked=is_chunked)
            places = [0, *(len(head) + cut for cut in cuts), len(head + body)]
            for start, end in pairwise(places):
                sock.sendall((head + body)[start:end])
                if cuts:
                    time.sleep(0.02)
            status, _, ack = read_answer(sock)
            assert (status, ack) == (200, {"accepted": 1, "duplicates": 0, "rejected": []})
    assert read_door(collector.db).accepted == before + 2


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"], ids=["h2c", "websocket"])
@pytest.mark.parametrize("connection", ENDING)
@pytest.mark.parametrize(
    ("version", "is_chunked"), [("1.1", False), ("1.1", True), ("1.0", False)], ids=["length", "chunked", "HTTP 1.0"]
)
@pytest.mark.parametrize("cuts", [(), (0, 1, 30)], ids=repr)
def test_events_come_in_at_once_where_the_connection_is_to_end_with_them(
    collector: Serving, protocol: bytes, connection: str, version: str, is_chunked: bool, cuts: tuple[int, ...],
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    offer = ENDING[connection] + b"Upgrade: " + protocol + b"\r\n"
    head, body = post(collector, request.node.callspec.id, offer, is_chunked=is_chunked, version=version)
    places = [0, *(len(head) + cut for cut in cuts), len(head + body)]
    with collector.connect() as sock:
        began = time.monotonic()
        for start, end in pairwise(places):
            sock.sendall((head + body)[start:end])
            if cuts:
                time.sleep(0.02)
        status, headers, ack = parse(read_to_end(sock))
    assert (status, ack) == (200, {"accepted": 1, "duplicates": 0, "rejected": []})
    assert headers["connection"] == "close"
    assert time.monotonic() - began < AT_ONCE_S


@pytest.mark.parametrize("connection", [b"Upgrade", b"keep-alive, Upgrade"])
def test_the_version_that_ends_its_connections_by_itself_may_offer_too(collector: Serving, connection: bytes) -> None:
    offer = b"Connection: " + connection + b"\r\nUpgrade: h2c\r\n"
    event_id = f"old-{connection.decode()}"
    with collector.connect() as sock:
        sock.sendall(b"".join(post(collector, event_id, offer, version="1.0")))
        assert parse(read_to_end(sock))[2]["accepted"] == 1


@pytest.mark.parametrize("is_chunked", [False, True], ids=["with length", "chunked"])
def test_nothing_is_answered_behind_an_offer_that_was_to_be_the_last(collector: Serving, is_chunked: bool) -> None:
    offer = ENDING["close first"] + b"Upgrade: h2c\r\n"
    first = b"".join(post(collector, f"last-{is_chunked}", offer, is_chunked=is_chunked))
    with collector.connect() as sock:
        sock.sendall(first + b"".join(post(collector, f"behind-last-{is_chunked}", b"")) * 3)
        answers = read_to_end(sock)
    assert (answers.count(b"HTTP/1.1 "), answers.count(b"HTTP/1.1 200")) == (1, 1)


def test_requests_behind_one_with_an_offer_are_read_from_where_its_body_ends(collector: Serving) -> None:
    requests = [
        b"".join(post(collector, f"behind-{number}", H2C if number % 2 else b"", is_chunked=number % 3 == 1))
        for number in range(12)
    ]
    with collector.connect() as sock:
        sock.sendall(b"".join(requests))
        answers = [read_answer(sock) for _ in requests]
    assert [ack["accepted"] for _, _, ack in answers] == [1] * len(requests)


def test_a_request_without_a_body_is_answered_and_the_connection_goes_on(collector: Serving) -> None:
    with collector.connect() as sock:
        for offer in (WEBSOCKET, H2C, b"", ENDING["close first"] + b"Upgrade: h2c\r\n"):
            sock.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + offer + b"\r\n")
            assert read_answer(sock)[0] == 200


def test_offers_leave_the_log_alone(collector: Serving) -> None:
    assert "upgrade" not in collector.errors.read_text().lower()


def test_curl_that_would_rather_speak_http_2_delivers(collector: Serving) -> None:
    if shutil.which("curl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("NOT TESTED: curl is not installed")
    event = json.dumps(wire_event("from-curl"))
    command = ["curl", "-sS", "--http2", "-H", f"Authorization: Bearer {collector.key}", "--json", event]
    url = f"http://127.0.0.1:{collector.port}/v1/events"
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"accepted": 1, "duplicates": 0, "rejected": []}
