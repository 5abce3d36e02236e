"""The plugin host with real packages on a path: every way a plugin can be wrong, and that the others go on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from textwrap import dedent
from typing import Any, ClassVar

import msgspec
import pytest

from plugin_doubles import (
    PODCAST,
    Channels,
    EventTypes,
    Exporters,
    Models,
    Sources,
    endpoint,
    even,
    exporter,
    info,
    model,
    rule,
)
from touchtrail.events import VOCABULARY, Event, EventSpec
from touchtrail_collector.api import (
    AttributionModel,
    Channel,
    ChannelRule,
    ChannelRuleSet,
    Source,
    Traffic,
    hookimpl,
)
from touchtrail_collector.errors import PluginError
from touchtrail_collector.host import PluginHost, PluginInfo
from touchtrail_collector.settings import PluginsSettings, Settings, ShopSettings


class Packages:
    """A folder on sys.path into which distributions with plugins are put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, distribution: str, modules: Mapping[str, str], entries: Mapping[str, str]) -> None:
        for name, text in modules.items():
            (self.folder / f"{name}.py").write_text(dedent(text), encoding="utf-8")
        info = self.folder / f"{distribution}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n", encoding="utf-8")
        lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
        (info / "entry_points.txt").write_text(f"[touchtrail]\n{lines}", encoding="utf-8")

    def entry_points(self) -> list[EntryPoint]:
        return [entry for found in distributions(path=[str(self.folder)]) for entry in found.entry_points]

    def load(self, settings: Settings | None = None, *, strict: bool | None = None) -> PluginHost:
        return PluginHost.load(settings or Settings(), entry_points=self.entry_points(), strict=strict)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Packages(tmp_path)
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


GOOD = """
    from touchtrail_collector.api import AttributionModel, Channel, ChannelRule, ChannelRuleSet, hookimpl

    @hookimpl
    def touchtrail_channels(settings):
        spoken = Channel(name="Podcast", medium="earned", online=False)
        is_podcast = lambda traffic: traffic.source == "podcast"
        rule = ChannelRule(name="spoken", channel=spoken, priority=5, matches=is_podcast)
        return ChannelRuleSet(name="podcast", version="7", rules=(rule,))

    @hookimpl
    def touchtrail_attribution_models():
        return (AttributionModel(name=name, version=1, credit=lambda paths, parameters: None) for name in ("a", "b"))
"""


def test_an_installed_package_takes_part_without_a_line_of_ours(packages: Packages) -> None:
    packages.install("podcast-plugin", {"podcast_good": GOOD}, {"channel.podcast": "podcast_good"})
    host = PluginHost.load(Settings())
    assert info(host, "channel.podcast") == PluginInfo(
        id="channel.podcast",
        kind="channel",
        distribution="podcast-plugin",
        version="1.2",
        hooks=("touchtrail_attribution_models", "touchtrail_channels"),
        calls=2,
        time_ms=info(host, "channel.podcast").time_ms,
    )
    classifier = host.channel_classifier()
    assert classifier.explain(Traffic(event="page_viewed", source="podcast"))[1] == "podcast:spoken"
    assert "podcast/7" in classifier.rule_set_names
    assert {"a", "b"} <= host.attribution_models().keys()
    assert host.event_types().keys() >= VOCABULARY.keys()


def test_plugins_are_listed_by_name_whatever_order_they_are_found_in(packages: Packages) -> None:
    packages.install("one", {"one_mod": GOOD}, {"channel.z": "one_mod"})
    packages.install("two", {}, {"bad.a": "two_mod", "channel.a": "two_mod"})
    entries = packages.entry_points()
    there = PluginHost.load(Settings(), entry_points=entries).plugins()
    back = PluginHost.load(Settings(), entry_points=reversed(entries)).plugins()
    assert [plugin.id for plugin in there] == [plugin.id for plugin in back] == ["bad.a", "channel.a", "channel.z"]
    assert [plugin.state for plugin in there] == [plugin.state for plugin in back]


