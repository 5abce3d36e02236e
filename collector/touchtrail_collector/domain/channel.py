"""Channels: where a touchpoint came from, as marketers group them, and the rules that decide it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A named group of traffic.

    Args:
        name: as reports show it, `Paid Search`.
        medium: `paid`, `owned` or `earned`.
        online: False for store, phone, print, events and word of mouth.
        is_direct: True for the one channel that means "no known origin"; `last_non_direct` passes over it.
    """

    name: str
    medium: Literal["paid", "owned", "earned"]
    online: bool = True
    is_direct: bool = False


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one contact's origin when its channel is decided. All text is lower-case and stripped.

    Args:
        event: the event's name: offline channels are told by it.
        source, medium, campaign, content: the campaign's parts (`utm_*` or the envelope's ``campaign``).
        click_ids: names of the click-id parameters that were present, sorted.
        referrer_host: host of the page the person came from; `com.google.android.gm` for an app referrer.
        referrer_domain: its registered domain by the public suffix list, `google.de`.
        referrer_is_app: the referrer was `android-app://…` or the like.
        landing_host: host of the page the person came to.
    """

    event: str
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    content: str | None = None
    click_ids: tuple[str, ...] = ()
    referrer_host: str | None = None
    referrer_domain: str | None = None
    referrer_is_app: bool = False
    landing_host: str | None = None


class ChannelRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule: traffic that matches belongs to the channel.

    Args:
        name: says what is matched, unique within its rule set, `paid-search`.
        matches: a pure function; its answers are cached per distinct `Traffic`.
        priority: rules are tried from the lowest number to the highest, first match wins. The default rules use
            1000 to 9999: stay below to come first, above to catch what they leave.
    """

    name: str
    channel: Channel
    matches: Callable[[Traffic], bool]
    priority: int


class ChannelRuleSet(msgspec.Struct, frozen=True, kw_only=True):
    """What one plugin contributes: rules with a name and version that stand in every report.

    Args:
        is_internal: tells referrers that are no origin at all: the shop's own hosts and payment gateways. A
            visit that comes from there continues what was before.
    """

    name: str
    version: str
    rules: tuple[ChannelRule, ...]
    is_internal: Callable[[Traffic], bool] | None = None


UNASSIGNED = Channel(name="Unassigned", medium="earned")
"""The channel of traffic no rule matches."""

NO_TOUCH = "(none)"
"""The bucket of conversions without any touch in the look-back window."""


KNOWN_TRAFFIC = 16_384
"""Traffic of which the channel is remembered; one that is made up costs the memory of a real one, some 500 bytes."""


class ChannelClassifier:
    """Decides the channel of traffic with the rules of all plugins, first match wins.

    A rule that raises is reported once to ``on_failure`` and counts as no match: one bad rule must not take
    the others' channels away.
    """

    def __init__(
        self,
        rule_sets: Iterable[ChannelRuleSet],
        on_failure: Callable[[str, ChannelRule, Exception], None] | None = None,
    ) -> None:
        self._sets = tuple(rule_sets)
        ordered = [
            (rule.priority, index, rule_set.name, rule)
            for rule_set in self._sets
            for index, rule in enumerate(rule_set.rules)
        ]
        ordered.sort(key=lambda entry: (entry[0], entry[2], entry[1]))
        self._rules = [(name, rule) for _, _, name, rule in ordered]
        self._internal = [rule_set.is_internal for rule_set in self._sets if rule_set.is_internal is not None]
        self._on_failure = on_failure
        self._cache: dict[Traffic, Channel] = {}

    @property
    def rule_set_names(self) -> tuple[str, ...]:
        """Name and version of every rule set, as reports state them: `default/2026.11`."""
        return tuple(f"{rule_set.name}/{rule_set.version}" for rule_set in self._sets)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every channel a rule can decide, in rule order, and `Unassigned` at the end."""
        seen: dict[str, Channel] = {}
        for _, rule in self._rules:
            seen.setdefault(rule.channel.name, rule.channel)
        seen.setdefault(UNASSIGNED.name, UNASSIGNED)
        return tuple(seen.values())

    def classify(self, traffic: Traffic) -> Channel:
        """Return the channel of ``traffic``; the same traffic always has the same channel."""
        channel = self._cache.get(traffic)
        if channel is None:
            channel = self.explain(traffic)[0]
            if len(self._cache) >= KNOWN_TRAFFIC:
                self._cache.clear()
            self._cache[traffic] = channel
        return channel

    def explain(self, traffic: Traffic) -> tuple[Channel, str]:
        """Return the channel and the rule that decided it, `default:paid-search`."""
        for owner, rule in self._rules:
            try:
                if rule.matches(traffic):
                    return rule.channel, f"{owner}:{rule.name}"
            except Exception as error:  # noqa: BLE001 - a plugin's rule: the boundary of this callback
                if self._on_failure is not None:
                    self._on_failure(owner, rule, error)
        return UNASSIGNED, "core:unassigned"

    def is_internal(self, traffic: Traffic) -> bool:
        """True when the referrer is no origin: an own host, a payment gateway."""
        if traffic.referrer_host is not None and traffic.referrer_host == traffic.landing_host:
            return True
        return any(check(traffic) for check in self._internal)
