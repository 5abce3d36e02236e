"""Collects what a plugin contributes at start and checks every value before anything relies on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, get_args

import msgspec

from touchtrail.events import VOCABULARY, Contact, Event, EventSpec, Moment, Polarity, Stage
from touchtrail_collector.api import (
    AttributionModel,
    Channel,
    ChannelRule,
    ChannelRuleSet,
    Endpoint,
    Exporter,
    Source,
    SourceResponse,
)

from .record import PluginRecord, describe

T = TypeVar("T")

OWN_PATHS = re.compile(r"/|/v1/events(/.*)?|/api(/.*)?|/healthz|/readyz|/metrics|/openapi\.json|/touchtrail\.js")
"""Paths the collector answers itself; a plugin's endpoint there would never be reached."""


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one plugin contributes, checked."""

    owner: PluginRecord
    channels: ChannelRuleSet | None = None
    sources: tuple[Source, ...] = ()
    models: tuple[AttributionModel, ...] = ()
    exporters: tuple[Exporter, ...] = ()
    event_types: tuple[type[Event], ...] = ()

    def names(self) -> Iterator[tuple[str, str]]:
        """Yield every name that only one plugin can have, as (what it names, name)."""
        if self.channels is not None:
            yield "channel rule set", self.channels.name
        yield from (("attribution model", model.name) for model in self.models)
        yield from (("exporter", exporter.name) for exporter in self.exporters)
        yield from (("event type", kind.spec.name) for kind in self.event_types)
        for source in self.sources:
            yield "source", source.name
            for endpoint in source.endpoints:
                path = re.sub(r"\{[^}]*\}", "{}", endpoint.path.rstrip("/"))
                yield from (("endpoint", f"{method} {path}") for method in endpoint.methods)


def collect(record: PluginRecord) -> Contribution | None:
    """Call the plugin's contributing hooks, once each; None where the plugin is broken.

    All or nothing: of a plugin with one wrong value nothing is used, so that half a plugin never shapes a figure.
    """
    rule_sets = _values(record, "touchtrail_channels", ChannelRuleSet, _rule_set_problems, single=True)
    contribution = Contribution(
        owner=record,
        channels=rule_sets[0] if rule_sets else None,
        sources=_values(record, "touchtrail_sources", Source, _source_problems),
        models=_values(record, "touchtrail_attribution_models", AttributionModel, _model_problems),
        exporters=_values(record, "touchtrail_exporters", Exporter, _exporter_problems),
        event_types=_values(record, "touchtrail_event_types", type, _event_type_problems),
    )
    if not record.is_active:
        return None
    counts = Counter(contribution.names())
    for what, name in (claim for claim, times in counts.items() if times > 1):
        record.give_up("broken", f"contributes {what} {name!r} more than once")
    return contribution if record.is_active else None


def refuse_conflicts(contributions: Iterable[Contribution]) -> list[Contribution]:
    """Return the contributions no other plugin contests; the owners of a contested name are all refused."""
    contributions = list(contributions)
    owners: dict[tuple[str, str], list[PluginRecord]] = {}
    for contribution in contributions:
        for claim in contribution.names():
            owners.setdefault(claim, []).append(contribution.owner)
    for (what, name), records in owners.items():
        if len(records) > 1:
            rivals = " and by ".join(_with_distribution(record) for record in records)
            problem = f"{what} {name!r} is contributed by {rivals}; disable one of them in [plugins]"
            for record in records:
                record.give_up("refused", problem)
    return [contribution for contribution in contributions if contribution.owner.is_active]


def _with_distribution(record: PluginRecord) -> str:
    return record.id if record.distribution is None else f"{record.id} ({record.distribution})"


def _values(
    record: PluginRecord, hook: str, kind: type[T], check: Callable[[T], Iterator[str]], *, single: bool = False
) -> tuple[T, ...]:
    if hook not in record.hooks or not record.is_active:
        return ()
    try:
        result = record.call(record.hooks[hook], settings=record.settings)
        values = (result,) if single else tuple(result)
        problems = [problem for value in values for problem in _value_problems(value, kind, check)]
    except Exception as error:  # noqa: BLE001 - the boundary of this hook
        record.give_up("broken", f"{hook} failed: {describe(error)}")
        return ()
    for problem in problems:
        record.give_up("broken", f"{hook}: {problem}")
    return values


def _value_problems(value: Any, kind: type[T], check: Callable[[T], Iterator[str]]) -> Iterator[str]:
    if isinstance(value, kind):
        yield from check(value)
    else:
        yield f"expected {'an Event class' if kind is type else kind.__name__}, got {type(value).__name__}"


def _is_name(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", name) is not None


def _rule_set_problems(rule_set: ChannelRuleSet) -> Iterator[str]:
    if not _is_name(rule_set.name):
        yield f"{rule_set.name!r} is no name for a rule set: write lower-case letters, digits, _ and -"
    if not isinstance(rule_set.version, str) or not rule_set.version:
        yield "the rule set needs a version: reports state it"
    if rule_set.is_internal is not None and not callable(rule_set.is_internal):
        yield "is_internal must be a function of Traffic"
    seen = set()
    for rule in rule_set.rules:
        if not isinstance(rule, ChannelRule):
            yield f"expected ChannelRule, got {type(rule).__name__}"
            continue
        yield from (f"rule {rule.name!r}: {problem}" for problem in _rule_problems(rule))
        if rule.name in seen:
            yield f"rule {rule.name!r} is there twice"
        seen.add(rule.name)


def _rule_problems(rule: ChannelRule) -> Iterator[str]:
    if not callable(rule.matches):
        yield "matches must be a function of Traffic"
    if not isinstance(rule.priority, int):
        yield "priority must be an int"
    if not isinstance(rule.channel, Channel):
        yield f"expected Channel, got {type(rule.channel).__name__}"
    elif not isinstance(rule.channel.name, str) or not rule.channel.name.strip():
        yield "its channel has no name"
    elif rule.channel.medium not in ("paid", "owned", "earned"):
        yield f"channel {rule.channel.name!r}: medium must be paid, owned or earned, not {rule.channel.medium!r}"


def _source_problems(source: Source) -> Iterator[str]:
    if not _is_name(source.name):
        yield f"{source.name!r} is no name for a source: write lower-case letters, digits, _ and -"
    if not source.endpoints and source.read_file is None:
        yield f"source {source.name!r} has neither endpoints nor read_file"
    if source.read_file is not None and not callable(source.read_file):
        yield f"source {source.name!r}: read_file must be a function"
    for endpoint in source.endpoints:
        if not isinstance(endpoint, Endpoint):
            yield f"source {source.name!r}: expected Endpoint, got {type(endpoint).__name__}"
        else:
            yield from (f"endpoint {endpoint.path!r}: {problem}" for problem in _endpoint_problems(endpoint))


def _endpoint_problems(endpoint: Endpoint) -> Iterator[str]:
    if not isinstance(endpoint.path, str) or not endpoint.path.startswith("/"):
        yield "the path must begin with /"
    elif OWN_PATHS.fullmatch(endpoint.path.rstrip("/") or "/"):
        yield "the collector itself answers this path"
    if not callable(endpoint.read) or not callable(endpoint.answer):
        yield "read and answer must be functions"
    if not isinstance(endpoint.unauthorized, SourceResponse):
        yield "unauthorized must be a SourceResponse"
    if not endpoint.methods or not all(isinstance(method, str) and method.isupper() for method in endpoint.methods):
        yield "methods must be upper-case names such as POST"


def _model_problems(model: AttributionModel) -> Iterator[str]:
    if not _is_name(model.name):
        yield f"{model.name!r} is no name for a model: write lower-case letters, digits, _ and -"
    if not isinstance(model.version, int):
        yield f"model {model.name!r}: version must be an int"
    if not callable(model.credit):
        yield f"model {model.name!r}: credit must be a function of Paths and parameters"
    parameters = model.parameters
    if not (isinstance(parameters, type) and issubclass(parameters, msgspec.Struct)):
        yield f"model {model.name!r}: parameters must be a msgspec.Struct class"
    elif any(field.required for field in msgspec.structs.fields(parameters)):
        yield f"model {model.name!r}: every parameter needs a default"


def _exporter_problems(exporter: Exporter) -> Iterator[str]:
    if not _is_name(exporter.name):
        yield f"{exporter.name!r} is no name for an exporter: write lower-case letters, digits, _ and -"
    if not isinstance(exporter.suffix, str) or not exporter.suffix.startswith("."):
        yield f"exporter {exporter.name!r}: suffix must begin with a dot"
    if not callable(exporter.write):
        yield f"exporter {exporter.name!r}: write must be a function"


def _event_type_problems(kind: type) -> Iterator[str]:
    if not issubclass(kind, Event):
        yield f"{kind.__name__} must inherit from Event"
        return
    spec = vars(kind).get("spec")
    if not isinstance(spec, EventSpec):
        yield f"{kind.__name__} needs its own `spec: ClassVar[EventSpec] = EventSpec(...)`"
    elif not isinstance(spec.name, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", spec.name):
        yield f"{spec.name!r} is no name for an event: write noun_verbed in lower case"
    elif spec.name in VOCABULARY:
        yield f"event {spec.name!r} is part of the standard vocabulary"
    else:
        for field, allowed in (("stage", Stage), ("contact", Contact), ("moment", Moment), ("signal", Polarity)):
            value = getattr(spec, field)
            if value not in get_args(allowed) and (value is not None or field == "contact"):
                yield f"event {spec.name!r}: {field} must be one of {', '.join(get_args(allowed))}"
