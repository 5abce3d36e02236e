"""Connections on which a whole request has one deadline, however slowly the other side drips its bytes.

httpcore limits the wait for each single operation: a server that sends a byte of its header every few seconds, or takes
a byte of the body, would hold the worker for hours. Here every operation gets what is left of the request's time.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import httpcore

from .lookup import Address, Lookup

_LEAST_S: Final = 0.001
_TLS_RECORD_BYTES: Final = 16_384


class Deadline:
    """When the request that is under way, and the connection for it, must be done; one request at a time.

    Attributes:
        stream: the connection that is open, for a forked child to let go of.
    """

    stream: DeadlineStream | None = None

    def __init__(self) -> None:
        self._until_s = self._connected_until_s = 0.0

    def begin(self, connect_timeout_s: float, timeout_s: float) -> None:
        """Start the time for a request."""
        now_s = time.monotonic()
        self._until_s = now_s + timeout_s
        self._connected_until_s = now_s + min(connect_timeout_s, timeout_s)

    def left_s(self) -> float:
        """Return what is left of the request's time: at least a millisecond, as 0 means something else to sockets."""
        return max(self._until_s - time.monotonic(), _LEAST_S)

    def connect_left_s(self) -> float:
        """Return what is left for look-up, connection and TLS."""
        return max(self._connected_until_s - time.monotonic(), _LEAST_S)

    def is_over(self) -> bool:
        """Say whether the request has no time left."""
        return time.monotonic() >= self._until_s


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections for httpcore."""

    def __init__(self, deadline: Deadline, lookup: Lookup) -> None:
        self._deadline = deadline
        self._lookup = lookup

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers; each gets its share of the time."""
        with mapped(httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                found = self._connect(self._lookup.find(host, port, self._deadline.connect_left_s()))
            except OSError:
                self._lookup.forget()
                raise
        return DeadlineStream(found, self._deadline)

    def _connect(self, addresses: Sequence[Address]) -> socket.socket:
        problem: OSError = OSError("the host name has no address")
        for place, (family, kind, protocol, _, address) in enumerate(addresses):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(self._deadline.connect_left_s() / (len(addresses) - place))
                connection.connect(address)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as fault:
                connection.close()
                problem = fault
            else:
                return connection
        raise problem


class DeadlineStream(httpcore.NetworkStream):
    """A connection; the time limits httpcore gives are not looked at."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._socket = connection
        self._deadline = deadline
        self._identity = os.fstat(connection.fileno())
        deadline.stream = self

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come; empty at the end."""
        with mapped(httpcore.ReadTimeout, httpcore.ReadError):
            self._socket.settimeout(self._deadline.left_s())
            content = self._socket.recv(max_bytes)
        if self._deadline.is_over():
            raise httpcore.ReadTimeout("the answer takes too long")
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send everything."""
        view = memoryview(buffer)
        with mapped(httpcore.WriteTimeout, httpcore.WriteError):
            while view:
                if self._deadline.is_over():
                    raise TimeoutError("the collector takes the request too slowly")
                self._socket.settimeout(self._deadline.left_s())
                view = view[self._socket.send(view) :]

    def close(self) -> None:
        """Close the connection."""
        self._let_go_of_strangers()
        self._socket.close()

    def forget(self) -> None:
        """Let go of the parent's connection in a forked child, without a word to the other side."""
        self._let_go_of_strangers()
        if (descriptor := self._socket.detach()) >= 0:
            os.close(descriptor)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Return the connection with TLS over it."""
        try:
            with mapped(httpcore.ConnectTimeout, httpcore.ConnectError):
                if isinstance(self._socket, ssl.SSLSocket):
                    return TunnelledTls(self, ssl_context, server_hostname)
                # The limit holds for the whole handshake (Python documentation, ssl, "changed in version 3.5").
                self._socket.settimeout(self._deadline.connect_left_s())
                secured = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except BaseException:
            self.close()
            raise
        return DeadlineStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks of a connection."""
        if info == "ssl_object":
            return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        if info == "is_readable":
            self._let_go_of_strangers()
            return is_readable(self._socket)
        return self._socket if info == "socket" else None

    def _let_go_of_strangers(self) -> None:
        """Forget the descriptor if somebody closed it: a request must not go into what was opened in its place."""
        try:
            is_ours = os.path.samestat(os.fstat(self._socket.fileno()), self._identity)
        except OSError:
            is_ours = False
        if not is_ours:
            self._socket.detach()


class TunnelledTls(httpcore.NetworkStream):
    """TLS inside the TLS of an ``https://`` proxy, which a socket cannot wrap."""

    def __init__(self, below: DeadlineStream, ssl_context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._below = below
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = ssl_context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._do(self._tls.do_handshake)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come; empty at the end."""
        with mapped(httpcore.ReadTimeout, httpcore.ReadError):
            try:
                content: bytes = self._do(self._tls.read, max_bytes)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send everything."""
        view = memoryview(buffer)
        with mapped(httpcore.WriteTimeout, httpcore.WriteError):
            while view:
                view = view[self._do(self._tls.write, view[:_TLS_RECORD_BYTES]) :]

    def close(self) -> None:
        """Close the connection."""
        self._below.close()

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks of a connection."""
        return self._tls if info == "ssl_object" else self._below.get_extra_info(info)

    def _do(self, act: Any, *arguments: Any) -> Any:
        while True:
            try:
                result = act(*arguments)
            except ssl.SSLWantReadError:
                self._send()
                content = self._below.read(_TLS_RECORD_BYTES)
                self._incoming.write(content) if content else self._incoming.write_eof()
            else:
                self._send()
                return result

    def _send(self) -> None:
        self._below.write(self._outgoing.read())


def is_readable(connection: socket.socket) -> bool:
    """Say whether an idle connection has something to read, which means that the other side closed it."""
    import select

    if connection.fileno() < 0:
        return True
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([connection], [], [], 0)[0])


@contextmanager
def mapped(timeout: type[Exception], fault: type[Exception]) -> Iterator[None]:
    """Turn the system's errors into httpcore's."""
    try:
        yield
    except TimeoutError as problem:
        raise timeout(str(problem)) from problem
    except OSError as problem:
        raise fault(str(problem)) from problem
