"""Runs the application on uvicorn: says where it listens as soon as it does, and stops without losing anything."""

from __future__ import annotations

import asyncio
import logging
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from types import FrameType
from typing import Literal

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from ..errors import StoreError
from ..services.collector import Collector
from .app import create_app
from .connections import Door
from .protocol import guarded_protocol

logger = logging.getLogger("touchtrail_collector.web")

REFUSED_AT, CUT_AT, LATE_AT = 0.6, 0.7, 0.85
"""When, of the time that a stop may take, requests that are still coming in are refused and reports interrupted, all
connections cut off, and the process ended whatever is still under way. What is left before that is the database's."""


class StopClock:
    """Measures the time from the first signal on, and ends the process when the orderly way takes too long.

    What may still be under way then, a commit on a disk that hangs or a report's arithmetic, was answered to nobody,
    and a start after it finds the database as after a kill.

    Args:
        allowed_s: how long a stop may take in all.
        on_late: called in a thread of its own when that time is nearly over; does not return.
    """

    def __init__(self, allowed_s: float, on_late: Callable[[float], object]) -> None:
        self._allowed_s = allowed_s
        self._on_late = on_late
        # A signal handler may put into this queue whatever it interrupted, and start a thread safely never.
        self._told: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._ends_at: float | None = None
        threading.Thread(target=self._watch, name="touchtrail-stop", daemon=True).start()

    def start(self) -> None:
        """Note the signal; those that follow it change nothing."""
        if self._ends_at is None:
            self._ends_at = time.monotonic() + self._allowed_s
            self._told.put(self._ends_at)

    def left_s(self) -> float:
        """Return how much of the time is left; all of it where there was no signal."""
        return self._allowed_s if self._ends_at is None else max(self._ends_at - time.monotonic(), 0.0)

    def _watch(self) -> None:
        ends_at = self._told.get()
        time.sleep(max(ends_at - (1 - LATE_AT) * self._allowed_s - time.monotonic(), 0.0))
        self._on_late(self.left_s())


class Server(uvicorn.Server):
    """uvicorn, told apart by whom it tells that it accepts connections, and by how it ends.

    uvicorn raises the signal that stopped it once more when it has stopped, which for SIGTERM ends the process there
    and then: what comes after the server, the database's orderly end, would never run.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        collector: Collector,
        on_listening: Callable[[], None],
        on_told: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._collector = collector
        self._drain_s = collector.settings.server.shutdown_timeout_s
        self._on_listening = on_listening
        self._on_told = on_told

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take note of a signal."""
        self._on_told()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if not self.should_exit:
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is under way; who does not come to an end is told to come again, then cut off.

        uvicorn alone would cancel requests when the time is up, and answer them with a 500 in plain text.
        """
        self._collector.stop_taking()
        loop = asyncio.get_running_loop()
        timers = [
            loop.call_later(self._drain_s * REFUSED_AT, self._collector.store.end_reports),
            loop.call_later(self._drain_s * REFUSED_AT, self._end_requests, "turn_away"),
            loop.call_later(self._drain_s * CUT_AT, self._end_requests, "abort"),
        ]
        try:
            await super().shutdown(sockets)
        finally:
            for timer in timers:
                timer.cancel()
            # The event loop ends only after the threads that it waits for.
            self._collector.store.end_reports()

    def _end_requests(self, how: Literal["turn_away", "abort"]) -> None:
        for connection in list(self.server_state.connections):
            getattr(connection, how)()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on the first signal, at once on a second Ctrl-C, and give the handlers back at the end.

        A terminal that is closed (SIGHUP) stops too, unless whoever started us wanted otherwise (`nohup`).
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        is_hangup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        numbers = HANDLED_SIGNALS if is_hangup_ignored else (*HANDLED_SIGNALS, signal.SIGHUP)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address. Raises StoreError's sibling in words a person can act on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise AddressInUse(host, port, error) from None
    return bound


class AddressInUse(StoreError):
    """The address cannot be listened on."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        self.host = host
        self.port = port
        super().__init__(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port (0 = a free one)"
        )


def url_of(bound: socket.socket) -> str:
    """Return the address a socket is bound to as a URL."""
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(
    collector: Collector, bound: socket.socket, on_listening: Callable[[str], None], on_told: Callable[[], None]
) -> Server:
    """Return a server for the collector; `run(sockets=[bound])` serves until it is told to stop.

    Args:
        on_listening: called with the URL as soon as connections are accepted.
        on_told: called, inside the signal handler, when it is told to stop.
    """
    url = url_of(bound)
    collector.announce(url)
    settings = collector.settings.server
    config = uvicorn.Config(
        create_app(collector),
        log_config=None,
        access_log=settings.access_log,
        lifespan="off",
        server_header=False,
        date_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=ceil(settings.shutdown_timeout_s),
        timeout_keep_alive=ceil(settings.keep_alive_timeout_s),
        http=guarded_protocol(Door(settings)),
        # Nothing here speaks it, and a connection handed over to it would be guarded by nobody.
        ws="none",
    )
    return Server(config, collector, lambda: on_listening(url), on_told)


def serve(collector: Collector, on_listening: Callable[[str], None], on_told: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was begun; `make_server` says what the arguments are."""
    bound = bind(collector.settings.server.host, collector.settings.server.port)
    try:
        make_server(collector, bound, on_listening, on_told).run(sockets=[bound])
    finally:
        bound.close()
