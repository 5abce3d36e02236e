"""The projector: step by step, in bulk, anew, after a kill, after a failure: always the same tables."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from derived_tables import dump, retold, store
from random_shop import RandomShop
from shop_events import DAY_MS, START_MS, small_classifier, wire_event
from touchtrail_collector.api import ChannelRuleSet, hookimpl
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.derivation_rules import DerivationRules, rules_of
from touchtrail_collector.services.derive import Projector

OpenCollector = Callable[..., Collector]
LATER = START_MS + 365 * DAY_MS


def derive_in_steps(collector: Collector, events: list[dict[str, Any]], rng: random.Random) -> None:
    """Store and derive in turns, as many at a time as chance has it."""
    collector.projector.prepare()
    while events:
        count = rng.choice([1, 2, 7, 30, 150])
        store(collector, events[:count], rng.choice(["web", "till"]), LATER)
        events = events[count:]
        with collector.store.reading() as reader:
            while collector.projector.step(reader, limit=rng.choice([1, 3, 50])):
                pass


def bulk(collector: Collector) -> None:
    """Derive everything anew, the whole log in one go."""
    Projector(collector.store, collector.host, collector.settings, bulk_events=1).rebuild()


@pytest.mark.parametrize("seed", range(12))
def test_steps_a_rebuild_and_bulk_give_the_same_tables(open_collector: OpenCollector, seed: int) -> None:
    rng = random.Random(seed)
    shop = RandomShop(seed, people=rng.choice([4, 12, 30]))
    collector = open_collector()
    derive_in_steps(collector, shop.arrival(shop.events(250)), rng)
    in_steps = dump(collector)
    collector.projector.rebuild()
    assert dump(collector) == in_steps
    bulk(collector)
    assert dump(collector) == in_steps
    assert len(in_steps["persons"]) > 1
    assert len(in_steps["orders"]) > 1


@pytest.mark.parametrize("seed", range(3))
def test_hubs_found_late_give_the_same_tables_as_hubs_known_from_the_start(
    open_collector: OpenCollector, seed: int
) -> None:
    shop, rng = RandomShop(seed, people=30), random.Random(seed)
    events = shop.events(100) + shop.kiosk(60)
    rng.shuffle(events)
    collector = open_collector()
    derive_in_steps(collector, events, rng)
    in_steps = dump(collector)
    hubs = {row[0] for row in in_steps["identity_nodes"] if row[2]}
    assert hubs == {"anonymous:1:kiosk", "coupon:1:PUBLIC"}
    bulk(collector)
    assert dump(collector) == in_steps


@pytest.mark.parametrize("seed", range(6))
def test_another_order_of_arrival_tells_the_same(open_collector: OpenCollector, seed: int) -> None:
    shop, rng = RandomShop(seed), random.Random(seed)
    events = shop.events(150) + (shop.kiosk(55) if seed == 0 else [])
    told = []
    for name in ("in order", "late", "shuffled"):
        collector = open_collector(name)
        arriving = {"in order": events, "late": shop.arrival(events), "shuffled": rng.sample(events, len(events))}[name]
        store(collector, arriving, received_at=LATER)
        collector.projector.catch_up()
        told.append(retold(collector))
    assert told[0] == told[1] == told[2]


def test_merges_then_a_split_end_where_they_began(collector: Collector) -> None:
    """Two devices, joined by a login, and told apart again when another customer turns out to use one of them."""

    def people() -> list[list[str]]:
        collector.projector.catch_up()
        return [[event for event, *_ in road] for _, road, *_ in retold(collector)["people"]]

    store(
        collector,
        [wire_event("1", anonymous_id="a"), wire_event("2", anonymous_id="b", occurred_at="2026-01-02T00:00:00Z")],
    )
    assert sorted(people()) == [["1"], ["2"]]
    store(
        collector,
        [
            wire_event(n, anonymous_id=a, customer_id="c", occurred_at="2026-01-03T00:00:00Z")
            for n, a in (("3", "a"), ("4", "b"))
        ],
    )
    assert people() == [["1", "2", "3", "4"]]
    store(collector, [wire_event("5", anonymous_id="b", customer_id="d", occurred_at="2026-01-01T12:00:00Z")])
    assert sorted(people()) == [["1", "3", "4"], ["5", "2"]]


KILLED = """
import os, random, signal, sys
from pathlib import Path
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.derive import Projector
from touchtrail_collector.settings import Settings, StoreSettings
from touchtrail_plugins.channels import default

