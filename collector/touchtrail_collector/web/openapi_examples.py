"""The examples of `/openapi.json`; a test sends each request and compares the answer of the same name."""

from __future__ import annotations

from typing import Any, Final

VIEWED: Final = {
    "event_id": "0193-1",
    "name": "product_viewed",
    "occurred_at": "2026-11-21T10:00:00.000Z",
    "anonymous_id": "a-1",
    "page": {"url": "https://shop.example/p/1?utm_source=google&utm_medium=cpc", "title": "Shoe"},
    "consent": {"analytics": True, "ads": False},
    "properties": {"sku": "SKU-1", "name": "Shoe", "price": "129.90", "currency": "EUR"},
}
PLACED: Final = {
    "event_id": "0193-2",
    "name": "order_placed",
    "occurred_at": "2026-11-21T10:00:02.000Z",
    "anonymous_id": "a-1",
    "customer_id": "c-42",
    "consent": {"analytics": True},
    "properties": {"order_id": "1001", "total": "129.90", "currency": "EUR"},
}
MISSPELT: Final = {"event_id": "0193-3", "name": "product_viewed", "anonymous_id": "a-1", "properties": {"prize": "1"}}

REJECTED: Final = {
    "index": 2,
    "id": "0193-3",
    "code": "unknown_field",
    "field": "properties.prize",
    "message": "there is no field properties.prize, did you mean price?; put data of your own into `extra`",
}
BODIES: Final = {
    "batch": {
        "summary": "A batch with one event that does not fit",
        "value": {"sent_at": "2026-11-21T10:00:02.500Z", "events": [VIEWED, PLACED, MISSPELT]},
    },
    "list": {"summary": "A list of events", "value": [VIEWED | {"event_id": "0193-4"}]},
    "event": {"summary": "One event", "value": VIEWED | {"event_id": "0193-5"}},
    "again": {"summary": "What was sent before", "value": VIEWED},
}
ACKS: Final = {
    "batch": {"value": {"accepted": 2, "duplicates": 0, "rejected": [REJECTED]}},
    "list": {"value": {"accepted": 1, "duplicates": 0, "rejected": []}},
    "event": {"value": {"accepted": 1, "duplicates": 0, "rejected": []}},
    "again": {"value": {"accepted": 0, "duplicates": 1, "rejected": []}},
}
NEVER_A_DUPLICATE: Final = {"again": {"value": {"accepted": 1, "duplicates": 0, "rejected": []}}}

REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "/v1/events": BODIES,
    "/v1/events/validate": BODIES,
    "/api/v1/admin/create_key": {
        "write key": {"value": {"source": "web", "origins": ["https://shop.example"]}},
        "read token": {"value": {}},
    },
    "/api/v1/admin/set_sender": {"mode": {"value": {"source": "web", "mode": "consent_required"}}},
    "/api/v1/admin/rebuild": {"rebuild": {"value": {}}},
    "/api/v1/admin/plugins": {"plugins": {"value": {}}},
    "/api/v1/admin/replay": {"by code": {"value": {"code": "unknown_field"}}},
}
"""By path, then by name."""

ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "/v1/events": ACKS,
    "/v1/events/validate": ACKS | NEVER_A_DUPLICATE,
    "/healthz": {"alive": {"value": {"status": "ok"}}},
    "/api/v1/admin/set_sender": {"mode": {"value": {"source": "web"}}},
}
"""By path, then by the name of the request; what an answer is that differs from time to time is not shown."""

PARAMETERS: Final[dict[str, Any]] = {
    "start": "2026-01-01",
    "end": "2026-12-31",
    "time_zone": "Europe/Berlin",
    "currency": "EUR",
    "lookback_days": 30,
    "impressions": False,
    "limit": 5,
}
"""By name, the same for all reports."""
