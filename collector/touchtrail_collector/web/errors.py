"""Every HTTP error is made here: JSON with a stable code, a message, and the field at fault where there is one."""

from __future__ import annotations

from math import ceil
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import DatabaseMissing, PluginError, QueryTimeout, StoreUnavailable, TouchtrailCollectorError, UsageError
from .headers import SECURITY_HEADERS

RETRY_AFTER_S = 2
"""A full disk is written to again two seconds after there is room (reliability.md, promise 9)."""

CODES: Final[dict[int, tuple[str, ...]]] = {
    400: (
        "bad_request",
        "bad_usage",
        "batch_too_large",
        "invalid_batch",
        "invalid_encoding",
        "invalid_json",
        "invalid_parameter",
        "malformed_request",
    ),
    401: ("no_session", "unknown_key", "unknown_link", "unknown_token", "wrong_password"),
    403: ("cross_site", "insecure_connection", "origin_not_allowed", "wrong_csrf_token", "wrong_key_kind"),
    404: ("not_found", "unknown_report"),
    405: ("method_not_allowed",),
    408: ("request_timeout",),
    413: ("body_too_large",),
    415: ("unsupported_encoding",),
    421: ("wrong_host",),
    429: ("rate_limited", "too_many_attempts"),
    431: ("headers_too_large",),
    500: ("internal_error", "plugin_failed"),
    503: ("busy", "not_ready", "query_timeout", "too_many_connections", "unavailable"),
}
"""Every error code by its status; collector/README.md says what each means."""


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the body of an error says."""

    code: str
    message: str
    field: str | None = None


class HttpError(Exception):
    """A request cannot be served as it is.

    Attributes:
        status: the HTTP status.
        body: what the answer says.
        retry_after_s: sent as Retry-After; always with 429 and 503.
    """

    def __init__(
        self, status: int, code: str, message: str, *, field: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = ErrorBody(code, message, field)
        self.retry_after_s = retry_after_s

    def response(self) -> Response:
        """Return the answer."""
        headers = SECURITY_HEADERS | {"cache-control": "no-store"}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(self.retry_after_s)
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="touchtrail"'
        return Response(msgspec.json.encode(self.body), self.status, headers=headers, media_type="application/json")


def bad_body(code: str, message: str, field: str | None = None) -> HttpError:
    """400: the body cannot be read."""
    return HttpError(400, code, message, field=field)


def body_too_large(limit: int) -> HttpError:
    """413: more bytes than allowed, before or after decompression."""
    return HttpError(413, "body_too_large", f"the body is larger than {limit} bytes; send smaller batches")


def announced_too_large(limit: int) -> HttpError:
    """413: more bytes than any path takes, by the headers alone."""
    message = f"the body is larger than {limit} bytes, which is more than any path takes; send less at once"
    return HttpError(413, "body_too_large", message)


def form_too_large(limit: int) -> HttpError:
    """413: more bytes than what lets somebody in, or a button, can have."""
    message = f"the body is larger than {limit} bytes; send nothing but a link's token, a password or a form of ours"
    return HttpError(413, "body_too_large", message)


def too_many_members(most: int) -> HttpError:
    """413: gzip texts one behind the other, each of which costs as much as a larger one."""
    message = f"the compressed body has more than {most} gzip members; compress it as one"
    return HttpError(413, "body_too_large", message)


def body_ended_early(came_bytes: int, announced_bytes: int | None) -> HttpError:
    """400: the sender ended its side of the connection before the body was whole.

    Args:
        announced_bytes: None = it came in chunks.
    """
    how = "before its last chunk" if announced_bytes is None else f"after {came_bytes} of {announced_bytes} bytes"
    message = f"the body ended {how}; nothing of it was kept, send it again"
    return HttpError(400, "malformed_request", message)


def malformed_request() -> HttpError:
    """400: what came is no HTTP."""
    return HttpError(400, "malformed_request", "this is no HTTP/1.1 request; the connection is closed")


def request_timeout(part: str, seconds: float) -> HttpError:
    """408: the headers or the body did not come in time."""
    message = f"the request's {part} did not arrive within {seconds:g} s; nothing of it was kept, send it again"
    return HttpError(408, "request_timeout", message)


def too_many_headers(most_bytes: int, most_headers: int) -> HttpError:
    """431: more or larger headers than allowed, the address included."""
    message = f"the address and headers are more than {most_bytes} bytes, or more than {most_headers} headers"
    return HttpError(431, "headers_too_large", message)


def too_many_connections() -> HttpError:
    """503: no place for another connection; it was this one's turn to go."""
    message = "too many connections are open; close idle ones, or raise connection_limit in [server]"
    return HttpError(503, "too_many_connections", message, retry_after_s=RETRY_AFTER_S)


def no_key() -> HttpError:
    """401: no key, or one that does not exist or was revoked."""
    return HttpError(
        401,
        "unknown_key",
        "send a valid write key as 'Authorization: Bearer KEY' or ?key=KEY; `touchtrail keys create --source NAME` "
        "makes one",
    )


def no_token() -> HttpError:
    """401: a report needs a read token."""
    return HttpError(
        401,
        "unknown_token",
        "send a read token as 'Authorization: Bearer TOKEN', `touchtrail keys create --read` makes one; or sign in",
    )


def no_admin_token() -> HttpError:
    """401: only who can read the lock file gets in."""
    return HttpError(401, "unknown_token", "this path is for touchtrail's own commands on this machine")


