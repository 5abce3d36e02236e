"""What everything derived was derived with: named by the projector in the database, and read there by reports."""

from __future__ import annotations

import hashlib

import msgspec

from ..domain.journey import specs_of
from ..host import PluginHost
from ..settings import Settings

DERIVE_VERSION = 1
"""Grows with every change of the derivation's rules: an older database is then derived anew."""


class DerivationRules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one derivation; equal rules give equal tables.

    Args:
        derive_version: of the program's own rules.
        channel_rule_sets: names and versions of the rules that decide channels, `default/2026.11`.
        session_gap_min, click_landing_min, skew_tolerance_s: the settings of `[journey]`.
        rules_digest: of these and of everything else that decides: the shop's hosts and currency, event types,
            settings of channel plugins.
    """

    derive_version: int
    channel_rule_sets: tuple[str, ...]
    session_gap_min: int
    click_landing_min: int
    skew_tolerance_s: int
    rules_digest: str

    @property
    def signature(self) -> str:
        """The rules in one line: when it changes, everything is derived anew."""
        return f"{self.derive_version}:{','.join(self.channel_rule_sets)}:{self.rules_digest}"


def rules_of(host: PluginHost, settings: Settings) -> DerivationRules:
    """Return the rules that a process with these plugins and settings derives by."""
    journey, shop = settings.journey, settings.shop
    rest = [
        journey, shop.currency, shop.hosts, specs_of(host.event_types()),
        {name: table for name, table in settings.plugins.tables.items() if name.startswith("channel.")},
    ]  # fmt: skip
    return DerivationRules(
        derive_version=DERIVE_VERSION,
        channel_rule_sets=host.channel_classifier().rule_set_names,
        session_gap_min=journey.session_gap_min,
        click_landing_min=journey.click_landing_min,
        skew_tolerance_s=journey.skew_tolerance_s,
        rules_digest=hashlib.sha256(msgspec.json.encode(rest, order="deterministic", enc_hook=str)).hexdigest()[:16],
    )
