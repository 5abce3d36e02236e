"""A collector scripted byte by byte: HTTP/1.1 on raw sockets, one fault per request, every event kept once by its id."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

Wire = dict[str, Any]
Fault = Callable[["Exchange"], None]
MEGABYTE = 1_048_576


class Request(msgspec.Struct, frozen=True):
    """One request that was read whole."""

    target: str
    headers: dict[str, str]
    events: list[Wire]


class Exchange:
    """One request and what a fault does to it.

    Attributes:
        is_over: the connection ends after this request.
    """

    def __init__(self, server: FaultServer, connection: socket.socket) -> None:
        self.server = server
        self._connection = connection
        self._received = b""
        self.is_over = False

    def read(self, *, piece_bytes: int = 65_536, pause_s: float = 0.0) -> list[Wire]:
        """Read the whole request and return its events."""
        while b"\r\n\r\n" not in self._received:
            self._receive(piece_bytes, pause_s)
        head, _, body = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        while len(body) < int(headers["content-length"]):
            before = len(self._received)
            self._receive(piece_bytes, pause_s)
            body += self._received[before:]
        if headers.get("content-encoding") == "gzip":
            body = zlib.decompress(body, 31)
        events: list[Wire] = msgspec.json.decode(body)["events"]
        with self.server.lock:
            self.server.requests.append(Request(first.split(" ")[1], headers, events))
        return events

    def send(self, data: bytes) -> None:
        """Send these bytes as they are."""
        self._connection.sendall(data)

    def answer(self, status: int, body: bytes = b"", *headers: tuple[str, str]) -> None:
        """Send a well-formed answer."""
        lines = [("Content-Length", str(len(body))), *headers]
        head = "".join(f"{name}: {value}\r\n" for name, value in lines)
        self.send(f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode("latin1") + body)

    def drip(self, data: bytes, pause_s: float) -> None:
        """Send one byte after the other."""
        for place in range(len(data)):
            self.send(data[place : place + 1])
            if self.wait(pause_s):
                return

    def wait(self, seconds: float) -> bool:
        """Do nothing for a while; True when the server ends meanwhile."""
        return self.server.ending.wait(seconds)

    def wait_for_the_client_to_leave(self, at_most_s: float) -> None:
        """Say nothing until the client hangs up."""
        self._connection.settimeout(0.02)
        until = time.monotonic() + at_most_s
        while time.monotonic() < until and not self.server.ending.is_set():
            with suppress(TimeoutError):
                if not self._connection.recv(65_536):
                    return

    def reset(self) -> None:
        """Break the connection off with a RST."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_over = True

    def _receive(self, most_bytes: int, pause_s: float) -> None:
        if pause_s:
            self.wait(pause_s)
        data = self._connection.recv(most_bytes)
        if not data:
            raise ConnectionError("the client left")
        self._received += data


