"""`touchtrail plugins` beside a collector: what was installed since, and a list that fits the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from touchtrail_collector.cli.plugins import plugin_table, tell_differences
from touchtrail_collector.cli.rebuild import DERIVING_HOOKS
from touchtrail_collector.host import PluginInfo


def plugin(plugin_id: str, version: str = "1", *hooks: str) -> PluginInfo:
    return PluginInfo(
        id=plugin_id, kind=plugin_id.partition(".")[0], distribution="touchtrail-x", version=version, hooks=hooks
    )


@pytest.mark.parametrize(
    ("own", "theirs", "line"),
    [
        ([plugin("channel.flyer")], [], "channel.flyer was installed after the collector was started"),
        ([], [plugin("channel.flyer")], "channel.flyer was removed after the collector was started"),
        (
            [plugin("channel.flyer", "2")],
            [plugin("channel.flyer", "1")],
            "channel.flyer is 2 now, and was 1 when the collector was started",
        ),
    ],
    ids=["new", "gone", "replaced"],
)
def test_what_changed_since_the_collector_was_started_is_told(
    own: list[PluginInfo], theirs: list[PluginInfo], line: str
) -> None:
    same = plugin("model.linear")
    assert tell_differences([same, *own], [same, *theirs]) == [line]


def test_a_rebuild_minds_only_plugins_that_decide_what_is_derived() -> None:
    own = [
        plugin("exporter.markdown", "1", "touchtrail_exporters"),
        plugin("channel.flyer", "1", "touchtrail_channels"),
    ]
    assert [line.split()[0] for line in tell_differences(own, [], DERIVING_HOOKS)] == ["channel.flyer"]


@pytest.mark.parametrize("width", [80, 100, 119, 160])
def test_no_id_is_folded_in_a_narrow_terminal(width: int) -> None:
    found = [
        plugin("model.last_non_direct", "10.20.30", "touchtrail_attribution_models"),
        plugin("source.segment", "1.0", "touchtrail_settings", "touchtrail_sources"),
    ]
    out = io.StringIO()
    Console(file=out, width=width).print(plugin_table(found, width))
    lines = out.getvalue().splitlines()
    assert max(len(line) for line in lines) <= width
    for word in ("model.last_non_direct", "10.20.30", "attribution_models", "active"):
        assert any(word in line.split() for line in lines), word
    assert ("touchtrail-x" in out.getvalue()) is (width >= 120)
