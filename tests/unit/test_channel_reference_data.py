"""The reference data of the default channels: consistent, licensed, spelt as it is compared."""

from __future__ import annotations

import re
from importlib import resources

import pytest
from publicsuffixlist import PublicSuffixList

from touchtrail_collector.domain.hostname import host_of
from touchtrail_collector.domain.origin import CLICK_IDS, PAID_CLICK_IDS
from touchtrail_plugins.channels import default
from touchtrail_plugins.channels._origins import KINDS, Origins, reference_data

DATA = reference_data()
README = resources.files("touchtrail_plugins.channels").joinpath("README.md").read_text(encoding="utf-8")


def test_version_and_licence_are_recorded() -> None:
    assert DATA["version"] == "2026.11"
    assert DATA["licence"] == "Apache-2.0"


@pytest.mark.parametrize("column", ["names", "hosts", "labels", "apps", "click_ids"])
def test_an_entry_is_of_one_kind_only(column: str) -> None:
    entries = [entry for kind in KINDS for entry in DATA[kind][column]]
    assert sorted(entries) == sorted(set(entries))


def test_names_are_spelt_as_they_are_compared() -> None:
    names = {name for kind in KINDS for name in DATA[kind]["names"]} | {
        name for names in DATA["aliases"].values() for name in names
    }
    assert {name for name in names if not re.fullmatch(r"[a-z0-9.\-]+", name)} == set()


def test_hosts_are_host_names() -> None:
    hosts = {host.removesuffix(".*") for kind in KINDS for host in DATA[kind]["hosts"]}
    assert {host for host in hosts if host_of(host) != host} == set()


def test_no_host_is_a_public_suffix() -> None:
    suffixes = PublicSuffixList(only_icann=True)
    hosts = {host for kind in KINDS for host in DATA[kind]["hosts"] if not host.endswith(".*")}
    assert {host for host in hosts if suffixes.privatesuffix(host) is None} == set()


def test_every_country_domain_is_an_official_suffix() -> None:
    suffixes = PublicSuffixList(only_icann=True, accept_unknown=False)
    listed = [f"{second}.{country}" for second, all_of in DATA["country_domains"].items() for country in all_of.split()]
    assert {suffix for suffix in listed if suffixes.publicsuffix(suffix) != suffix} == set()


def test_every_click_id_the_collector_reads_belongs_to_a_platform() -> None:
    assert set(Origins({}).click_ids) == set(CLICK_IDS.values())


def test_the_click_ids_that_mean_paid_are_those_of_search_display_and_affiliate_platforms() -> None:
    paid = {name for name, kind in Origins({}).click_ids.items() if kind in {"search", "display", "affiliate"}}
    assert paid == PAID_CLICK_IDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_host_of_the_data_is_found_again(kind: str) -> None:
    origins = Origins({})
    for host in DATA[kind]["hosts"]:
        spelt = [host.replace(".*", ending) for ending in (".com", ".de", ".co.uk")] if ".*" in host else [host]
        found = {origins.kind_of_host(name) for name in spelt} | {origins.kind_of_host("www." + name) for name in spelt}
        # mail.google.com and accounts.google.com have entries of their own beside "….*"
        assert kind in found, host
        assert found == {kind} or ".*" in host, host


def test_the_longest_entry_wins() -> None:
    origins = Origins({})
    assert origins.kind_of_host("www.google.com", "google.com") == "search"
    assert origins.kind_of_host("gemini.google.com", "google.com") == "ai"
    assert origins.kind_of_host("docs.google.com", "google.com") == "referral"
    assert origins.kind_of_host("shopping.google.de", "google.de") == "shopping"


def test_the_readme_names_every_rule_in_order_and_every_setting() -> None:
    rules = [rule.name for rule in default.touchtrail_channels(default.Settings()).rules]
    assert re.findall(r"^\| \d+ \| `([a-z0-9-]+)` \|", README, flags=re.MULTILINE) == rules
    assert [name for name in default.Settings.__struct_fields__ if f"`{name}`" not in README] == []
