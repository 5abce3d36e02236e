"""A browser that is signed in, as the headers of its requests."""

from __future__ import annotations

from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.sessions import csrf_token_of


def signed_in(collector: Collector) -> dict[str, str]:
    """Begin a session and return what a page of the collector at http://127.0.0.1 would send."""
    token = collector.sessions.start(collector.sessions.generation)
    assert token is not None
    return {
        "cookie": f"touchtrail_session={token}",
        "x-csrf-token": csrf_token_of(token),
        "sec-fetch-site": "same-origin",
    }
