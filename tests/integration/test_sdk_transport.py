"""The transport over real sockets: one deadline however slow the server, the environment's proxies, a silent log."""

from __future__ import annotations

import gzip
import logging
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpcore  # noqa: F401 - the transport imports it with its first request, whose time is measured here
import httpx  # noqa: F401
import pytest

from sdk_sink import Sink, running_sink
from touchtrail import Client, TransportError
from touchtrail._transport import HttpTransport
from touchtrail._transport.lookup import Lookup

ACK = b'{"accepted":1,"duplicates":0,"rejected":[]}'
TOTAL_S = 0.6
DRIP_S = 0.05


class Server:
    """Hands every connection to a function, in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self._serve = serve
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with suppress(OSError):
            self._serve(connection)


@contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[Server]:
    server = Server(serve)
    try:
        yield server
    finally:
        server.listener.close()
        for connection in server.connections:
            connection.close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def transport_to(address: str, *, connect_timeout_s: float = TOTAL_S, timeout_s: float = TOTAL_S) -> HttpTransport:
    return HttpTransport(address, connect_timeout_s=connect_timeout_s, timeout_s=timeout_s)


def read_request(connection: socket.socket) -> bytes:
    """Return head and body of one request."""
    content = b""
    while b"\r\n\r\n" not in content:
        content += connection.recv(65_536) or b"\r\n\r\n"
    head, _, body = content.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", b"0")):
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def drip(connection: socket.socket, content: bytes) -> None:
    for place in range(len(content)):
        connection.sendall(content[place : place + 1])
        time.sleep(DRIP_S)


def drip_the_head(connection: socket.socket) -> None:
    read_request(connection)
    drip(connection, b"HTTP/1.1 200 OK\r\nX-Filling: " + b"x" * 1000)


def drip_the_body(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    drip(connection, b" " * 1000)


def never_answer(connection: socket.socket) -> None:
    read_request(connection)
    time.sleep(20)


def take_the_body_slowly(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    while connection.recv(512):
        time.sleep(DRIP_S)


def send_hints_for_ever(connection: socket.socket) -> None:
    read_request(connection)
    while True:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        time.sleep(DRIP_S)


@pytest.mark.parametrize(
    ("serve", "body_bytes"),
    [
        (drip_the_head, 10), (drip_the_body, 10), (never_answer, 10), (take_the_body_slowly, 16 * 2**20),
        (send_hints_for_ever, 10),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_a_slow_server_holds_a_request_no_longer_than_its_whole_time(
    serve: Callable[[socket.socket], None], body_bytes: int
) -> None:
    with serving(serve) as server:
        transport = transport_to(f"http://127.0.0.1:{server.port}")
        began = time.monotonic()
        with pytest.raises(TransportError, match="Timeout"):
            transport.send(b"x" * body_bytes, {})
        took_s = time.monotonic() - began
        transport.close()
        assert len(server.connections) == 1
    assert TOTAL_S - 0.1 <= took_s < TOTAL_S + 0.4


def drip_the_handshake(connection: socket.socket) -> None:
    connection.recv(65_536)
    # A TLS record of a handshake message of 16 KB, whose bytes come one by one.
    drip(connection, b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03" + b"\0" * 1000)


def test_a_dripping_tls_handshake_is_over_when_connecting_should_be() -> None:
    with serving(drip_the_handshake) as server:
        transport = transport_to(f"https://127.0.0.1:{server.port}", connect_timeout_s=0.4, timeout_s=5.0)
        began = time.monotonic()
        with pytest.raises(TransportError, match="ConnectTimeout"):
            transport.send(b"{}", {})
        assert 0.3 <= time.monotonic() - began < 0.8
        transport.close()


def test_connecting_where_nobody_accepts_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(3)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(full.getsockname())
        transport = transport_to(f"http://127.0.0.1:{full.getsockname()[1]}", connect_timeout_s=0.4, timeout_s=5.0)
        began = time.monotonic()
        with pytest.raises(TransportError, match="ConnectTimeout"):
            transport.send(b"{}", {})
        assert time.monotonic() - began < 0.8
        for connection in waiting:
            connection.close()


def test_a_name_look_up_that_hangs_is_left_and_never_asked_twice_at_once() -> None:
    asked: list[str] = []
    go_on = threading.Event()

    def resolve(host: str, port: int, **options: Any) -> Any:
        if options.get("flags"):
            raise socket.gaierror("no address")
        asked.append(host)
        go_on.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    lookup = Lookup(resolve)
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="look-up"):
            lookup.find("collect.shop.example", 80, 0.1)
        assert time.monotonic() - began < 0.5
    assert asked == ["collect.shop.example"]
    go_on.set()
    assert lookup.find("collect.shop.example", 80, 5)[0][4] == ("127.0.0.1", 80)
    assert lookup.find("collect.shop.example", 80, 5)
    assert asked == ["collect.shop.example"]
    lookup.forget()
    assert lookup.find("collect.shop.example", 80, 5)
    assert len(asked) == 2


def test_a_host_that_is_not_known_is_said() -> None:
    transport = transport_to("http://no-such-host.invalid")
    with pytest.raises(TransportError, match="ConnectError"):
        transport.send(b"{}", {})


def test_of_several_addresses_one_that_is_dead_does_not_use_up_the_time(sink: Sink) -> None:
    from touchtrail._transport.deadline import Deadline, DeadlineBackend

    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(3)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(full.getsockname())
        places = [full.getsockname(), ("127.0.0.1", sink.server_port)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        deadline = Deadline()
        deadline.begin(1.0, 5.0)
        backend = DeadlineBackend(deadline, Lookup(lambda *_, **__: found))
        stream = backend.connect_tcp("collect.shop.example", 80)
        assert stream.get_extra_info("socket").getpeername() == places[1]
        stream.close()
        for connection in waiting:
            connection.close()


def test_neither_the_root_log_nor_httpx_and_its_engine_hear_of_our_requests(
    sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    httpx_log = logging.getLogger("httpx")
    before = (httpx_log.level, list(httpx_log.filters), list(httpx_log.handlers), httpx_log.disabled)
    with Client(sink.url, key="k", spool_dir=tmp_path) as client:
        for number in range(20):
            client.track("clicked", anonymous_id=str(number))
            assert client.flush(5)
    assert len(sink.requests) >= 20
    assert caplog.records == []
    assert (httpx_log.level, list(httpx_log.filters), list(httpx_log.handlers), httpx_log.disabled) == before


def test_one_connection_serves_many_requests(sink: Sink, tmp_path: Path) -> None:
    accepted: list[Any] = []
    take = sink.get_request

    def counted() -> Any:
        accepted.append(1)
        return take()

    sink.get_request = counted  # type: ignore[method-assign]
    with Client(sink.url, key="k", spool_dir=tmp_path) as client:
        for number in range(30):
            client.track("clicked", anonymous_id=str(number))
            assert client.flush(5)
    assert len(sink.requests) >= 30
    assert len(accepted) == 1


def answer_with(head: bytes, body: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        connection.recv(1)

    return serve


def test_an_answer_a_proxy_compressed_is_read_and_a_bomb_is_not() -> None:
    with serving(answer_with(b"Content-Encoding: gzip\r\n", gzip.compress(ACK))) as server:
        transport = transport_to(f"http://127.0.0.1:{server.port}", timeout_s=5)
        assert transport.send(b"{}", {}).body == ACK
        transport.close()
    bomb = gzip.compress(b" " * 200_000_000, 1)
    with serving(answer_with(b"Content-Encoding: gzip\r\n", bomb)) as server:
        transport = transport_to(f"http://127.0.0.1:{server.port}", timeout_s=5)
        with pytest.raises(TransportError, match="too long"):
            transport.send(b"{}", {})
        transport.close()


def test_an_endless_answer_is_cut_off() -> None:
    def pour(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"10000\r\n" + b" " * 65_536 + b"\r\n")

    with serving(pour) as server:
        transport = transport_to(f"http://127.0.0.1:{server.port}", timeout_s=10)
        with pytest.raises(TransportError, match="too long"):
            transport.send(b"{}", {})
        transport.close()


def test_a_redirect_is_an_answer_and_not_followed(sink: Sink) -> None:
    def redirect(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(
            b"HTTP/1.1 307 Go\r\nLocation: " + sink.url.encode() + b"/v1/events\r\nContent-Length: 0\r\n\r\n"
        )

    with serving(redirect) as server:
        transport = transport_to(f"http://127.0.0.1:{server.port}")
        assert transport.send(b"{}", {}).status == 307
        transport.close()
    assert sink.requests == []


def test_the_environments_proxy_is_used_and_its_exceptions_too(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ACK) + ACK)
        connection.recv(1)

    with serving(proxy) as server:
        monkeypatch.setenv("http_proxy", f"http://us%65r:pass@127.0.0.1:{server.port}")
        transport = transport_to("http://collect.shop.example/base", timeout_s=5)
        assert transport.send(b'{"a":1}', {"Authorization": "Bearer k"}).body == ACK
        transport.close()
        assert seen[0].startswith(b"POST http://collect.shop.example/base/v1/events HTTP/1.1\r\n")
        assert b"Host: collect.shop.example\r\n" in seen[0]
        assert b"Proxy-Authorization: Basic dXNlcjpwYXNz" in seen[0]
        assert seen[0].endswith(b'{"a":1}')
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        transport = transport_to(sink.url)
        assert transport.send(b'{"sent_at":"x","events":[]}', {}).status == 200
        transport.close()
        assert len(seen) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    program = shutil.which("openssl")
    if program is None:
        assert "CI" not in os.environ, "openssl is missing"
        pytest.skip("openssl is missing: TLS is not tested")
    folder = tmp_path_factory.mktemp("tls")
    command = [
        program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return both


def secured(certificate: Path, connection: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context.wrap_socket(connection, server_side=True)


def test_a_collector_with_tls_is_checked_against_the_environments_certificates(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(connection: socket.socket) -> None:
        with secured(certificate, connection) as tls:
            answer_with(b"Date: Sun, 22 Nov 2026 05:00:00 GMT\r\n", ACK)(tls)

    with serving(serve) as server:
        transport = transport_to(f"https://127.0.0.1:{server.port}", timeout_s=5)
        with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"):
            transport.send(b"{}", {})
        transport.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        transport = transport_to(f"https://127.0.0.1:{server.port}", timeout_s=5)
        reply = transport.send(b"x" * 300_000, {})
        assert (reply.status, reply.body, reply.date) == (200, ACK, "Sun, 22 Nov 2026 05:00:00 GMT")
        transport.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_tunnels_to_a_collector_with_tls(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """With an ``https`` proxy there is TLS inside TLS."""
    connects: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with secured(certificate, connection) as tls:
            answer_with(b"", ACK)(tls)

    def proxy(connection: socket.socket) -> None:
        outer = secured(certificate, connection) if scheme == "https" else connection
        with outer, socket.create_connection(("127.0.0.1", server.port)) as onwards:
            connects.append(read_request(outer))
            outer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            other_way = threading.Thread(target=pump, args=(onwards, outer), daemon=True)
            other_way.start()
            pump(outer, onwards)
            onwards.shutdown(socket.SHUT_RDWR)
            other_way.join()

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(serve) as server, serving(proxy) as between:
        monkeypatch.setenv("https_proxy", f"{scheme}://127.0.0.1:{between.port}")
        transport = transport_to(f"https://127.0.0.1:{server.port}", timeout_s=5)
        assert transport.send(b"x" * 300_000, {}).body == ACK
        transport.close()
        assert len(connects) == 1
        assert connects[0].startswith(b"CONNECT 127.0.0.1:%d " % server.port)


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65_536):
            target.sendall(content)


def test_a_proxy_or_a_certificate_file_that_cannot_be_is_a_failed_attempt(
    sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "gopher://user:secret@127.0.0.1:1")
    with Client(sink.url, key="k", spool_dir=tmp_path, backoff_max_s=0.01, backoff_min_s=0.01) as client:
        client.track("clicked", anonymous_id="a")
        assert not client.flush(0.3)
        said = client.health().last_error or ""
        assert "proxy" in said
        assert "secret" not in said
        monkeypatch.delenv("http_proxy")
        assert client.flush(5)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    transport = transport_to("https://127.0.0.1:9")
    with pytest.raises(TransportError, match="FileNotFoundError"):
        transport.send(b"{}", {})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_lets_go_of_the_connection_without_ending_it(sink: Sink, tmp_path: Path) -> None:
    with Client(sink.url, key="k", spool_dir=tmp_path) as client:
        client.track("clicked", anonymous_id="a")
        assert client.flush(5)
        pid = os.fork()
        if not pid:
            sockets = [name for name in os.listdir("/proc/self/fd") if _is_connected(int(name), sink.server_port)]
            os._exit(len(sockets))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert any(_is_connected(int(name), sink.server_port) for name in os.listdir("/proc/self/fd"))
        client.track("clicked", anonymous_id="a")
        assert client.flush(5)
        assert client.health().last_error is None
    assert len(sink.events) == 2


def _is_connected(descriptor: int, port: int) -> bool:
    """Say whether the descriptor is our end of a connection to the port."""
    try:
        copy = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return False
    with copy:
        try:
            return copy.getpeername()[1] == port
        except (OSError, IndexError):
            return False
