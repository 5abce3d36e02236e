"""`GET /metrics`: every number against what was really done, in the format Prometheus reads, and nothing of a person."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from accounting import read_metrics
from shop_events import wire_event
from touchtrail_collector.api import Channel, ChannelRule, ChannelRuleSet, hookimpl
from touchtrail_collector.errors import StoreError, StoreUnavailable
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.commits import COMMIT_SECONDS, Histogram
from touchtrail_collector.store.sqlite.append import count_up
from touchtrail_collector.store.sqlite.figures import read_figures
from touchtrail_collector.web.app import create_app
from touchtrail_collector.web.metric_family import MOST_CODES, rejects_by_code
from touchtrail_collector.web.metrics import KEPT_S

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """Return every value by its name and labels, as a scraper reads them."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"touchtrail_{name}", tuple(sorted(labels.items()))]


def scrape(collector: Collector, requests: Sequence[tuple[str, str, dict[str, Any]]] = ()) -> str:
    """Send requests one after another to one application and return its metrics."""

    async def run() -> str:
        transport = httpx.ASGITransport(create_app(collector), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for method, path, given in requests:
                await client.request(method, path, **given)
            answer = await client.get("/metrics")
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/plain; version=")
            return answer.text

    return asyncio.run(run())


@pytest.fixture
def key(collector: Collector) -> str:
    made = collector.store.create_key(source="web")
    collector.reload_keys()
    return made


def post(key: str, *events: object, path: str = "/v1/events") -> tuple[str, str, dict[str, Any]]:
    return ("POST", path, {"json": list(events), "headers": {"Authorization": f"Bearer {key}"}})


def test_what_came_and_what_became_of_it_is_counted_to_the_event(collector: Collector, key: str) -> None:
    requests = [
        post(key, wire_event("1"), wire_event("2"), wire_event("3")),
        post(key, wire_event("3"), wire_event("4"), wire_event("5", colour="red"), wire_event("6", size=9)),
        post(key, {"name": "page_viewed"}),
    ]
    found = samples(scrape(collector, requests))
    assert value(found, "events_accepted_total") == 4
    assert value(found, "events_duplicate_total") == 1
    rejected = {labels[0][1]: n for (name, labels), n in found.items() if name == "touchtrail_events_rejected_total"}
    assert rejected == {"unknown_field": 2, "missing_field": 1}
    assert value(found, "quarantine_open") == 3
    assert value(found, "quarantine_dropped_total") == 0
    assert value(found, "projector_lag_events") == 4
    assert 0 <= value(found, "projector_lag_seconds") < 60
    collector.projector.catch_up()
    found = samples(scrape(collector))
    assert value(found, "projector_lag_events") == 0
    assert value(found, "projector_lag_seconds") == 0


def test_what_was_counted_at_the_door_survives_a_restart(open_collector: Callable[..., Collector]) -> None:
    first = open_collector("kept")
    key = first.store.create_key(source="web")
    first.reload_keys()
    before = samples(scrape(first, [post(key, wire_event("1"), wire_event("2", size=9))]))
    first.close()
    after = samples(scrape(open_collector("kept")))
    names = ("events_accepted_total", "events_duplicate_total", "quarantine_open", "last_event_timestamp_seconds")
    for name in names:
        assert value(after, name) == value(before, name), name
    assert value(after, "events_rejected_total", code="unknown_field") == 1


def test_requests_are_counted_by_class_of_path_and_status(collector: Collector, key: str) -> None:
    requests: list[tuple[str, str, dict[str, Any]]] = [
        post(key, wire_event("1")),
        post(key, wire_event("2")),
        post("wrong", wire_event("3")),
        post(key, wire_event("4"), path="/v1/events/validate"),
        ("GET", "/healthz", {}),
        ("GET", "/readyz", {}),
        ("GET", "/api/v1/reports/overview", {}),
        ("GET", "/nowhere/at/all", {}),
        ("GET", "/healthz", {"headers": {"Host": "evil.example"}}),
    ]
    found = samples(scrape(collector, requests))
    counts = {
        tuple(text for _, text in labels): n
        for (name, labels), n in found.items()
        if name == "touchtrail_http_requests_total"
    }
    assert counts == {
        ("events", "200"): 2, ("events", "401"): 1, ("validate", "200"): 1, ("health", "200"): 2,
        ("report", "401"): 1, ("other", "404"): 1, ("other", "421"): 1,
    }  # fmt: skip


def test_a_request_that_fails_unforeseen_is_counted_as_500(collector: Collector, key: str) -> None:
    collector.ingest = None  # type: ignore[assignment]
    found = samples(scrape(collector, [post(key, wire_event("1"))]))
    assert value(found, "http_requests_total", path="events", status="500") == 1


def test_commits_are_counted_with_their_time_and_requests(collector: Collector, key: str) -> None:
    before = samples(scrape(collector))
    found = samples(scrape(collector, [post(key, wire_event(str(n))) for n in range(5)]))
    assert value(found, "commit_duration_seconds_count") - value(before, "commit_duration_seconds_count") >= 5
    assert value(found, "commit_duration_seconds_sum") > 0
    buckets = [n for (name, _), n in found.items() if name == "touchtrail_commit_duration_seconds_bucket"]
    assert len(buckets) == len(COMMIT_SECONDS) + 1
    assert buckets == sorted(buckets)
    assert value(found, "commit_duration_seconds_bucket", le="+Inf") == value(found, "commit_duration_seconds_count")
    groups = value(found, "commit_group_requests_count")
    assert groups == value(found, "commit_duration_seconds_count")
    assert value(found, "commit_group_requests_sum") >= groups


def test_files_queue_and_versions_are_told(collector: Collector, key: str) -> None:
    found = samples(scrape(collector, [post(key, wire_event("1"))]))
    path = collector.store.path
    assert value(found, "database_bytes") == path.stat().st_size > 0
    assert value(found, "wal_bytes") == path.with_name(path.name + "-wal").stat().st_size > 0
    assert value(found, "disk_free_bytes") > 0
    assert value(found, "writer_backlog_requests") == 0
    assert value(found, "ready") == value(found, "database_readable") == 1
    (build,) = [dict(labels) for name, labels in found if name == "touchtrail_build_info"]
    assert build.keys() == {"version", "python", "sqlite"}
    assert found["process_resident_memory_bytes", ()] > 10_000_000


def test_the_failures_of_plugins_are_told_by_plugin(open_collector: Callable[..., Collector]) -> None:
    class Faulty:
        @hookimpl
        def touchtrail_channels(self) -> ChannelRuleSet:
            rule = ChannelRule(name="r", channel=Channel(name="X", medium="paid"), matches=lambda _: 1 / 0, priority=1)
            return ChannelRuleSet(name="faulty", version="1", rules=(rule,))

    collector = open_collector("faulty", host=PluginHost.of({"channel.faulty": Faulty()}))
    key = collector.store.create_key(source="web")
    collector.reload_keys()
    scrape(collector, [post(key, wire_event("1"))])
    collector.projector.catch_up()
    found = samples(scrape(collector))
    assert value(found, "plugin_failures_total", plugin="channel.faulty") >= 1
    assert value(found, "plugin_active", plugin="channel.faulty") == 1


def test_a_stopping_collector_is_not_ready_and_an_unreadable_database_is_said(collector: Collector) -> None:
    collector.stop_taking()
    assert value(samples(scrape(collector)), "ready") == 0
    path = collector.store.path
    hidden = path.with_name("hidden")
    path.rename(hidden)
    found = samples(scrape(collector))
    hidden.rename(path)
    assert value(found, "database_readable") == 0
    assert ("touchtrail_events_accepted_total", ()) not in found
    assert value(found, "projector_failing") == 0


def test_nothing_of_a_person_or_a_key_is_in_it(collector: Collector, key: str) -> None:
    secret = "Jane.Doe-4711"
    event = wire_event(
        secret, anonymous_id=secret, customer_id=secret, identifiers={"email": f"{secret}@shop.example"},
        page={"url": f"https://shop.example/{secret}?q={secret}", "title": secret},
    )  # fmt: skip
    named = collector.store.create_key(source=f"till of {secret}")
    collector.reload_keys()
    requests = [
        post(key, event, event | {secret: 1}),
        post(named, wire_event("2")),
        ("GET", f"/{secret}?key={key}", {"headers": {"User-Agent": secret, "Referer": secret}}),
        (secret.upper().replace(".", ""), "/healthz", {}),
        ("POST", f"/v1/events?key={secret}", {"content": secret}),
    ]
    text = scrape(collector, requests)
    assert len(text) > 3_000
    for private in (secret, secret.lower(), key, named, key[4:], "127.0.0.1", str(collector.store.path)):
        assert private not in text


def test_metrics_asked_for_again_at_once_are_not_made_again(collector: Collector) -> None:
    async def run() -> list[str]:
        transport = httpx.ASGITransport(create_app(collector))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return [(await client.get("/metrics")).text for _ in range(3)]

    assert KEPT_S == 1.0
    assert len(set(asyncio.run(run()))) == 1


@given(st.lists(st.floats(0, 100), max_size=60))
def test_a_histogram_puts_each_value_into_the_first_bucket_that_holds_it(values: list[float]) -> None:
    histogram = Histogram([1, 5, 50])
    for one in values:
        histogram.add(one)
    counts, total = histogram.read()
    bounds = [float("-inf"), 1, 5, 50, float("inf")]
    assert counts == [sum(low < one <= high for one in values) for low, high in itertools.pairwise(bounds)]
    assert total == pytest.approx(sum(values))


@given(st.dictionaries(st.text(max_size=50) | st.from_regex(r"[a-z_]{1,12}", fullmatch=True), st.integers(1, 9)))
def test_codes_that_plugins_make_up_never_make_more_than_so_many_series(codes: dict[str, int]) -> None:
    counters = {f"rejected:{code}": n for code, n in codes.items()} | {"accepted": 7}
    counters |= {f"rejected:many_{number}": 1 for number in range(60)}
    found = rejects_by_code(counters)
    assert len(found) <= MOST_CODES + 1
    assert sum(found.values()) == sum(codes.values()) + 60
    assert all(code.isascii() and len(code) <= 40 for code in found)


def test_the_number_of_open_rejects_is_read_from_an_index(collector: Collector) -> None:
    """Each reject may have 64 KB: the table itself must not be passed over every few seconds."""
    with collector.store.reading() as reader:
        plan = reader.execute("EXPLAIN QUERY PLAN SELECT count(*) FROM quarantine WHERE state = 'open'").fetchall()
    assert "INDEX quarantine_" in repr(plan)
    figures = read_figures(collector.store.path)
    assert (figures.open_rejects, figures.reject_bytes) == (0, 0)


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    return error


def test_what_could_not_be_written_is_counted_by_its_reason(collector: Collector) -> None:
    errors = {
        sqlite_error(sqlite3.SQLITE_FULL): "disk_full", sqlite_error(sqlite3.SQLITE_IOERR | 3 << 8): "disk_error",
        sqlite_error(sqlite3.SQLITE_BUSY): "busy", sqlite_error(sqlite3.SQLITE_READONLY): "read_only",
        sqlite_error(sqlite3.SQLITE_CORRUPT): "damaged", sqlite3.IntegrityError("x"): "other",
        StoreUnavailable("the file was moved"): "file_moved", ZeroDivisionError(): "other",
    }  # fmt: skip
    for error in errors:
        collector.commits.fail(error)
    collector.commits.fail(StoreError("there is no such key"))  # the caller's mistake, and no failed commit
    found = read_metrics(scrape(collector))["touchtrail_commit_failures_total"]
    assert found == {(reason,): n for reason, n in Counter(errors.values()).items()}
    assert sum(found.values()) == len(errors) == 8


def test_what_senders_lost_is_told_by_outcome_and_reason(collector: Collector) -> None:
    counts = {
        (1, "2026-01-01", "lost:dropped:spool_full"): 5, (1, "2026-01-02", "lost:dropped:spool_full"): 6,
        (2, "2026-01-01", "lost:refused:no_person"): 10**12, (2, "2026-01-01", "lost:refused:Jane <doe@x.example>"): 3,
        (1, "2026-01-01", "lost:dropped:huge"): 2**62, (2, "2026-01-01", "lost:dropped:huge"): 2**62,
        (3, "2026-01-01", "lost:dropped:huge"): 2**62,
    }  # fmt: skip
    collector.store.write(lambda connection: count_up(connection, counts))
    found = read_metrics(scrape(collector))["touchtrail_events_lost_total"]
    assert found == {
        ("dropped", "spool_full"): 11, ("refused", "no_person"): 10**12, ("refused", "other"): 3,
        ("dropped", "huge"): 3 * 2**62,
    }  # fmt: skip


def test_start_size_of_quarantine_and_a_door_nobody_came_through(collector: Collector, key: str) -> None:
    found = samples(scrape(collector, [post(key, wire_event("1", colour="x" * 500))]))
    assert time.time() - 86_400 < found["process_start_time_seconds", ()] < time.time()
    assert value(found, "quarantine_bytes") > 500
    # Without our protocols in front there is no door to tell of.
    assert not [name for name, _ in found if name.startswith("touchtrail_connections")]
