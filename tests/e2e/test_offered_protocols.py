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
from test_slow_clients import HOST, PARSERS, Serving, read_answer, serving

from accounting import read_door
from shop_events import wire_event

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJ==\r\n"


@pytest.fixture(scope="module", params=PARSERS)
def collector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    db = tmp_path_factory.mktemp(request.param) / "shop.db"
    with serving(db, PARSERS[request.param]) as running:
        yield running
    assert "Traceback" not in running.errors.read_text()


def post(collector: Serving, event_id: str, offer: bytes, *, is_chunked: bool = False) -> tuple[bytes, bytes]:
    """Return a request's headers and its body."""
    body = json.dumps(wire_event(event_id)).encode()
    framing = b"Transfer-Encoding: chunked\r\n" if is_chunked else b"Content-Length: %d\r\n" % len(body)
    if is_chunked:
        body = b"5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (body[:5], len(body) - 5, body[5:])
    head = f"POST /v1/events HTTP/1.1\r\nAuthorization: Bearer {collector.key}\r\n".encode()
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
        for offer in (WEBSOCKET, H2C, b""):
            sock.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + offer + b"\r\n")
            assert read_answer(sock)[0] == 200


def test_curl_that_would_rather_speak_http_2_delivers(collector: Serving) -> None:
    if shutil.which("curl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("NOT TESTED: curl is not installed")
    event = json.dumps(wire_event("from-curl"))
    command = ["curl", "-sS", "--http2", "-H", f"Authorization: Bearer {collector.key}", "--json", event]
    url = f"http://127.0.0.1:{collector.port}/v1/events"
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"accepted": 1, "duplicates": 0, "rejected": []}
