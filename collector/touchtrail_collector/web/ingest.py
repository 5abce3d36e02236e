"""`POST /v1/events` and the source plugins' paths: read, check, hand to the writer, answer after the commit."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from functools import partial
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from ..domain.event import BodyUnreadable, mend_json
from ..domain.source import Endpoint, SourceAck, SourceEvents, SourceRefusal, SourceRequest, SourceResponse
from ..errors import PluginError
from ..services.collector import Collector
from ..services.ingest import QUARANTINE_BODY_BYTES, Ack, Prepared
from ..store.engine import Receipt, RejectRow
from ..store.sqlite.keys import KeyOwner
from ..store.sqlite.store import now_ms
from .body import decompress, header, read_body
from .errors import HttpError, bad_body, from_store, no_key, send_error, wrong_kind_of_key

logger = logging.getLogger("touchtrail_collector.web")

JSON_HEADERS: list[tuple[bytes, bytes]] = [(b"content-type", b"application/json")]
Waiting = tuple["asyncio.Future[Receipt]", Receipt | None, BaseException | None]


class CommitWaiter:
    """Hands the writer's results back to the event loop, many with one wake-up.

    One `call_soon_threadsafe` per request would cost more than the insert it waits for.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._results: deque[Waiting] = deque()
        self._is_scheduled = False

    def done(self, future: asyncio.Future[Receipt], receipt: Receipt | None, error: BaseException | None) -> None:
        """Called in the writer's thread."""
        self._results.append((future, receipt, error))
        if not self._is_scheduled:
            self._is_scheduled = True
            # A loop that is closed belongs to a server that has stopped: nobody waits any more.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._deliver)

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
    """What all ways in share: the key, the commit, the cross-origin headers."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self._waiter: CommitWaiter | None = None

    def writer_of(self, key: str | None) -> KeyOwner:
        """Return whom a write key lets in. Raises HttpError 401 or 403."""
        owner = self.collector.find_owner(key) if key else None
        if owner is None:
            raise no_key()
        if owner.kind != "write":
            raise wrong_kind_of_key("a write key")
        return owner

    async def commit(self, prepared: Prepared) -> Receipt:
        """Wait until what was prepared is on disk."""
        if not prepared.events and not prepared.reject_rows:
            return Receipt(0, 0)
        loop = asyncio.get_running_loop()
        if self._waiter is None or self._waiter._loop is not loop:
            self._waiter = CommitWaiter(loop)
        future: asyncio.Future[Receipt] = loop.create_future()
        self.collector.append(prepared, partial(self._waiter.done, future))
        return await future


def cross_origin(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the headers that let a page of another origin read the answer: its own origin, mirrored.

    `*` is not enough: some vendors' trackers send credentials (protocols.md, 0).
    """
    origin = header(scope["headers"], b"origin")
    if not origin:
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    ]


async def preflight(scope: Scope, send: Send) -> None:
    """Answer the browser's question whether a page may send here."""
    wanted = header(scope["headers"], b"access-control-request-headers") or b"content-type, authorization"
    headers = [
        *cross_origin(scope),
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", wanted),
        (b"access-control-max-age", b"7200"),
    ]
    await respond(send, 204, b"", headers)


