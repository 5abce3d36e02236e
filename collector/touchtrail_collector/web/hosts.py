"""Whose names a request may give in its Host header."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from starlette.requests import Request
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from ..settings import ServerSettings
from .error_page import error_page, wants_page
from .errors import HttpError, send_error, wrong_host
from .pages import Reader

LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
ANY: Final = "*"
MOST_REMEMBERED: Final = 100


class HostNames:
    """The names this collector answers to.

    A web page can have a name of its own point to this machine and so reach what only this machine should (DNS
    rebinding). It cannot do so with an address: where the collector listens to more than this machine, addresses are
    let through.

    Args:
        settings: where it listens, and which names it has besides.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._is_open = ANY in settings.allowed_hosts
        self._takes_addresses = not is_loopback(settings.host)
        self._names = LOCAL_NAMES | {settings.host.strip("[]")} | {bare_name(name) for name in settings.allowed_hosts}

        self._allowed_headers: set[bytes] = set()

    def allow_header(self, host: bytes) -> bool:
        """Do the same for a Host header as it came; what is ours is written in few ways, which are remembered."""
        if host in self._allowed_headers:
            return True
        is_allowed = self.allow(bare_name(host.decode("latin-1")))
        if is_allowed and len(self._allowed_headers) < MOST_REMEMBERED:
            self._allowed_headers.add(host)
        return is_allowed

    def allow(self, name: str) -> bool:
        """True for a name, as `bare_name` gives it, that is ours."""
        return name in self._names or self._is_open or (self._takes_addresses and is_address(name))


def bare_name(host: str) -> str:
    """Return a Host header's name in lower case, without port, brackets and the dot at the end."""
    host = host.strip().lower()
    name, colon, port = host.rpartition(":")
    if colon and port.isascii() and port.isdigit() and (":" not in name or name.endswith("]")):
        host = name
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1]
    return host.removesuffix(".")


def is_address(name: str) -> bool:
    """True for an IP address."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """True for a name or address of this machine alone."""
    host = host.strip("[]")
    return host in LOCAL_NAMES or (is_address(host) and ip_address(host).is_loopback)


def read_host(scope: Scope) -> bytes | None:
    """Return a request's Host header; None where it is not clear whose name it gives, because there are two or none.

    Two that say the same are no better: whoever passed the request on may have added one. Before HTTP/1.1 there need
    not be any, which names nobody.

    Source: RFC 9112, section 3.2.
    """
    hosts: list[bytes] = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) == 1:
        return hosts[0]
    return b"" if not hosts and scope.get("http_version") in ("0.9", "1.0") else None


class HostCheck:
    """Refuses requests whose Host header names somebody else, or is not the only one.

    Args:
        hosts: the names there are.
        nameless: routes that HTTP/1.0 may ask without a Host header, as it may by its standard and health checks of
            load balancers do. DNS rebinding is done with browsers, and those send one.
    """

    def __init__(self, app: ASGIApp, hosts: HostNames, nameless: Sequence[BaseRoute] = ()) -> None:
        self._app = app
        self._hosts = hosts
        self._nameless = nameless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        if scope["type"] == "http":
            error = self._find_fault(scope)
            if error is not None:
                if wants_page(scope):
                    await error_page(Reader(Request(scope)), error)(scope, receive, send)
                else:
                    await send_error(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _find_fault(self, scope: Scope) -> HttpError | None:
        host = read_host(scope)
        if host is None:
            return HttpError(400, "malformed_request", "a request has one Host header: this one has none, or several")
        if self._hosts.allow_header(host) or (not host and self._may_be_nameless(scope)):
            return None
        return wrong_host(bare_name(host.decode("latin-1")))

    def _may_be_nameless(self, scope: Scope) -> bool:
        has_header = any(name == b"host" for name, _ in scope["headers"])
        return not has_header and any(route.matches(scope)[0] is Match.FULL for route in self._nameless)
