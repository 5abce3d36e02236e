"""Clients that never finish are cut off, those that come too many are told so, and nobody else notices."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from collector_process import COMMAND, touchtrail

from accounting import assert_adds_up, read_door, read_metrics
from good_client import GoodClient
from shop_events import wire_event

DEADLINES = {"HEADERS_TIMEOUT_S": "1", "BODY_TIMEOUT_S": "1.5", "ANSWER_TIMEOUT_S": "1", "KEEP_ALIVE_TIMEOUT_S": "1"}
DRIP_S = 0.1
PATIENCE_S = 15.0
"""When a client that was not cut gives up: several times the longest deadline."""

HOST = b"Host: 127.0.0.1\r\n"
ENDLESS = b"%x\r\n" % 1_000_000_000
"""Begins a chunk that nobody sends to its end."""
PURE_PYTHON = """
import sys
sys.modules["httptools"] = sys.modules["uvloop"] = None
from touchtrail_collector.__main__ import main
sys.exit(main())
"""
PARSERS = {"httptools": COMMAND, "h11": (sys.executable, "-c", PURE_PYTHON)}
"""With all that makes it fast, and on Python's own event loop with the parser in Python."""


Samples = dict[str, dict[tuple[str, ...], float]]


AIM_S = 0.25
"""What the slowest hundredth of a good client's requests may take, where the collector has a processor to itself."""


class Turns(NamedTuple):
    """What a thread has had of the processors: it ran, and it was ready to run but others did."""

    ran_s: float
    waited_s: float

    def slowed(self, after: Turns) -> float:
        """Return how many times longer than on an idle machine everything took from here to there.

        Where tests run beside other work the collector waits for a processor, which no code of its own can shorten:
        that share of the time, and no more of it, is the machine's.

        Source: Documentation/scheduler/sched-stats.rst of the Linux kernel, /proc/<pid>/schedstat.
        """
        ran_s = after.ran_s - self.ran_s
        return (ran_s + after.waited_s - self.waited_s) / ran_s


class Serving(NamedTuple):
    """A collector that listens."""

    port: int
    pid: int
    key: str
    db: Path
    errors: Path

    def connect(self, address: str = "127.0.0.1") -> socket.socket:
        """Open a connection, from an address of the loopback network."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S, source_address=(address, 0))

    def metrics(self) -> Samples:
        """Return what `/metrics` says now."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)) as connection:
            connection.request("GET", "/metrics")
            return read_metrics(connection.getresponse().read().decode())

    def memory_mb(self, line: str) -> float:
        """Return `VmRSS` or `VmHWM` (the most there ever was) of the process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition(f"{line}:")[2].split()[0]) / 1024

    def turns(self) -> Turns:
        """Return what its event loop's thread has had of the processors until now."""
        ran, waited, _ = Path(f"/proc/{self.pid}/task/{self.pid}/schedstat").read_text("ascii").split()
        return Turns(int(ran) / 1e9, int(waited) / 1e9)


@contextmanager
def serving(db: Path, command: tuple[str, ...] = COMMAND, **settings: str) -> Iterator[Serving]:
    """Give a collector with these settings of `[server]`."""
    made = touchtrail("keys", "create", "--source", "web", db=db)
    environment = os.environ | {f"TOUCHTRAIL_SERVER_{name}": value for name, value in settings.items()}
    errors = db.with_suffix(".stderr")
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            [*command, "serve", "--db", str(db), "--port", "0"],
            stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment,
        ) as process,
    ):  # fmt: skip
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2])
            yield Serving(port, process.pid, made.stdout.strip(), db, errors)
        finally:
            process.terminate()
            assert process.wait(15) == 0


