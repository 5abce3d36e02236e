"""The conformance kit: first-party plugins pass, and each mistake is named."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from touchtrail_collector.api import (
    AttributionModel,
    Channel,
    ChannelRule,
    ChannelRuleSet,
    Dataset,
    Endpoint,
    Exporter,
    FileEvent,
    FileProblem,
    Paths,
    Source,
    SourceAck,
    SourceEvents,
    SourceRefusal,
    SourceReject,
    SourceRequest,
    SourceResponse,
    Traffic,
)
from touchtrail_collector.testing import check_channels, check_exporter, check_model, check_source
from touchtrail_plugins.channels.default import touchtrail_channels, touchtrail_settings
from touchtrail_plugins.sources import segment


class Loose(msgspec.Struct, kw_only=True):
    half: float = 0.5


class Demanding(msgspec.Struct, frozen=True, kw_only=True):
    half: float


def linear(paths: Paths, parameters: Any) -> Any:
    lengths = np.diff(paths.offsets)
    return np.repeat(1.0 / np.maximum(lengths, 1), lengths)


def scribbling(paths: Paths, parameters: Any) -> Any:
    shares = linear(paths, parameters)
    paths.ages_ms[:] = 0
    return shares


def by_age(paths: Paths, parameters: Any) -> Any:
    return _normalised(paths, 1.0 / (1.0 + paths.ages_ms))


def by_loss(paths: Paths, parameters: Any) -> Any:
    lost = np.repeat(~paths.converted, np.diff(paths.offsets))
    weights = 1.0 + np.bincount(paths.channel_codes[lost], minlength=len(paths.channels))
    return _normalised(paths, weights[paths.channel_codes])


def by_volume(paths: Paths, parameters: Any) -> Any:
    converted = np.repeat(paths.converted, np.diff(paths.offsets))
    volume = 1.0 + np.bincount(paths.channel_codes[converted], minlength=len(paths.channels))
    return _normalised(paths, volume[paths.channel_codes])


def _normalised(paths: Paths, weights: Any) -> Any:
    owner = np.repeat(np.arange(len(paths.converted)), np.diff(paths.offsets))
    return weights / np.bincount(owner, weights, minlength=len(paths.converted))[owner]


def wavering() -> Callable[..., Any]:
    calls = itertools.count()
    return lambda paths, parameters: linear(paths, parameters) * (1.0 - 1e-9 * next(calls))


def model(credit: Callable[..., Any], **properties: Any) -> AttributionModel:
    return AttributionModel(**{"name": "odd", "version": 1, "credit": credit, **properties})


@pytest.mark.parametrize(
    ("odd", "problem"),
    [
        (model(linear, name="Linear Model"), "its name must be lower-case"),
        (model(linear, version=0), "its version must be an int from 1 on"),
        (model(linear, parameters=Loose), "must be a frozen msgspec.Struct"),
        (model(linear, parameters=Demanding), "every parameter needs a default; half have none"),
        (model(lambda paths, _: np.ones(len(paths.channel_codes))), "sum to 2.0, not to 1"),
        (model(lambda paths, _: paths.ages_ms), "it returned int64, not a float64 array"),
        (
            model(lambda paths, _: np.full(len(paths.channel_codes), 1 / paths.ages_ms[0])),
            "on no paths: it raised IndexError",
        ),
        (model(scribbling), "it changed its input (ages_ms) on one touch ten years back; copy an array"),
        (model(wavering()), "gave different bytes; a model must be deterministic"),
        (model(by_age), "declare needs_times=True"),
        (model(by_loss, linear_in_journeys=False), "declare needs_non_converting=True"),
        (model(by_volume), "declare linear_in_journeys=False"),
    ],
    ids=lambda value: None if isinstance(value, AttributionModel) else value[:40],
)
def test_a_wrong_model_is_told_what_is_wrong(odd: AttributionModel, problem: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_model(odd)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"attribution model {odd.name!r}: ")


@pytest.mark.parametrize(
    "honest",
    [
        model(linear),
        model(by_age, needs_times=True),
        model(by_loss, linear_in_journeys=False, needs_non_converting=True),
        model(by_volume, linear_in_journeys=False),
        model(lambda paths, _: np.ones(len(paths.channel_codes)), conserves_credit=False),
    ],
    ids=["plain", "times", "non-converting", "not-linear", "participation"],
)
def test_a_model_that_declares_what_it_does_passes(honest: AttributionModel) -> None:
    check_model(honest)


PODCAST = Channel(name="Podcast", medium="earned")


def rules(matches: Callable[[Traffic], Any], **changes: Any) -> ChannelRuleSet:
    rule = ChannelRule(**{"name": "podcast", "channel": PODCAST, "matches": matches, "priority": 500, **changes})
    return ChannelRuleSet(name="podcast", version="1", rules=(rule,))


def is_podcast(traffic: Traffic) -> bool:
    return traffic.medium == "podcast"


def forgetful() -> Callable[[Traffic], bool]:
    seen: set[Traffic] = set()
    return lambda traffic: traffic in seen or seen.add(traffic) is not None


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, traffic: Traffic) -> bool:
        return False


TWICE = (*rules(is_podcast).rules, *rules(is_podcast).rules)
OTHERWISE = (
    *rules(is_podcast).rules,
    *rules(is_podcast, name="audio", channel=Channel(name="Podcast", medium="paid")).rules,
)


@pytest.mark.parametrize(
    ("odd", "problem"),
    [
        (rules(lambda traffic: "podcast" in traffic.medium), "matches raised TypeError"),  # type: ignore[operator]
        (rules(lambda traffic: traffic.medium), "matches answered None, not True or False"),
        (rules(forgetful()), "matches answered False, then True"),
        (rules(Unhashable()), "it cannot be hashed"),
        (rules(is_podcast, priority="first"), "priority is 'first'; it must be an int"),
        (rules(is_podcast, name=" "), "a rule needs a name"),
        (ChannelRuleSet(name="podcast", version="", rules=()), "a version is needed"),
        (ChannelRuleSet(name="Pod Cast", version="1", rules=()), "its name must be lower-case"),
        (ChannelRuleSet(name="podcast", version="1", rules=TWICE), "there are several podcast"),
        (ChannelRuleSet(name="podcast", version="1", rules=OTHERWISE), "channel 'Podcast' is described in two ways"),
        (
            ChannelRuleSet(name="podcast", version="1", rules=(), is_internal=lambda traffic: 1),  # type: ignore
            "is_internal answered 1, not True or False",
        ),
    ],
    ids=lambda value: None if isinstance(value, ChannelRuleSet) else value[:40],
)
def test_a_wrong_rule_is_told_what_is_wrong(odd: ChannelRuleSet, problem: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_channels(odd)
    assert problem in str(caught.value)


def test_expected_channels_are_checked() -> None:
    podcast, other = Traffic(event="page_viewed", medium="podcast"), Traffic(event="page_viewed")
    check_channels(rules(is_podcast), {podcast: "Podcast", other: None})
    with pytest.raises(AssertionError, match="is in None by core:unassigned, not in 'Podcast'"):
        check_channels(rules(is_podcast), {other: "Podcast"})


def test_the_default_channel_rules_pass() -> None:
    check_channels(touchtrail_channels(settings=touchtrail_settings()()))


SEGMENT_CALLS: dict[str, dict[str, Any]] = {
    "track": {"event": "Product Viewed", "properties": {"sku": "S-1", "price": 12.5, "currency": "EUR"}},
    "identify": {"traits": {"email": "a@b.example"}},
    "page": {"name": "Home"},
    "screen": {"name": "Home"},
    "group": {"groupId": "g-1"},
    "alias": {"previousId": "p-1"},
}


def segment_body(path: str) -> bytes:
    call = path.rpartition("/")[2]
    bodies = {
        kind: {"type": kind, "messageId": f"m-{kind}", "anonymousId": "a-1", "userId": "u-1", "writeKey": "k", **rest}
        for kind, rest in SEGMENT_CALLS.items()
    }
    if call in {"batch", "b"}:
        return json.dumps({"batch": list(bodies.values()), "sentAt": "2026-11-21T10:00:01.000Z"}).encode()
    kind = next((kind for kind in bodies if call in {kind, kind[0]}), None)
    return json.dumps(bodies[kind]).encode() if kind else b""


def test_the_segment_source_passes_on_each_of_its_paths() -> None:
    (source,) = segment.touchtrail_sources(settings=segment.touchtrail_settings()())
    requests = [
        SourceRequest(
            method=endpoint.methods[0],
            path=endpoint.path.replace("{key}", "k"),
            path_params={"key": "k"},
            query={},
            headers={"authorization": "Basic azo="},
            body=segment_body(endpoint.path),
            received_at=1_795_255_200_000,
        )
        for endpoint in source.endpoints
    ]
    assert len(requests) >= 14
    check_source(source, requests, rejects=[b'{"type": "page", "anonymousId": "a", "messageId": "m", "name": "Home"}'])


def write_json(dataset: Dataset, file: BinaryIO, options: dict[str, str]) -> int:
    if options:
        raise ValueError(f"no option {min(options)}")
    names = [column.name for column in dataset.columns]
    rows = [dict(zip(names, row, strict=True)) for row in dataset.rows]
    file.write(json.dumps(rows).encode())
    return len(rows)


def writing(change: Callable[[Dataset, BinaryIO], int | None]) -> Callable[..., int]:
    """An exporter that is right but for ``change``, whose answer, if any, is the row count."""

    def write(dataset: Dataset, file: BinaryIO, options: dict[str, str]) -> int:
        answer = change(dataset, file)
        return write_json(dataset, file, options) if answer is None else answer

    return write


def write_closing(dataset: Dataset, file: BinaryIO, options: dict[str, str]) -> int:
    count = write_json(dataset, file, options)
    file.close()
    return count


def write_stripped(dataset: Dataset, file: BinaryIO, options: dict[str, str]) -> int:
    rows = [[value.strip() if isinstance(value, str) else value for value in row] for row in dataset.rows]
    return write_json(msgspec.structs.replace(dataset, rows=rows), file, options)


def write_short(dataset: Dataset, file: BinaryIO, options: dict[str, str]) -> int:
    rows = list(dataset.rows)
    write_json(msgspec.structs.replace(dataset, rows=rows[1:]), file, options)
    return len(rows)


def write_silently(dataset: Dataset, file: BinaryIO, options: dict[str, str]) -> int:
    return write_json(dataset, file, {})


def write_vaguely(dataset: Dataset, file: BinaryIO, options: dict[str, str]) -> int:
    if options:
        raise ValueError("wrong option")
    return write_json(dataset, file, {})


def write_first_row(dataset: Dataset, file: BinaryIO, options: dict[str, str]) -> int:
    next(iter(dataset.rows))
    return 0


def exporter(write: Callable[..., Any], **changes: Any) -> Exporter:
    return Exporter(**{"name": "odd", "suffix": ".odd", "write": write, **changes})


def counting() -> Callable[..., int]:
    calls = itertools.count()
    return writing(lambda dataset, file: file.write(b"%d" % next(calls)) and None)


@pytest.mark.parametrize(
    ("odd", "problem"),
    [
        (exporter(write_json, name="My Format"), "its name must be lower-case"),
        (exporter(write_json, suffix="odd"), "it must begin with a dot"),
        (exporter(write_closing), "it closed the file"),
        (exporter(writing(lambda dataset, file: len(list(dataset.rows)) - 1)), "as the number of rows of a dataset of"),
        (exporter(writing(lambda dataset, file: list(dataset.rows) and None)), "it read the rows twice"),
        (exporter(counting()), "gave other bytes when written again"),
        (exporter(write_silently), "it took the option no_such_option=1"),
        (exporter(write_vaguely), "does not name it"),
        (exporter(write_first_row), "as the number of rows"),
        (exporter(lambda dataset, file, options: 1 // 0), "it raised ZeroDivisionError"),
        (exporter(write_stripped), "came back as"),
        (exporter(write_short), "rows, and 20 came back"),
    ],
    ids=lambda value: None if isinstance(value, Exporter) else value[:40],
)
def test_a_wrong_exporter_is_told_what_is_wrong(odd: Exporter, problem: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_exporter(odd, read=json.loads)
    assert problem in str(caught.value)


def test_a_right_exporter_passes() -> None:
    check_exporter(exporter(write_json), read=json.loads)


REFUSAL = SourceResponse(status=400, body=b'{"error": "unreadable"}')
EVENT = {"event_id": "e-1", "name": "page_viewed", "anonymous_id": "a-1", "properties": {}}


def read_event(request: SourceRequest) -> SourceEvents:
    try:
        event = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise SourceRefusal(REFUSAL, code="bad_json", message=str(error)) from error
    if not isinstance(event, dict):
        return SourceEvents(key=None, events=(SourceReject(code="no_object", message="not an object"),))
    return SourceEvents(key=request.headers.get("x-key"), events=(event,))


def request_of(event: Mapping[str, Any], path: str = "/v9/track/k-1") -> SourceRequest:
    return SourceRequest(
        method="POST",
        path=path,
        path_params={"key": "k-1"},
        query={},
        headers={"x-key": "k-1"},
        body=json.dumps(event).encode(),
        received_at=0,
    )


def source(read: Callable[..., Any] = read_event, answer: Callable[..., Any] | None = None) -> Source:
    def fine(ack: SourceAck, request: SourceRequest) -> SourceResponse:
        return SourceResponse()

    endpoint = Endpoint(path="/v9/track/{key}", read=read, answer=answer or fine, unauthorized=REFUSAL)
    return Source(name="odd", endpoints=(endpoint,))


def with_new_ids() -> Callable[[SourceRequest], SourceEvents]:
    calls = itertools.count()

    def read(request: SourceRequest) -> SourceEvents:
        return SourceEvents(key=None, events=({**EVENT, "event_id": f"e-{next(calls)}"},))

    return read


@pytest.mark.parametrize(
    ("odd", "sample", "problem"),
    [
        (source(), request_of(EVENT, "/elsewhere"), "no sample request for /v9/track/{key}"),
        (source(lambda request: 1 // 0), request_of(EVENT), "raised ZeroDivisionError"),
        (source(lambda request: [EVENT]), request_of(EVENT), "gave list, not SourceEvents"),
        (source(), request_of({**EVENT, "properties": {"sku": "S"}}), "an event the collector rejects: unknown_field"),
        (source(), request_of([EVENT]), "was rejected: no_object"),  # type: ignore[arg-type]
        (source(with_new_ids()), request_of(EVENT), "gave other event ids when read again: a retry counts twice"),
        (source(answer=lambda ack, request: b"ok"), request_of(EVENT), "answer must return a SourceResponse"),
        (
            source(lambda request: SourceEvents(key=None, events=(json.loads(request.body),))),
            request_of(EVENT),
            "raised JSONDecodeError",
        ),
        (
            source(lambda request: SourceEvents(key=request.headers["x-key"], events=read_event(request).events)),
            request_of(EVENT),
            "on a request without headers and query",
        ),
        (Source(name="odd"), request_of(EVENT), "it has neither endpoints nor read_file"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_a_wrong_endpoint_is_told_what_is_wrong(odd: Source, sample: SourceRequest, problem: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_source(odd, [sample])
    assert problem in str(caught.value)


def test_a_right_endpoint_passes() -> None:
    check_source(source(), [request_of(EVENT)])


def read_item(raw: bytes) -> Mapping[str, Any] | SourceReject:
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError) as error:
        return SourceReject(code="bad_json", message=str(error), raw=raw)
    return event if isinstance(event, dict) else SourceReject(code="no_object", message="not an object", raw=raw)


def read_keeping_raw(request: SourceRequest) -> SourceEvents:
    read = read_event(request)
    events = (replace(event, raw=request.body) if isinstance(event, SourceReject) else event for event in read.events)
    return SourceEvents(key=read.key, events=tuple(events))


def rereading(read_reject: Callable[[bytes], Any], read: Callable[..., Any] = read_keeping_raw) -> Source:
    """Return a source that reads its rejects again."""
    return replace(source(read), read_reject=read_reject)


def with_new_reject_ids() -> Callable[[bytes], Any]:
    calls = itertools.count()
    return lambda raw: {**EVENT, "event_id": f"e-{next(calls)}"}


ITEM = json.dumps(EVENT).encode()


@pytest.mark.parametrize(
    ("odd", "items", "problem"),
    [
        (rereading(read_item), [], "it reads rejects again, and no sample was given"),
        (source(), [ITEM], "a sample for read_reject was given, and it has none"),
        (rereading(lambda raw: dict(json.loads(raw))), [ITEM], "read_reject raised"),
        (rereading(lambda raw: [EVENT]), [ITEM], "read_reject gave list, neither an event nor a SourceReject"),
        (rereading(read_item), [b"7"], "the reject b'7' was rejected again: no_object"),
        (rereading(lambda raw: {"name": "page_viewed"}), [ITEM], "an event the collector rejects: missing_field"),
        (rereading(with_new_reject_ids()), [ITEM], "when read again: a second replay counts twice"),
        (rereading(read_item, read_event), [ITEM], "gave a reject (no_object) without raw"),
        (rereading(lambda raw: 1 // 0), [ITEM], "read_reject raised ZeroDivisionError"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_a_source_that_reads_its_rejects_wrongly_is_told_what_is_wrong(
    odd: Source, items: list[bytes], problem: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        check_source(odd, [request_of(EVENT)], rejects=items)
    assert problem in str(caught.value)


def test_a_source_that_reads_its_rejects_again_passes() -> None:
    check_source(rereading(read_item), [request_of(EVENT)], rejects=[ITEM])


def read_lines(file: BinaryIO, options: Mapping[str, str]) -> Iterator[FileEvent | FileProblem]:
    for line, raw in enumerate(file, start=1):
        identity = raw.decode("utf-8", "replace").strip()
        if identity.isalnum() and len(identity) < 100:
            event = {"event_id": f"line-{line}", "name": "store_visited", "customer_id": identity}
            yield FileEvent(event=event, line=line)
        else:
            yield FileProblem(line=line, message="not one customer number")


def read_lines_carelessly(file: BinaryIO, options: Mapping[str, str]) -> Iterator[FileEvent | FileProblem]:
    for line, row in enumerate(csv.reader(io.TextIOWrapper(file, "utf-8")), start=1):
        yield FileEvent(event={"event_id": f"line-{line}", "name": "store_visited", "customer_id": row[0]}, line=line)


@pytest.mark.parametrize(
    ("read", "content", "problem"),
    [
        (read_lines_carelessly, b"c1\nc2\n", "yield a FileProblem instead"),
        (read_lines, b"c 1\n", "line 1 of the sample file was refused: not one customer number"),
        (read_lines, b"", "the sample file gave no events"),
        (lambda file, options: iter([1]), b"c1\n", "read_file yielded int"),
        (lambda file, options: iter([FileEvent(event={"name": "x"}, line=1)]), b"c1\n", "event the collector rejects"),
    ],
    ids=["careless", "refused", "empty", "wrong-type", "no-event-id"],
)
def test_a_wrong_file_reader_is_told_what_is_wrong(read: Any, content: bytes, problem: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_source(Source(name="odd", read_file=read), [content])
    assert problem in str(caught.value)


def test_a_right_file_reader_passes_and_needs_a_sample() -> None:
    check_source(Source(name="odd", read_file=read_lines), [b"c1\nc2\n"])
    with pytest.raises(AssertionError, match="no sample file was given"):
        check_source(Source(name="odd", read_file=read_lines), [])
