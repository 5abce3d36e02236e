"""Conformance of sources."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from touchtrail.events import VOCABULARY
from touchtrail_collector.api import (
    Endpoint,
    Event,
    FileEvent,
    FileProblem,
    Source,
    SourceAck,
    SourceEvents,
    SourceRefusal,
    SourceReject,
    SourceRequest,
    SourceResponse,
)
from touchtrail_collector.domain.event import EventChecker, EventRejected
from touchtrail_collector.domain.privacy import Pseudonymiser

from ._verdict import Verdict

# A vendor's batch may be anything that parses: these are what a careless reader takes for an object or a list.
_JSON_TRAPS = (
    *(
        b"",
        b"null",
        b"[]",
        b"{}",
        b"true",
        b"12",
        b'"text"',
        b"[null]",
        b"[[]]",
        b'{"batch": 3}',
        b'{"batch": [1, null]}',
    ),
    *(b'{"events": {"a": 1}}', b"[" * 2000, b'{"a":' * 2000, b'{"batch": [{}]}', b'{"a": 1e999}', b"\xff\xfe\x00"),
    *(b'{"batch": [{"type": []}]}', b'{"timestamp": 99999999999999999999}', b'{"a": "\\ud800"}', b"a=1&b=%zz&c"),
)


def check_source(
    source: Source,
    samples: Sequence[SourceRequest | bytes],
    *,
    event_types: Iterable[type[Event]] = (),
    file_options: Mapping[str, str] | None = None,
    rejects: Sequence[bytes] = (),
) -> None:
    """Check that a source reads its samples into events the collector accepts, and survives anything else.

    Args:
        samples: genuine requests for the endpoints, genuine contents (bytes) for ``read_file``; at least one for
            each endpoint and one file where files are read.
        event_types: event structs the plugin declares itself.
        file_options: options for ``read_file``.
        rejects: genuine items for ``read_reject``, as they are once they are repaired; at least one where it is there.

    Raises:
        AssertionError: a sample was not read, gave an event the collector would reject, or gave other event ids
            when read again (a client's retry, or a second replay, would count twice); or damaged and random bytes
            raised anything but SourceRefusal, or became a reject that nobody could repair.
    """
    verdict = Verdict(f"source {source.name!r}")
    verdict.require_name(source.name)
    has_way_in = bool(source.endpoints) or source.read_file is not None
    verdict.require(has_way_in, "it has neither endpoints nor read_file")
    vocabulary = {**VOCABULARY, **{kind.spec.name: kind for kind in event_types}}
    checker = EventChecker(vocabulary, Pseudonymiser(b"conformance kit, not a secret..."))
    requests = [sample for sample in samples if isinstance(sample, SourceRequest)]
    for endpoint in source.endpoints:
        mine = [request for request in requests if _is_for(endpoint, request)]
        verdict.require(bool(mine), f"no sample request for {endpoint.path}; give one")
        for request in mine:
            _check_sample(verdict, endpoint, request, checker)
            _check_damage(verdict, source, endpoint, request)
    if source.read_reject is not None:
        verdict.require(bool(rejects), "it reads rejects again, and no sample was given; give one as rejects=[…]")
    for item in rejects:
        _check_reject(verdict, source, item, checker)
    if source.read_file is not None:
        files = [sample for sample in samples if isinstance(sample, bytes)]
        verdict.require(bool(files), "it reads files, and no sample file was given")
        for content in files:
            _check_file(verdict, source, content, dict(file_options or {}), checker)


def damaged(content: bytes, *, rounds: int = 40) -> Iterator[bytes]:
    """Yield the content cut short, with bytes flipped and doubled, and plain noise; the same every time."""
    random = np.random.default_rng(len(content))
    yield from _JSON_TRAPS
    for _ in range(rounds):
        place = int(random.integers(0, len(content) + 1))
        yield content[:place]
        yield content[:place] + random.bytes(3) + content[place + 3 :]
        yield content[:place] + content[place // 2 :]
        yield random.bytes(place % 200)


def _is_for(endpoint: Endpoint, request: SourceRequest) -> bool:
    pattern = re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(endpoint.path.rstrip("/")))
    return request.method in endpoint.methods and re.fullmatch(pattern, request.path.rstrip("/")) is not None


def _check_sample(verdict: Verdict, endpoint: Endpoint, request: SourceRequest, checker: EventChecker) -> None:
    where = f"the sample for {request.method} {endpoint.path}"
    try:
        read = endpoint.read(request)
        again = endpoint.read(request)
    except Exception as error:
        raise AssertionError(f"{where} raised {type(error).__name__}: {error}") from error
    verdict.require(isinstance(read, SourceEvents), f"{where} gave {type(read).__name__}, not SourceEvents")
    for event in read.events:
        if isinstance(event, SourceReject):
            verdict.require(False, f"{where} was rejected: {event.code}, {event.field}: {event.message}")
        else:
            _check_event(verdict, where, event, checker)
    if endpoint.find_key is not None:
        early = _find_key(endpoint, request)
        problem = f"{where}: find_key says {early!r} and read says {read.key!r}; find_key may know less, nothing else"
        verdict.require(early is None or early == read.key, problem)
    verdict.require(_ids(read) == _ids(again), f"{where} gave other event ids when read again: a retry counts twice")
    for ack in (SourceAck(accepted=len(read.events)), SourceAck(duplicates=1), SourceAck(rejected=1)):
        answer = endpoint.answer(ack, request)
        verdict.require(isinstance(answer, SourceResponse), f"{endpoint.path}: answer must return a SourceResponse")
    body = endpoint.unauthorized
    verdict.require(isinstance(body, SourceResponse), f"{endpoint.path}: unauthorized must be a SourceResponse")


def _check_event(verdict: Verdict, where: str, event: Mapping[str, Any], checker: EventChecker) -> None:
    try:
        checker.check(msgspec.json.encode(event), now_ms=1_795_255_200_000)
    except EventRejected as error:
        problem = f"{where} became an event the collector rejects: {error.code}, {error.field}: {error.message}"
        verdict.require(False, problem)
    except TypeError as error:
        verdict.require(False, f"{where} became an event that is no JSON: {error}")


def _find_key(endpoint: Endpoint, request: SourceRequest) -> str | None:
    return endpoint.find_key(msgspec.structs.replace(request, body=b"")) if endpoint.find_key is not None else None


def _check_damage(verdict: Verdict, source: Source, endpoint: Endpoint, request: SourceRequest) -> None:
    for body in damaged(request.body):
        broken = msgspec.structs.replace(request, body=body)
        try:
            read = endpoint.read(broken)
        except SourceRefusal as refusal:
            is_answer = isinstance(refusal.response, SourceResponse)
            verdict.require(is_answer, f"{endpoint.path}: a refusal needs a SourceResponse")
            continue
        except Exception as error:
            problem = f"{endpoint.path} raised {type(error).__name__} ({error}), not SourceRefusal, on {body[:80]!r}"
            raise AssertionError(problem) from error
        problem = f"{endpoint.path} gave {type(read).__name__}, not SourceEvents, on {body[:80]!r}"
        verdict.require(isinstance(read, SourceEvents), problem)
        if source.read_reject is not None:
            for item in read.events:
                _check_kept(verdict, source, endpoint, item)
    bare = msgspec.structs.replace(request, body=b"", headers={}, query={})
    try:
        _find_key(endpoint, bare)
        endpoint.read(bare)
    except SourceRefusal:
        pass
    except Exception as error:
        problem = f"{endpoint.path} raised {type(error).__name__} ({error}) on a request without headers and query"
        raise AssertionError(problem) from error


def _check_kept(verdict: Verdict, source: Source, endpoint: Endpoint, item: object) -> None:
    """Have a reject read again as quarantine has it: what has no bytes cannot be repaired by anybody."""
    if isinstance(item, SourceReject):
        problem = f"{endpoint.path} gave a reject ({item.code}) without raw: there would be nothing to repair"
        verdict.require(bool(item.raw), problem)
        _read_reject(verdict, source, item.raw)


def _check_reject(verdict: Verdict, source: Source, item: bytes, checker: EventChecker) -> None:
    verdict.require(source.read_reject is not None, "a sample for read_reject was given, and it has none")
    first, again = (_read_reject(verdict, source, item) for _ in range(2))
    where = f"the reject {item[:80]!r}"
    if isinstance(first, SourceReject) or isinstance(again, SourceReject):
        reject = first if isinstance(first, SourceReject) else again
        assert isinstance(reject, SourceReject)
        verdict.require(False, f"{where} was rejected again: {reject.code}, {reject.field}: {reject.message}")
    else:
        _check_event(verdict, where, first, checker)
        problem = f"{where} gave another event id when read again: a second replay counts twice"
        verdict.require(first.get("event_id") == again.get("event_id"), problem)
    for broken in damaged(item):
        _read_reject(verdict, source, broken)


def _read_reject(verdict: Verdict, source: Source, item: bytes) -> Mapping[str, Any] | SourceReject:
    assert source.read_reject is not None
    try:
        read = source.read_reject(item)
    except Exception as error:
        problem = f"read_reject raised {type(error).__name__} ({error}) on {item[:80]!r}; return a SourceReject instead"
        raise AssertionError(problem) from error
    problem = f"read_reject gave {type(read).__name__}, neither an event nor a SourceReject, on {item[:80]!r}"
    verdict.require(isinstance(read, Mapping | SourceReject), problem)
    return read


def _check_file(
    verdict: Verdict, source: Source, content: bytes, options: dict[str, str], checker: EventChecker
) -> None:
    first, again = (_read_file(verdict, source, content, options) for _ in range(2))
    for entry in first:
        if isinstance(entry, FileProblem):
            verdict.require(False, f"line {entry.line} of the sample file was refused: {entry.message}")
        else:
            _check_event(verdict, f"line {entry.line} of the sample file", entry.event, checker)
    verdict.require(bool(first), "the sample file gave no events")
    problem = "the sample file gave other event ids when read again: a second import counts twice"
    verdict.require(_file_ids(first) == _file_ids(again), problem)
    for broken in damaged(content):
        for entry in _read_file(verdict, source, broken, options):
            verdict.require(entry.line >= 1, f"a line number of {entry.line}; lines count from 1")


def _read_file(
    verdict: Verdict, source: Source, content: bytes, options: dict[str, str]
) -> list[FileEvent | FileProblem]:
    assert source.read_file is not None
    try:
        entries = list(source.read_file(io.BytesIO(content), options))
    except Exception as error:
        problem = f"read_file raised {type(error).__name__} ({error}) on {content[:80]!r}; yield a FileProblem instead"
        raise AssertionError(problem) from error
    for entry in entries:
        problem = f"read_file yielded {type(entry).__name__}, not FileEvent or FileProblem"
        verdict.require(isinstance(entry, FileEvent | FileProblem), problem)
    return entries


def _ids(read: SourceEvents) -> list[Any]:
    return [None if isinstance(event, SourceReject) else event.get("event_id") for event in read.events]


def _file_ids(entries: list[FileEvent | FileProblem]) -> list[Any]:
    return [entry.event.get("event_id") for entry in entries if isinstance(entry, FileEvent)]