path, statements, bulk_events = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
settings = Settings(store=StoreSettings(db=path))
collector = Collector(settings, PluginHost.of({"channel.default": default}), starts_projector=False)
left = [statements]

def count(statement):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

collector.store.write(lambda connection: connection.set_trace_callback(count))
projector = Projector(collector.store, collector.host, settings, bulk_events=bulk_events)
projector.prepare()
with collector.store.reading() as reader:
    if bulk_events == 1:
        projector.catch_up()
    while projector.step(reader, limit=25):
        pass
collector.close()
"""


@pytest.mark.parametrize(("bulk_events", "kills"), [(10**9, (9, 40, 130)), (1, (8, 30))], ids=["steps", "bulk"])
def test_kills_in_the_middle_change_nothing(
    open_collector: OpenCollector, tmp_path: Path, bulk_events: int, kills: Sequence[int]
) -> None:
    """The process kills itself at the n-th statement of the writing connection, inside a transaction or between two."""
    shop = RandomShop(7)
    events = shop.arrival(shop.events(200))
    collector = open_collector("killed")
    store(collector, events, received_at=LATER)
    collector.close()
    codes = []
    for statements in (*kills, 10**9):
        arguments = [sys.executable, "-c", KILLED, str(tmp_path / "killed.db"), str(statements), str(bulk_events)]
        codes.append(subprocess.run(arguments, check=False, timeout=60).returncode)
    assert codes[-1] == 0
    assert codes.count(-signal.SIGKILL) >= 2
    continued = open_collector("killed")
    after_kills = dump(continued)
    continued.projector.rebuild()
    assert dump(continued) == after_kills


class OneRuleSet:
    """A plugin with one version of a rule set."""

    def __init__(self, version: str) -> None:
        self._version = version

    @hookimpl
    def touchtrail_channels(self, settings: Any) -> ChannelRuleSet:
        (rules,) = small_classifier(self._version)._sets
        return rules


def test_changed_rules_hold_for_the_whole_history_from_the_next_start(open_collector: OpenCollector) -> None:
    first = open_collector(host=PluginHost.of({"channel.small": OneRuleSet("1")}))
    store(first, [wire_event("1", page={"url": "https://shop.example/?utm_medium=email"})])
    first.projector.catch_up()
    with first.store.reading() as reader:
        before = {name for (name,) in reader.execute("SELECT name FROM channels")}
    first.close()
    second = open_collector()
    store(second, [wire_event("2", anonymous_id="b")])
    second.projector.catch_up()
    tables = dump(second)
    assert "Paid Search" not in before
    assert "Paid Search" in {row[1] for row in tables["channels"]}
    assert len(tables["persons"]) == 2
    second.projector.rebuild()
    assert dump(second) == tables


@pytest.mark.parametrize("setting", ["session_gap_min", "click_landing_min", "skew_tolerance_s"])
def test_changed_settings_of_the_journey_do_so_too(open_collector: OpenCollector, setting: str) -> None:
    collector = open_collector()
    store(collector, [wire_event("1"), wire_event("2", occurred_at="2026-01-01T00:20:00Z")])
    collector.projector.catch_up()
    changed = replace(collector.settings, journey=replace(collector.settings.journey, **{setting: 10}))
    projector = Projector(collector.store, collector.host, changed)
    assert projector.catch_up() == 2
    assert projector.catch_up() == 0
    assert len(dump(collector)["sessions"]) == (2 if setting == "session_gap_min" else 1)


def test_the_database_says_in_full_what_it_was_derived_with(open_collector: OpenCollector) -> None:
    first = open_collector(host=PluginHost.of({"channel.small": OneRuleSet("1")}))
    first.projector.catch_up()
    first.close()
    second = open_collector()
    own = rules_of(second.host, second.settings)
    assert stored_rules(second).channel_rule_sets == ("small/1",)
    second.projector.prepare()
    assert stored_rules(second) == own
    second.store.write(lambda connection: connection.execute("DELETE FROM meta WHERE name = 'derived_rules'"))
    second.projector.prepare()  # a database of before the rules were kept
    assert stored_rules(second) == own


def stored_rules(collector: Collector) -> DerivationRules:
    with collector.store.reading() as reader:
        (text,) = reader.execute("SELECT value FROM meta WHERE name = 'derived_rules'").fetchone()
    return msgspec.json.decode(text, type=DerivationRules)


def wait_until(is_so: Callable[[], bool], timeout_s: float = 10) -> None:
    ends_at = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < ends_at
        time.sleep(0.01)


@pytest.mark.filterwarnings("default")
def test_a_failure_is_shown_and_over_when_its_cause_is(open_collector: OpenCollector) -> None:
    collector = open_collector(starts_projector=True)
    store(collector, [wire_event("1")])
    collector.projector.wake()
    wait_until(lambda: collector.projector.lag() == 0)
    trigger = "CREATE TRIGGER no BEFORE INSERT ON persons BEGIN SELECT RAISE(ABORT, 'not now'); END"
    collector.store.write(lambda connection: connection.execute(trigger))
    store(collector, [wire_event("2", customer_id="c"), wire_event("3", anonymous_id="b", customer_id="c")])
    collector.projector.wake()
    wait_until(lambda: collector.readiness().projector_failure is not None)
    assert "not now" in str(collector.readiness().projector_failure)
    assert collector.readiness().is_ready
    collector.store.write(lambda connection: connection.execute("DROP TRIGGER no"))
    wait_until(lambda: collector.readiness().projector_failure is None)
    assert collector.projector.lag() == 0
    mended = dump(collector)
    collector.projector.rebuild()
    assert dump(collector) == mended


def test_a_failed_rebuild_is_mended_by_the_next_one(collector: Collector) -> None:
    store(collector, [wire_event("1"), wire_event("2", anonymous_id="b")])
    collector.projector.catch_up()
    before = dump(collector)
    trigger = "CREATE TRIGGER no BEFORE INSERT ON persons BEGIN SELECT RAISE(ABORT, 'not now'); END"
    collector.store.write(lambda connection: connection.execute(trigger))
    store(collector, [wire_event("3")])
    with pytest.raises(Exception, match="not now"):
        collector.projector.catch_up()
    collector.store.write(lambda connection: connection.execute("DROP TRIGGER no"))
    assert collector.projector.catch_up() == 1
    after = dump(collector)
    assert after != before
    collector.projector.rebuild()
    assert dump(collector) == after


class Observer:
    """A plugin that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @hookimpl
    def touchtrail_on_events_stored(self, events: Sequence[Mapping[str, Any]], settings: Any) -> None:
        self.told.extend(event["event_id"] for event in events)