@pytest.fixture(scope="module", params=PARSERS)
def collector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A collector with short deadlines, on each of the two parsers."""
    db = tmp_path_factory.mktemp(request.param) / "shop.db"
    with serving(db, PARSERS[request.param], **DEADLINES) as running:
        yield running
    assert "Traceback" not in running.errors.read_text()


def read_to_end(sock: socket.socket) -> bytes:
    """Return what comes until the other end closes, or has had enough."""
    parts = []
    try:
        while part := sock.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def parse(answer: bytes) -> tuple[int, dict[str, str], Any]:
    """Return status, headers and JSON of the only answer there is."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert int(headers["content-length"]) == len(body), answer
    return int(first.split()[1]), headers, json.loads(body)


def read_answer(sock: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Return the next answer of a connection that stays open."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(1) or pytest.fail(f"the connection ended after {answer!r}")
    length = int(re.search(rb"content-length: (\d+)", answer)[1])
    while length:
        part = sock.recv(length) or pytest.fail(f"the connection ended after {answer!r}")
        answer += part
        length -= len(part)
    return parse(answer)


class Cut(NamedTuple):
    """How a slow client ended."""

    after_s: float
    answer: bytes


async def drip(sock: socket.socket, data: bytes) -> bytes:
    """Send a byte now and then until the other end is gone; return what it said."""
    loop = asyncio.get_running_loop()
    said = asyncio.ensure_future(read_all(sock))
    try:
        for place in range(len(data)):
            done, _ = await asyncio.wait([said], timeout=DRIP_S)
            if done:
                break
            await loop.sock_sendall(sock, data[place : place + 1])
    except OSError:
        pass
    return await said


async def read_all(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    parts = []
    try:
        while part := await loop.sock_recv(sock, 65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


async def say_nothing(sock: socket.socket, _: str) -> bytes:
    return await read_all(sock)


async def drip_headers(sock: socket.socket, _: str) -> bytes:
    await asyncio.get_running_loop().sock_sendall(sock, b"POST /v1/events HTTP/1.1\r\n" + HOST)
    return await drip(sock, b"X-Slow: " + b"y" * 1000)


async def drip_body(sock: socket.socket, key: str) -> bytes:
    head = f"POST /v1/events HTTP/1.1\r\nAuthorization: Bearer {key}\r\nContent-Length: 100000\r\n".encode()
    await asyncio.get_running_loop().sock_sendall(sock, head + HOST + b"\r\n")
    return await drip(sock, b"[" * 1000)


async def read_nothing(sock: socket.socket, _: str) -> bytes:
    """Ask for much and never read: answers fill the buffers of both sides until the collector holds some itself."""
    request = b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"X-Long: " + b"a" * 30_000 + b"\r\n\r\n"
    try:
        while True:
            await asyncio.get_running_loop().sock_sendall(sock, request)
    except (ConnectionResetError, BrokenPipeError):
        return b""


async def stay_idle(sock: socket.socket, _: str) -> bytes:
    await asyncio.get_running_loop().sock_sendall(sock, b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
    return await read_all(sock)


Shape = Callable[[socket.socket, str], Coroutine[Any, Any, bytes]]
SHAPES: dict[str, tuple[Shape, float]] = {
    "no bytes": (say_nothing, 1.0),
    "header drip": (drip_headers, 1.0),
    "body drip": (drip_body, 1.5),
    "slow read": (read_nothing, 1.0),
    "keep-alive idle": (stay_idle, 1.0),
}
"""What slow clients do, and the deadline that ends it."""


async def attack(collector: Serving, shape: Shape) -> Cut:
    """Be slow in one way until cut off."""
    loop = asyncio.get_running_loop()
    with closing(socket.socket()) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(sock, ("127.0.0.1", collector.port))
        began = loop.time()
        try:
            answer = await asyncio.wait_for(shape(sock, collector.key), PATIENCE_S)
        except TimeoutError:
            answer = b"was not cut off"
        return Cut(loop.time() - began, answer)


async def attack_at_once(collector: Serving, each: int) -> dict[str, list[Cut]]:
    """Be slow in all ways, each so many times."""
    acts = [act for act, _ in SHAPES.values() for _ in range(each)]
    cuts = await asyncio.gather(*(attack(collector, act) for act in acts))
    return {name: cuts[place * each : (place + 1) * each] for place, name in enumerate(SHAPES)}


def test_a_slow_client_is_cut_off_at_its_deadline_and_told_so_where_it_can_be(collector: Serving) -> None:
    cuts = asyncio.run(attack_at_once(collector, each=1))
    for name, (_, deadline_s) in SHAPES.items():
        # The slow reader's deadline begins when the buffers of both sides are full, which takes a busy machine seconds.
        most_s = PATIENCE_S if name == "slow read" else deadline_s + 3.0
        assert deadline_s - 0.05 <= cuts[name][0].after_s <= most_s, name
    for name in ("header drip", "body drip"):
        status, headers, body = parse(cuts[name][0].answer)
        assert (status, body["code"], headers["connection"]) == (408, "request_timeout", "close")
        assert headers["content-type"] == "application/json"
    assert parse(cuts["keep-alive idle"][0].answer)[0] == 200
    assert (cuts["no bytes"][0].answer, cuts["slow read"][0].answer) == (b"", b"")


@pytest.mark.parametrize("collector", ["httptools"], indirect=True)
def test_two_hundred_slow_clients_at_once_are_cut_off_and_a_good_one_does_not_notice(collector: Serving) -> None:
    before = collector.metrics()
    good_key = touchtrail("keys", "create", "--source", "good", db=collector.db).stdout.strip()
    good_client = GoodClient(collector.port, good_key)
    turns = collector.turns()
    cuts = asyncio.run(attack_at_once(collector, each=40))
    slowed = turns.slowed(collector.turns())
    good = good_client.finish()
    after = collector.metrics()
    p99_s = good.p99_s()
    for name, wave in cuts.items():
        print(f"{name}: {len(wave)} cut after {min(wave).after_s:.2f} to {max(wave).after_s:.2f} s")
    memory_mb = collector.memory_mb("VmHWM")
    print(
        f"good client: {len(good.took_s)} requests, p99 {1000 * p99_s:.0f} ms, the machine {slowed:.2f} times slower "
        f"than idle; RSS at most {memory_mb:.0f} MB"
    )
    assert sum(map(len, cuts.values())) == 200
    assert len(good.took_s) >= 40
    assert p99_s <= AIM_S * slowed
    assert memory_mb <= 200
    assert all(parse(cut.answer)[0] == 408 for name in ("header drip", "body drip") for cut in cuts[name])
    assert all(cut.answer != b"was not cut off" for wave in cuts.values() for cut in wave)
    assert_adds_up(good.book(), read_door(collector.db, ["good"]))
    assert good.accepted == 3 * len(good.took_s)
    # Each of them was counted once, by what it did.
    assert grown(before, after, "touchtrail_connections_cut_total") == {(reason,): 40 for reason in CUT_AS}
    assert grown(before, after, "touchtrail_http_requests_total")["unread", "408"] == 80


CUT_AS = ("silent", "slow_headers", "slow_body", "slow_reader", "idle")


def grown(before: Samples, after: Samples, name: str) -> dict[tuple[str, ...], float]:
    """Return by how much each value of a counter has grown, those that did not left out."""
    old = before.get(name, {})
    return {labels: n - old.get(labels, 0) for labels, n in after.get(name, {}).items() if n != old.get(labels, 0)}


def test_every_connection_the_collector_ends_is_counted_by_its_reason(tmp_path: Path) -> None:
    """The door of the parser in pure Python counts as the other one does."""
    hostile = {
        "malformed": b"complete nonsense\r\n\r\n", "large_headers": b"GET / HTTP/1.1\r\n" + HOST + b"X-Y: z\r\n" * 200 + b"\r\n",
        "large_body": b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: 5000001\r\n\r\n",
    }  # fmt: skip
    for parser, command in PARSERS.items():
        with serving(tmp_path / f"{parser}.db", command, **DEADLINES | {"CONNECTION_LIMIT": "3"}) as collector:
            for request in hostile.values():
                with collector.connect() as sock:
                    sock.sendall(request)
                    assert parse(read_to_end(sock))[0] in (400, 413, 431)
            crowd = open_many(collector, 3, "127.0.0.2", BEGUN)
            time.sleep(0.2)
            assert healthz(collector, "127.0.0.2")[0] == 503
            for sock in crowd:
                sock.close()
            with collector.connect() as sock, suppress(ConnectionResetError, BrokenPipeError):
                sock.sendall(b"POST /v1/events HTTP/1.1\r\nContent-Length: 100000\r\n" + HOST + b"\r\n")
                assert read_answer(sock)[0] == 401
                for _ in range(round(PATIENCE_S / DRIP_S)):
                    sock.sendall(b" ")
                    time.sleep(DRIP_S)
            found = collector.metrics()
        assert found["touchtrail_connections_cut_total"] == {
            ("malformed",): 1, ("large_headers",): 1, ("large_body",): 1, ("crowded",): 1, ("late_body",): 1,
        }, parser  # fmt: skip
        unread = {
            labels[1]: n for labels, n in found["touchtrail_http_requests_total"].items() if labels[0] == "unread"
        }
        assert unread == {"400": 1, "413": 1, "431": 1, "503": 1}, parser
        assert found["touchtrail_connections_total"][()] == 9
        assert found["touchtrail_connections_open"][()] == 1


def test_an_endless_body_after_its_answer_leaves_the_event_loop_to_others(collector: Serving) -> None:
    """What nobody wants is thrown away a little at a time, however fast it comes."""
    head = b"POST /v1/events HTTP/1.1\r\nAuthorization: Bearer wrong\r\nTransfer-Encoding: chunked\r\n"
    sent = 0
    with collector.connect() as sock:
        sock.sendall(head + HOST + b"\r\n" + ENDLESS)
        assert read_answer(sock)[0] == 401
        began = time.monotonic()
        with suppress(ConnectionResetError, BrokenPipeError):
            while time.monotonic() - began < PATIENCE_S:
                sock.sendall(bytes(100_000))
                sent += 100_000
    print(f"{sent / 1e6:.0f} MB taken in {time.monotonic() - began:.2f} s")
    # Ten looks a second take two megabytes each; the buffers of both sides hold a few more.
    assert 1_000_000 < sent < 60_000_000
    assert time.monotonic() - began < PATIENCE_S


def test_who_is_slow_within_the_deadlines_is_served(collector: Serving) -> None:
    body = json.dumps(wire_event("slow-but-honest")).encode()
    head = f"POST /v1/events HTTP/1.1\r\nAuthorization: Bearer {collector.key}\r\nContent-Length: {len(body)}\r\n"
    whole = head.encode() + HOST + b"\r\n" + body
    with collector.connect() as sock:
        for _ in range(2):
            for place in range(0, len(whole), len(whole) // 7):
                sock.sendall(whole[place : place + len(whole) // 7])
                time.sleep(0.05)
            assert read_answer(sock)[0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"complete nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"bad header\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
    ids=["TLS", "nonsense", "no colon", "negative length", "bad chunk", "no ASCII"],
)
def test_what_is_no_http_is_answered_in_json(collector: Serving, request_bytes: bytes) -> None:
    with collector.connect() as sock:
        sock.sendall(request_bytes)
        status, headers, body = parse(read_to_end(sock))
    assert (status, body["code"], headers["connection"]) == (400, "malformed_request", "close")
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Large: " + b"x" * 40_000 + b"\r\n",
        b"".join(b"X-%d: y\r\n" % number for number in range(101)),
        b"X-Endless: " + b"x" * 2_000_000,
    ],
    ids=["large", "many", "endless"],
)
@pytest.mark.parametrize("pieces", [1, 20])
def test_headers_have_limits(collector: Serving, headers: bytes, pieces: int) -> None:
    whole = b"GET /healthz HTTP/1.1\r\n" + HOST + headers + b"\r\n"
    with collector.connect() as sock:
        try:
            for place in range(pieces):
                size = len(whole) // pieces + 1
                sock.sendall(whole[place * size : (place + 1) * size])
        except (ConnectionResetError, BrokenPipeError):
            pass
        status, _, body = parse(read_to_end(sock))
    assert (status, body["code"]) == (431, "headers_too_large")


def test_headers_within_the_limits_pass(collector: Serving) -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 300) for number in range(98))
    with collector.connect() as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + headers + b"Connection: close\r\n\r\n")
        assert read_to_end(sock).startswith(b"HTTP/1.1 200")


def test_a_request_that_came_whole_is_answered_before_the_nonsense_after_it_ends_the_connection(
    collector: Serving,
) -> None:
    body = json.dumps(wire_event("before-nonsense")).encode()
    head = f"POST /v1/events HTTP/1.1\r\nAuthorization: Bearer {collector.key}\r\nContent-Length: {len(body)}\r\n"
    with collector.connect() as sock:
        sock.sendall(head.encode() + HOST + b"\r\n" + body + b"\x00\x01\x02 nonsense\r\n\r\n")
        answers = read_to_end(sock)
    assert answers.startswith(b"HTTP/1.1 200")
    assert b'{"accepted":1,"duplicates":0,"rejected":[]}' in answers


def test_a_body_that_goes_on_after_it_was_refused_is_not_listened_to_for_long(collector: Serving) -> None:
    head = b"POST /v1/events HTTP/1.1\r\nAuthorization: Bearer wrong\r\nTransfer-Encoding: chunked\r\n"
    with collector.connect() as sock:
        sock.sendall(head + HOST + b"\r\n" + ENDLESS)
        assert read_answer(sock)[0] == 401
        began = time.monotonic()
        with suppress(ConnectionResetError, BrokenPipeError):
            while time.monotonic() - began < PATIENCE_S:
                sock.sendall(b" " * 10_000)
                time.sleep(0.02)
    assert time.monotonic() - began < PATIENCE_S


def open_many(collector: Serving, number: int, address: str, start: bytes) -> list[socket.socket]:
    """Open connections that each have begun a request and go no further."""
    opened = [collector.connect(address) for _ in range(number)]
    for sock in opened:
        sock.sendall(start)
    return opened


def healthz(collector: Serving, address: str = "127.0.0.1") -> tuple[int, dict[str, str], Any]:
    with collector.connect(address) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        return parse(read_to_end(sock))


BEGUN = b"POST /v1/events HTTP/1.1\r\n" + HOST


@pytest.mark.parametrize("parser", PARSERS)
def test_a_full_house_refuses_politely_but_lets_a_good_neighbour_in(tmp_path: Path, parser: str) -> None:
    with serving(tmp_path / "shop.db", PARSERS[parser], CONNECTION_LIMIT="20") as collector:
        crowd = open_many(collector, 20, "127.0.0.2", BEGUN)
        time.sleep(0.2)
        status, headers, body = healthz(collector, "127.0.0.2")
        assert (status, body["code"]) == (503, "too_many_connections")
        assert int(headers["retry-after"]) > 0
        # Another address has its share all the same: the one that has waited longest makes room.
        assert healthz(collector, "127.0.0.3")[0] == 200
        status, _, body = parse(read_to_end(crowd[0]))
        assert (status, body["code"]) == (503, "too_many_connections")
        for sock in crowd:
            sock.close()


@pytest.mark.parametrize("parser", PARSERS)
def test_a_full_house_of_idle_connections_has_room_for_whoever_comes(tmp_path: Path, parser: str) -> None:
    with serving(tmp_path / "shop.db", PARSERS[parser], CONNECTION_LIMIT="20") as collector:
        silent = [collector.connect() for _ in range(10)]
        idle = [collector.connect() for _ in range(10)]
        for sock in idle:
            sock.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
            assert read_answer(sock)[0] == 200
        assert [healthz(collector)[0] for _ in range(15)] == [200] * 15
        for sock in (*silent, *idle):
            sock.close()
