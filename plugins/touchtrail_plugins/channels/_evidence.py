"""What the rules look at: one contact's traffic, weighed once."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from touchtrail_collector.api import Traffic

from ._origins import Kind, Origins

PAID_MEDIUM = re.compile(r"^(.*cp.*|ppc|retargeting|paid.*)$", re.IGNORECASE)
"""Source: GA4 default channel group, the medium of paid channels."""

SHOPPING_CAMPAIGN = re.compile(r"^(.*(([^a-df-z]|^)shop|shopping).*)$", re.IGNORECASE)
"""Source: GA4 default channel group, the campaign name of shopping channels."""

AD_EVENTS = frozenset({"ad_impression", "ad_click"})

_NO_MEDIUM = frozenset({"(none)", "(not set)"})
_ERRANDS = frozenset({"payment", "sign_in"})
_GOOGLE_NETWORKS = frozenset({"video", "display", "shopping"})


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one contact.

    Args:
        medium: None also for GA's `(none)` and `(not set)`.
        kind: who sent the person: by the source's name, else by click id and referrer.
        free_kind: the same for unpaid channels: a medium that says something else keeps referrer and click id out.
        named: ``kind`` comes from the source's name.
        is_paid: medium, event, click id or the source's name say that somebody paid.
        has_paid_medium: the medium alone says so.
        has_referrer: the person came from somebody else's page or app; a payment or a sign-in is none.
    """

    event: str
    source: str | None
    medium: str | None
    campaign: str
    click_ids: frozenset[str]
    kind: Kind | None
    free_kind: Kind | None
    named: bool
    is_paid: bool
    has_paid_medium: bool
    has_referrer: bool


class Scales:
    """Weighs traffic with the reference data and the shop's own hosts.

    Args:
        own_hosts: the shop's hosts; each stands for itself and everything below it.
        paid_click_ids: click ids that mean an advertisement in this shop, beside the search engines'.
    """

    def __init__(self, origins: Origins, own_hosts: tuple[str, ...] = (), paid_click_ids: tuple[str, ...] = ()) -> None:
        self.origins = origins
        self._kind_of_host = lru_cache(maxsize=8192)(origins.kind_of_host)
        self._own_hosts = own_hosts
        self._own_endings = tuple("." + host for host in own_hosts)
        self._search_ids = frozenset(name for name, kind in origins.click_ids.items() if kind == "search")
        self._paid_ids = frozenset(paid_click_ids)

    def is_internal(self, traffic: Traffic) -> bool:
        """True when the contact has no origin of its own: it comes from the shop itself, a payment, a sign-in."""
        return self._refers_inside(traffic) or self._names_inside(traffic)

    def weigh(self, traffic: Traffic) -> Evidence:
        """Return the evidence in one contact's traffic."""
        source, medium = traffic.source, traffic.medium
        if medium in _NO_MEDIUM:
            medium = None
        if self._names_inside(traffic):
            source = medium = None
        has_referrer = traffic.referrer_host is not None and not self._refers_inside(traffic)
        # An impression's referrer is that of the page it was shown on.
        has_referrer = has_referrer and traffic.event != "ad_impression"
        named_kind, is_alias = (None, False) if source is None else self.origins.kind_of_source(source)
        linked_kind = self._kind_of_link(traffic, has_referrer)
        kind = linked_kind if source is None else named_kind
        has_paid_medium = medium is not None and PAID_MEDIUM.search(medium) is not None
        click_pays = self._click_pays(traffic, source, medium, kind)
        if click_pays and kind is None:
            kind = "search"
        return Evidence(
            event=traffic.event,
            source=source,
            medium=medium,
            campaign=traffic.campaign or "",
            click_ids=frozenset(traffic.click_ids),
            kind=kind,
            free_kind=named_kind if source is not None else linked_kind if medium is None else None,
            named=source is not None and named_kind is not None,
            is_paid=has_paid_medium or is_alias or click_pays or traffic.event in AD_EVENTS,
            has_paid_medium=has_paid_medium,
            has_referrer=has_referrer,
        )

    def _refers_inside(self, traffic: Traffic) -> bool:
        host, landing, domain = traffic.referrer_host, traffic.landing_host, traffic.referrer_domain
        if host is None:
            return False
        # blog.shop.example to www.shop.example: one registered domain is one shop.
        if landing is not None and (landing == host or (domain is not None and _is_below(landing, domain))):
            return True
        return self._is_own(host) or self._kind_of_referrer(traffic) in _ERRANDS

    def _names_inside(self, traffic: Traffic) -> bool:
        # Clients that follow GA's habits write the host they came from into the source.
        source = traffic.source
        if source is None or "." not in source or traffic.medium not in {None, "referral"}:
            return False
        return self._is_own(source) or self.origins.kind_of_source(source)[0] in _ERRANDS

    def _is_own(self, host: str) -> bool:
        return host in self._own_hosts or host.endswith(self._own_endings)

    def _kind_of_referrer(self, traffic: Traffic) -> Kind | None:
        host = traffic.referrer_host
        if host is None:
            return None
        if traffic.referrer_is_app:
            return self.origins.kind_of_app(host)
        return self._kind_of_host(host, traffic.referrer_domain)

    def _kind_of_link(self, traffic: Traffic, has_referrer: bool) -> Kind | None:
        """Return who a link without a source came from.

        A click id that is only ever paid for beats the referrer; one that is stamped on plain links too does not:
        such an address may since have been found through a search.
        """
        clicked = {self.origins.click_ids[name] for name in traffic.click_ids if name in self.origins.click_ids}
        referring = self._kind_of_referrer(traffic) if has_referrer else None
        if "display" in clicked:
            return "display"
        if "search" in clicked:
            return referring if referring in _GOOGLE_NETWORKS else "search"
        if "affiliate" in clicked:
            return "affiliate"
        if referring is not None and referring != "referral":
            return referring
        return referring if has_referrer and not clicked else min(clicked, default=None)

    def _click_pays(self, traffic: Traffic, source: str | None, medium: str | None, kind: Kind | None) -> bool:
        if medium is None and not self._paid_ids.isdisjoint(traffic.click_ids):
            return True
        if "dclid" in traffic.click_ids or self._search_ids.isdisjoint(traffic.click_ids):
            return False
        if medium is None:
            # A source that names somebody else was written later than the click id it was copied with.
            return source is None or kind in {None, "search"} or kind in _GOOGLE_NETWORKS
        return source is not None and kind == "search"


def _is_below(host: str, domain: str) -> bool:
    return host == domain or host.endswith("." + domain)
