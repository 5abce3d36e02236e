"""The families of `GET /metrics`, each made of what was counted elsewhere."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from touchtrail import __version__

from ..services.commits import Histogram
from ..services.metrics import Health
from ..store.sqlite.figures import SQLITE_VERSION
from .connections import Door

MOST_CODES = 50
CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")
REST = "other"


def door_families(health: Health) -> Iterator[Metric]:
    """Yield what came and what became of it: kept in the database, so a restart does not reset it."""
    counters = {} if health.figures is None else health.figures.counters
    if health.figures is not None:
        accepted = "Events that were stored."
        yield CounterMetricFamily("touchtrail_events_accepted", accepted, counters.get("accepted", 0))
        duplicates = "Events that were there already."
        yield CounterMetricFamily("touchtrail_events_duplicate", duplicates, counters.get("duplicate", 0))
        rejects = rejects_by_code(counters)
        yield labelled("touchtrail_events_rejected", "Events put into quarantine or refused.", "code", rejects)
        yield loss_family(counters)
        dropped = "Rejects that had to make room for newer ones, or grew too old."
        yield CounterMetricFamily("touchtrail_quarantine_dropped", dropped, counters.get("quarantine_dropped", 0))
        waiting = "Rejects that wait to be repaired and replayed."
        yield gauge("touchtrail_quarantine_open", waiting, health.figures.open_rejects)
        yield gauge("touchtrail_quarantine_bytes", "What all rejects in it take.", health.figures.reject_bytes)
        if health.figures.last_received is not None:
            last = "When the newest event was received."
            yield gauge("touchtrail_last_event_timestamp_seconds", last, health.figures.last_received / 1000)
    yield gauge("touchtrail_ready", "1 while events are taken.", health.is_ready)
    yield gauge("touchtrail_database_readable", "1 when the database answered.", health.figures is not None)


def rejects_by_code(counters: Mapping[str, int]) -> dict[str, int]:
    """Return rejects by code, at most `MOST_CODES` of them: plugins make codes too, and could make any number."""
    return by_word(counters, "rejected:")


def by_word(counters: Mapping[str, int], prefix: str) -> dict[str, int]:
    """Return the counters that begin so by the word that follows, in alphabetical order.

    Words that no program would make up, and more than `MOST_CODES`, are counted together: each is a time series for
    whoever collects them.
    """
    found = {name.removeprefix(prefix): n for name, n in counters.items() if name.startswith(prefix)}
    words: Counter[str] = Counter()
    for word, n in sorted(found.items()):
        is_named = CODE.fullmatch(word) is not None and (word in words or len(words) < MOST_CODES)
        words[word if is_named else REST] += n
    return words


def loss_family(counters: Mapping[str, int]) -> Metric:
    """Return what senders say they lost before it came here."""
    told = "Events that senders say they lost or refused, as told in events_lost."
    family = CounterMetricFamily("touchtrail_events_lost", told, labels=["outcome", "reason"])
    for outcome in ("dropped", "refused"):
        for reason, n in sorted(by_word(counters, f"lost:{outcome}:").items()):
            family.add_metric([outcome, reason], n)
    return family


def connection_families(door: Door) -> Iterator[Metric]:
    """Yield who came, who is there, and who was told to go."""
    yield CounterMetricFamily("touchtrail_connections", "Connections that came.", door.tally.came)
    yield gauge("touchtrail_connections_open", "Connections that are let in.", len(door))
    yield labelled("touchtrail_connections_cut", "Connections that the collector ended.", "reason", door.tally.cuts())


def labelled(name: str, documentation: str, label: str, counts: Mapping[str, int]) -> Metric:
    """Return a counter by one label."""
    family = CounterMetricFamily(name, documentation, labels=[label])
    for value, n in sorted(counts.items()):
        family.add_metric([value], n)
    return family


def request_family(counts: Mapping[tuple[str, int], int]) -> Metric:
    """Return the count of requests since the start."""
    family = CounterMetricFamily(
        "touchtrail_http_requests", "Requests by class of path and status.", labels=["path", "status"]
    )
    for (path, status), n in sorted(counts.items()):
        family.add_metric([path, str(status)], n)
    return family


def histogram_family(name: str, documentation: str, histogram: Histogram) -> Metric:
    """Return a histogram as Prometheus has them: each bucket counts the ones below it as well."""
    counts, total = histogram.read()
    family = HistogramMetricFamily(name, documentation)
    below = 0
    buckets: list[tuple[str, float]] = []
    for bound, n in zip((*histogram.bounds, float("inf")), counts, strict=True):
        below += n
        buckets.append(("+Inf" if bound == float("inf") else f"{float(bound)}", below))
    family.add_metric([], buckets, total)
    return family


def storage_families(health: Health) -> Iterator[Metric]:
    """Yield what is on disk and what waits to get there."""
    yield gauge("touchtrail_database_bytes", "Size of the database file.", health.database_bytes)
    yield gauge("touchtrail_wal_bytes", "Size of the write-ahead log beside it.", health.wal_bytes)
    if health.disk_free_bytes is not None:
        yield gauge("touchtrail_disk_free_bytes", "Free space where the database is.", health.disk_free_bytes)
    yield gauge(
        "touchtrail_writer_backlog_requests", "Requests and other jobs that wait to be written.", health.backlog
    )


def derivation_families(health: Health) -> Iterator[Metric]:
    """Yield how far reports are behind."""
    if health.figures is not None:
        yield gauge("touchtrail_projector_lag_events", "Events that reports do not have yet.", health.figures.waiting)
        yield gauge("touchtrail_projector_lag_seconds", "How long the first of them has been waiting.", health.lag_s)
    yield gauge("touchtrail_projector_failing", "1 while the derivation does not go on.", health.is_projector_failing)


def plugin_families(health: Health) -> Iterable[Metric]:
    """Return how plugins fare."""
    failures = CounterMetricFamily("touchtrail_plugin_failures", "Failed calls into a plugin.", labels=["plugin"])
    active = GaugeMetricFamily("touchtrail_plugin_active", "1 while a plugin takes part.", labels=["plugin"])
    for plugin in health.plugins:
        failures.add_metric([plugin.id], plugin.failures)
        if plugin.state != "disabled":
            active.add_metric([plugin.id], plugin.state == "active")
    return failures, active


def build_family() -> Metric:
    """Return which versions run."""
    family = GaugeMetricFamily("touchtrail_build_info", "Versions; always 1.", labels=["version", "python", "sqlite"])
    family.add_metric([__version__, platform.python_version(), SQLITE_VERSION], 1)
    return family


def gauge(name: str, documentation: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return GaugeMetricFamily(name, documentation, value)
