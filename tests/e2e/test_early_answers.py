"""Answers given while the request is still being sent: they reach the sender, on a real socket, whatever it still sends."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from collector_process import touchtrail
from test_slow_clients import PARSERS, PATIENCE_S, Serving, healthz, parse, read_to_end, serving

BODY = b'{"padding": "' + b"x" * 4_800_000 + b'"}'
CHUNK_BYTES = 100_000
LONGEST_S = 3.5
"""Two seconds of listening, one look of the door, and a busy machine."""


@pytest.fixture(scope="module", params=PARSERS)
def collector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A collector as it comes, on each of the two parsers."""
    db = tmp_path_factory.mktemp(request.param) / "shop.db"
    with serving(db, PARSERS[request.param], KEEP_ALIVE_TIMEOUT_S="1") as running:
        yield running
    assert "Traceback" not in running.errors.read_text()


def chunked(body: bytes) -> bytes:
    pieces = (body[place : place + CHUNK_BYTES] for place in range(0, len(body), CHUNK_BYTES))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def exchange(collector: Serving, line: str, headers: list[str], body: bytes) -> bytes:
    """Send a request whole, as clients do that read only then, and return what came back."""
    with collector.connect() as sock:
        sock.sendall("\r\n".join([line, *headers, "", ""]).encode() + body)
        return read_to_end(sock)


REFUSED = {
    400: ("POST /v1/events HTTP/1.1", ["Host: 127.0.0.1", "Host: 127.0.0.1"], "malformed_request"),
    401: ("POST /v1/events HTTP/1.1", ["Host: 127.0.0.1", "Authorization: Bearer wrong"], "unknown_key"),
    403: ("POST /v1/events HTTP/1.1", ["Host: 127.0.0.1", "Authorization: Bearer {read}"], "wrong_key_kind"),
    404: ("POST /nowhere HTTP/1.1", ["Host: 127.0.0.1"], "not_found"),
    405: ("DELETE /v1/events HTTP/1.1", ["Host: 127.0.0.1"], "method_not_allowed"),
    421: ("POST /v1/events HTTP/1.1", ["Host: evil.example"], "wrong_host"),
    431: ("POST /v1/events HTTP/1.1", ["Host: 127.0.0.1", "X-Large: " + "x" * 33_000], "headers_too_large"),
}
FRAMED = {
    "with length": (["Connection: close", f"Content-Length: {len(BODY)}"], BODY),
    "chunked": (["Connection: close", "Transfer-Encoding: chunked"], chunked(BODY)),
    "kept alive": ([f"Content-Length: {len(BODY)}"], BODY),
}


@pytest.fixture(scope="module")
def read_token(collector: Serving) -> str:
    return touchtrail("keys", "create", "--read", db=collector.db).stdout.strip()


@pytest.mark.parametrize("how", FRAMED)
@pytest.mark.parametrize("status", REFUSED)
def test_a_refusal_reaches_whoever_sends_the_whole_body_first(
    collector: Serving, read_token: str, status: int, how: str
) -> None:
    line, headers, code = REFUSED[status]
    framing, body = FRAMED[how]
    began = time.monotonic()
    answer = exchange(collector, line, [it.format(read=read_token) for it in headers] + framing, body)
    told, told_headers, error = parse(answer)
    assert (told, error["code"]) == (status, code)
    assert told_headers.get("connection", "close").lower() == "close" or how == "kept alive"
    assert time.monotonic() - began < LONGEST_S + 1


@pytest.mark.parametrize("status", [401, 404, 405, 421])
def test_it_reaches_old_clients_too(collector: Serving, status: int) -> None:
    line, headers, code = REFUSED[status]
    answer = exchange(collector, line.replace("1.1", "1.0"), [*headers, f"Content-Length: {len(BODY)}"], BODY)
    assert (parse(answer)[0], parse(answer)[2]["code"]) == (status, code)


