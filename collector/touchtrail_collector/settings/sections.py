"""The settings themselves: one frozen struct per component, each field with its default and limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .value import Currency, Host, Hosts, Networks, Seconds, TimeZone


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[server]`: where the collector listens and what it lets in.

    Args:
        port: 0 takes a free one.
        body_limit_bytes: largest request body, after decompression.
        batch_limit: most events in one request.
        event_limit_bytes: largest single event.
        shutdown_timeout_s: how long a stop waits for requests under way.
        allowed_hosts: host names a request may name in its Host header besides the bound address (a web page
            must not reach a collector on localhost through a name of its own: DNS rebinding); `*` = any.
        trusted_proxies: addresses or networks whose X-Forwarded-For and -Proto are believed.
        headers_timeout_s: from the connection, or a request's first byte, to the end of its headers.
        body_timeout_s: from the end of the headers to the end of the body.
        answer_timeout_s: how long 64 KB of an answer, or its last piece, may take to be read.
        keep_alive_timeout_s: how long a connection may idle between two requests.
        header_limit_bytes: largest address and headers of a request together.
        connection_limit: most connections at a time.
        reports_at_once: most reports made at a time over HTTP; others wait for their turn.
        log_format: of the log on stderr.
        access_log: whether each request is logged: time, path without query, status, the client's network.
    """

    host: Host = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8377
    body_limit_bytes: Annotated[int, Meta(ge=1024, le=1_000_000_000)] = 5_000_000
    batch_limit: Annotated[int, Meta(ge=1, le=100_000)] = 2500
    event_limit_bytes: Annotated[int, Meta(ge=1024, le=10_000_000)] = 64 * 1024
    shutdown_timeout_s: Seconds = 5.0
    allowed_hosts: Hosts = ()
    trusted_proxies: Networks = ()
    headers_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 15.0
    answer_timeout_s: Seconds = 15.0
    keep_alive_timeout_s: Seconds = 5.0
    header_limit_bytes: Annotated[int, Meta(ge=1024, le=1_000_000)] = 32_768
    connection_limit: Annotated[int, Meta(ge=1, le=100_000)] = 500
    reports_at_once: Annotated[int, Meta(ge=1, le=100)] = 1
    log_format: Literal["plain", "json"] = "plain"
    access_log: bool = False


class LimitsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[limits]`: how many requests one sender may make; who sends more gets 429 with Retry-After.

    Args:
        address_requests_per_s: of one address, or one IPv6 network of 64 bits; 0 = as many as come.
        key_requests_per_s: with one key; 0 = as many as come.
        burst_s: a sender that was silent may send at once what comes in so many seconds.
        loopback: True limits senders on this machine as well.
    """

    address_requests_per_s: Annotated[int, Meta(ge=0, le=1_000_000)] = 200
    key_requests_per_s: Annotated[int, Meta(ge=0, le=1_000_000)] = 2000
    burst_s: Seconds = 10.0
    loopback: bool = False


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[store]`: the database file and how commits are grouped.

    Args:
        db: the database file; in a settings file it is relative to that file's folder.
        group_commit_max_requests: most requests that share one commit.
        report_deadline_s: a report's query is stopped after this time: a reader that never ends lets the WAL grow.
    """

    db: Path = Path("touchtrail.db")
    group_commit_max_requests: Annotated[int, Meta(ge=1, le=10_000)] = 200
    report_deadline_s: Seconds = 5.0


class QuarantineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[quarantine]`: how much of what was rejected is kept; what has to go is counted.

    Args:
        max_entries: most rejects; those that were replayed or dismissed go first, then the oldest.
        max_bytes: largest size of all of them together.
        max_age_days: what did not come any more for so long goes.
    """

    max_entries: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    max_bytes: Annotated[int, Meta(ge=100_000, le=1_000_000_000_000)] = 200_000_000
    max_age_days: Annotated[int, Meta(ge=1, le=3650)] = 90


class ShopSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[shop]`: whose journeys these are.

    Args:
        currency: ISO 4217, the currency of reports.
        time_zone: IANA name; reports cut days and months by it.
        hosts: the shop's own host names; a visit that comes from one of them continues what was before.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)] = "default"
    currency: Currency = "EUR"
    time_zone: TimeZone = "UTC"
    hosts: Hosts = ()


class JourneySettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[journey]`: how events become sessions and touchpoints.

    Args:
        session_gap_min: a session ends after this many minutes without an event.
        click_landing_min: a click and the landing it led to are one touchpoint within this many minutes.
        skew_tolerance_s: a sender's clock is corrected when it is off by more than this.
    """

    session_gap_min: Annotated[int, Meta(ge=1, le=1440)] = 30
    click_landing_min: Annotated[int, Meta(ge=1, le=1440)] = 30
    skew_tolerance_s: Annotated[int, Meta(ge=0, le=86_400)] = 5


class AttributionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[attribution]`: what reports use unless they are told otherwise.

    Args:
        lookback_days: touches older than this at the conversion earn nothing.
        repeat: `full`: every order looks back the whole window; `since_last`: only to the order before.
        impressions: whether ads that were seen without a click count as touches.
    """

    lookback_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    repeat: Literal["full", "since_last"] = "full"
    impressions: bool = True


class PluginsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[plugins]`: which plugins run, and their own tables.

    Args:
        disabled: ids, `source.segment`; these are not even imported.
        strict: True makes every plugin problem an error at start.
        tables: the tables `[plugins."kind.name"]` as they stand in the file, by id. The host checks them
            against the plugin's own struct. They may hold secrets and are not shown in the repr.
    """

    disabled: tuple[str, ...] = ()
    strict: bool = False
    tables: dict[str, dict[str, Any]] = {}

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return what may be shown: of the plugins' tables the names alone."""
        return [("disabled", self.disabled), ("strict", self.strict), ("tables", sorted(self.tables))]

    def __repr__(self) -> str:
        return f"PluginsSettings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"
