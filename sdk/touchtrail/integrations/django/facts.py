"""What the rules for requests need to know of Django's requests and answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse

from .. import exchange

_UNPREFIXED = ("CONTENT_TYPE", "CONTENT_LENGTH")


class RequestHeaders(Mapping[str, str]):
    """A request's headers by lower-case name, read from ``META`` when they are asked for."""

    def __init__(self, meta: Mapping[str, str]) -> None:
        self._meta = meta

    def __getitem__(self, name: str) -> str:
        key = name.upper().replace("-", "_")
        return self._meta[key if key in _UNPREFIXED else f"HTTP_{key}"]

    def __iter__(self) -> Iterator[str]:
        for key in self._meta:
            if key.startswith("HTTP_") or key in _UNPREFIXED:
                yield key.removeprefix("HTTP_").lower().replace("_", "-")

    def __len__(self) -> int:
        return sum(1 for _ in self)


def request_facts(request: HttpRequest) -> exchange.HttpRequest:
    """Return a request's facts.

    Scheme and host are what Django makes of them, with ``SECURE_PROXY_SSL_HEADER`` and ``USE_X_FORWARDED_HOST``;
    a host that ``ALLOWED_HOSTS`` does not allow is none.
    """
    try:
        host = request.get_host()
    except SuspiciousOperation:
        host = ""
    meta = request.META
    return exchange.HttpRequest(
        method=request.method or "",
        scheme=request.scheme,
        host=host,
        path=request.path,
        query=meta.get("QUERY_STRING", ""),
        headers=RequestHeaders(meta),
        peer=meta.get("REMOTE_ADDR") or None,
    )


def answer_facts(response: HttpResponse) -> exchange.HttpAnswer:
    """Return the head of an answer."""
    headers = response.headers
    return exchange.HttpAnswer(
        status=response.status_code,
        content_type=headers.get("Content-Type", ""),
        cache_control=headers.get("Cache-Control", ""),
        location=headers.get("Location", ""),
    )