class FaultServer:
    """Answers one request after the other as scripted, then each with ``otherwise``.

    Args:
        script: faults; may be endless.
        otherwise: what happens when the script is at its end; may be set anew at any time.
        port: 0 = any free one.
        receive_bytes: how much the system takes in ahead of ``read``; None = its own choice.

    Attributes:
        events: what was stored, by event id.
        requests: every request that was read whole.
        asked_at: monotonic time of each request's first byte.
        played: how often each fault happened, by its name.
    """

    def __init__(
        self,
        script: Iterable[Fault] = (),
        *,
        otherwise: Fault | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        receive_bytes: int | None = None,
    ) -> None:
        self._script = iter(script)
        self.otherwise = otherwise or acknowledge
        self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_bytes is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._listener.bind((host, port))
        self._listener.listen(128)
        self._host = f"[{host}]" if ":" in host else host
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._connections: set[socket.socket] = set()
        self.lock = threading.RLock()
        self.ending = threading.Event()
        self.events: dict[str, Wire] = {}
        self.requests: list[Request] = []
        self.asked_at: list[float] = []
        self.played: Counter[str] = Counter()
        self.duplicates = 0

    @property
    def url(self) -> str:
        """The address to give to a client."""
        return f"http://{self._host}:{self.port}"

    def start(self) -> None:
        """Begin to accept."""
        self._run(self._accept)

    def stop(self) -> None:
        """End every connection and wait for all threads."""
        self.ending.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self.lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def come_up(self) -> None:
        """Play no more faults: acknowledge everything from now on."""
        with self.lock:
            self._script, self.otherwise = iter(()), acknowledge

    def store(self, events: list[Wire]) -> bytes:
        """Keep each event once and return the acknowledgement."""
        with self.lock:
            new = {event["event_id"]: event for event in events if event["event_id"] not in self.events}
            self.events |= new
            self.duplicates += len(events) - len(new)
        return msgspec.json.encode({"accepted": len(new), "duplicates": len(events) - len(new), "rejected": []})

    def _run(self, work: Callable[..., None], *given: Any) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.ending.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self._connections.add(connection)
            self._run(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while connection.recv(1, socket.MSG_PEEK):
                exchange = Exchange(self, connection)
                self._next_fault()(exchange)
                if exchange.is_over or self.ending.is_set():
                    break
                # A fault that timed its reading must not shorten the wait for the next request.
                connection.settimeout(None)
        with self.lock:
            self._connections.discard(connection)

    def _next_fault(self) -> Fault:
        with self.lock:
            fault = next(self._script, self.otherwise)
            self.asked_at.append(time.monotonic())
            self.played[fault.__name__] += 1
            return fault


@contextmanager
def serving(script: Iterable[Fault] = (), **given: Any) -> Iterator[FaultServer]:
    """A server that plays the script until the block ends; keywords as ``FaultServer``."""
    server = FaultServer(script, **given)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def full_backlog() -> Iterator[str]:
    """The address of a port that never accepts: connecting to it hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for caller in callers:
                caller.close()


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def acknowledge(exchange: Exchange) -> None:
    """Store the events and say so."""
    exchange.answer(200, exchange.server.store(exchange.read()))


def acknowledge_slowly(exchange: Exchange) -> None:
    """Store the events and say so a while later."""
    ack = exchange.server.store(exchange.read())
    exchange.wait(0.15)
    exchange.answer(200, ack)


def acknowledge_and_hang_up(exchange: Exchange) -> None:
    """Answer as if the connection stayed open, and close it."""
    acknowledge(exchange)
    exchange.is_over = True


def acknowledge_after_hints(exchange: Exchange) -> None:
    """Send two informational answers before the real one."""
    events = exchange.read()
    exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
    exchange.answer(200, exchange.server.store(events))


def acknowledge_in_pieces(exchange: Exchange) -> None:
    """Answer in chunks of one byte."""
    ack = exchange.server.store(exchange.read())
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for place in range(len(ack)):
        exchange.send(b"1\r\n" + ack[place : place + 1] + b"\r\n")
    exchange.send(b"0\r\n\r\n")


def store_and_reset(exchange: Exchange) -> None:
    """Store the events, and lose the answer."""
    exchange.server.store(exchange.read())
    exchange.reset()


def reset_at_once(exchange: Exchange) -> None:
    """Break off before anything was read."""
    exchange.reset()


def reset_in_the_answer(exchange: Exchange) -> None:
    """Break off in the middle of the answer."""
    exchange.read()
    exchange.send(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"accepted":')
    exchange.reset()


def hang_up(exchange: Exchange) -> None:
    """Read the request and close without a word."""
    exchange.read()
    exchange.is_over = True


def hang(exchange: Exchange) -> None:
    """Read the request and say nothing for a minute."""
    exchange.read()
    exchange.wait_for_the_client_to_leave(60)
    exchange.is_over = True


def drip_the_head(exchange: Exchange) -> None:
    """Send the answer's head a byte at a time, for as long as the client listens."""
    exchange.read()
    exchange.is_over = True
    exchange.drip(b"HTTP/1.1 200 OK\r\nX-Patience: " + b"x" * 1000, 0.05)


def drip_the_body(exchange: Exchange) -> None:
    """Send the answer's body a byte at a time, for as long as the client listens."""
    exchange.read()
    exchange.is_over = True
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    exchange.drip(b" " * 1000, 0.05)


def hint_for_ever(exchange: Exchange) -> None:
    """Send informational answers and never the real one."""
    exchange.read()
    exchange.is_over = True
    for _ in range(1000):
        exchange.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        if exchange.wait(0.05):
            return


def read_slowly(exchange: Exchange) -> None:
    """Take the request in at a megabyte a second: too slow for a large one, too fast for any single write to fail."""
    exchange.is_over = True
    exchange.read(piece_bytes=100_000, pause_s=0.1)


def talk_garbage(exchange: Exchange) -> None:
    """Answer with something that is no HTTP."""
    exchange.read()
    exchange.send(os.urandom(2048) + b"\r\n\r\n")
    exchange.is_over = True


def claim_two_lengths(exchange: Exchange) -> None:
    """Answer with two lengths that contradict each other."""
    exchange.read()
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}")
    exchange.is_over = True


def break_a_chunk(exchange: Exchange) -> None:
    """Announce a chunk and send another."""
    exchange.read()
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\nnot a chunk\r\n")
    exchange.is_over = True


def send_ten_megabytes(exchange: Exchange) -> None:
    """Answer with far more than any acknowledgement has."""
    exchange.read()
    exchange.is_over = True
    exchange.answer(200, b'{"accepted":1,"padding":"' + b"x" * 10 * MEGABYTE)


def send_a_bomb(exchange: Exchange) -> None:
    """Answer with 128 MB of blanks in 128 KB of gzip."""
    exchange.read()
    exchange.is_over = True
    exchange.answer(200, bomb(), ("Content-Encoding", "gzip"))


def redirect(exchange: Exchange) -> None:
    """Send the client elsewhere on this very server."""
    exchange.read()
    exchange.answer(307, b"", ("Location", exchange.server.url + "/elsewhere"))


def answering(status: int, body: bytes = b"no", *headers: tuple[str, str]) -> Fault:
    """Return a fault that reads the request and answers this."""

    def answer(exchange: Exchange) -> None:
        exchange.read()
        exchange.answer(status, body, *headers)

    answer.__name__ = f"answer_{status}"
    return answer


def refuse_more_than_one(exchange: Exchange) -> None:
    """Find every batch too large, and every single event right."""
    events = exchange.read()
    if len(events) > 1:
        exchange.answer(413, b"no")
    else:
        exchange.answer(200, exchange.server.store(events))


def bomb() -> bytes:
    """Return 128 MB of blanks, compressed to 128 KB."""
    if not _bomb:
        press = zlib.compressobj(9, zlib.DEFLATED, 31)
        _bomb.append(b"".join([*(press.compress(b" " * MEGABYTE) for _ in range(128)), press.flush()]))
    return _bomb[0]


_bomb: list[bytes] = []