def test_observers_are_told_of_each_event_once_and_of_nothing_derived_anew(open_collector: OpenCollector) -> None:
    observer = Observer()
    before = open_collector()
    store(before, [wire_event("0")])
    before.projector.catch_up()
    before.close()
    collector = open_collector(host=PluginHost.of({"observer.memory": observer}))
    store(collector, [wire_event("1"), wire_event("2")])
    collector.projector.catch_up()
    collector.projector.rebuild()
    bulk(collector)
    store(collector, [wire_event("3")])
    bulk(collector)
    assert observer.told == ["1", "2", "3"]


def test_a_hostile_order_stops_nobodys_derivation(collector: Collector) -> None:
    lines = [{"sku": f"S{n}", "quantity": 1_000_000, "unit_price": "1000000000000"} for n in range(900)]
    store(collector, [wire_event("1", "order_placed", properties={"order_id": "1", "currency": "EUR", "lines": lines})])
    store(
        collector,
        [
            wire_event(
                "2", "order_placed", anonymous_id="b", properties={"order_id": "2", "currency": "EUR", "total": "1"}
            )
        ],
    )
    collector.projector.catch_up()
    assert sorted(row[10] for row in dump(collector)["orders"]) == [100, 10**16]


def test_an_event_that_names_nobody_new_may_still_make_a_hub(collector: Collector) -> None:
    """The fifty-first device of an address was known before, and so was the address."""

    def told(number: int, device: str, **members: Any) -> dict[str, Any]:
        at = f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z"
        return wire_event(str(number), anonymous_id=device, occurred_at=at, **members)

    address = {"identifiers": {"email": "desk@shop.example"}}
    events = [told(n, f"d-{n}", **address) for n in range(49)]
    events += [told(50, "d-0", customer_id="c", **address), told(51, "d-50", customer_id="c")]
    store(collector, events, received_at=LATER)
    collector.projector.catch_up()
    assert len(dump(collector)["persons"]) == 1
    store(collector, [told(52, "d-50", **address)], received_at=LATER)
    with collector.store.reading() as reader:
        assert collector.projector.step(reader) == 1
    in_steps = dump(collector)
    assert len(in_steps["persons"]) == 49
    collector.projector.rebuild()
    assert dump(collector) == in_steps
