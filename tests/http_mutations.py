"""Requests that are nearly right: bodies, JSON and headers changed at random, the same for the same seed."""

from __future__ import annotations

import copy
import gzip
import json
import zlib
from collections.abc import Iterator
from random import Random
from typing import Any
from urllib.parse import quote

from shop_events import wire_event

HOSTILE_JSON: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**63, -(2**63) - 1, 10**40, 1e308, -0.0, 5e-324, "", " ", "\x00", "a\x00b", "\ud800", "\U0001f600\udfff",
    "x" * 70_000, "\u202e", "<script>alert(1)</script>", "=1+1", "a@b.example", "../../etc/passwd", "%s%n", "'; DROP TABLE events;--",
    "2026-02-30T00:00:00Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59.999Z", "2026-01-01T00:00:00", [], {}, [[]], {"": ""}, [None] * 100,
    {"a": {"b": {"c": {"d": {"e": {}}}}}}, {"\x00": 1}, {"extra": {str(n): n for n in range(100)}}, "1e999", "NaN", "12.345678901234567890",
)  # fmt: skip
HOSTILE_BYTES = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\x80", b"NaN", b"Infinity", b"1e400", b'"', b"\\", b"\\u0000", b"\\ud800", b"{", b"}",
    b"[", b"]", b",", b":", b"-", b"[" * 2000, b"1" * 5000, b"//", b"\r\n", b"\x1f\x8b", b'{"a":' * 500, b"\xf0\x9f\x98",
)  # fmt: skip
PERSON = {"anonymous_id": "a-1", "customer_id": "c-1", "session_id": "s"}
ENVELOPE = {
    "page": {"url": "https://shop.example/?utm_source=x&gclid=1", "referrer": "https://www.google.com/", "title": "T"},
    "campaign": {"source": "google", "medium": "cpc", "click_ids": {"gclid": "x"}},
    "device": {"user_agent": "Mozilla/5.0", "locale": "de", "screen": "1x1", "ip": "192.0.2.1"},
    "consent": {"analytics": True, "ads": False},
    "identifiers": {"email": "a@b.example", "loyalty_card": "7"},
}
LINES = [{"sku": "S", "name": "N", "quantity": 2, "unit_price": "10.00", "category": "C"}]
ORDER = {
    "order_id": "o-1",
    "currency": "EUR",
    "total": "20.00",
    "goods": "20.00",
    "lines": LINES,
    "coupon_codes": ["X"],
}
EVENTS = (
    ("page_viewed", {}),
    ("product_viewed", {"sku": "S", "name": "N", "price": "10.00", "currency": "EUR"}),
    ("order_placed", ORDER),
    ("order_refunded", {"order_id": "o-1", "amount": "5.00", "currency": "EUR", "reason": "r"}),
    ("order_cancelled", {"order_id": "o-1"}),
    (
        "ad_spend_reported",
        {"date": "2026-01-01", "platform": "x", "campaign": "c", "amount": "1.00", "currency": "EUR"},
    ),
    ("my_own_event", {"a": [1, {"b": None}], "c": 1.5}),
)


