"""Conformance of channel rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

from touchtrail_collector.api import Channel, ChannelRule, ChannelRuleSet, Traffic
from touchtrail_collector.domain.channel import UNASSIGNED, ChannelClassifier

from ._verdict import Verdict

_WORDS = (None, "", "google", "(not set)", "ünïcødé 漢字 🎉", "a|b.*(c[", "x" * 5000, "\0\n'\"")
_HOSTS = (None, "", "localhost", "www.google.co.uk", "xn--bcher-kva.example", "192.0.2.1", "[2001:db8::1]", "." * 300)


def check_channels(rule_set: ChannelRuleSet, expected: Mapping[Traffic, str | None] | None = None) -> None:
    """Check that channel rules answer yes or no for any traffic, always the same, and are well named.

    Args:
        expected: the channel's name that these rules alone decide for some traffic; None = no rule matches.

    Raises:
        AssertionError: a rule raised, answered something else than a bool or not the same twice; names are
            missing or double; a channel is described in two ways; or traffic fell into another channel.
    """
    verdict = Verdict(f"channel rules {rule_set.name!r}")
    verdict.require_name(rule_set.name)
    verdict.require(bool(rule_set.version), "a version is needed: every report states it")
    _check_names(verdict, rule_set)
    for rule in rule_set.rules:
        _check_rule(Verdict(f"channel rule {rule_set.name}:{rule.name}"), rule)
    if rule_set.is_internal is not None:
        _check_answers(verdict, "is_internal", rule_set.is_internal)
    classifier = ChannelClassifier([rule_set])
    for traffic, wanted in (expected or {}).items():
        channel, decided_by = classifier.explain(traffic)
        found = None if channel == UNASSIGNED and decided_by == "core:unassigned" else channel.name
        verdict.require(found == wanted, f"{traffic} is in {found!r} by {decided_by}, not in {wanted!r}")


def sample_traffic() -> list[Traffic]:
    """Return traffic that trips careless rules: nothing known, empty and enormous text, regular expressions."""
    from_words = [
        Traffic(event="page_viewed", source=source, medium=medium, campaign=source, content=medium)
        for source, medium in product(_WORDS, _WORDS)
    ]
    from_hosts = [
        Traffic(event="page_viewed", referrer_host=host, referrer_domain=host, landing_host=landing)
        for host, landing in product(_HOSTS, _HOSTS)
    ]
    others = [
        Traffic(event="store_visited"),
        Traffic(event=""),
        Traffic(event="page_viewed", click_ids=("fbclid", "gclid")),
        Traffic(event="page_viewed", referrer_host="com.google.android.gm", referrer_is_app=True),
    ]
    return from_words + from_hosts + others


def _check_names(verdict: Verdict, rule_set: ChannelRuleSet) -> None:
    names = [rule.name for rule in rule_set.rules]
    double = sorted({name for name in names if names.count(name) > 1})
    verdict.require(not double, f"rule names must be unique; there are several {', '.join(double)}")
    channels: dict[str, Channel] = {}
    for rule in rule_set.rules:
        known = channels.setdefault(rule.channel.name, rule.channel)
        problem = f"channel {known.name!r} is described in two ways: {known} and {rule.channel}"
        verdict.require(known == rule.channel, problem)


def _check_rule(verdict: Verdict, rule: ChannelRule) -> None:
    verdict.require(bool(rule.name.strip()), "a rule needs a name: reports explain a channel by it")
    verdict.require(bool(rule.channel.name.strip()), "its channel needs a name")
    verdict.require(type(rule.priority) is int, f"priority is {rule.priority!r}; it must be an int")
    try:
        hash(rule)
    except TypeError as error:
        verdict.require(False, f"it cannot be hashed ({error}); make its matcher a function or a frozen struct")
    _check_answers(verdict, "matches", rule.matches)


def _check_answers(verdict: Verdict, what: str, function: Callable[[Traffic], Any]) -> None:
    samples = sample_traffic()
    first = [_answer(verdict, what, function, traffic) for traffic in samples]
    # Backwards the second time: a matcher that remembers what it saw gives itself away.
    again = [_answer(verdict, what, function, traffic) for traffic in reversed(samples)][::-1]
    for traffic, before, after in zip(samples, first, again, strict=True):
        problem = f"{what} answered {before}, then {after} for {traffic}; it must depend on the traffic alone"
        verdict.require(before == after, problem)


def _answer(verdict: Verdict, what: str, function: Callable[[Traffic], Any], traffic: Traffic) -> bool:
    try:
        answer = function(traffic)
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__} ({error}) for {traffic}") from error
    verdict.require(isinstance(answer, bool), f"{what} answered {answer!r}, not True or False, for {traffic}")
    return bool(answer)
