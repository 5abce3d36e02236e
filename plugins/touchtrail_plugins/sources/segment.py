"""`source.segment`: Segment's tracking API, for shops that keep their client and change only where it sends to.

Source: segment-docs `src/connections/sources/catalog/libraries/server/http-api/index.md`; analytics-next
`packages/browser/src/plugins/segmentio/{index,batched-dispatcher}.ts` for the short paths and the settings.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from touchtrail_collector.api import (
    Endpoint,
    Source,
    SourceAck,
    SourceEvents,
    SourceRefusal,
    SourceReject,
    SourceRequest,
    SourceResponse,
    hookimpl,
)

from ._segment_context import as_object
from ._segment_event import ItemError, Origin, to_event
from ._segment_values import to_time

EVENT_BYTES = 32 * 1024
BATCH_BYTES = 500 * 1024
BATCH_EVENTS = 2_500

KINDS = ("track", "identify", "page", "screen", "group", "alias")
BATCH_PATHS = ("/v1/batch", "/v1/b")
# RecursionError on depth and UnicodeDecodeError on bad UTF-8 are no DecodeErrors.
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class SegmentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of `source.segment`.

    Args:
        currency: ISO 4217 code of amounts whose client names none; without it such an order is rejected.
        public_url: the collector's address as browsers reach it, `https://t.shop.example`; absent = the `Host` the
            browser asked for, over https except on this machine.
    """

    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")] | None = None
    public_url: Annotated[str, msgspec.Meta(pattern="^https?://[^/?#]+")] | None = None


@hookimpl
def touchtrail_settings() -> type[msgspec.Struct]:
    """Return the settings' struct."""
    return SegmentSettings


@hookimpl
def touchtrail_sources(settings: Any) -> Iterable[Source]:
    """Return the source, with every path of Segment's."""
    settings = settings if isinstance(settings, SegmentSettings) else SegmentSettings()
    return [
        Source(name="segment", endpoints=endpoints_of(settings), read_reject=partial(read_reject, settings=settings))
    ]


def endpoints_of(settings: SegmentSettings) -> tuple[Endpoint, ...]:
    """Return an endpoint per path: the calls by name and by first letter, batches, the browser library's settings."""
    calls = {f"/v1/{spelling}": kind for kind in KINDS for spelling in (kind, kind[0])}
    reads = {path: partial(read_call, kind=kind, settings=settings) for path, kind in calls.items()}
    reads |= {path: partial(read_batch, settings=settings) for path in BATCH_PATHS}
    return (
        *(
            Endpoint(path=path, read=read, answer=answer, unauthorized=UNAUTHORIZED, find_key=find_key_before_body)
            for path, read in reads.items()
        ),
        Endpoint(
            path="/v1/projects/{key}/settings",
            methods=("GET",),
            read=read_settings_request,
            answer=partial(answer_settings, settings=settings),
            unauthorized=UNAUTHORIZED,
            find_key=key_of_path,
        ),
    )


def read_call(request: SourceRequest, *, kind: str, settings: SegmentSettings) -> SourceEvents:
    """Read the body of one call.

    Raises: SourceRefusal, when it is no JSON object or larger than Segment allows.
    """
    check_size(request, EVENT_BYTES, "call")
    item = decode(request.body, dict[str, Any])
    origin = Origin(raw=request.body, kind=kind, salt=salt_of(item, request), currency=settings.currency)
    key = find_key(request, item.get("writeKey"))
    event = read_item(item, origin)
    if isinstance(event, SourceReject):
        # The path said of which type the call is; in quarantine there is no path.
        event = msgspec.structs.replace(event, raw=msgspec.json.encode(item | {"type": kind}))
    return SourceEvents(key=key, events=(event,), sent_at=clock(item.get("sentAt")))


def read_batch(request: SourceRequest, *, settings: SegmentSettings) -> SourceEvents:
    """Read the body of a batch; an item that cannot be read does not sink the others.

    Raises: SourceRefusal, when the body is no batch or larger than Segment allows.
    """
    check_size(request, BATCH_BYTES, "batch")
    body = decode(request.body, dict[str, msgspec.Raw])
    if "batch" not in body:
        raise refusal("missing_field", "batch is required: a list of calls")
    raws = decode(bytes(body["batch"]), list[msgspec.Raw])
    if len(raws) > BATCH_EVENTS:
        raise refusal("too_large", f"the batch has {len(raws)} calls; the limit is {BATCH_EVENTS}")
    key, sent_at, context = (
        decode(bytes(body[name]), Any) if name in body else None for name in ("writeKey", "sentAt", "context")
    )
    events = []
    for index, raw in enumerate(raws):
        origin = Origin(raw=bytes(raw), shared=as_object(context), salt=str(index), currency=settings.currency)
        events.append(read_raw_item(origin, f"batch[{index}]", request))
    return SourceEvents(key=find_key(request, key), events=tuple(events), sent_at=clock(sent_at))


def read_raw_item(origin: Origin, where: str, request: SourceRequest) -> Mapping[str, Any] | SourceReject:
    """Return one item of a batch as an event, or why it is none."""
    if len(origin.raw) > EVENT_BYTES:
        message = f"{where} has {len(origin.raw)} bytes; the limit is {EVENT_BYTES}"
        return SourceReject(code="too_large", message=message, field=where, raw=origin.raw)
    try:
        item = msgspec.json.decode(origin.raw)
    except DECODE_ERRORS as error:
        return SourceReject(code="invalid_json", message=f"{where}: {describe(error)}", field=where, raw=origin.raw)
    # The place in the batch tells like calls apart; a batch that is sent again has them in the same places.
    salt = origin.salt + salt_of(item, request)
    return read_item(item, msgspec.structs.replace(origin, salt=salt), where)