BROKEN_MODULES = {
    "import-error": ("import no_such_thing", "No module named 'no_such_thing' (broken_mod.py, line 2)"),
    "syntax-error": ("def f(:\n    pass", "SyntaxError: invalid syntax (broken_mod.py, line 2)"),
    "raises-at-import": ("raise RuntimeError('no licence')", "RuntimeError: no licence (broken_mod.py, line 2)"),
    "exits-at-import": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "no-hook": ("x = 1", "a plugin of kind channel must implement touchtrail_channels"),
    "unknown-hook": (
        "@hookimpl\ndef touchtrail_chanels(): ...",
        "touchtrail_chanels is no hook; did you mean touchtrail_channels?",
    ),
    "marker-forgotten": ("def touchtrail_channels(): ...", "touchtrail_channels lacks @hookimpl"),
    "unknown-argument": ("@hookimpl\ndef touchtrail_channels(setings): ...", "setings"),
    "async": ("@hookimpl\nasync def touchtrail_channels(): ...", "touchtrail_channels must not be async"),
    "wrapper": ("@hookimpl(wrapper=True)\ndef touchtrail_channels():\n    return (yield)", "is a wrapper"),
    "returns-nothing": ("@hookimpl\ndef touchtrail_channels(): ...", "expected ChannelRuleSet, got NoneType"),
    "raises-at-call": (
        "@hookimpl\ndef touchtrail_channels():\n    return 1 / 0",
        "touchtrail_channels failed: ZeroDivisionError: division by zero (broken_mod.py, line 4)",
    ),
    "erases-without-showing": (
        "@hookimpl\ndef touchtrail_erase_subject(identifiers): ...\n@hookimpl\ndef touchtrail_channels(): ...",
        "touchtrail_erase_subject needs touchtrail_export_subject beside it",
    ),
    "settings-not-a-struct": (
        "@hookimpl\ndef touchtrail_settings():\n    return dict\n@hookimpl\ndef touchtrail_channels(): ...",
        "touchtrail_settings must return a msgspec.Struct class",
    ),
}


@pytest.mark.parametrize("case", BROKEN_MODULES)
def test_a_broken_module_is_a_line_with_the_reason_and_the_others_go_on(packages: Packages, case: str) -> None:
    text, reason = BROKEN_MODULES[case]
    source = f"from touchtrail_collector.api import hookimpl\n{text}\n"
    packages.install("broken-plugin", {"broken_mod": source}, {"channel.broken": "broken_mod"})
    packages.install("good-plugin", {"good_mod": GOOD}, {"channel.good": "good_mod"})
    host = packages.load()
    broken = info(host, "channel.broken")
    assert broken.state == "broken"
    assert reason in (broken.last_error or "")
    assert any(problem.startswith("channel.broken: ") for problem in host.problems())
    assert info(host, "channel.good").state == "active"
    assert host.channel_classifier().classify(Traffic(event="page_viewed", source="podcast")).name == "Podcast"


@pytest.mark.parametrize(
    ("entry", "value", "reason"),
    [
        pytest.param(
            "chanel.x", "never_mod", "'chanel' is no kind of plugin; did you mean channel?", id="unknown-kind"
        ),
        pytest.param("podcast", "never_mod", "'podcast' is no kind of plugin", id="no-kind"),
        pytest.param("channel.Big Name", "never_mod", "must be named `kind.name`", id="bad-name"),
        pytest.param("channel.x", "never_mod:missing", "has no attribute 'missing'", id="no-such-attribute"),
        pytest.param("channel.x", "nowhere_at_all", "No module named 'nowhere_at_all'", id="no-such-module"),
        pytest.param("channel.x", "never_mod:Plugin", "must name a module or an object", id="a-class"),
    ],
)
def test_a_wrong_entry_point_is_a_broken_plugin(packages: Packages, entry: str, value: str, reason: str) -> None:
    packages.install("p", {"never_mod": "class Plugin: pass"}, {entry: value})
    (plugin,) = packages.load().plugins()
    assert plugin.state == "broken"
    assert reason in (plugin.last_error or "")


def test_a_disabled_plugin_is_not_even_imported(packages: Packages) -> None:
    packages.install(
        "p",
        {"dangerous_mod": "import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch()"},
        {"channel.x": "dangerous_mod"},
    )
    host = packages.load(Settings(plugins=PluginsSettings(disabled=("channel.x",))), strict=True)
    assert info(host, "channel.x").state == "disabled"
    assert "dangerous_mod" not in sys.modules
    assert not (packages.folder / "dangerous_mod.ran").exists()
    packages.load()
    assert (packages.folder / "dangerous_mod.ran").exists()


