"""Plugins that are called: what the host counts, what it stops, what it passes on."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from plugin_doubles import (
    PODCAST,
    Channels,
    Exporters,
    Models,
    Sources,
    endpoint,
    exporter,
    info,
    model,
)
from touchtrail_collector.api import (
    Channel,
    ChannelRule,
    Dataset,
    FileEvent,
    Source,
    SourceEvents,
    SourceRefusal,
    SourceRequest,
    SourceResponse,
    Traffic,
    hookimpl,
)
from touchtrail_collector.errors import PluginError
from touchtrail_collector.host import PluginHost


class Observer:
    """Counts the events it is told of and fails as long as it is told to."""

    def __init__(self) -> None:
        self.is_failing = False
        self.told = 0

    @hookimpl
    def touchtrail_on_events_stored(self, events: Any, settings: Any) -> None:
        self.told += len(events)
        if self.is_failing:
            raise ConnectionError("the other side is down")

    @hookimpl
    def touchtrail_export_subject(self, identifiers: Any) -> dict[str, Any]:
        return {"told": self.told, "asked": dict(identifiers)}

    @hookimpl
    def touchtrail_erase_subject(self, identifiers: Any) -> int:
        erased, self.told = self.told, 0
        return erased


class Angry(Observer):
    """Fails when it is asked about a person."""

    @hookimpl
    def touchtrail_export_subject(self, identifiers: Any) -> dict[str, Any]:
        raise ConnectionError("no answer")

    @hookimpl
    def touchtrail_erase_subject(self, identifiers: Any) -> int:
        return "all"  # type: ignore[return-value]


def test_an_observer_that_fails_ten_times_in_a_row_is_not_told_any_more(caplog: pytest.LogCaptureFixture) -> None:
    bad, good = Observer(), Observer()
    host = PluginHost.of({"observer.bad": bad, "observer.good": good})
    bad.is_failing = True
    with caplog.at_level(logging.WARNING):
        for _ in range(12):
            host.notify_events_stored([{"name": "page_viewed"}])
    assert (bad.told, good.told) == (10, 12)
    plugin = info(host, "observer.bad")
    assert (plugin.state, plugin.calls, plugin.failures) == ("failing", 10, 10)
    assert "ConnectionError: the other side is down (test_plugin_calls.py, line" in (plugin.last_error or "")
    assert [problem.partition(":")[0] for problem in host.problems()] == ["observer.bad"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert info(host, "observer.good").state == "active"


def test_one_success_starts_the_count_anew_and_the_last_failure_stays_visible() -> None:
    observer = Observer()
    host = PluginHost.of({"observer.x": observer})
    for turn in range(30):
        observer.is_failing = turn % 10 != 9
        host.notify_events_stored([{}])
    plugin = info(host, "observer.x")
    assert (observer.told, plugin.state, plugin.failures) == (30, "active", 27)
    assert "the other side is down" in (plugin.last_error or "")
    assert plugin.time_ms > 0


def test_a_person_is_shown_and_erased_by_every_plugin_even_one_that_fails_as_an_observer() -> None:
    failing, fine = Observer(), Observer()
    host = PluginHost.of({"observer.failing": failing, "observer.fine": fine, "channel.x": Channels()})
    failing.is_failing = True
    for _ in range(11):
        host.notify_events_stored([{}])
    assert info(host, "observer.failing").state == "failing"
    shown = host.export_subject({"email": ["x"]})
    assert shown["observer.failing"] == {"told": 10, "asked": {"email": ["x"]}}
    assert host.erase_subject({"email": ["x"]}) == {"observer.failing": 10, "observer.fine": 11}


def test_an_erasure_or_copy_that_failed_somewhere_is_an_error_after_all_were_asked() -> None:
    fine = Observer()
    host = PluginHost.of({"observer.angry": Angry(), "observer.fine": fine})
    host.notify_events_stored([{}, {}])
    with pytest.raises(PluginError, match=r"observer\.angry: touchtrail_export_subject failed: .*no answer"):
        host.export_subject({})
    with pytest.raises(PluginError, match=r"observer\.angry: touchtrail_erase_subject must return int, not str"):
        host.erase_subject({})
    assert fine.told == 0


def test_a_failing_channel_rule_is_counted_on_its_plugin_and_the_next_rule_decides() -> None:
    def broken(traffic: Traffic) -> bool:
        raise LookupError(traffic.source)

    first = ChannelRule(name="broken", channel=Channel(name="X", medium="paid"), matches=broken, priority=1)
    host = PluginHost.of({"channel.a": Channels(first, name="a"), "channel.b": Channels(name="b")})
    assert host.channel_classifier().classify(Traffic(event="e", source="podcast")) == PODCAST
    plugin = info(host, "channel.a")
    assert (plugin.state, plugin.failures) == ("active", 1)
    assert "LookupError: podcast" in (plugin.last_error or "")
    assert info(host, "channel.b").failures == 0


def test_a_model_that_raises_is_an_error_that_names_its_plugin() -> None:
    def broken(paths: Any, parameters: Any) -> Any:
        raise IndexError("off by one")

    host = PluginHost.of({"model.x": Models(model(credit=broken), model("fine", credit=lambda *_: 5))})
    with pytest.raises(PluginError, match=r"model\.x: model even failed: IndexError: off by one") as caught:
        host.attribution_models()["even"].credit(None, None)  # type: ignore[arg-type]
    assert isinstance(caught.value.__cause__, IndexError)
    assert host.attribution_models()["fine"].credit(None, None) == 5  # type: ignore[arg-type]
    plugin = info(host, "model.x")
    assert (plugin.calls, plugin.failures) == (3, 1)


def test_what_an_exporter_says_of_its_options_passes_and_its_faults_are_named() -> None:
    def write(dataset: Any, file: Any, options: dict[str, str]) -> int:
        if options:
            raise ValueError("unknown option")
        raise KeyError("bug")

    exporters = PluginHost.of({"exporter.x": Exporters(exporter(write=write))}).exporters()
    dataset = Dataset(name="orders", columns=(), rows=())
    with pytest.raises(ValueError, match="unknown option"):
        exporters["lines"].write(dataset, io.BytesIO(), {"a": "b"})
    with pytest.raises(PluginError, match="exporter lines failed: KeyError: 'bug'"):
        exporters["lines"].write(dataset, io.BytesIO(), {})


def test_a_source_refuses_in_its_own_words_and_its_faults_are_named() -> None:
    refusal = SourceRefusal(SourceResponse(status=400), code="bad", message="bad body")

    def read(request: SourceRequest) -> SourceEvents:
        if request.body == b"refuse":
            raise refusal
        raise KeyError("bug")

    def request(body: bytes) -> SourceRequest:
        return SourceRequest(method="POST", path="/", path_params={}, query={}, headers={}, body=body, received_at=0)

    host = PluginHost.of({"source.x": Sources(Source(name="x", endpoints=(endpoint(read=read),)))})
    (first,) = host.sources()["x"].endpoints
    with pytest.raises(SourceRefusal) as caught:
        first.read(request(b"refuse"))
    assert caught.value is refusal
    assert info(host, "source.x").failures == 0
    with pytest.raises(PluginError, match="source x, /v9/track failed: KeyError"):
        first.read(request(b""))
    assert info(host, "source.x").failures == 1


def test_a_source_that_returns_something_else_fails_where_it_did_so() -> None:
    wrong = endpoint(read=lambda request: {"events": []}, answer=lambda *_: b"{}")
    host = PluginHost.of({"source.x": Sources(Source(name="x", endpoints=(wrong,)))})
    (first,) = host.sources()["x"].endpoints
    with pytest.raises(PluginError, match="it must return SourceEvents, not dict"):
        first.read(None)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="it must return SourceResponse, not bytes"):
        first.answer(None, None)  # type: ignore[arg-type]


def test_a_file_is_read_as_far_as_the_plugin_gets() -> None:
    def read_file(file: Any, options: Any) -> Iterator[FileEvent]:
        yield FileEvent(event={}, line=2)
        raise KeyError("bug")

    host = PluginHost.of({"source.x": Sources(Source(name="x", read_file=read_file))})
    reader = host.sources()["x"].read_file
    assert reader is not None
    lines = reader(io.BytesIO(), {})
    assert next(lines).line == 2
    with pytest.raises(PluginError, match="source x failed: KeyError: 'bug'"):
        next(lines)


def test_without_any_plugin_there_is_a_host_that_classifies_nothing() -> None:
    host = PluginHost.of({})
    assert host.channel_classifier().classify(Traffic(event="page_viewed")).name == "Unassigned"
    assert (host.plugins(), host.problems()) == ((), ())
    host.notify_events_stored([{}])
    assert host.export_subject({}) == {}
