"""The paths of source plugins: the plugin reads and words the answer, the core decides whose it is and keeps it.

Most vendors' clients show their key before the body. For those that do not, a body has to be read of somebody nobody
knows: of those it may not be large, and not often be in vain.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from ..domain.mend import mend_json
from ..domain.source import Endpoint, SourceAck, SourceEvents, SourceRefusal, SourceRequest, SourceResponse
from ..errors import PluginError
from ..services.collector import Collector
from ..services.ingest import QUARANTINE_BODY_BYTES, Prepared
from ..store.engine import RejectRow
from ..store.sqlite.keys import KeyOwner
from ..store.sqlite.store import now_ms
from .access import Doorkeeper, bearer_token
from .body import decompress, read_body
from .errors import HttpError
from .headers import cross_origin, header, header_list
from .ingest import EventGate, IngestEndpoint, respond

STRANGER_BODY_BYTES: Final = 524_288
"""What is read of a body whose sender is not known yet: Segment's batches, whose key may stand in them, have 500 KB."""

WRITE_KEY: Final = re.compile(rb"ttw_[\w-]{32}(?![\w-])")
"""A write key, wherever it stands."""


class SourceEndpoint(IngestEndpoint):
    """One path of a source plugin."""

    def __init__(self, gate: EventGate, doorkeeper: Doorkeeper, name: str, endpoint: Endpoint) -> None:
        super().__init__(gate, doorkeeper, endpoint.methods)
        self.name = name
        self._endpoint = endpoint

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> int:
        response = await self._handle(scope, receive)
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()
        ]
        headers.append((b"content-type", response.content_type.encode("latin-1")))
        return await respond(send, response.status, response.body, [*headers, *cross_origin(scope)])

    async def _handle(self, scope: Scope, receive: Receive) -> SourceResponse:
        try:
            early = self._find_early(scope)
            if early is not None:
                self._doorkeeper.admit(scope, early)
                body = await self._read(scope, receive)
            else:
                body = await self._read_strangers(scope, receive)
            request = source_request(scope, body)
            # From here to the key nothing waits: of what came at the same time no more is read than is counted.
            batch, owner = self._open(scope, request, early)
        except SourceRefusal as refused:
            return refused.response
        except UnreadByPlugin as failed:
            return await self._keep_unread(failed)
        if owner is None:
            return self._endpoint.answer(SourceAck(), request)  # a path that needs no key, such as a ping
        if early is None or owner.key_hash != early.key_hash:
            self._doorkeeper.admit(scope, owner)
        checking = self._gate.collector.ingest.check_source(
            batch, source_id=owner.source_id, now_ms=request.received_at, reader=self.name
        )
        prepared = await self._gate.lane.run(checking, len(body))
        receipt = await self._commit(prepared, f"a batch of source {self.name}")
        ack = SourceAck(accepted=receipt.stored, duplicates=receipt.duplicates, rejected=len(prepared.rejected))
        return self._endpoint.answer(ack, request)

    def _find_early(self, scope: Scope) -> KeyOwner | None:
        """Return who is known before the body is read, None where only the body can tell.

        A Bearer token that is one of our keys is as good; another one says nothing, vendors' clients have their own.

        Raises: SourceRefusal where headers, path or query hold a key that lets nobody in.
        """
        shown = None
        if self._endpoint.find_key is not None:
            # The plugin's failure is counted and shown; the body may tell.
            with suppress(PluginError):
                shown = self._endpoint.find_key(source_request(scope, b""))
        if not shown:
            return self._doorkeeper.find_writer(bearer_token(scope))
        owner = self._doorkeeper.find_writer(shown)
        if owner is None:
            raise self._unauthorized()
        return owner

    async def _read_strangers(self, scope: Scope, receive: Receive) -> bytes:
        """Read a body whose sender is not known yet. Raises: HttpError 400, 413, 415, 429."""
        headers = scope["headers"]
        # Without either there is none (RFC 9112, section 6.3), and nothing that would cost much.
        if header(headers, b"content-length").strip(b"0") or header(headers, b"transfer-encoding"):
            self._doorkeeper.check_stranger(scope)
        limit = min(STRANGER_BODY_BYTES, self._gate.collector.settings.server.body_limit_bytes)
        try:
            body = await read_body(receive, limit, headers, stranger_body_too_large)
            if body:  # again: many may have come in at the same time
                self._doorkeeper.check_stranger(scope)
            return decompress(body, header_list(headers, b"content-encoding"), limit, stranger_body_too_large)
        except HttpError:
            self._doorkeeper.note_stranger(scope)
            raise

    def _open(
        self, scope: Scope, request: SourceRequest, early: KeyOwner | None
    ) -> tuple[SourceEvents, KeyOwner | None]:
        """Return what a request brought and whose it is; None where it brought nothing and needs no key.

        Raises: SourceRefusal, UnreadByPlugin.
        """
        owner: KeyOwner | None = None
        try:
            batch = self._read_batch(request)
            owner = self._doorkeeper.find_writer(batch.key)
        except PluginError as error:
            # Counted and shown, and not the sender's fault; but only of those who are known is anything kept.
            owner = early or self._find_anywhere(scope, request)
            if owner is None:
                raise self._unauthorized() from None
            raise UnreadByPlugin(request, owner, error) from None
        finally:
            if early is None and owner is None and request.body:
                self._doorkeeper.note_stranger(scope)
        if owner is None and (batch.key is not None or batch.events):
            raise self._unauthorized()
        return batch, owner

    def _find_anywhere(self, scope: Scope, request: SourceRequest) -> KeyOwner | None:
        """Return whose key stands in a request that nobody could read, whatever its form."""
        for text in (scope["query_string"], request.body):
            for key in WRITE_KEY.findall(text):
                if owner := self._doorkeeper.find_writer(key.decode()):
                    self._doorkeeper.admit(scope, owner)
                    return owner
        return None

    def _unauthorized(self) -> SourceRefusal:
        return SourceRefusal(self._endpoint.unauthorized, code="unknown_key", message="the write key lets nobody in")

    async def _keep_unread(self, failed: UnreadByPlugin) -> SourceResponse:
        """Put what the plugin could not read into quarantine and answer as if it had rejected it."""
        request, owner = failed.request, failed.owner
        prepared = plugin_failed(self._gate.collector, self.name, request, owner.source_id, failed.error)
        await self._commit(prepared, f"a request of source {self.name}")
        return self._endpoint.answer(SourceAck(rejected=1), request)

    def _read_batch(self, request: SourceRequest) -> SourceEvents:
        """Have the plugin read the request; a body it refuses is mended and read once more (see `mend_json`)."""
        try:
            return self._endpoint.read(request)
        except SourceRefusal:
            mended = mend_json(request.body, self._gate.collector.pseudonymiser.event_id)
            if mended is None:
                raise
            return self._endpoint.read(msgspec.structs.replace(request, body=mended))


class UnreadByPlugin(Exception):
    """A plugin failed at a request whose sender is known."""

    def __init__(self, request: SourceRequest, owner: KeyOwner, error: PluginError) -> None:
        super().__init__(str(error))
        self.request = request
        self.owner = owner
        self.error = error


def plugin_failed(
    collector: Collector, reader: str, request: SourceRequest, source_id: int | None, error: PluginError
) -> Prepared:
    """Return a request that a plugin could not read, for quarantine."""
    clean = collector.pseudonymiser
    may_be_kept = not collector.needs_consent(source_id)
    row = RejectRow(
        received_at=request.received_at,
        source_id=source_id,
        code="plugin_failed",
        field=None,
        message=clean.scrub_text(str(error)),
        body=clean.scrub_cut(request.body, QUARANTINE_BODY_BYTES) if may_be_kept else None,
        reader=reader,
    )
    return Prepared([], [row], [])


def stranger_body_too_large(limit: int) -> HttpError:
    """413: too large for somebody who shows no key before."""
    message = (
        f"the body is larger than the {limit} bytes that are read of senders without a valid write key in a header or "
        "the address of the request; send the key there, or smaller batches"
    )
    return HttpError(413, "body_too_large", message)


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