def test_two_packages_with_one_name_are_both_refused_and_both_named(packages: Packages) -> None:
    packages.install("first-shop", {"first_mod": GOOD}, {"channel.podcast": "first_mod"})
    packages.install("second-shop", {"second_mod": GOOD}, {"channel.podcast": "second_mod"})
    host = packages.load()
    assert [plugin.state for plugin in host.plugins()] == ["refused", "refused"]
    for plugin in host.plugins():
        assert plugin.last_error == (
            "the same name is claimed by first-shop 1.2 and by second-shop 1.2; uninstall one of them"
        )
    assert {"first_mod", "second_mod"}.isdisjoint(sys.modules)
    assert host.channel_classifier().rule_set_names == ()


def test_one_module_under_two_names_is_registered_once(packages: Packages) -> None:
    packages.install("p", {"twice_mod": GOOD}, {"channel.a": "twice_mod", "model.b": "twice_mod"})
    host = packages.load()
    assert info(host, "channel.a").state == "active"
    assert "the same module as channel.a" in (info(host, "model.b").last_error or "")


def test_a_module_that_is_broken_under_one_name_may_be_right_under_another(packages: Packages) -> None:
    text = """
        from touchtrail_collector.api import AttributionModel, hookimpl

        @hookimpl
        def touchtrail_attribution_models():
            return [AttributionModel(name="m", version=1, credit=len)]
    """
    packages.install("p", {"model_mod": text}, {"channel.m": "model_mod", "model.m": "model_mod"})
    assert [plugin.state for plugin in packages.load().plugins()] == ["broken", "active"]


class Rated(Event, frozen=True, kw_only=True):
    spec: ClassVar[EventSpec] = EventSpec("podcast_rated", "loyalty", "notice")
    stars: int


class NoSpec(Event, frozen=True, kw_only=True):
    pass


class Renamed(Event, frozen=True, kw_only=True):
    spec: ClassVar[EventSpec] = EventSpec("page_viewed", "loyalty", "notice")


class Shouted(Event, frozen=True, kw_only=True):
    spec: ClassVar[EventSpec] = EventSpec("Podcast Rated", "loyalty", "notice")


class WrongStage(Event, frozen=True, kw_only=True):
    spec: ClassVar[EventSpec] = EventSpec("podcast_rated", "delight", "notice")  # type: ignore[arg-type]


class Needy(msgspec.Struct, frozen=True, kw_only=True):
    half_life_days: int


