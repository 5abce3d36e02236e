"""`POST /v1/events`, and what it shares with source plugins' paths: read, check, hand to the writer, answer after the
commit."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..domain.batch import BodyUnreadable
from ..errors import StoreUnavailable
from ..services.collector import Collector, Done
from ..services.ingest import Ack, Prepared
from ..store.engine import Receipt
from ..store.sqlite.store import now_ms
from .access import Doorkeeper, bearer_or_query_key
from .body import read_content
from .errors import HttpError, bad_body, from_store
from .headers import ANSWER_AT_ONCE, RAW_SECURITY_HEADERS, Headers, cross_origin, preflight_headers
from .slow_lane import SlowLane

logger = logging.getLogger("touchtrail_collector.web")

ENCODER = msgspec.json.Encoder()
JSON_HEADERS: Headers = [(b"content-type", b"application/json")]
JSON_HEAD = b"".join(b"%b: %b\r\n" % header for header in (*JSON_HEADERS, *RAW_SECURITY_HEADERS))
Waiting = tuple["asyncio.Future[Receipt]", Receipt | None, BaseException | None]


class WriterLink:
    """Takes requests from the event loop to the writer and its results back, many at a time.

    What one turn of the loop brings goes to the writer together, and what one commit holds comes back together: to
    wake a thread for each request would cost more than the insert, and break the writer's groups up.
    """

    def __init__(self, collector: Collector, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._collector = collector
        self._requests: list[tuple[Prepared, Done]] = []
        self._results: deque[Waiting] = deque()
        self._is_scheduled = False

    def add(self, prepared: Prepared) -> asyncio.Future[Receipt]:
        """Have a request written that is not empty."""
        future: asyncio.Future[Receipt] = self.loop.create_future()
        if not self._requests:
            self.loop.call_soon(self._hand_over)
        self._requests.append((prepared, partial(self._done, future)))
        return future

    def _hand_over(self) -> None:
        requests, self._requests = self._requests, []
        try:
            self._collector.append(requests)
        except Exception as error:  # noqa: BLE001 - this callback's one boundary: each is told, and logs it
            for _, done in requests:
                done(None, error)

    def _done(self, future: asyncio.Future[Receipt], receipt: Receipt | None, error: BaseException | None) -> None:
        """Called in the writer's thread."""
        self._results.append((future, receipt, error))
        if not self._is_scheduled:
            self._is_scheduled = True
            # A loop that is closed belongs to a server that has stopped: nobody waits any more.
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._is_scheduled = False
        while self._results:
            future, receipt, error = self._results.popleft()
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                assert receipt is not None
                future.set_result(receipt)


class EventGate:
    """What all ways in share: the commit."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self._link: WriterLink | None = None
        self._lane: SlowLane | None = None

    @property
    def lane(self) -> SlowLane:
        """Where large bodies wait for each other."""
        loop = asyncio.get_running_loop()
        if self._lane is None or self._lane.loop is not loop:
            self._lane = SlowLane(loop)
        return self._lane

    async def commit(self, prepared: Prepared) -> Receipt:
        """Wait until what was prepared is on disk."""
        if not prepared.events and not prepared.reject_rows:
            return Receipt(0, 0)
        loop = asyncio.get_running_loop()
        if self._link is None or self._link.loop is not loop:
            self._link = WriterLink(self.collector, loop)
        self.collector.learn_names(prepared)
        return await self._link.add(prepared)


def tell(error: HttpError, scope: Scope) -> Response:
    """Return an error so that the page that sent can read it, unless it is told that it may not send at all."""
    answer = error.response()
    if error.body.code != "origin_not_allowed":
        answer.raw_headers.extend(cross_origin(scope))
    return answer


async def respond(send: Send, status: int, body: bytes, headers: Headers) -> int:
    """Send a whole answer and return its status."""
    headers = [*headers, *RAW_SECURITY_HEADERS, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return status


def allow(methods: Iterable[str]) -> tuple[bytes, bytes]:
    """Return the header that names the methods of a path, with those that come by themselves."""
    found = {*methods, "OPTIONS"}
    if "GET" in found:
        found.add("HEAD")
    return b"allow", ", ".join(sorted(found)).encode()


class IngestEndpoint:
    """What all paths share that take events: the browser's question before, errors it can read after."""

    def __init__(self, gate: EventGate, doorkeeper: Doorkeeper, methods: Iterable[str] = ("POST",)) -> None:
        self._gate = gate
        self._doorkeeper = doorkeeper
        self._allow = allow(methods)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        await self.serve(scope, receive, send)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> int | None:
        """Serve one ASGI request and return the answer's status, None where nobody waits for one any more."""
        try:
            if scope["method"] == "OPTIONS":
                self._doorkeeper.check_preflight(scope)
                return await respond(send, 204, b"", [self._allow, *preflight_headers(scope)])
            self._doorkeeper.check_address(scope)
            return await self._serve(scope, receive, send)
        except ClientDisconnect:
            return None
        except HttpError as error:
            await tell(error, scope)(scope, receive, send)
            return error.status

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> int:
        raise NotImplementedError

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        limit = self._gate.collector.settings.server.body_limit_bytes
        return await read_content(receive, limit, scope["headers"], self._gate.lane)

    async def _commit(self, prepared: Prepared, what: str) -> Receipt:
        try:
            return await self._gate.commit(prepared)
        except Exception as error:
            if not isinstance(error, StoreUnavailable):  # the writer has said it, once for all requests
                logger.exception("%s could not be committed", what)
            raise from_store(error) from error


class EventsEndpoint(IngestEndpoint):
    """`POST /v1/events`; with ``stores=False`` the same answer and nothing kept (`/v1/events/validate`)."""

    def __init__(self, gate: EventGate, doorkeeper: Doorkeeper, *, stores: bool = True) -> None:
        super().__init__(gate, doorkeeper)
        self._stores = stores

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> int:
        ack = await self._handle(scope, receive)
        body, headers = ENCODER.encode(ack), cross_origin(scope)
        at_once = scope.get(ANSWER_AT_ONCE)
        if at_once is not None and at_once(JSON_HEAD, headers, body):
            return 200
        return await respond(send, 200, body, [*JSON_HEADERS, *headers])

    async def _handle(self, scope: Scope, receive: Receive) -> Ack:
        owner = self._doorkeeper.check_writer(scope, bearer_or_query_key(scope))
        body = await self._read(scope, receive)
        try:
            checking = self._gate.collector.ingest.check(body, source_id=owner.source_id, now_ms=now_ms())
            prepared = await self._gate.lane.run(checking, len(body))
        except BodyUnreadable as error:
            raise bad_body(error.code, error.message, error.field) from None
        if not self._stores:
            return Ack(len(prepared.events), 0, prepared.rejected)
        receipt = await self._commit(prepared, "a batch")
        return Ack(receipt.stored, receipt.duplicates, prepared.rejected)
