"""Proxies, addresses of visitors and options of the web integrations."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from touchtrail import OptionsError
from touchtrail.integrations.address import Proxies, address_text, read_address
from touchtrail.integrations.visit import HttpRequest, WebOptions

INSIDE = ("10.0.0.0/8", "fd00::/8")


def request(peer: str | None, forwarded: str = "", **headers: str) -> HttpRequest:
    given = {"x-forwarded-for": forwarded, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return HttpRequest("GET", "http", "shop.example", "/", "", {k: v for k, v in given.items() if v}, peer)


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "visitor"),
    [
        pytest.param("198.51.100.7", "203.0.113.9", INSIDE, "198.51.100.7", id="forged by a visitor"),
        pytest.param("198.51.100.7", "203.0.113.9", (), "198.51.100.7", id="nobody is trusted"),
        pytest.param("10.0.0.1", "203.0.113.9", INSIDE, "203.0.113.9", id="one proxy"),
        pytest.param("10.0.0.1", "1.1.1.1, 203.0.113.9", INSIDE, "203.0.113.9", id="forged through a proxy"),
        pytest.param("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2", INSIDE, "203.0.113.9", id="two proxies"),
        pytest.param("10.0.0.1", "10.1.1.1, 10.0.0.2", INSIDE, "10.1.1.1", id="a visitor from inside"),
        pytest.param("10.0.0.1", "", INSIDE, "10.0.0.1", id="the proxy itself asks"),
        pytest.param("10.0.0.1", "203.0.113.9, unknown", INSIDE, None, id="a proxy that does not say"),
        pytest.param("10.0.0.1", "203.0.113.9:4711", INSIDE, "203.0.113.9", id="with a port"),
        pytest.param("fd00::1", "[2001:db8::9]:4711", INSIDE, "2001:db8::9", id="IPv6 with a port"),
        pytest.param("::ffff:10.0.0.1", "203.0.113.9", INSIDE, "203.0.113.9", id="IPv4 seen by an IPv6 socket"),
        pytest.param("fe80::1%eth0", "203.0.113.9", ("fe80::/10",), "203.0.113.9", id="with a zone"),
        pytest.param(None, "203.0.113.9", ("unix",), "203.0.113.9", id="a Unix socket that is trusted"),
        pytest.param(None, "203.0.113.9", INSIDE, None, id="a Unix socket that is not"),
        pytest.param("testclient", "203.0.113.9", ("unix",), None, id="no address is no Unix socket"),
    ],
)
def test_the_visitor_is_the_first_address_from_the_right_that_is_no_trusted_proxy(
    peer: str | None, forwarded: str, trusted: tuple[str, ...], visitor: str | None
) -> None:
    found = Proxies(trusted).origin(request(peer, forwarded)).address
    assert (None if found is None else str(found)) == visitor


@pytest.mark.parametrize(
    ("peer", "proto", "host", "expected"),
    [
        pytest.param("10.0.0.1", "https", "www.shop.example", ("https", "www.shop.example"), id="trusted"),
        pytest.param("198.51.100.7", "https", "evil.example", ("http", "shop.example"), id="not trusted"),
        pytest.param(
            "10.0.0.1", "evil, https", "evil.example, shop.example:8443", ("https", "shop.example:8443"), id="forged"
        ),
        pytest.param("10.0.0.1", "", "", ("http", "shop.example"), id="says nothing"),
        pytest.param("10.0.0.1", "HTTPS", 'shop.example"><script>', ("https", ""), id="no host"),
        pytest.param("10.0.0.1", "gopher", "[2001:db8::1]:80", ("http", "[2001:db8::1]:80"), id="no web scheme"),
    ],
)
def test_scheme_and_host_come_from_the_proxy_only_when_it_is_trusted(
    peer: str, proto: str, host: str, expected: tuple[str, str]
) -> None:
    origin = Proxies(INSIDE).origin(request(peer, x_forwarded_proto=proto, x_forwarded_host=host))
    assert (origin.scheme, origin.host) == expected


def test_with_two_proxies_the_outer_ones_word_on_the_scheme_counts() -> None:
    two = request("10.0.0.1", "203.0.113.9, 10.0.0.2", x_forwarded_proto="https, http")
    assert Proxies(INSIDE).origin(two).scheme == "https"


@pytest.mark.parametrize(
    ("address", "truncated"),
    [
        ("203.0.113.9", "203.0.113.0"),
        ("2001:db8:aaaa:bbbb::9", "2001:db8:aaaa::"),
        ("::ffff:203.0.113.9", "203.0.113.0"),
    ],
)
def test_an_address_leaves_the_shop_only_as_far_as_the_mode_allows(address: str, truncated: str) -> None:
    known = read_address(address)
    assert address_text(known, "none") is None
    assert address_text(known, "truncated") == truncated
    assert address_text(known, "full") == str(known)
    assert address_text(None, "full") is None


addresses = st.one_of(
    st.ip_addresses().map(str), st.text(max_size=20), st.sampled_from(["unknown", "_hidden", "", "[", "::1%"])
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.none(), addresses), st.lists(addresses, max_size=6))
def test_an_untrusted_peer_is_the_visitor_whatever_its_headers_say(peer: str | None, forwarded: list[str]) -> None:
    trusted = Proxies(("192.0.2.0/24",))
    asked = request(peer, ",".join(forwarded), x_forwarded_proto="https", x_forwarded_host="evil.example")
    origin = trusted.origin(asked)
    known = read_address(peer)
    if known is None or not str(known).startswith("192.0.2."):
        assert (origin.address, origin.scheme, origin.host) == (known, "http", "shop.example")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"visitor_id": "always"}, "visitor_id"),
        ({"cookie_max_age_s": 396 * 86_400}, "cookie_max_age_s"),
        ({"cookie_max_age_s": 0}, "cookie_max_age_s"),
        ({"cookie_name": "tt visitor"}, "cookie_name"),
        ({"cookie_name": "a", "consent_cookie_name": "a"}, "consent_cookie_name"),
        ({"cookie_name": "__Host-tt"}, "cookie_name"),
        ({"cookie_name": "__Host-tt", "cookie_secure": True, "cookie_domain": "shop.example"}, "cookie_name"),
        ({"cookie_domain": "shop.example; HttpOnly"}, "cookie_domain"),
        ({"cookie_same_site": "None"}, "cookie_same_site"),
        ({"cookie_secure": 1}, "cookie_secure"),
        ({"browser_tracker": "yes"}, "browser_tracker"),
        ({"own_hosts": "shop.example"}, "own_hosts"),
        ({"own_hosts": ("https://shop.example",)}, "own_hosts"),
        ({"client_address": "half"}, "client_address"),
        ({"trusted_proxies": ("10.0.0.1/8",)}, "trusted_proxies"),
        ({"trusted_proxies": ("*",)}, "trusted_proxies"),
        ({"hidden_parameters": "token"}, "hidden_parameters"),
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused_by_name(given: dict[str, Any], named: str) -> None:
    with pytest.raises(OptionsError) as refused:
        WebOptions(**given)
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [named]


def test_options_name_all_problems_at_once() -> None:
    with pytest.raises(OptionsError) as refused:
        WebOptions(visitor_id="x", cookie_max_age_s=-1, trusted_proxies=("x", "y"))
    assert len(refused.value.problems) == 4


def test_options_are_read_from_settings_and_unknown_ones_are_errors() -> None:
    read = msgspec.convert({"own_hosts": ["a.example"], "visitor_id": "never"}, WebOptions)
    assert read == WebOptions(own_hosts=("a.example",), visitor_id="never")
    with pytest.raises(msgspec.ValidationError, match="cookie_nam"):
        msgspec.convert({"cookie_nam": "x"}, WebOptions)
