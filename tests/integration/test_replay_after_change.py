"""What a rule of ours rejected is kept, and replayed once when a later version's rule takes it: as typed, to the event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from in_process_http import Application
from shop_events import wire_event
from touchtrail.events import Event, EventSpec
from touchtrail_collector.api import (
    Endpoint,
    Source,
    SourceAck,
    SourceEvents,
    SourceReject,
    SourceRequest,
    SourceResponse,
    hookimpl,
)
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.admin import run_operation
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.settings import Settings, StoreSettings
from touchtrail_collector.testing import check_source


class FlyerScanned(Event, frozen=True):
    """Version 1: a flyer's code was scanned; nothing else is known of it."""

    spec = EventSpec("flyer_scanned", "awareness", "visit")
    code: str


class FlyerScannedWithPlace(Event, frozen=True):
    """Version 2: scanners say where as well."""

    spec = EventSpec("flyer_scanned", "awareness", "visit")
    code: str
    place: str | None = None


class EventPlugin:
    """Declares an event type."""

    def __init__(self, kind: type[Event]) -> None:
        self._kind = kind

    @hookimpl
    def touchtrail_event_types(self) -> list[type[Event]]:
        """Return it."""
        return [self._kind]


class ScannerPlugin:
    """Speaks a scanner's protocol, `{"scans": [{"id": …, "what": …}]}`, and knows the kinds it was made for.

    Args:
        kinds: what the scanner calls things, and what we do.
    """

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self._kinds = kinds

    @hookimpl
    def touchtrail_sources(self) -> Iterable[Source]:
        """Return the source."""
        endpoint = Endpoint(path="/scans", read=self.read, answer=answer, unauthorized=SourceResponse(status=401))
        return [Source(name="scanner", endpoints=(endpoint,), read_reject=self.read_item)]

    def read(self, request: SourceRequest) -> SourceEvents:
        """Read a request."""
        try:
            scans = msgspec.json.decode(request.body, type=dict[str, list[msgspec.Raw]]).get("scans", [])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            scans = []
        items = tuple(self.read_item(bytes(scan)) for scan in scans)
        return SourceEvents(key=request.query.get("key"), events=items)

    def read_item(self, raw: bytes) -> Mapping[str, Any] | SourceReject:
        """Read one scan."""
        try:
            scan = msgspec.json.decode(raw, type=dict[str, str])
            name = self._kinds[scan["what"]]
            return wire_event(scan["id"], name, properties={"code": scan["id"]})
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError) as error:
            return SourceReject(code="unknown_scan", field="what", message=f"{error!r} is not known", raw=raw)


def answer(ack: SourceAck, _: SourceRequest) -> SourceResponse:
    """Say what became of it."""
    return SourceResponse(body=msgspec.json.encode(ack))


class Shop:
    """One database, opened by one version after the other."""

    def __init__(self, db: Path) -> None:
        self._settings = Settings(store=StoreSettings(db=db))
        self.collector: Collector | None = None

    def run_version(self, **plugins: Any) -> Collector:
        """Stop the version that runs and start another one."""
        self.close()
        host = PluginHost.of({name.replace("_", "."): plugin for name, plugin in plugins.items()})
        assert not list(host.problems())
        self.collector = Collector(self._settings, host, starts_projector=False)
        return self.collector

    def close(self) -> None:
        if self.collector is not None:
            self.collector.close()


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    shop = Shop(tmp_path / "shop.db")
    yield shop
    shop.close()


def replay(collector: Collector, **arguments: Any) -> tuple[int, int, int]:
    """Do what `touchtrail quarantine replay` has the collector do."""
    result = run_operation(collector, "replay", arguments)
    return result["stored"], result["duplicates"], result["rejected"]


def contents(collector: Collector) -> tuple[list[str], dict[str, int], dict[str, int]]:
    """Return the ids of stored events, rejects by state, and what was counted."""
    with collector.store.reading() as reader:
        stored = [row[0] for row in reader.execute("SELECT event_id FROM events ORDER BY seq")]
        states = dict(reader.execute("SELECT state, sum(times) FROM quarantine GROUP BY state").fetchall())
        counters = dict(reader.execute("SELECT name, sum(n) FROM counters GROUP BY name").fetchall())
    return stored, states, counters


def numbers(collector: Collector) -> list[int]:
    with collector.store.reading() as reader:
        return [row[0] for row in reader.execute("SELECT id FROM quarantine ORDER BY id")]


