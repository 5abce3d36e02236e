"""The transport over HTTP: one kept-alive connection, one deadline per request, nothing in the shop's log."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from touchtrail.errors import TransportError

from .answer import Reply
from .lazy import importing

if TYPE_CHECKING:
    import httpcore
    import httpx

_MAX_REPLY_BYTES: Final = 4 * 1024 * 1024
# Below the 5 s after which uvicorn closes an idle connection: a request sent at that moment would fail.
_IDLE_S: Final = 4.0
_GZIP_OR_ZLIB: Final = 47


# TLS state of the parent's connection: closing it would say goodbye in the parent's name.
_left_to_the_parent: list[object] = []


class Transport(Protocol):
    """Carries a request to the collector; give your own to ``Client(transport=…)``."""

    def send(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Post the body to the collector's ``/v1/events`` and return the answer, whatever its status.

        Raises:
            TransportError: no answer came. Whether the collector got the request is then unknown.
        """

    def close(self) -> None:
        """Let go of connections; called once, after the last ``send``."""


class HttpTransport:
    """Sends over one kept-alive connection; httpx is imported with the first request.

    Proxies and certificates are those of the environment, as httpx reads it: ``HTTPS_PROXY``, ``NO_PROXY``,
    ``SSL_CERT_FILE``. What goes over the wire is httpx's own engine, httpcore: ``httpx.Client`` logs every request at
    INFO into the shop's log, and costs three times the processor time. Redirects are not followed.

    Args:
        url: the collector's address.
        connect_timeout_s: for name look-up, connection and TLS together.
        timeout_s: for a whole request.
    """

    def __init__(self, url: str, *, connect_timeout_s: float, timeout_s: float) -> None:
        self._endpoint = url.rstrip("/") + "/v1/events"
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._line: _Line | None = None

    def send(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Post the body; errors as ``Transport`` says."""
        # Opening imports as well, and so does the first look-up of a host name.
        with importing:
            if self._line is None:
                try:
                    self._line = _Line(self._endpoint, self._timeout_s)
                # A proxy's address or a certificate file that cannot be, in whatever way the libraries say it.
                except Exception as problem:
                    raise TransportError(_text(problem)) from problem
        self._line.deadline.begin(self._connect_timeout_s, self._timeout_s)
        return self._line.send(body, headers)

    def close(self) -> None:
        """Close the connection."""
        line, self._line = self._line, None
        if line is not None:
            line.pool.close()

    def forget(self) -> None:
        """Let go of the parent's connection in a forked child, without a word to the other side."""
        line, self._line = self._line, None
        if line is not None:
            _left_to_the_parent.append(line)
            line.forget()


class _Line:
    """What is made once per process: the connection pool and what stays the same in every request."""

    def __init__(self, endpoint: str, timeout_s: float) -> None:
        import httpcore
        import httpx

        from .deadline import Deadline, DeadlineBackend
        from .lookup import Lookup

        codecs.lookup("idna")
        url = httpx.URL(endpoint)
        self._problems = (
            httpcore.TimeoutException,
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
            OSError,
            zlib.error,
        )
        self._request = httpcore.Request
        self._url = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        self._headers = [(b"Host", url.netloc)]
        self._extensions = {"timeout": {"pool": timeout_s}}
        self.deadline = Deadline()
        self.pool = _pool(url, DeadlineBackend(self.deadline, Lookup()))

    def send(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        own = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        length = (b"Content-Length", str(len(body)).encode("ascii"))
        request = self._request(
            b"POST", self._url, headers=[*self._headers, *own, length], content=body, extensions=self._extensions
        )
        try:
            response = self.pool.handle_request(request)
            try:
                return self._read(response)
            finally:
                response.close()
        except self._problems as problem:
            raise TransportError(_text(problem)) from problem

    def forget(self) -> None:
        if self.deadline.stream is not None:
            self.deadline.stream.forget()

    def _read(self, response: httpcore.Response) -> Reply:
        fields = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        content = bytearray()
        for part in response.iter_stream():
            content += part
            if len(content) > _MAX_REPLY_BYTES:
                raise TransportError("the answer is too long")
        return Reply(
            status=response.status,
            body=_decompressed(bytes(content), fields.get(b"content-encoding", "")),
            retry_after=fields.get(b"retry-after"),
            date=fields.get(b"date"),
        )


def _pool(url: httpx.URL, backend: httpcore.NetworkBackend) -> httpcore.ConnectionPool:
    import httpcore
    import httpx

    facts: dict[str, Any] = {
        "ssl_context": httpx.create_ssl_context() if url.scheme == "https" else None,
        "max_connections": 1,
        "keepalive_expiry": _IDLE_S,
        "network_backend": backend,
    }
    address = _proxy_for(url)
    if address is None:
        return httpcore.ConnectionPool(**facts)
    proxy = httpx.Proxy(address)
    place = httpcore.URL(
        scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=proxy.url.raw_path
    )
    if proxy.url.scheme.startswith("socks5"):
        return httpcore.SOCKSProxy(place, proxy_auth=proxy.raw_auth, **facts)
    secured = httpx.create_ssl_context() if proxy.url.scheme == "https" else None
    return httpcore.HTTPProxy(place, proxy_auth=proxy.raw_auth, proxy_ssl_context=secured, **facts)


def _proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy the environment names for the address; None = straight there."""
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    address = proxies.get(url.scheme) or proxies.get("all")
    port = url.port or (443 if url.scheme == "https" else 80)
    if not address or proxy_bypass(f"{url.host}:{port}"):
        return None
    return address if "://" in address else f"http://{address}"


def _decompressed(content: bytes, encoding: str) -> bytes:
    """Return the answer's text; we ask for no compression, but a proxy may do it all the same."""
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return content
    press = zlib.decompressobj(_GZIP_OR_ZLIB)
    text = press.decompress(content, _MAX_REPLY_BYTES)
    if press.unconsumed_tail:
        raise TransportError("the answer is too long")
    return text


def _text(problem: Exception) -> str:
    """Return what went wrong in one line; it is about the connection and holds nothing of an event."""
    said = " ".join(str(problem).split())[:200]
    return f"{type(problem).__name__}: {said}" if said else type(problem).__name__
