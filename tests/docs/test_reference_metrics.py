"""Every metric stands in collector/README.md with its labels, and nothing else does; alerts name metrics there are."""

from __future__ import annotations

import os
import re
import sqlite3
from typing import get_args

import pytest
from prometheus_client.core import Metric

from reference_page import COLLECTOR, names_in, read_rows, read_sections
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.settings import ServerSettings, Settings, StoreSettings
from touchtrail_collector.store.engine import EventRow, RejectRow
from touchtrail_collector.store.sqlite.append import count_up
from touchtrail_collector.store.sqlite.figures import OTHER_REASON, REASONS
from touchtrail_collector.web.connections import Door, Reason
from touchtrail_collector.web.metric_family import REST
from touchtrail_collector.web.metrics import PATH_CLASSES, UNREAD, CollectorMetrics, RequestTally

OPERATIONS = COLLECTOR.with_name("OPERATIONS.md")


class Quiet:
    """A plugin without hooks, so that there is one to tell of."""


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> list[Metric]:
    """Return every family of a collector that has an event, a reject, a loss, a request, a failed commit and a plugin."""
    settings = Settings(store=StoreSettings(db=tmp_path_factory.mktemp("metrics") / "shop.db"))
    collector = Collector(settings, PluginHost.of({"channel.quiet": Quiet()}), starts_projector=False)
    try:
        event = EventRow(collector.store.ensure_source("web"), "1", "page_viewed", 1, None, 1, "a", None, "{}")
        collector.store.append([event], [RejectRow(1, 1, "unknown_field", None, "x", b"{}")]).result()
        collector.store.write(lambda connection: count_up(connection, {(1, "2026-01-01", "lost:dropped:x"): 1}))
        collector.commits.fail(sqlite3.OperationalError("no room"))
        requests, door = RequestTally(), Door(ServerSettings())
        requests.add(None, 404)
        door.tally.cut("silent")
        return list(CollectorMetrics(collector, requests, door).collect())
    finally:
        collector.close()


def written_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def labels_of(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels}


def test_the_table_lists_exactly_the_metrics_there_are_with_their_labels(families: list[Metric]) -> None:
    rows = read_rows(read_sections(COLLECTOR)["GET /metrics"])
    documented = {names_in(row[0])[0]: set(names_in(row[1])) for row in rows}
    assert documented == {written_name(family): labels_of(family) for family in families}
    assert len(documented) > 15


def meaning_of(metric: str) -> set[str]:
    """Return the words a metric's row explains in code."""
    rows = read_rows(read_sections(COLLECTOR)["GET /metrics"])
    (text,) = (row[3] for row in rows if names_in(row[0]) == [metric])
    return set(names_in(text))


def test_every_value_of_a_label_of_ours_is_explained() -> None:
    rows = read_rows(read_sections(COLLECTOR)["Connections that are cut"])
    assert {name for row in rows for name in names_in(row[0])} == set(get_args(Reason))
    assert {*REASONS.values(), OTHER_REASON, "file_moved"} <= meaning_of("touchtrail_commit_failures_total")
    classes = {*PATH_CLASSES.values(), "source", REST, UNREAD}
    assert classes == meaning_of("touchtrail_http_requests_total")


def test_what_is_counted_since_ever_or_the_start_is_a_counter_or_a_histogram(families: list[Metric]) -> None:
    since = {names_in(row[0])[0]: row[2] for row in read_rows(read_sections(COLLECTOR)["GET /metrics"])}
    for family in families:
        assert (since[written_name(family)] == "now") == (family.type == "gauge"), family.name


def test_every_metric_has_a_sentence_of_help(families: list[Metric]) -> None:
    assert [family.name for family in families if not family.documentation.endswith((".", "1."))] == []


def test_the_operations_page_names_only_metrics_there_are(families: list[Metric]) -> None:
    endings = ("", "_bucket", "_sum", "_count")
    known = {written_name(family) + ending for family in families for ending in endings}
    named = set(re.findall(r"touchtrail_[a-z_]+", OPERATIONS.read_text("utf-8"))) - {"touchtrail_collector"}
    assert named <= known
    assert len(named) > 8


def test_the_alerts_are_rules_as_prometheus_reads_them() -> None:
    try:
        import yaml
    except ModuleNotFoundError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("PyYAML is not installed")
    (text,) = re.findall(r"```yaml\n(.*?)```", OPERATIONS.read_text("utf-8"), re.DOTALL)
    (group,) = yaml.safe_load(text)["groups"]
    assert len(group["rules"]) >= 8
    for rule in group["rules"]:
        assert rule.keys() <= {"alert", "expr", "for"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert "touchtrail" in rule["expr"]