def test_a_field_that_a_later_version_knows_is_stored_once_however_often_it_is_replayed(shop: Shop) -> None:
    collector = shop.run_version(event_flyer=EventPlugin(FlyerScanned))
    key = run_operation(collector, "create_key", {"source": "web"})["key"]
    sent = [wire_event(f"f{n}", "flyer_scanned", properties={"code": "A", "place": "Ulm"}) for n in range(3)]
    for _ in range(2):  # the sender tries again what was rejected
        assert len(Application(collector, key).post(sent).json()["rejected"]) == 3
    assert replay(collector) == (0, 0, 3), "by the rule that rejected them"
    assert contents(collector) == ([], {"open": 6}, {"rejected:unknown_field": 6})

    collector = shop.run_version(event_flyer=EventPlugin(FlyerScannedWithPlace))
    assert replay(collector, dry_run=True) == (3, 0, 0)
    assert replay(collector) == (3, 0, 0)
    after = (["f0", "f1", "f2"], {"replayed": 6}, {"rejected:unknown_field": 6, "replayed": 3})
    assert contents(collector) == after
    assert replay(collector) == (0, 0, 0), "nothing is open any more"
    assert replay(collector, ids=numbers(collector)) == (0, 3, 0), "by their numbers they are duplicates"
    assert contents(collector) == after
    ack = Application(collector, key).post(sent).json()
    assert (ack["accepted"], ack["duplicates"]) == (0, 3), "and so is what the sender sends again"


SCANS = {"scans": [{"id": "s1", "what": "flyer"}, {"id": "s2", "what": "poster"}, {"id": "s3", "what": "poster"}]}
VERSION_1 = {"flyer": "flyer_scanned"}
VERSION_2 = VERSION_1 | {"poster": "poster_scanned"}


def test_what_a_plugin_did_not_know_is_read_by_its_next_version_in_its_own_form(shop: Shop) -> None:
    collector = shop.run_version(source_scanner=ScannerPlugin(VERSION_1))
    key = run_operation(collector, "create_key", {"source": "scanner"})["key"]
    said = Application(collector, key).ask("POST", f"/scans?key={key}", json=SCANS).json()
    assert said == {"accepted": 1, "duplicates": 0, "rejected": 2}
    assert replay(collector) == (0, 0, 2)
    assert contents(collector)[:2] == (["s1"], {"open": 2})

    collector = shop.run_version()
    assert replay(collector) == (0, 0, 2), "without the plugin nobody can read them"
    assert contents(collector)[1] == {"open": 2}, "and they stay"

    collector = shop.run_version(source_scanner=ScannerPlugin(VERSION_2))
    assert replay(collector) == (2, 0, 0)
    assert replay(collector) == (0, 0, 0)
    assert replay(collector, ids=numbers(collector)) == (0, 2, 0)
    counted = {"accepted": 1, "rejected:unknown_scan": 2, "replayed": 2}
    assert contents(collector) == (["s1", "s2", "s3"], {"replayed": 2}, counted)
    said = Application(collector, key).ask("POST", f"/scans?key={key}", json=SCANS).json()
    assert said == {"accepted": 0, "duplicates": 3, "rejected": 0}


def test_a_rule_of_ours_about_what_a_plugin_made_of_it_is_replayed_as_well(shop: Shop) -> None:
    """The plugin reads it both times; the event type it becomes is what changes."""

    class Strict(Event, frozen=True):
        """Version 1 knows no code."""

        spec = EventSpec("flyer_scanned", "awareness", "visit")

    collector = shop.run_version(source_scanner=ScannerPlugin(VERSION_1), event_flyer=EventPlugin(Strict))
    key = run_operation(collector, "create_key", {"source": "scanner"})["key"]
    Application(collector, key).ask("POST", f"/scans?key={key}", json={"scans": SCANS["scans"][:1]})
    assert contents(collector)[:2] == ([], {"open": 1})
    collector = shop.run_version(source_scanner=ScannerPlugin(VERSION_1), event_flyer=EventPlugin(FlyerScanned))
    assert [replay(collector), replay(collector)] == [(1, 0, 0), (0, 0, 0)]
    assert contents(collector)[:2] == (["s1"], {"replayed": 1})


def test_the_plugin_of_these_tests_is_a_right_one() -> None:
    (source,) = ScannerPlugin(VERSION_2).touchtrail_sources()
    request = SourceRequest(
        method="POST", path="/scans", path_params={}, query={"key": "k"}, headers={},
        body=msgspec.json.encode(SCANS), received_at=0,
    )  # fmt: skip
    check_source(source, [request], rejects=[b'{"id": "s2", "what": "poster"}'])