def read_reject(raw: bytes, *, settings: SegmentSettings) -> Mapping[str, Any] | SourceReject:
    """Read a call again that was rejected, perhaps repaired meanwhile."""
    try:
        item = msgspec.json.decode(raw)
    except DECODE_ERRORS as error:
        return SourceReject(code="invalid_json", message=f"the call is no JSON: {describe(error)}", raw=raw)
    return read_item(item, Origin(raw=raw, salt="", currency=settings.currency))


def read_item(item: Any, origin: Origin, where: str | None = None) -> Mapping[str, Any] | SourceReject:
    """Return a call as an event, or why it is none."""
    try:
        return to_event(item, origin)
    except ItemError as error:
        field = ".".join(part for part in (where, error.field) if part) or None
        message = f"{where}: {error.message}" if where else error.message
        return SourceReject(code=error.code, message=message, field=field, raw=origin.raw)


def salt_of(item: Any, request: SourceRequest) -> str:
    """Return what tells two calls with the same bytes apart: nothing where the client dates them, else our clock."""
    dated = isinstance(item, dict) and (item.get("timestamp") or item.get("originalTimestamp"))
    return "" if dated else f"@{request.received_at}"


def check_size(request: SourceRequest, limit: int, what: str) -> None:
    """Refuse a body that Segment would refuse."""
    if len(request.body) > limit:
        raise refusal("too_large", f"the {what} has {len(request.body)} bytes; the limit is {limit}")


def decode(body: bytes, kind: Any) -> Any:
    """Decode JSON whatever the Content-Type says: browsers send it as text/plain.

    Raises: SourceRefusal.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except DECODE_ERRORS as error:
        raise refusal("invalid_json", f"the body is no JSON object of Segment's form: {describe(error)}") from None


def describe(error: Exception) -> str:
    """Return a decode error in one short line."""
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]


def clock(value: Any) -> str | None:
    """Return the client's clock at sending; what is no time is no clock."""
    sent_at = to_time(value)
    return sent_at if isinstance(sent_at, str) else None


def find_key(request: SourceRequest, in_body: Any) -> str | None:
    """Return the write key: from the body, the user name of Basic, a Bearer token, or `?writeKey=`.

    The body comes first because the Bearer token of a client that uses OAuth is none of ours.
    """
    if isinstance(in_body, str) and in_body:
        return in_body
    scheme, credentials = authorization_of(request)
    if scheme == "bearer" and credentials:
        return credentials
    return find_key_before_body(request)


def find_key_before_body(request: SourceRequest) -> str | None:
    """Return the write key that stands before the body: the user name of Basic, or `?writeKey=`.

    A Bearer token says nothing before the body is known, see `find_key`.
    """
    scheme, credentials = authorization_of(request)
    if scheme == "basic":
        try:
            decoded = base64.b64decode(credentials + "=" * (-len(credentials) % 4)).decode()
        except (binascii.Error, ValueError):
            return None
        return decoded.partition(":")[0] or None
    return None if scheme == "bearer" and credentials else request.query.get("writeKey") or None


def authorization_of(request: SourceRequest) -> tuple[str, str]:
    """Return scheme, in lower case, and credentials of a request."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return scheme.lower(), credentials.strip()


def key_of_path(request: SourceRequest) -> str | None:
    """Return the write key that stands in the path."""
    return request.path_params.get("key")


def answer(ack: SourceAck, request: SourceRequest) -> SourceResponse:
    """Answer as Segment does: 200 even where events were rejected; an error would lose or repeat the whole batch."""
    return SourceResponse(status=200, body=b'{"success": true}')


def read_settings_request(request: SourceRequest) -> SourceEvents:
    """Read the request of analytics.js for its settings: it brings no events, only the key."""
    return SourceEvents(key=key_of_path(request), events=())


def answer_settings(ack: SourceAck, request: SourceRequest, *, settings: SegmentSettings) -> SourceResponse:
    """Answer with the least analytics.js needs to begin: where to send to.

    A sample rate of 0 keeps the library from reporting about itself to its vendor
    (analytics-next `packages/browser/src/browser/index.ts`, `Stats.initRemoteMetrics`).
    """
    protocol, host = public_address(request, settings)
    body = {
        "integrations": {
            "Segment.io": {
                "apiKey": request.path_params.get("key", ""),
                "apiHost": f"{host}/v1",
                "protocol": protocol,
            }
        },
        "metrics": {"sampleRate": 0},
    }
    # no-store: a cache on the way must not hand one host's answer to another.
    return SourceResponse(body=msgspec.json.encode(body), headers={"Cache-Control": "no-store"})


def public_address(request: SourceRequest, settings: SegmentSettings) -> tuple[str, str]:
    """Return protocol and host (with a path, where there is one) at which browsers reach the collector."""
    if settings.public_url is not None:
        address = urlsplit(settings.public_url)
        return address.scheme, (address.netloc + address.path).rstrip("/")
    host = request.headers.get("host", "localhost")
    is_local = host.startswith(("localhost", "127.", "[::1]"))
    return ("http" if is_local else "https"), host


def refusal(code: str, message: str) -> SourceRefusal:
    """Return the refusal of a whole request: 400, with the two members every client of this protocol reads."""
    return SourceRefusal(failure(400, code, message), code=code, message=message)


def failure(status: int, code: str, message: str) -> SourceResponse:
    """Return an error; RudderStack's Python client sends a batch again for ever when `code` or `message` is missing."""
    return SourceResponse(status=status, body=msgspec.json.encode({"code": code, "message": message}))


UNAUTHORIZED = failure(401, "unauthorized", "the write key is missing, unknown or revoked")
