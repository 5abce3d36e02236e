"""Host names: one spelling, and the registered domain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.domain.hostname import host_of, registered_domain


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("www.Shop.example", "www.shop.example"),
        ("shop.example:443", "shop.example"),
        ("user:secret@shop.example:8080", "shop.example"),
        ("google.com@evil.example", "evil.example"),
        ("shop.example.", "shop.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("shop\u3002example", "shop.example"),
        ("localhost:8377", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:80", "::1"),
        ("my_host.example", "my_host.example"),
        ("", None),
        (".", None),
        ("a..b", None),
        ("-a.example", None),
        ("sh op.example", None),
        ("shop%2Eexample", None),
        ("[nonsense]", None),
        ("a" * 254, None),
        ("\ud800.example", None),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str | None) -> None:
    assert host_of(text) == host


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.google.co.uk", "google.co.uk"),
        ("google.de", "google.de"),
        ("a.b.yahoo.co.jp", "yahoo.co.jp"),
        ("x.myshopify.com", "x.myshopify.com"),
        ("google.com.evil.example", "evil.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("192.168.0.1", "192.168.0.1"),
        ("::1", "::1"),
        ("co.uk", None),
    ],
)
def test_the_registered_domain_follows_the_public_suffix_list(host: str, domain: str | None) -> None:
    assert registered_domain(host) == domain


@given(st.text())
def test_any_text_has_a_host_in_ascii_or_none(text: str) -> None:
    host = host_of(text)
    assert host is None or (host.isascii() and host == host.lower() and host_of(host.strip("[]")) in {host, None})
