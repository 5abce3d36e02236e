"""Who is behind a source name, a referrer or a click id: the reference data of `origins.toml`, ready to ask."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, get_args

Kind = Literal[
    "search",
    "social",
    "video",
    "shopping",
    "ai",
    "email",
    "display",
    "affiliate",
    "customer_referral",
    "referral",
    "payment",
    "sign_in",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

_AD_ENDINGS = ("-ads", "ads", "-ad")


@lru_cache(maxsize=1)
def reference_data() -> dict[str, Any]:
    """Return the contents of `origins.toml`."""
    return tomllib.loads(resources.files(__package__).joinpath("origins.toml").read_text(encoding="utf-8"))


class Origins:
    """The reference data together with what the shop added; the shop's entries win.

    Args:
        added: further source names and hosts per kind. An entry with a dot is a host and all below it.
        newsletter_sources: further `utm_source` names that mean a newsletter.
    """

    def __init__(self, added: Mapping[Kind, Iterable[str]], newsletter_sources: Iterable[str] = ()) -> None:
        data = reference_data()
        self.mediums: dict[str, frozenset[str]] = {key: frozenset(value) for key, value in data["mediums"].items()}
        self.newsletter_mediums = frozenset(data["newsletter"]["mediums"])
        self._newsletters = tuple(_spelt(name) for name in (*data["newsletter"]["sources"], *newsletter_sources))
        self._names = _table(data, "names")
        self._hosts = _table(data, "hosts")
        self._labels = _table(data, "labels")
        self._apps = _table(data, "apps")
        self.click_ids = _table(data, "click_ids")
        self._aliases: dict[str, Kind] = {name: kind for kind in KINDS for name in data["aliases"].get(kind, ())}
        self._country_suffixes = _country_suffixes(data["country_domains"])
        for kind, entries in added.items():
            self._hosts |= {to_host(entry): kind for entry in entries if "." in entry}
            self._names |= {_spelt(entry): kind for entry in entries}

    def kind_of_source(self, source: str) -> tuple[Kind | None, bool]:
        """Return the kind of a `utm_source`, and whether the name itself says that it was an advertisement."""
        name = _spelt(source)
        if (kind := self._names.get(name)) is not None:
            return kind, False
        if (kind := self._aliases.get(name)) is not None:
            return kind, True
        if self._is_newsletter(name):
            return "email", False
        if "." in source and (kind := self.kind_of_host(source)) is not None:
            return kind, False
        for ending in _AD_ENDINGS:
            if name.endswith(ending) and (kind := self._names.get(name[: -len(ending)])) is not None:
                return kind, True
        return None, False

    def kind_of_host(self, host: str, domain: str | None = None) -> Kind | None:
        """Return the kind of a host.

        Args:
            domain: its registered domain where known; a source that is written as a host has none.
        """
        labels = host.split(".")
        brand = self._brand_position(labels, domain)
        for at in range(len(labels) - 1):
            kind = self._hosts.get(".".join(labels[at:]))
            if kind is None and brand is not None and at <= brand:
                kind = self._hosts.get(".".join(labels[at : brand + 1]) + ".*")
            if kind is not None:
                return kind
        return self._kind_of_labels(labels, brand)

    def kind_of_app(self, app_id: str) -> Kind | None:
        """Return the kind of an app by the id in its referrer."""
        return self._apps.get(app_id)

    def _is_newsletter(self, name: str) -> bool:
        return any(name == known or name.startswith(known + "-") for known in self._newsletters)

    def _brand_position(self, labels: list[str], domain: str | None) -> int | None:
        """Return where the `google` of `www.google.co.uk` stands; None when its suffix is no country's and not .com."""
        if domain is not None:
            suffix_labels = domain.count(".")
        else:
            suffix_labels = 2 if ".".join(labels[-2:]) in self._country_suffixes else 1
        suffix = ".".join(labels[-suffix_labels:]) if suffix_labels else ""
        position = len(labels) - suffix_labels - 1
        is_country = suffix == "com" or (len(suffix) == 2 and suffix.isalpha()) or suffix in self._country_suffixes
        return position if is_country and position >= 0 else None

    def _kind_of_labels(self, labels: list[str], brand: int | None) -> Kind | None:
        for position, label in enumerate(labels):
            kind = self._labels.get(label)
            # 3ds.com is a company; 3ds.bank.example asks for the card's confirmation.
            is_below = position < (brand if brand is not None else len(labels) - 2)
            if kind is not None and (kind != "payment" or is_below):
                return kind
        return None


def to_host(text: str) -> str:
    """Return a host of the settings as referrers spell it: lower-case, punycode, without `*.` in front."""
    host = text.strip().lower().removeprefix("*.").rstrip(".")
    return ".".join(
        label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in host.split(".")
    )


def _spelt(name: str) -> str:
    return name.strip().lower().replace(" ", "-").replace("_", "-")


def _table(data: Mapping[str, Any], column: str) -> dict[str, Kind]:
    return {entry: kind for kind in KINDS for entry in data[kind][column]}


def _country_suffixes(data: Mapping[str, str]) -> frozenset[str]:
    return frozenset(f"{second}.{country}" for second, countries in data.items() for country in countries.split())
