"""Which names a collector answers to: a page's own name for this machine is never one of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.settings import ServerSettings
from touchtrail_collector.web.hosts import HostNames, bare_name, read_host

LOCAL = ["localhost", "LOCALHOST:8377", "localhost.", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8377", "::1"]
FOREIGN = ["evil.example", "evil.example:8377", "127.0.0.1.evil.example", "localhost.evil.example", "", ":80", "[evil]", "[::1]evil", "127.0.0.1 evil", "0x7f.1", "2130706433"]  # fmt: skip


@pytest.mark.parametrize("host", LOCAL)
@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::", "[::1]", "t.shop.example"])
def test_local_names_are_ours_wherever_it_listens(bound: str, host: str) -> None:
    assert HostNames(ServerSettings(host=bound)).allow(bare_name(host))


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::", "t.shop.example"])
def test_any_other_name_is_not(bound: str, host: str) -> None:
    assert not HostNames(ServerSettings(host=bound, allowed_hosts=("shop.example",))).allow(bare_name(host))


@pytest.mark.parametrize("host", ["192.0.2.1", "192.0.2.1:8377", "[2001:db8::1]:8377"])
def test_an_address_cannot_be_rebound_and_is_let_through_where_more_than_this_machine_is_served(host: str) -> None:
    assert HostNames(ServerSettings(host="0.0.0.0")).allow(bare_name(host))
    assert not HostNames(ServerSettings(host="127.0.0.1")).allow(bare_name(host))


@pytest.mark.parametrize("host", ["t.shop.example", "T.Shop.Example:443", "t.shop.example."])
def test_bound_and_allowed_names_are_ours(host: str) -> None:
    assert HostNames(ServerSettings(host="t.shop.example")).allow(bare_name(host))
    assert HostNames(ServerSettings(allowed_hosts=("t.shop.example",))).allow(bare_name(host))


def test_a_star_allows_any_name() -> None:
    assert all(HostNames(ServerSettings(allowed_hosts=("*",))).allow(bare_name(host)) for host in FOREIGN)


@given(st.text())
def test_any_header_is_read_without_failing_and_foreign_text_is_not_ours(text: str) -> None:
    names = HostNames(ServerSettings())
    assert names.allow(bare_name(text)) == (bare_name(text) in {"localhost", "127.0.0.1", "::1"})


@pytest.mark.parametrize(
    ("hosts", "version", "expected"),
    [
        pytest.param([b"a.example"], "1.1", b"a.example", id="one"),
        pytest.param([b""], "1.1", b"", id="an empty one"),
        pytest.param([b"a.example", b"a.example"], "1.1", None, id="the same twice"),
        pytest.param([b"a.example", b"b.example"], "1.0", None, id="two"),
        pytest.param([], "1.1", None, id="none"),
        pytest.param([], "1.0", b"", id="none, before there was one"),
    ],
)
def test_a_request_gives_one_name(hosts: list[bytes], version: str, expected: bytes | None) -> None:
    headers = [(b"accept", b"*/*"), *((b"host", host) for host in hosts)]
    assert read_host({"type": "http", "http_version": version, "headers": headers}) == expected
