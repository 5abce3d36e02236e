"""`GET /api/v1/reports/NAME`: a report's result struct as JSON, with a read token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..errors import ReportError
from ..services.collector import Collector
from ..services.reports import REPORTS, open_report_context
from .answer import json_response
from .errors import HttpError


async def report(request: Request) -> Response:
    """Answer one report; its parameters are the query's."""
    collector: Collector = request.app.state.collector
    name = request.path_params["name"]
    if name not in REPORTS:
        raise HttpError(404, "unknown_report", f"there is no report {name[:64]!r}; there are: {', '.join(REPORTS)}")
    values: dict[str, list[str]] = {}
    for key, value in request.query_params.multi_items():
        values.setdefault(key.replace("-", "_"), []).append(value)
    return json_response(await run_in_threadpool(compute, collector, name, values))


def compute(collector: Collector, name: str, values: Mapping[str, Sequence[str]]) -> object:
    """Return a report's result. Raises HttpError 400 naming the parameter at fault."""
    entry = REPORTS[name]
    deadline_s = collector.settings.store.report_deadline_s
    with open_report_context(collector.settings, host=collector.host, deadline_s=deadline_s) as context:
        try:
            return entry.run(context, entry.read_parameters(values))
        except ReportError as error:
            raise HttpError(400, "invalid_parameter", str(error), field=error.parameter) from None
