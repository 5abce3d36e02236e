"""Which pages a sender names as its own, and when its keys were used."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.domain.sender import MAX_ORIGINS, read_origin, read_origins
from touchtrail_collector.services.keyring import USE_INTERVAL_MS, KeyUses


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://shop.example/", "https://shop.example"),
        ("HTTPS://Shop.Example:443", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://ünï.example", "https://xn--n-nga1b.example"),
        ("https://u\u0308ni\u0308.example", "https://xn--n-nga1b.example"),
        ("https://STRASSE.example", "https://strasse.example"),
        ("https://Straße.example:443/", "https://xn--strae-oqa.example"),
        ("https://日本語。jp", "https://xn--wgv71a119e.jp"),
        ("https://xn--N-NGA1B.example", "https://xn--n-nga1b.example"),
        ("https://a_b.example:8443", "https://a_b.example:8443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]"),
        ("http://127.0.0.1", "http://127.0.0.1"),
    ],
)
def test_an_origin_is_kept_as_browsers_write_it(text: str, origin: str) -> None:
    assert read_origin(text) == origin
    assert read_origin(origin) == origin


@pytest.mark.parametrize(
    "text",
    ["", "*", "null", "shop.example", "//shop.example", "ftp://shop.example", "https://", "https://shop.example/shop",
     "https://shop.example?a=1", "https://shop.example#a", "https://user@shop.example", "https://shop example",
     "https://shop.example:port", "https://shop.example:99999", "https://a b", "https://[::1", "https://*.shop.example",
     "https://" + "a" * 300, "https://\ud800.example", "https://" + "ü" * 80 + ".example", "https://ü\u200d.example",
     "https://[::1%eth0]"],
)  # fmt: skip
def test_what_is_no_origin_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="an origin is scheme and host, such as"):
        read_origin(text)


@pytest.mark.parametrize(
    ("text", "extra"),
    [
        ("https://shop.example/shop", "the path '/shop'"),
        ("https://ünï.example/a b?c", "the path '/a b'"),
        ("https://jane@shop.example", "the user name"),
        ("https://shop.example/?a=1", "what follows the host"),
    ],
)
def test_the_message_says_what_to_leave_out(text: str, extra: str) -> None:
    with pytest.raises(ValueError, match=f"leave out {re.escape(extra)}, it is no part of what browsers send"):
        read_origin(text)


@given(st.text())
def test_any_text_is_an_origin_or_refused_and_never_has_a_blank(text: str) -> None:
    try:
        origin = read_origin(text)
    except ValueError:
        return
    assert origin.split() == [origin]


def test_origins_are_distinct_and_not_too_many() -> None:
    assert read_origins(["https://b.example", "https://a.example/", "https://B.example"]) == (
        "https://a.example",
        "https://b.example",
    )
    with pytest.raises(ValueError, match="at most 100"):
        read_origins(f"https://s{number}.example" for number in range(MAX_ORIGINS + 1))


def test_uses_are_written_once_a_minute_and_key_and_the_last_at_the_end() -> None:
    written: list[Mapping[str, int]] = []
    uses = KeyUses(written.append)
    start = 1_767_225_600_000
    for second in range(150):
        uses.note("a", start + second * 1000)
    uses.note("b", start + 5_000)
    assert written == [
        {"a": start}, {"a": start + USE_INTERVAL_MS}, {"a": start + 2 * USE_INTERVAL_MS}, {"b": start + 5_000},
    ]  # fmt: skip
    uses.flush()
    uses.flush()
    assert written[4:] == [{"a": start + 149_000}]


def test_a_clock_that_was_put_back_does_not_hide_a_use() -> None:
    written: list[Mapping[str, int]] = []
    uses = KeyUses(written.append)
    uses.note("a", 2_000_000_000_000)
    uses.note("a", 1_767_225_600_000)
    assert written[-1] == {"a": 1_767_225_600_000}
