"""Sending one batch: the seam between delivery and the network, the transport over httpx, the collector's answer."""

from __future__ import annotations

import codecs
import os
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from math import isfinite
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from .errors import TransportError

if TYPE_CHECKING:
    import httpx

_MAX_REPLY_BYTES: Final = 4 * 1024 * 1024

# No fork happens while the worker imports: the child would keep a half-made module for good. Not to be imported under
# this lock is a module that itself has something done before and after forks, as ``logging`` has: a fork that waited
# would do the second half only. Such a one is imported before there is a thread.
_importing = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release
    )


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came back over the wire.

    Args:
        retry_after: the header as it stood there.
    """

    status: int
    body: bytes = b""
    retry_after: str | None = None


class Transport(Protocol):
    """Carries a request to the collector; give your own to ``Client(transport=…)``."""

    def send(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Post the body to the collector's ``/v1/events`` and return the answer, whatever its status.

        Raises:
            TransportError: no answer came. Whether the collector got the request is then unknown.
        """

    def close(self) -> None:
        """Let go of connections; called once, after the last ``send``."""


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a batch the collector refused."""

    index: int
    id: str | None = None
    code: str = "rejected"
    field: str | None = None
    message: str = ""


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """The collector's word on every event of a batch."""

    accepted: int
    duplicates: int = 0
    rejected: list[Reject] = []


class HttpxTransport:
    """Sends over one kept-alive connection; httpx is imported with the first request.

    Args:
        url: the collector's address.
        connect_timeout_s: for a connection.
        timeout_s: for a whole request.
    """

    def __init__(self, url: str, *, connect_timeout_s: float, timeout_s: float) -> None:
        self._endpoint = url.rstrip("/") + "/v1/events"
        self._timeouts = dict.fromkeys(("read", "write", "pool"), timeout_s)
        self._timeouts["connect"] = min(connect_timeout_s, timeout_s)
        self._timeout_s = timeout_s
        self._client: httpx.Client | None = None

    def send(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Post the body; errors as ``Transport`` says."""
        # Building the client imports as well, and so does the first look-up of a host name.
        with _importing:
            import httpx

            if self._client is None:
                codecs.lookup("idna")
                self._client = httpx.Client(limits=httpx.Limits(max_connections=1))
        try:
            # A ready request costs a quarter less processor time than client.stream(), and every microsecond here is
            # one in which the shop's own thread waits for the interpreter.
            timeouts = {"timeout": self._timeouts}
            request = httpx.Request("POST", self._endpoint, content=body, headers=dict(headers), extensions=timeouts)
            return self._exchange(self._client, request)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as problem:
            raise TransportError(type(problem).__name__) from problem

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _exchange(self, client: httpx.Client, request: httpx.Request) -> Reply:
        deadline = time.monotonic() + self._timeout_s
        with closing(client.send(request, stream=True)) as response:
            content = bytearray()
            for part in response.iter_bytes():
                content += part
                # httpx limits the wait for each piece; a server that drips bytes would hold the worker for hours.
                if len(content) > _MAX_REPLY_BYTES or time.monotonic() > deadline:
                    raise TransportError("the answer is too long or too slow")
            return Reply(
                status=response.status_code, body=bytes(content), retry_after=response.headers.get("retry-after")
            )


def read_ack(reply: Reply, events: int) -> Ack | None:
    """Return the collector's word on each of the batch's events; None when the answer does not give it.

    A proxy or a captive portal may answer 200 to anything: only an answer that adds up to the batch counts.
    """
    try:
        ack = _ack_decoder.decode(reply.body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    places = {reject.index for reject in ack.rejected}
    is_sound = len(places) == len(ack.rejected) and all(0 <= place < events for place in places)
    counted = ack.accepted + ack.duplicates + len(places)
    return ack if is_sound and counted == events and min(ack.accepted, ack.duplicates) >= 0 else None


def retry_after_s(text: str | None, longest_s: float, now_s: float) -> float:
    """Return how long the collector asks us to wait: seconds or an HTTP date; 0 for nonsense.

    Args:
        longest_s: a longer wait is cut to this.
        now_s: epoch seconds, for dates.

    Source:
        RFC 9110, section 10.2.3.
    """
    if not text:
        return 0.0
    try:
        wait_s = float(text)
    except ValueError:
        with _importing:
            from email.utils import parsedate_to_datetime
        try:
            wait_s = parsedate_to_datetime(text).timestamp() - now_s
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(wait_s, longest_s) if isfinite(wait_s) and wait_s > 0 else 0.0


_ack_decoder = msgspec.json.Decoder(Ack)
