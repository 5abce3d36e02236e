"""`/`: the first page of who is signed in."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ..services.collector import Collector
from ..services.reports import REPORTS
from ..services.sessions import Session
from .pages import Reader, page
from .pages.words import ReportWords
from .session_endpoint import Form


async def home(request: Request, session: Session, _: Form) -> Response:
    """Return the page that names the reports."""
    reader = Reader(request)
    collector: Collector = request.app.state.collector
    reports = {
        name: reader.words.by_report.get(name, ReportWords(name, report.answers)) for name, report in REPORTS.items()
    }
    shop = collector.settings.shop.name
    return page("home", reader, shop=shop, csrf_token=session.csrf_token, reports=reports)
