"""Odd events: what broken and hostile senders put where something else belongs, most of it still an event."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from hypothesis import strategies as st

from shop_events import START_MS, rfc3339
from touchtrail.events import VOCABULARY, Line

DAY_MS = 86_400_000
TEXTS = st.text(max_size=20) | st.sampled_from(
    [
        "", " ", "\0", "a\0b", "\r\n", "\x1b[2J", "\u202e", "\ufeff", "\U0001f6d2", "=1+1", "@SUM(A1)", "-1", "+1", "\t",
        "<script>alert(1)</script>", "';DROP TABLE events;--", "%s%n", "{}", "null", "NaN", "0", "undefined",
        "x" * 256, "\u0130", "ß" * 50, "https://[::1", "http://a@b:c/", "//", "?utm_source=%ff&utm_medium", "a" * 300,
    ]
)  # fmt: skip
IDS = st.sampled_from([*"abcdefghijkl", "o-1", "o-2", "o-3", "0", "guest", " ", "\0", "x" * 256, "\u0130", "=1"])
AMOUNTS = st.sampled_from(
    ["0", "-0", "0.001", "1e3", "1E-9", "999999999999", 1e12, 5, 0.1, 129.9, "129.90", 2.5e-320, "1e999999999", "12,5"]
)  # fmt: skip
CURRENCIES = st.sampled_from(["EUR"] * 12 + ["JPY", "KWD", "CLF", "XAU", "eur"])
TIMES = st.sampled_from(
    [rfc3339(START_MS + hour * 3_600_000) for hour in range(0, 2000, 40)] + ["2000-01-01T00:00:00Z", "2099-12-31T23:59:59.999999999Z", "2026-06-30T23:59:60Z", "1970-01-01T00:00:00Z",
     "9999-12-31T23:59:59Z", "2026-02-30T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00+23:59", "", 5]
)  # fmt: skip
COUNTS = st.sampled_from([*range(12), 1_000_000, 2**53 - 1, 2**53, 1.5])
NUMBERS = COUNTS | st.sampled_from([2**63, 2**64, 10**40, -1, 1e308, -0.0])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


def fitting(field: msgspec.structs.FieldInfo) -> st.SearchStrategy[Any]:
    """Return odd values of about the right kind for a field."""
    kind = repr(field.type)
    by_name = {"currency": CURRENCIES, "order_id": IDS, "extra": st.dictionaries(TEXTS, ANYTHING, max_size=3)}
    if field.name in by_name:
        return by_name[field.name]
    if "Line" in kind:
        return st.lists(st.fixed_dictionaries({}, optional=fields_of(Line)), max_size=3)
    if "Decimal" in kind:
        return AMOUNTS
    if "Literal" in kind:
        return st.sampled_from([*literals(field.type)] or ["x"])
    if "datetime" in kind:
        return TIMES
    if "dict" in kind:
        return st.dictionaries(TEXTS, TEXTS | ANYTHING, max_size=3)
    if "list" in kind:
        return st.lists(TEXTS, max_size=30)
    return COUNTS if "int" in kind or "float" in kind else st.booleans() if "bool" in kind else TEXTS


def literals(kind: Any) -> list[str]:
    """Return the texts a Literal allows, whatever it is wrapped in."""
    found = []
    for part in getattr(kind, "__args__", ()):
        found += [part] if isinstance(part, str) else literals(part)
    return found


def fields_of(kind: Any) -> dict[str, st.SearchStrategy[Any]]:
    """Return a strategy for each field of a struct."""
    return {field.name: fitting(field) for field in msgspec.structs.fields(kind)}


@cache
def event_of(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return odd events of a declared name: what is required is there, the rest may be."""
    kind = VOCABULARY[name]
    required = {field.name for field in msgspec.structs.fields(kind) if field.required}
    strategies = fields_of(kind)
    properties = st.fixed_dictionaries(
        {field: strategies[field] for field in required},
        optional={field: strategy for field, strategy in strategies.items() if field not in required},
    )
    return envelopes(st.just(name), properties)


def envelopes(
    names: st.SearchStrategy[str], properties: st.SearchStrategy[dict[str, Any]]
) -> st.SearchStrategy[dict[str, Any]]:
    """Return odd envelopes around properties."""
    texts = dict.fromkeys(("url", "referrer", "title", "path"), TEXTS)
    campaign = dict.fromkeys(("source", "medium", "name", "term", "content", "id"), TEXTS)
    device = dict.fromkeys(("user_agent", "locale", "time_zone", "screen", "kind", "ip"), TEXTS)
    return st.fixed_dictionaries(
        {"event_id": st.uuids().map(str) | IDS, "name": names, "anonymous_id": IDS, "properties": properties},
        optional={
            "occurred_at": TIMES,
            "customer_id": IDS,
            "session_id": IDS,
            "page": st.fixed_dictionaries({}, optional=texts),
            "campaign": st.fixed_dictionaries(
                {}, optional=campaign | {"click_ids": st.dictionaries(TEXTS, TEXTS, max_size=2)}
            ),
            "device": st.fixed_dictionaries({}, optional=device),
            "consent": st.fixed_dictionaries({}, optional={"analytics": st.booleans(), "ads": st.none()}),
            "identifiers": st.dictionaries(
                st.sampled_from(["email", "phone", "loyalty_card", "coupon_code", "ip"]) | TEXTS, TEXTS, max_size=3
            ),
        },
    )


ODD_EVENTS = st.sampled_from(sorted(VOCABULARY)).flatmap(event_of) | envelopes(
    st.sampled_from(["own_thing", "_", "SELECT", "n" * 64]) | TEXTS,
    st.dictionaries(TEXTS | st.sampled_from(["order_id", "coupon_code", "coupon_codes", "sku"]), ANYTHING, max_size=5),
)
"""About half of them can be kept."""