async def respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Send a whole answer."""
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def bearer_or_query_key(scope: Scope) -> str | None:
    """Return the key of `Authorization: Bearer KEY`, or `?key=KEY` for beacons, which cannot set headers."""
    authorization = header(scope["headers"], b"authorization")
    if authorization[:7].lower() == b"bearer ":
        return authorization[7:].strip().decode("latin-1")
    query: bytes = scope["query_string"]
    for name, value in parse_qsl(query.decode("latin-1")):
        if name == "key":
            return value
    return None


class EventsEndpoint:
    """`POST /v1/events`; with ``stores=False`` the same answer and nothing kept (`/v1/events/validate`)."""

    def __init__(self, gate: EventGate, *, stores: bool = True) -> None:
        self._gate = gate
        self._stores = stores

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        if scope["method"] == "OPTIONS":
            await preflight(scope, send)
            return
        try:
            ack = await self._handle(scope, receive)
        except ClientDisconnect:
            return
        except HttpError as error:
            answer = error.response()
            answer.raw_headers.extend(cross_origin(scope))
            await answer(scope, receive, send)
            return
        await respond(send, 200, msgspec.json.encode(ack), [*JSON_HEADERS, *cross_origin(scope)])

    async def _handle(self, scope: Scope, receive: Receive) -> Ack:
        collector = self._gate.collector
        limit = collector.settings.server.body_limit_bytes
        owner = self._gate.writer_of(bearer_or_query_key(scope))
        body = decompress(await read_body(receive, limit), header(scope["headers"], b"content-encoding"), limit)
        try:
            prepared = collector.ingest.prepare(body, source_id=owner.source_id, now_ms=now_ms())
        except BodyUnreadable as error:
            raise bad_body(error.code, error.message, error.field) from None
        if not self._stores:
            return Ack(len(prepared.events), 0, prepared.rejected)
        try:
            receipt = await self._gate.commit(prepared)
        except Exception as error:
            logger.exception("a batch could not be committed")
            raise from_store(error) from error
        return Ack(receipt.stored, receipt.duplicates, prepared.rejected)


class SourceEndpoint:
    """One path of a source plugin: the plugin reads and words the answer, the core checks, keeps and counts."""

    def __init__(self, gate: EventGate, name: str, endpoint: Endpoint) -> None:
        self._gate = gate
        self._name = name
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        if scope["method"] == "OPTIONS":
            await preflight(scope, send)
            return
        try:
            response = await self._handle(scope, receive)
        except ClientDisconnect:
            return
        except HttpError as error:
            await send_error(error, scope, receive, send)
            return
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()
        ]
        headers.append((b"content-type", response.content_type.encode("latin-1")))
        await respond(send, response.status, response.body, [*headers, *cross_origin(scope)])

    async def _handle(self, scope: Scope, receive: Receive) -> SourceResponse:
        collector = self._gate.collector
        limit = collector.settings.server.body_limit_bytes
        body = decompress(await read_body(receive, limit), header(scope["headers"], b"content-encoding"), limit)
        request = source_request(scope, body)
        try:
            batch = self._read(request)
        except SourceRefusal as refusal:
            return refusal.response
        except PluginError as error:
            # The plugin failed, which is counted and shown; what came is not the sender's fault and is kept.
            batch = SourceEvents(key=None, events=())
            await self._gate.commit(plugin_failed(collector, body, request.received_at, error))
        owner = collector.find_owner(batch.key) if batch.key else None
        if batch.key is None and not batch.events:
            return self._endpoint.answer(SourceAck(), request)  # a path that needs no key, such as a ping
        if owner is None or owner.kind != "write":
            return self._endpoint.unauthorized
        prepared = collector.ingest.prepare_source(batch, source_id=owner.source_id, now_ms=request.received_at)
        try:
            receipt = await self._gate.commit(prepared)
        except Exception as error:
            logger.exception("a batch of source %s could not be committed", self._name)
            raise from_store(error) from error
        ack = SourceAck(accepted=receipt.stored, duplicates=receipt.duplicates, rejected=len(prepared.rejected))
        return self._endpoint.answer(ack, request)

    def _read(self, request: SourceRequest) -> SourceEvents:
        """Have the plugin read the request; a body it refuses is mended and read once more (see `mend_json`)."""
        try:
            return self._endpoint.read(request)
        except SourceRefusal:
            mended = mend_json(request.body)
            if mended is None:
                raise
            return self._endpoint.read(msgspec.structs.replace(request, body=mended))


def plugin_failed(collector: Collector, body: bytes, received_at: int, error: PluginError) -> Prepared:
    """Return a request that a plugin could not read, for quarantine."""
    kept = collector.pseudonymiser.scrub_reject(body[:QUARANTINE_BODY_BYTES])
    return Prepared([], [RejectRow(received_at, None, "plugin_failed", None, str(error), kept)], [])


def source_request(scope: Scope, body: bytes) -> SourceRequest:
    """Return the ASGI request as plugins see it."""
    return SourceRequest(
        method=scope["method"],
        path=scope["path"],
        path_params=scope.get("path_params", {}),
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
        received_at=now_ms(),
    )