@pytest.mark.parametrize("how", ["with length", "chunked"])
def test_a_body_that_is_too_large_is_refused_so_that_its_sender_reads_it(collector: Serving, how: str) -> None:
    body = BODY + b" " * 400_000
    framing = f"Content-Length: {len(body)}" if how == "with length" else "Transfer-Encoding: chunked"
    headers = ["Host: 127.0.0.1", f"Authorization: Bearer {collector.key}", "Connection: close", framing]
    answer = exchange(collector, "POST /v1/events HTTP/1.1", headers, body if how == "with length" else chunked(body))
    assert (parse(answer)[0], parse(answer)[2]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("parser", PARSERS)
def test_refusals_for_want_of_room_reach_the_sender_too(parser: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """429 for an address that asks too much, 503 for one connection too many."""
    db = tmp_path_factory.mktemp(f"room-{parser}") / "shop.db"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LOOPBACK": "true", "BURST_S": "1", "ADDRESS_REQUESTS_PER_S": "1"}.items():
            patch.setenv(f"TOUCHTRAIL_LIMITS_{name}", value)
        with serving(db, PARSERS[parser], CONNECTION_LIMIT="3") as collector:
            headers = ["Host: 127.0.0.1", f"Authorization: Bearer {collector.key}", *FRAMED["with length"][0]]
            assert healthz(collector)[0] == 200
            status, told, error = parse(exchange(collector, "POST /v1/events HTTP/1.1", headers, BODY))
            assert (status, error["code"]) == (429, "rate_limited")
            assert int(told["retry-after"]) >= 1
            crowd = [collector.connect() for _ in range(3)]
            for sock in crowd:
                sock.sendall(b"POST /v1/events HTTP/1.1\r\n")
            time.sleep(0.2)
            status, told, error = parse(exchange(collector, "POST /v1/events HTTP/1.1", headers, BODY))
            assert (status, error["code"]) == (503, "too_many_connections")
            for sock in crowd:
                sock.close()


@pytest.mark.parametrize(
    "line", ["POST /v1/events", "POST /v1/batch", "POST /sign-in", "GET /healthz", "POST /nowhere"]
)
def test_a_length_beyond_the_limit_is_refused_before_the_body_is_asked_for(collector: Serving, line: str) -> None:
    headers = ["Host: 127.0.0.1", "Origin: https://shop.example", "Content-Length: 1000000000", "Expect: 100-continue"]
    began = time.monotonic()
    with collector.connect() as sock:
        sock.sendall("\r\n".join([f"{line} HTTP/1.1", *headers, "", ""]).encode())
        answer = read_to_end(sock)
        took_s = time.monotonic() - began
    status, told, error = parse(answer)
    assert (status, error["code"], told["connection"]) == (413, "body_too_large", "close")
    assert told["access-control-allow-origin"] == "https://shop.example"
    assert took_s < 2


@pytest.mark.parametrize("length", ["-1", "+2", "2x", "0x2", "2,3", "2 2", "", "9" * 30, "\u0662"])
def test_a_length_that_is_no_number_is_refused(collector: Serving, length: str) -> None:
    answer = exchange(collector, "POST /v1/events HTTP/1.1", ["Host: 127.0.0.1", f"Content-Length: {length}"], b"[]")
    assert (parse(answer)[0], parse(answer)[2]["code"]) in ((400, "malformed_request"), (413, "body_too_large"))
    assert parse(answer)[0] == 400 or length == "9" * 30


@pytest.mark.parametrize(
    ("version", "headers"),
    [
        ("1.1", ["Transfer-Encoding: gzip, chunked"]),
        ("1.1", ["Transfer-Encoding: chunked, gzip"]),
        ("1.1", ["Transfer-Encoding: gzip"]),
        ("1.1", ["Transfer-Encoding: identity"]),
        ("1.1", ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"]),
        ("1.1", ["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"]),
        ("1.1", ["Transfer-Encoding: chunked", "Content-Length: 5"]),
        ("1.1", ["Content-Length: 5", "Transfer-Encoding: chunked"]),
        ("1.1", ["Content-Length: 5", "Content-Length: 6"]),
        ("1.0", ["Transfer-Encoding: chunked"]),
    ],
)
def test_a_body_whose_end_is_not_clear_is_refused(collector: Serving, version: str, headers: list[str]) -> None:
    given = ["Host: 127.0.0.1", f"Authorization: Bearer {collector.key}", *headers]
    answer = exchange(collector, f"POST /v1/events HTTP/{version}", given, b"0\r\n\r\n")
    status, told, error = parse(answer)
    assert (status, error["code"], told["connection"]) == (400, "malformed_request", "close")


@pytest.mark.parametrize(
    "hosts", [["127.0.0.1", "127.0.0.1"], ["127.0.0.1", "evil.example"], ["evil.example", "127.0.0.1"], []]
)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/batch", "/nowhere", "/sign-in"])
def test_a_request_has_one_host(collector: Serving, path: str, hosts: list[str]) -> None:
    names = [f"{name}: {host}" for name, host in zip(("Host", "hOST"), hosts, strict=False)]
    answer = exchange(collector, f"POST {path} HTTP/1.1", [*names, "Content-Length: 2", "Connection: close"], b"[]")
    assert (parse(answer)[0], parse(answer)[2]["code"]) == (400, "malformed_request")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_an_old_client_need_not_name_a_host_to_ask_how_we_are(collector: Serving, path: str) -> None:
    assert parse(exchange(collector, f"GET {path} HTTP/1.0", [], b""))[0] == 200
    assert parse(exchange(collector, f"GET {path} HTTP/1.0", ["Host: evil.example"], b""))[0] == 421
    assert parse(exchange(collector, f"GET {path} HTTP/1.0", ["Host:"], b""))[0] == 421
    assert parse(exchange(collector, f"GET {path} HTTP/1.1", [], b""))[0] == 400


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/validate", "/v1/batch"])
def test_nor_to_send_events(collector: Serving, path: str) -> None:
    body = b'{"event_id": "old", "name": "page_viewed", "anonymous_id": "a"}'
    headers = [f"Authorization: Bearer {collector.key}", f"Content-Length: {len(body)}"]
    status, _, told = parse(exchange(collector, f"POST {path} HTTP/1.0", headers, body))
    # The last one is of another protocol, and says so in its own words.
    assert (status, told.get("rejected")) == (200, []) or (path == "/v1/batch" and status in (400, 401))
    assert parse(exchange(collector, f"POST {path} HTTP/1.0", [*headers, "Host: evil.example"], body))[0] == 421


@pytest.mark.parametrize("path", ["/", "/metrics", "/openapi.json", "/sign-in", "/api/v1/reports/overview", "/nowhere"])
def test_everything_else_is_told_to_nobody_who_names_no_host(collector: Serving, path: str) -> None:
    status, _, error = parse(exchange(collector, f"GET {path} HTTP/1.0", [], b""))
    assert (status, error["code"]) == (421, "wrong_host")
    assert "send a Host header" in error["message"]


def end_early(collector: Serving, *parts: str | bytes) -> bytes:
    """Send no more than this, say so, and return what came back."""
    with collector.connect() as sock:
        sock.sendall(b"".join(part if isinstance(part, bytes) else part.encode() for part in parts))
        sock.shutdown(socket.SHUT_WR)
        return read_to_end(sock)


@pytest.mark.parametrize("key", ["{key}", "wrong"])
@pytest.mark.parametrize("came", [0, 1, 99])
@pytest.mark.parametrize("more", ["", "Connection: close\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\n"])
def test_a_body_that_ends_early_is_answered_to_who_still_reads(
    collector: Serving, came: int, more: str, key: str
) -> None:
    head = f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n{more}"
    answer = end_early(collector, head.format(key=collector.key), "Content-Length: 100\r\n\r\n", b"x" * came)
    assert answer.count(b"HTTP/1.1 ") == 1
    status, headers, error = parse(answer)
    if key == "wrong" and status == 401:  # was answered by its headers alone
        return
    assert (status, error["code"], headers["connection"]) == (400, "malformed_request", "close")
    assert f"the body ended after {came} of 100 bytes" in error["message"]


@pytest.mark.parametrize("body", [b"", b"5\r\nab", b"5\r\nabcde\r\n", b"5\r\nabcde\r\n0\r\n"])
def test_so_is_one_in_chunks(collector: Serving, body: bytes) -> None:
    head = f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {collector.key}\r\n"
    status, _, error = parse(end_early(collector, head, "Transfer-Encoding: chunked\r\n\r\n", body))
    assert (status, error["code"]) == (400, "malformed_request")
    assert "the body ended before its last chunk" in error["message"]


@pytest.mark.parametrize("is_chunked", [False, True], ids=["with length", "chunked"])
def test_what_came_whole_before_a_body_that_ends_early_is_answered_first(collector: Serving, is_chunked: bool) -> None:
    before = read_cuts(collector, "half_body")
    event = b'{"event_id": "before", "name": "page_viewed", "anonymous_id": "a"}'
    head = f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {collector.key}\r\n".encode()
    framing, body = b"Content-Length: %d\r\n\r\n" % len(event), event
    if is_chunked:
        framing, body = b"Transfer-Encoding: chunked\r\n\r\n", chunked(event)
    answers = end_early(collector, (head + framing + body) * 3, head, framing, body[:-10])
    assert answers.count(b"HTTP/1.1 200") == 3
    assert answers.count(b"HTTP/1.1 ") == 4
    status, _, error = parse(answers[answers.rindex(b"HTTP/1.1 ") :])
    assert (status, error["message"].partition(";")[0][:14]) == (400, "the body ended")
    assert read_cuts(collector, "half_body") == before + 1


def read_cuts(collector: Serving, reason: str) -> float:
    time.sleep(1.1)  # within a second the same answer is given again
    return collector.metrics()["touchtrail_connections_cut_total"].get((reason,), 0)


def test_a_request_that_was_answered_before_its_body_is_answered_once(collector: Serving) -> None:
    with collector.connect() as sock:
        sock.sendall(b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nabc")
        answer = sock.recv(65_536)
        sock.shutdown(socket.SHUT_WR)
        answer += read_to_end(sock)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert parse(answer)[0] == 404


def test_the_log_names_the_network_of_what_is_no_http_a_few_times(collector: Serving) -> None:
    before = read_cuts(collector, "malformed")
    for _ in range(50):
        with collector.connect("127.7.7.7") as sock:
            sock.sendall(b"complete nonsense\r\n\r\n")
            assert parse(read_to_end(sock))[0] == 400
    assert read_cuts(collector, "malformed") == before + 50
    log = collector.errors.read_text()
    lines = [line for line in log.splitlines() if "127.7.7.0" in line]
    assert 1 <= len(lines) <= 3
    assert all("400 malformed_request: this is no HTTP/1.1 request" in line for line in lines)
    assert "127.7.7.7" not in log
    assert "Invalid HTTP request" not in log


def test_who_never_stops_sending_is_listened_to_for_two_seconds_and_not_for_more(collector: Serving) -> None:
    sent = 0
    with collector.connect() as sock:
        sock.sendall(b"POST /nowhere HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 4999999\r\n\r\n")
        began = time.monotonic()
        with suppress(ConnectionResetError, BrokenPipeError):
            while time.monotonic() - began < PATIENCE_S:
                sent += sock.send(bytes(1_000))
                time.sleep(0.005)
        took_s = time.monotonic() - began
    assert 1.9 <= took_s < LONGEST_S + 2
    assert sent > 10_000


def test_an_answer_that_is_read_slowly_is_not_cut_short_by_a_body_that_still_comes(collector: Serving) -> None:
    """The two seconds begin when the answer is out: a large one takes its reader longer."""
    whole = exchange(collector, "GET /openapi.json HTTP/1.1", ["Host: 127.0.0.1", "Connection: close"], b"")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.settimeout(PATIENCE_S)
        sock.connect(("127.0.0.1", collector.port))
        asked = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 100\r\n\r\n"
        sock.sendall(asked + b"begun")
        answer = sock.recv(1)
        began = time.monotonic()
        while time.monotonic() - began < 3 and (part := sock.recv(4_096)):
            answer += part
            time.sleep(0.05)
        answer += read_to_end(sock)
    assert len(whole) > 100_000
    assert answer == whole


@pytest.mark.parametrize("parser", PARSERS)
def test_a_stop_while_refused_senders_are_listened_to_is_an_orderly_one(tmp_path: Path, parser: str) -> None:
    """`serving` sees to it that the process ends with 0."""
    refused = [b"Content-Length: 1000000000\r\n", b"X-Large: " + b"x" * 33_000 + b"\r\n", b"Content-Length: x\r\n"]
    with ExitStack() as held, serving(tmp_path / "shop.db", PARSERS[parser]) as running:
        statuses = []
        for header in (*refused, b"Content-Length: 9\r\n", b"Content-Le"):
            sock = held.enter_context(running.connect())
            sock.sendall(b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n" + header)
            if header.endswith(b"\n"):
                sock.sendall(b"\r\n")
                statuses.append(int(sock.recv(65_536).split(b" ")[1]))
        assert statuses == [413, 431, 400, 404]
    assert "Traceback" not in running.errors.read_text()
