"""The middleware: every request gets its visit, every answer the visit's cookies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http.cookies import SimpleCookie
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.http import FileResponse, HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control

from ..exchange import NO_REQUEST
from ..visit import Visit
from .customer import acustomer_of, customer_of
from .facts import answer_facts, request_facts
from .report import counted
from .tracking import current_tracking


class TouchtrailMiddleware:
    """Gives each request its ``Visit`` as ``request.touchtrail``, and its context to all events tracked meanwhile.

    Stands after Django's `SessionMiddleware` and `AuthenticationMiddleware`. Runs as it is called, in a thread or on
    the event loop, and costs no change between the two.

    Raises:
        ImproperlyConfigured: when the server starts, with everything that is wrong in ``settings.TOUCHTRAIL``.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        if not apps.is_installed("touchtrail.integrations.django"):
            raise ImproperlyConfigured(
                'TouchtrailMiddleware needs its app: add "touchtrail.integrations.django" to INSTALLED_APPS'
            )
        problems = current_tracking().problems
        if problems:
            raise ImproperlyConfigured(f"settings.TOUCHTRAIL cannot work: {'; '.join(problems)}")
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """Serve one request."""
        return self._serve_async(request) if self._is_async else self._serve(request)

    def _serve(self, request: HttpRequest) -> HttpResponse:
        with _begin(request, customer_of(request)) as visit:
            return _finish(visit, self.get_response(request))

    async def _serve_async(self, request: HttpRequest) -> HttpResponse:
        with _begin(request, await acustomer_of(request)) as visit:
            return _finish(visit, await self.get_response(request))


def _begin(request: HttpRequest, customer_id: str | None) -> Visit:
    facts = NO_REQUEST
    with counted("read a request of Django"):
        facts = request_facts(request)
    visit = current_tracking().visits.begin(facts, customer_id=customer_id)
    request.touchtrail = visit
    return visit


def _finish(visit: Visit, response: HttpResponse) -> HttpResponse:
    with counted("finish an answer of Django"):
        cookies = visit.finish(answer_facts(response))
        if cookies:
            # Django keeps cookies apart from the headers, one by name; the written form is kept as it is.
            for text in cookies:
                response.cookies.update(SimpleCookie(text))
            # Django's page cache keeps answers with their cookies and would hand one visitor's id to the next.
            patch_cache_control(response, private=True)
        # A file has no code that could track; wrapped, it would not be sent by the server's own means any more.
        if response.streaming and not isinstance(response, FileResponse):
            stream = response.streaming_content
            response.streaming_content = _astream(visit, stream) if response.is_async else _stream(visit, stream)
    return response


def _stream(visit: Visit, parts: Iterator[bytes]) -> Iterator[bytes]:
    """Let what is tracked while a part is made belong to the visit; between the parts others have the thread."""
    while True:
        with visit:
            part = next(parts, None)
        if part is None:
            return
        yield part


async def _astream(visit: Visit, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        with visit:
            part = await anext(parts, None)
        if part is None:
            return
        yield part
