"""The channel "Podcast": visits that a podcast app or an episode's show notes sent."""

from __future__ import annotations

import msgspec

from touchtrail_collector.api import Channel, ChannelRule, ChannelRuleSet, Traffic, hookimpl

PODCAST = Channel(name="Podcast", medium="earned")
HOSTS = frozenset({"podcasts.apple.com", "pca.st", "overcast.fm", "castbox.fm", "podimo.com", "podigee.io"})
APPS = frozenset({"au.com.shiftyjelly.pocketcasts", "fm.castbox.audiobook.radio.podcast"})


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[plugins."channel.podcast"]`.

    Args:
        hosts: further hosts whose visits are the podcast's, such as the shop's own show notes.
    """

    hosts: tuple[str, ...] = ()


@hookimpl
def touchtrail_settings() -> type[Settings]:
    """Declare the settings."""
    return Settings


@hookimpl
def touchtrail_channels(settings: Settings) -> ChannelRuleSet:
    """Contribute the channel; below 1000 its rules come before the default ones, which would say Referral."""
    hosts = HOSTS | frozenset(settings.hosts)

    def is_tagged(traffic: Traffic) -> bool:
        return traffic.medium == "podcast"

    def is_from_player(traffic: Traffic) -> bool:
        if traffic.referrer_is_app:
            return traffic.referrer_host in APPS
        return traffic.referrer_host in hosts or traffic.referrer_domain in hosts

    rules = (
        ChannelRule(name="tagged", channel=PODCAST, matches=is_tagged, priority=500),
        ChannelRule(name="player", channel=PODCAST, matches=is_from_player, priority=501),
    )
    return ChannelRuleSet(name="podcast", version="1", rules=rules)
