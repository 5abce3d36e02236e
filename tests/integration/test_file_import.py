"""Files through source plugins into the log, and tables out of it through exporters."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from msgspec.structs import replace

from derived_tables import dump, store
from shop_events import wire_event
from touchtrail_collector.api import Dataset, Exporter, FileEvent, FileProblem, Source, hookimpl
from touchtrail_collector.errors import ImportProblem, PluginError, UsageError
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.derive import Projector
from touchtrail_collector.services.file_import import import_file
from touchtrail_collector.services.table_export import export_table
from touchtrail_collector.settings import ShopSettings
from touchtrail_plugins.channels import default

OpenCollector = Callable[..., Collector]


class LineReader:
    """A source plugin: each line is an event's id; some words on a line are trouble."""

    @hookimpl
    def touchtrail_sources(self, settings: Any) -> Iterable[Source]:
        return [Source(name="lines", read_file=self._read)]

    def _read(self, file: BinaryIO, options: Mapping[str, str]) -> Iterator[FileEvent | FileProblem]:
        for number, line in enumerate(file, 1):
            word = line.decode().strip()
            if word == "nonsense":
                yield FileProblem(line=number, column="id", message="no id", raw=line)
            elif word == "surrogate":
                yield FileEvent(line=number, event=wire_event("s", page={"title": "\ud800"}))
            elif word == "stop":
                raise ValueError("the file is damaged from here on")
            elif word == "crash":
                raise KeyError("a fault of the plugin")
            else:
                yield FileEvent(line=number, event=wire_event(word, **dict(options)))


class BadExporter:
    """An exporter plugin that fails after its first row."""

    @hookimpl
    def touchtrail_exporters(self, settings: Any) -> Iterable[Exporter]:
        return [Exporter(name="bad", suffix=".bad", write=self._write)]

    def _write(self, dataset: Dataset, file: BinaryIO, options: Mapping[str, str]) -> int:
        file.write(b"half")
        raise ValueError("no such option")


@pytest.fixture
def collector(open_collector: OpenCollector) -> Collector:
    return open_collector(
        host=PluginHost.of({"channel.default": default, "source.lines": LineReader(), "exporter.bad": BadExporter()})
    )


def read(collector: Collector, path: Path, text: str, **options: str) -> Any:
    path.write_text(text)
    return import_file(collector, "lines", path, sender=None, options=options)


def test_lines_are_stored_once_and_problems_named_and_kept(collector: Collector, tmp_path: Path) -> None:
    text = "1\nnonsense\n2\nsurrogate\n"
    first = read(collector, tmp_path / "f", text)
    assert (first.accepted, first.duplicates, first.rejected) == (2, 0, 2)
    assert [(problem.line, problem.column, problem.message[:21]) for problem in first.problems] == [
        (2, "id", "no id"), (4, None, "the event is not JSON"),
    ]  # fmt: skip
    again = read(collector, tmp_path / "f", text)
    assert (again.accepted, again.duplicates) == (0, 2)
    with collector.store.reading() as reader:
        assert reader.execute("SELECT DISTINCT code FROM quarantine ORDER BY code").fetchall() == [
            ("invalid_json",),
            ("invalid_line",),
        ]
        assert reader.execute("SELECT name FROM sources").fetchall() == [("import-lines",)]


def test_a_damaged_file_is_stored_as_far_as_it_goes(collector: Collector, tmp_path: Path) -> None:
    lines = [str(number) for number in range(700)]
    with pytest.raises(ImportProblem, match="damaged from here on"):
        read(collector, tmp_path / "f", "\n".join([*lines, "stop", "later"]))
    with collector.store.reading() as reader:
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (700,)


def test_a_plugin_that_fails_is_named(collector: Collector, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"source\.lines"):
        read(collector, tmp_path / "f", "crash\n")


def test_what_is_not_there_is_said(collector: Collector, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no plugin reads 'csv' files; there are: lines"):
        import_file(collector, "csv", tmp_path / "f", sender=None, options={})
    with pytest.raises(ImportProblem, match="No such file"):
        import_file(collector, "lines", tmp_path / "none", sender=None, options={})
    with pytest.raises(UsageError, match="there is no exporter 'csv'"):
        export_table(collector.settings, collector.host, "csv", tmp_path / "o", table="orders", options={})
    with pytest.raises(UsageError, match="there is no table 'keys'"):
        export_table(collector.settings, collector.host, "bad", tmp_path / "o", table="keys", options={})


def test_an_export_that_fails_leaves_what_was_there(collector: Collector, tmp_path: Path) -> None:
    target = tmp_path / "orders.csv"
    target.write_text("yesterday's")
    with pytest.raises(UsageError, match="exporter bad: no such option"):
        export_table(collector.settings, collector.host, "bad", target, table="orders", options={})
    assert target.read_text() == "yesterday's"
    assert sorted(os.listdir(tmp_path)) == sorted({"orders.csv", *(p.name for p in tmp_path.glob("shop.db*"))})


def test_the_settings_currency_is_that_of_the_shop_that_was_there_before(
    open_collector: OpenCollector, collector: Collector
) -> None:
    store(collector, [wire_event("1", "order_paid", properties={"order_id": "1"})])
    collector.projector.catch_up()
    settings = replace(collector.settings, shop=ShopSettings(currency="USD"))
    host = collector.host
    collector.close()
    dollars = Collector(settings, host, starts_projector=False)
    try:
        dollars.projector.catch_up()
        assert [row[9] for row in dump(dollars)["orders"]] == ["USD"]
        with dollars.store.reading() as reader:
            assert reader.execute("SELECT name, currency FROM shops").fetchall() == [("default", "USD")]
    finally:
        dollars.close()


def test_a_bulk_derivation_leaves_out_what_arrives_meanwhile_and_the_next_step_takes_it(collector: Collector) -> None:
    store(collector, [wire_event(str(number), anonymous_id=f"a-{number % 9}") for number in range(60)])
    arrived = threading.Event()

    def arrive(done: int, total: int) -> None:
        if not arrived.is_set():
            arrived.set()
            store(collector, [wire_event("late", anonymous_id="a-1"), wire_event("new", anonymous_id="b")])

    projector = Projector(collector.store, collector.host, collector.settings, bulk_events=1)
    assert projector.catch_up(arrive) == 62
    both = dump(collector)
    assert len(both["cluster_events"]) == 62
    collector.projector.rebuild()
    assert dump(collector) == both
