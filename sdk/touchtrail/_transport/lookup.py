"""Host names to addresses within a time limit, which the system's own look-up does not know."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

_FRESH_S: Final = 30.0

Address = tuple[Any, Any, int, str, Any]
"""As ``socket.getaddrinfo`` gives it: family, type, protocol, canonical name, address."""


class Lookup:
    """Finds the addresses of host names, waiting no longer than told.

    A look-up cannot be broken off, so it runs in a thread of its own: at most one at a time, and only where a name
    has to be asked for. One that hangs is waited for again by the next try. What was found is kept for half a minute,
    or until it is known not to work.

    Args:
        resolve: as ``socket.getaddrinfo``.
    """

    def __init__(self, resolve: Callable[..., Sequence[Address]] = socket.getaddrinfo) -> None:
        self._resolve = resolve
        self._running: _Query | None = None
        self._known: tuple[str, int, float, Sequence[Address]] | None = None

    def find(self, host: str, port: int, timeout_s: float) -> Sequence[Address]:
        """Return the addresses.

        Raises:
            TimeoutError: they were not found within the time.
            OSError: there is no such host.
        """
        try:
            return self._resolve(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except OSError:
            pass
        if self._known and self._known[:2] == (host, port) and time.monotonic() < self._known[2]:
            return self._known[3]
        found = self._ask(host, port, timeout_s)
        self._known = (host, port, time.monotonic() + _FRESH_S, found)
        return found

    def forget(self) -> None:
        """Ask anew next time: what was found does not work."""
        self._known = None

    def _ask(self, host: str, port: int, timeout_s: float) -> Sequence[Address]:
        query = self._running
        if query is None or (query.host, query.port) != (host, port):
            query = self._running = _Query(self._resolve, host, port)
            if not query.start():
                self._running = None
                return self._resolve(host, port, type=socket.SOCK_STREAM)
        if not query.is_done.wait(timeout_s):
            raise TimeoutError(f"the name look-up of the collector's host takes longer than {timeout_s:.1f} s")
        self._running = None
        if query.problem is not None:
            raise query.problem
        return query.found


class _Query:
    def __init__(self, resolve: Callable[..., Sequence[Address]], host: str, port: int) -> None:
        self._resolve = resolve
        self.host = host
        self.port = port
        self.is_done = threading.Event()
        self.found: Sequence[Address] = ()
        self.problem: OSError | None = None

    def start(self) -> bool:
        """Begin; False when no thread may be started, as at the interpreter's end."""
        if not threading.main_thread().is_alive():
            return False
        try:
            threading.Thread(target=self._run, name="touchtrail-lookup", daemon=True).start()
        except RuntimeError:
            return False
        return True

    def _run(self) -> None:
        try:
            self.found = self._resolve(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as problem:
            self.problem = problem
        # UnicodeError for a name that cannot be one.
        except Exception as problem:  # noqa: BLE001 - a thread of ours prints no traceback into the shop's log
            self.problem = OSError(f"the host name cannot be looked up ({type(problem).__name__})")
        finally:
            self.is_done.set()