BAD_VALUES = {
    "rule-of-another-type": ("channel", Channels("podcast"), "expected ChannelRule, got str"),
    "rule-twice": ("channel", Channels(rule(), rule()), "rule 'podcast' is there twice"),
    "rule-not-callable": (
        "channel",
        Channels(ChannelRule(name="r", channel=PODCAST, matches="podcast", priority=1)),  # type: ignore[arg-type]
        "rule 'r': matches must be a function",
    ),
    "rule-priority": ("channel", Channels(rule(priority="high")), "priority must be an int"),  # type: ignore[arg-type]
    "rule-channel": ("channel", Channels(rule(channel="Podcast")), "expected Channel, got str"),  # type: ignore[arg-type]
    "channel-medium": (
        "channel",
        Channels(rule(channel=Channel(name="P", medium="free"))),  # type: ignore[arg-type]
        "medium must be paid, owned or earned, not 'free'",
    ),
    "channel-without-name": ("channel", Channels(rule(channel=Channel(name=" ", medium="paid"))), "has no name"),
    "rule-set-name": ("channel", Channels(name="My Rules"), "'My Rules' is no name for a rule set"),
    "is-internal": ("channel", Channels(is_internal=True), "is_internal must be a function"),
    "model-of-another-type": ("model", Models(even), "expected AttributionModel, got function"),
    "model-name": ("model", Models(model("Even Split")), "'Even Split' is no name"),
    "model-version": ("model", Models(model(version="1")), "version must be an int"),
    "model-credit": ("model", Models(model(credit=3)), "credit must be a function"),
    "model-parameters": ("model", Models(model(parameters=dict)), "parameters must be a msgspec.Struct"),
    "model-parameter-default": ("model", Models(model(parameters=Needy)), "every parameter needs a default"),
    "model-twice": ("model", Models(model(), model()), "attribution model 'even' more than once"),
    "exporter-suffix": ("exporter", Exporters(exporter(suffix="txt")), "suffix must begin with a dot"),
    "exporter-write": ("exporter", Exporters(exporter(write=None)), "write must be a function"),
    "source-empty": ("source", Sources(Source(name="x")), "neither endpoints nor read_file"),
    "source-endpoint-type": ("source", Sources(Source(name="x", endpoints=("/a",))), "expected Endpoint, got str"),  # type: ignore[arg-type]
    "endpoint-path": ("source", Sources(Source(name="x", endpoints=(endpoint("v1"),))), "the path must begin with /"),
    "endpoint-of-ours": (
        "source",
        Sources(Source(name="x", endpoints=(endpoint("/v1/events/"),))),
        "the collector itself answers this path",
    ),
    "endpoint-methods": (
        "source",
        Sources(Source(name="x", endpoints=(endpoint(methods=("post",)),))),
        "methods must be upper-case",
    ),
    "event-not-a-class": ("event", EventTypes("podcast_rated"), "expected an Event class, got str"),
    "event-other-class": ("event", EventTypes(dict), "dict must inherit from Event"),
    "event-without-spec": ("event", EventTypes(NoSpec), "NoSpec needs its own `spec"),
    "event-of-the-vocabulary": ("event", EventTypes(Renamed), "'page_viewed' is part of the standard vocabulary"),
    "event-name": ("event", EventTypes(Shouted), "'Podcast Rated' is no name for an event"),
    "event-stage": ("event", EventTypes(WrongStage), "stage must be one of awareness"),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_a_wrong_value_breaks_its_plugin_and_says_which_and_why(case: str) -> None:
    kind, plugin, reason = BAD_VALUES[case]
    host = PluginHost.of({f"{kind}.bad": plugin, "channel.good": Channels(name="good")})
    assert info(host, f"{kind}.bad").state == "broken"
    assert reason in (info(host, f"{kind}.bad").last_error or "")
    assert host.channel_classifier().rule_set_names == ("good/1",)
    assert not host.attribution_models()
    assert not host.sources()
    assert not host.exporters()
    assert host.event_types() == VOCABULARY


def test_of_a_plugin_with_one_wrong_value_nothing_is_used() -> None:
    class Mixed(Channels):
        @hookimpl
        def touchtrail_attribution_models(self) -> list[AttributionModel]:
            return [model("fine"), model("Not Fine")]

    host = PluginHost.of({"channel.mixed": Mixed()})
    assert host.attribution_models() == {}
    assert host.channel_classifier().rule_set_names == ()


@pytest.mark.parametrize(
    ("kind", "one", "other", "what"),
    [
        pytest.param("channel", Channels(), Channels(), "channel rule set 'podcast'", id="rule-set"),
        pytest.param("model", Models(model()), Models(model()), "attribution model 'even'", id="model"),
        pytest.param("exporter", Exporters(exporter()), Exporters(exporter()), "exporter 'lines'", id="exporter"),
        pytest.param("event", EventTypes(Rated), EventTypes(Rated), "event type 'podcast_rated'", id="event"),
        pytest.param(
            "source",
            Sources(Source(name="x", endpoints=(endpoint("/v9/{key}/track"),))),
            Sources(Source(name="y", endpoints=(endpoint("/v9/{id}/track/"),))),
            "endpoint 'POST /v9/{}/track'",
            id="endpoint",
        ),
    ],
)
def test_a_name_that_two_plugins_contribute_is_refused_naming_both(kind: str, one: Any, other: Any, what: str) -> None:
    host = PluginHost.of({f"{kind}.one": one, f"{kind}.other": other, "model.third": Models(model("third"))})
    for plugin_id in (f"{kind}.one", f"{kind}.other"):
        assert info(host, plugin_id).state == "refused"
        assert f"{what} is contributed by {kind}.one and by {kind}.other" in (info(host, plugin_id).last_error or "")
    assert host.attribution_models().keys() == {"third"}
    settings = Settings(plugins=PluginsSettings(disabled=(f"{kind}.other",)))
    assert PluginHost.of({f"{kind}.one": one, f"{kind}.other": other}, settings=settings).problems() == ()


def test_an_event_type_of_a_plugin_joins_the_vocabulary() -> None:
    host = PluginHost.of({"event.podcast": EventTypes(Rated)})
    assert host.event_types()["podcast_rated"] is Rated
    assert "podcast_rated" not in VOCABULARY


class Knobs(msgspec.Struct, frozen=True, kw_only=True):
    shows: tuple[str, ...] = ()
    priority: int = 50
    own_hosts: tuple[str, ...] = ()


class Tunable:
    """A channel plugin that remembers the settings it was given."""

    @hookimpl
    def touchtrail_settings(self) -> type[Knobs]:
        return Knobs

    @hookimpl
    def touchtrail_channels(self, settings: Knobs) -> ChannelRuleSet:
        self.settings = settings
        return ChannelRuleSet(name="tunable", version="1", rules=(rule(priority=settings.priority),))


def with_table(table: dict[str, Any], **others: Any) -> Settings:
    return Settings(plugins=PluginsSettings(tables={"channel.tunable": table}), **others)


def test_a_plugin_gets_its_own_table_as_its_own_struct() -> None:
    plugin = Tunable()
    PluginHost.of({"channel.tunable": plugin}, settings=with_table({"shows": ["a"], "priority": 7}), strict=True)
    assert plugin.settings == Knobs(shows=("a",), priority=7)


@pytest.mark.parametrize(
    ("table", "expected"),
    [({}, ("shop.example",)), ({"own_hosts": ["other.example"]}, ("other.example",)), ({"own_hosts": []}, ())],
    ids=["not-set", "set", "set-to-none"],
)
def test_own_hosts_that_are_not_set_are_the_shops(table: dict[str, Any], expected: tuple[str, ...]) -> None:
    plugin = Tunable()
    settings = with_table(table, shop=ShopSettings(hosts=("shop.example",)))
    PluginHost.of({"channel.tunable": plugin}, settings=settings, strict=True)
    assert plugin.settings.own_hosts == expected


def test_every_problem_of_a_plugins_table_is_named_with_its_key() -> None:
    host = PluginHost.of(
        {"channel.tunable": Tunable()}, settings=with_table({"shows": "a", "priority": "1", "prio": 1})
    )
    plugin = info(host, "channel.tunable")
    assert plugin.state == "broken"
    for problem in (
        '[plugins."channel.tunable"].shows: expected `array`, got `str`',
        '[plugins."channel.tunable"].priority: expected `int`, got `str`',
        '[plugins."channel.tunable"].prio is unknown; did you mean priority?',
    ):
        assert problem in (plugin.last_error or "")


def test_settings_for_a_plugin_without_settings_or_without_a_plugin_are_problems() -> None:
    tables = {"channel.podcast": {"a": 1}, "channel.podcats": {"a": 1}}
    settings = Settings(plugins=PluginsSettings(tables=tables, disabled=("model.markov",)))
    assert PluginHost.of({"channel.podcast": Channels()}, settings=settings).problems() == (
        'channel.podcast: [plugins."channel.podcast"] is set, but the plugin has no settings',
        '[plugins."channel.podcats"] names no installed plugin; did you mean channel.podcast?',
        "[plugins] disabled names model.markov, which is not installed",
    )


@pytest.mark.parametrize("by_setting", [True, False], ids=["setting", "argument"])
def test_strict_makes_every_problem_one_error(by_setting: bool) -> None:
    plugins = {"model.a": Models(3), "model.b": Models(4), "model.c": Models(model())}
    settings = Settings(plugins=PluginsSettings(strict=by_setting))
    with pytest.raises(PluginError) as caught:
        PluginHost.of(plugins, settings=settings, strict=None if by_setting else True)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["model.a", "model.b"]
    assert PluginHost.of(plugins, settings=settings, strict=False).attribution_models().keys() == {"even"}