def no_session() -> HttpError:
    """401: nobody is signed in with this request."""
    return HttpError(401, "no_session", "sign in at /sign-in; `touchtrail sign-in` prints a link that lets in once")


def unknown_link() -> HttpError:
    """401: the token of a one-time link does not exist, was used, or is too old."""
    message = (
        "this link is not known here (used, older than 15 minutes, or from before a restart); `touchtrail sign-in` "
        "prints a new one"
    )
    return HttpError(401, "unknown_link", message, field="token")


def wrong_password() -> HttpError:
    """401: not the password, or there is none."""
    message = "this is not the password; `touchtrail sign-in` prints a link that lets in without"
    return HttpError(401, "wrong_password", message, field="password")


def too_many_attempts(wait_s: float) -> HttpError:
    """429: passwords are guessed; the next attempt is looked at after ``wait_s``."""
    message = "too many attempts with a password; `touchtrail sign-in` prints a link that lets in without waiting"
    return HttpError(429, "too_many_attempts", message, retry_after_s=max(ceil(wait_s), 1))


def cross_site() -> HttpError:
    """403: a page of another origin wants something in the name of whoever is signed in."""
    message = "only this collector's own pages may ask this: Sec-Fetch-Site or Origin must say same-origin"
    return HttpError(403, "cross_site", message)


def wrong_csrf_token() -> HttpError:
    """403: the session is right, but what its pages show is not there, or of an earlier session."""
    message = "send the session's token as X-CSRF-Token or in the form's field csrf_token; reload the page to get it"
    return HttpError(403, "wrong_csrf_token", message, field="csrf_token")


def insecure_connection() -> HttpError:
    """403: signing in where others could read along."""
    message = "sign in over https, or on this machine at 127.0.0.1; name a proxy that does TLS in trusted_proxies"
    return HttpError(403, "insecure_connection", message)


def origin_not_allowed(origin: str) -> HttpError:
    """403: a page of this origin may not send with this key."""
    return HttpError(
        403,
        "origin_not_allowed",
        f"pages of {origin[:100]!r} may not send with this key; `touchtrail keys set --source NAME --origin` allows it",
    )


def rate_limited(who: str, wait_s: float) -> HttpError:
    """429: too many requests; the next one is let through after ``wait_s``."""
    message = f"{who} sends more requests than [limits] allows; send larger batches, later"
    return HttpError(429, "rate_limited", message, retry_after_s=max(ceil(wait_s), 1))


def wrong_kind_of_key(needed: str) -> HttpError:
    """403: a read token where a write key is needed, or the other way round."""
    return HttpError(403, "wrong_key_kind", f"this key is valid, but {needed} is needed here")


def wrong_host(name: str) -> HttpError:
    """421: the Host header names somebody else, or nobody."""
    if not name:
        message = "this request does not say whom it is for; send a Host header with the collector's name or address"
        return HttpError(421, "wrong_host", message)
    return HttpError(
        421,
        "wrong_host",
        f"this collector does not answer for {name[:100]!r}; add the name to allowed_hosts in [server]",
    )


def unavailable(message: str) -> HttpError:
    """503: the database cannot take it now; nothing was lost, try again."""
    return HttpError(503, "unavailable", message, retry_after_s=RETRY_AFTER_S)


def query_timeout(message: str) -> HttpError:
    """503: a report took too long."""
    return HttpError(503, "query_timeout", message, retry_after_s=RETRY_AFTER_S)


def from_store(error: BaseException) -> HttpError:
    """Turn what went wrong below into an answer."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, StoreUnavailable):
        return unavailable(str(error))
    return internal_error()


def internal_error() -> HttpError:
    """500: a fault of ours."""
    return HttpError(500, "internal_error", "the collector failed; its log says how. Nothing of this request was kept.")


async def send_error(error: HttpError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a raw ASGI request with an error."""
    await error.response()(scope, receive, send)


def handle_http_error(_: Request, error: Exception) -> Response:
    """Starlette's handler for `HttpError`."""
    assert isinstance(error, HttpError)
    return error.response()


def handle_starlette_error(request: Request, error: Exception) -> Response:
    """Starlette's own errors (404, 405) in our form."""
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    path = request.scope["path"][:100]
    message = {
        404: f"there is nothing at {path}",
        405: f"{request.method} is not allowed at {path}",
    }
    answer = HttpError(
        error.status_code, codes.get(error.status_code, "http_error"), message.get(error.status_code, error.detail)
    ).response()
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


def handle_collector_error(_: Request, error: Exception) -> Response:
    """Errors of the layers below that say what to do."""
    assert isinstance(error, TouchtrailCollectorError)
    if isinstance(error, QueryTimeout):
        return query_timeout(str(error)).response()
    if isinstance(error, DatabaseMissing):  # of a running collector: it was taken away
        return unavailable("the database is not there; put it back, or restart the collector").response()
    if isinstance(error, StoreUnavailable):
        return unavailable(str(error)).response()
    if isinstance(error, PluginError):
        return HttpError(500, "plugin_failed", str(error)).response()
    code = "bad_usage" if isinstance(error, UsageError) else "bad_request"
    return HttpError(400, code, str(error)).response()


def handle_unexpected(_: Request, __: Exception) -> Response:
    """Whatever nobody foresaw: uvicorn logs the traceback, the client gets JSON all the same."""
    answer = internal_error().response()
    # The server ends the connection after what it did not foresee; unsaid, the client's next request would be lost.
    answer.headers["connection"] = "close"
    return answer