class Mutator:
    """Makes requests out of good ones.

    Args:
        seed: the same seed makes the same requests.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._number = 0

    def event(self) -> dict[str, Any]:
        """Return a good event of its own id."""
        self._number += 1
        name, properties = self.random.choice(EVENTS)
        parts = {part: value for part, value in ENVELOPE.items() if self.random.random() < 0.5}
        return wire_event(
            f"fuzz-{self._number}", name, **PERSON, **json.loads(json.dumps(parts)), properties=dict(properties)
        )

    def batch(self) -> Any:
        """Return a good body, with events whose members were exchanged for hostile values."""
        events = [self.event() for _ in range(self.random.randint(1, 4))]
        for event in events:
            for _ in range(self.random.choice((0, 1, 1, 2))):
                self.spoil(event)
        return self.random.choice((events, {"events": events, "sent_at": "2026-01-01T00:00:00Z"}, events[0]))

    def spoil(self, value: Any) -> None:
        """Exchange, add or take away one member somewhere inside an object or list."""
        places = list(walk(value))
        holder, key = self.random.choice(places)
        choice = self.random.random()
        if choice < 0.7:
            holder[key] = self.hostile()
        elif choice < 0.85:
            del holder[key]
        elif isinstance(holder, dict):
            holder[self.random.choice(("extra", "x" * 300, "\x00", "", "properties", "consent"))] = self.hostile()

    def hostile(self) -> Any:
        """Return a value of its own, which may itself be spoilt."""
        return copy.deepcopy(self.random.choice(HOSTILE_JSON))

    def body(self) -> bytes:
        """Return a body as JSON, half of the time with its bytes changed."""
        text = json.dumps(self.batch(), ensure_ascii=self.random.random() < 0.5).encode("utf-8", "surrogatepass")
        return self.mangle(text) if self.random.random() < 0.5 else text

    def mangle(self, data: bytes) -> bytes:
        """Flip, drop, double, cut or insert bytes, a few times."""
        for _ in range(self.random.randint(1, 3)):
            at = self.random.randrange(len(data) + 1)
            to = min(len(data), at + self.random.choice((1, 1, 2, 10, 100)))
            bit = self.random.randrange(256)
            data = self.random.choice((
                data[:at] + bytes([bit]) + data[at + 1 :], data[:at] + data[to:], data[:to] + data[at:], data[:at],
                data[:at] + self.random.choice(HOSTILE_BYTES) + data[at:],
            ))  # fmt: skip
        return data

    def encode(self, body: bytes) -> tuple[bytes, bytes]:
        """Return a body in some encoding, damaged at times, and the header that says so or not."""
        name, pack = self.random.choice((
            (b"", bytes), (b"", bytes), (b"gzip", gzip.compress), (b"", gzip.compress), (b"deflate", zlib.compress), (b"br", bytes),
            (b"gzip, gzip", gzip.compress), (b"identity", bytes), (b"\xff", bytes),
        ))  # fmt: skip
        packed = pack(body)
        packed = self.mangle(packed) if self.random.random() < 0.2 else packed
        return packed, b"Content-Encoding: %b\r\n" % name if name else b""

    def target(self, paths: list[str]) -> bytes:
        """Return a request target that is near one of the paths."""
        path = self.random.choice(paths)
        near = self.random.choice((
            path, path + "/", path + "//", path.upper(), path + "?" + "a=b&" * 50, path + "%00", path + "%ff%fe", path + "%zz", path + "%", "/" + path,
            path + "/../" + path, path + "?key=%ff", path + "?%", path + "#x", path.replace("/", "%2f"), quote(path + "\u00fc"), path + ";a=b", "/" + "a" * 5000,
            "*", "http://127.0.0.1" + path, path + "?start=%00", path + "?" + "&" * 2000, "//" + path, path + "\\",
        ))  # fmt: skip
        return (
            near.encode()
            if self.random.random() < 0.9
            else self.mangle(near.encode()).replace(b" ", b"").replace(b"\n", b"") or b"/"
        )

    def headers(self, key: str) -> bytes:
        """Return header lines, the credentials among them good or nearly so."""
        lines = [
            self.random.choice((
                b"Authorization: Bearer " + key.encode(), b"Authorization: bearer\t" + key.encode(), b"Authorization: Basic !!!!", b"Authorization: \xff\xfe",
                b"Authorization: Bearer " + b"k" * 9000, b"Authorization:", b"X-Nothing: 1",
            ))
        ]  # fmt: skip
        lines += [
            self.random.choice((
                b"Origin: https://x.example", b"Origin: \xff", b"Origin: null", b"Content-Type: \xff/\xfe", b"Content-Type: multipart/form-data",
                b"Expect: 100-continue", b"Cookie: " + b"a=b; " * 100, b"Accept-Encoding: \x01", b"X-Forwarded-For: 1.2.3.4, \xff", b"Range: bytes=0-1",
                b"Upgrade: websocket\r\nConnection: Upgrade", b"Connection: close", b"If-None-Match: *", b"Access-Control-Request-Headers: \xff, x",
                b"X-" + b"y" * 200 + b": z", b"Host: evil.example", b"Transfer-Encoding: gzip", b"TE: trailers", b"Content-Encoding: zstd",
            ))
            for _ in range(self.random.randint(0, 3))
        ]  # fmt: skip
        return b"\r\n".join(lines) + b"\r\n"


def walk(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place inside a value as its holder and key."""
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, inner in items:
        yield value, key
        yield from walk(inner)
