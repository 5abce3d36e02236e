"""`GET /api/v1/reports/NAME`: a report's result struct as JSON, with a read token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..errors import ReportError
from ..services.collector import Collector
from ..services.reports import REPORTS, open_report_context
from .answer import json_response
from .errors import RETRY_AFTER_S, HttpError

Values = Mapping[str, Sequence[str]]


class ReportsEndpoint:
    """Answers reports, a few at a time.

    Their arithmetic shares the interpreter, and their memory the machine, with what takes events. Eight attribution
    reports at once over 100,000 orders took each other so much time that none of them met its deadline, four times as
    much memory as one, and four times as long over each batch of events (measured). Those that cannot begin wait as
    long as a query may take.

    Args:
        make: makes a report by its name from the query's parameters, in a thread.
    """

    def __init__(self, collector: Collector, make: Callable[[Collector, str, Values], object] | None = None) -> None:
        self._collector = collector
        self._make = make or compute
        self._wait_s = collector.settings.store.report_deadline_s
        self._turns = asyncio.Semaphore(collector.settings.server.reports_at_once)

    async def answer(self, request: Request) -> Response:
        """Answer one report; its parameters are the query's. Raises: HttpError 400, 404, 503."""
        name = request.path_params["name"]
        if name not in REPORTS:
            raise HttpError(404, "unknown_report", f"there is no report {name[:64]!r}; there are: {', '.join(REPORTS)}")
        values: dict[str, list[str]] = {}
        for key, value in request.query_params.multi_items():
            values.setdefault(key.replace("-", "_"), []).append(value)
        try:
            async with asyncio.timeout(self._wait_s):
                await self._turns.acquire()
        except TimeoutError:
            raise busy(self._wait_s) from None
        try:
            if await request.is_disconnected():  # nobody waits for it any more
                raise ClientDisconnect
            return json_response(await run_in_threadpool(self._make, self._collector, name, values))
        finally:
            self._turns.release()


def busy(waited_s: float) -> HttpError:
    """503: other reports took so long that this one did not begin."""
    message = f"other reports are being made, and none of them ended within {waited_s:g} s; ask again later"
    return HttpError(503, "busy", message, retry_after_s=RETRY_AFTER_S)


def compute(collector: Collector, name: str, values: Values) -> object:
    """Return a report's result. Raises HttpError 400 naming the parameter at fault."""
    entry = REPORTS[name]
    deadline_s = collector.settings.store.report_deadline_s
    with open_report_context(collector.settings, host=collector.host, deadline_s=deadline_s) as context:
        try:
            return entry.run(context, entry.read_parameters(values))
        except ReportError as error:
            raise HttpError(400, "invalid_parameter", str(error), field=error.parameter) from None
