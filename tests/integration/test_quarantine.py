"""Quarantine: every reject of every path is kept once, within bounds, repaired and replayed without doing so twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from in_process_http import Application
from shop_events import wire_event
from touchtrail.events import Event, EventSpec
from touchtrail_collector.api import hookimpl
from touchtrail_collector.domain.repair import Repair
from touchtrail_collector.errors import UsageError
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.admin import run_operation
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.file_import import import_file
from touchtrail_collector.services.quarantine import ReplayRules, mark, replay
from touchtrail_collector.services.reports import REPORTS, ReportContext
from touchtrail_collector.settings import QuarantineSettings, Settings, StoreSettings
from touchtrail_collector.store.engine import RejectRow
from touchtrail_collector.store.sqlite import rejects
from touchtrail_collector.store.sqlite.queries import SqliteQuery
from touchtrail_collector.store.sqlite.rejects import Chosen, Reject
from touchtrail_plugins.channels import default
from touchtrail_plugins.sources import csv, segment

OPEN = Chosen()
ANY = Chosen(state=None)
DAY_MS = 86_400_000


@pytest.fixture
def open_shop(tmp_path: Path) -> Iterator[Callable[..., Application]]:
    """Open collectors on one file with a key for `web`; plugins and limits as given."""
    opened: list[Collector] = []

    def open_one(limits: QuarantineSettings | None = None, **plugins: Any) -> Application:
        for collector in opened:
            collector.close()
        opened.clear()
        settings = Settings(store=StoreSettings(db=tmp_path / "shop.db"), quarantine=limits or QuarantineSettings())
        modules = {"channel.default": default, "source.segment": segment, "source.csv": csv} | {
            f"event.{name}": plugin for name, plugin in plugins.items()
        }
        opened.append(Collector(settings, PluginHost.of(modules), starts_projector=False))
        key = opened[0].store.create_key(source="web")
        opened[0].reload_keys()
        return Application(opened[0], key)

    yield open_one
    for collector in opened:
        collector.close()


@pytest.fixture
def app(open_shop: Callable[..., Application]) -> Application:
    return open_shop()


def kept(app: Application, chosen: Chosen = OPEN) -> list[Reject]:
    with app.collector.store.reading() as reader:
        return rejects.find(reader, chosen)[::-1]


def counters(app: Application) -> dict[str, int]:
    with app.collector.store.reading() as reader:
        return dict(reader.execute("SELECT name, sum(n) FROM counters GROUP BY name"))


def size(app: Application) -> tuple[int, int]:
    """Return entries and bytes as kept, held against the table."""
    with app.collector.store.reading() as reader:
        stated = reader.execute("SELECT entries, bytes FROM quarantine_size").fetchone()
        counted = reader.execute(
            "SELECT count(*), coalesce(sum(length(body) + length(message)), 0) FROM quarantine"
        ).fetchone()
    assert stated == counted
    return int(stated[0]), int(stated[1])


def replayed(app: Application, chosen: Chosen = OPEN, **rules: Any) -> tuple[int, int, int]:
    result = replay(app.collector, chosen, ReplayRules(**rules))
    return result.stored, result.duplicates, result.rejected


def test_what_came_of_every_path_is_kept_with_its_form(app: Application, tmp_path: Path) -> None:
    app.post([wire_event("1", colour="red")])
    call = {
        "event": "Order Completed",
        "anonymousId": "a",
        "messageId": "m",
        "properties": {"orderId": "1", "total": "x"},
    }
    app.ask("POST", "/v1/track", json=call | {"writeKey": app.key})
    app.ask("POST", "/v1/track", json={"anonymousId": "a", "writeKey": app.key})
    file = tmp_path / "costs.csv"
    file.write_text("date,channel,campaign,amount,currency\nsoon,x,y,1,EUR\n")
    import_file(app.collector, "csv", file, sender="till", options={})
    found = [(row.source, row.reader, row.code, row.name) for row in kept(app)]
    assert found == [
        ("web", None, "unknown_field", "page_viewed"),
        ("web", None, "invalid_value", "order_placed"),
        ("web", "segment", "missing_field", "track"),
        ("till", "csv", "invalid_line", None),
    ]
    assert kept(app)[0].body == msgspec.json.encode(wire_event("1", colour="red"))
    assert b"soon" in kept(app)[3].body


def test_the_same_again_is_one_entry_with_a_count(app: Application, tmp_path: Path) -> None:
    file = tmp_path / "costs.csv"
    header = "date,channel,campaign,amount,currency\n"
    file.write_text(header + "soon,x,y,1,EUR\nlater,x,y,1,EUR\n")
    for _ in range(3):
        import_file(app.collector, "csv", file, sender="till", options={})
    # A line more at the top moves the numbers of the lines; the damaged ones are still the same.
    file.write_text(header + "2026-01-01,x,y,1,EUR\nsoon,x,y,1,EUR\n")
    import_file(app.collector, "csv", file, sender="till", options={})
    found = kept(app)
    assert [(row.body, row.times) for row in found] == [(b"soon,x,y,1,EUR\n", 4), (b"later,x,y,1,EUR\n", 3)]
    assert found[0].message.startswith("line 3:")
    assert found[0].last_at >= found[0].received_at
    assert counters(app) == {"accepted": 1, "rejected:invalid_line": 7}
    assert size(app)[0] == 2


def test_the_same_in_one_request_and_of_another_sender_is_told_apart_by_sender_alone(app: Application) -> None:
    bad = wire_event("1", colour="red")
    app.post([bad, bad])
    key = app.collector.store.create_key(source="till")
    app.collector.reload_keys()
    Application(app.collector, key).post([bad])
    assert [(row.source, row.times) for row in kept(app)] == [("web", 2), ("till", 1)]


def test_a_rule_repairs_all_that_were_chosen_and_twice_is_a_duplicate(app: Application) -> None:
    app.post([wire_event(f"e{n}", colour=n) for n in range(3)] + [wire_event("x", size=1)])
    rule: dict[str, Any] = {"repair": Repair(rename={"colour": "properties.extra.colour"})}
    chosen = Chosen(field="colour", source="web", code="unknown_field", name="page_viewed")
    assert replayed(app, chosen, **rule, dry_run=True) == (3, 0, 0)
    assert (app.stored(), len(kept(app))) == ([], 4)
    assert replayed(app, chosen, **rule) == (3, 0, 0)
    assert replayed(app, chosen, **rule) == (0, 0, 0)
    ids = [row.id for row in kept(app, Chosen(state="replayed"))]
    assert replayed(app, Chosen(ids=ids, state=None), **rule) == (0, 3, 0)
    assert app.stored() == ["e0", "e1", "e2"]
    assert counters(app) == {"rejected:unknown_field": 4, "replayed": 3}


def test_a_dry_run_leaves_nothing_behind_and_knows_what_is_there_already(app: Application) -> None:
    app.post([wire_event("a"), wire_event("a", colour=1), wire_event("b", colour=1), wire_event("c", size=1)])
    rule: dict[str, Any] = {"repair": Repair(drop=["colour"])}
    before = (kept(app, ANY), counters(app))
    assert replayed(app, **rule, dry_run=True) == (1, 1, 1)
    assert (kept(app, ANY), counters(app)) == before
    app.post([wire_event("b")])
    assert app.stored() == ["a", "b"]


def test_one_reject_is_repaired_by_hand(app: Application) -> None:
    app.post([wire_event("1", colour="red")])
    body = msgspec.json.encode(wire_event("1"))
    assert replayed(app, Chosen(ids=[kept(app)[0].id]), body=body) == (1, 0, 0)
    with pytest.raises(UsageError, match="one reject"):
        replayed(app, body=body)
    with pytest.raises(UsageError, match="no reject 99"):
        replayed(app, Chosen(ids=[99]))


def test_a_vendors_call_is_repaired_in_its_own_form(app: Application) -> None:
    calls = [
        {"type": "track", "anonymousId": "a", "messageId": "m1", "timestamp": "2026-01-01T00:00:00Z"},
        {"type": "trak", "event": "Product Viewed", "anonymousId": "a", "messageId": "m2", "properties": {"sku": "1"}},
    ]
    app.ask("POST", "/v1/batch", json={"batch": calls, "writeKey": app.key})
    # A path that says which type the call is.
    app.ask("POST", "/v1/track", json={"anonymousId": "a", "messageId": "m3", "writeKey": app.key})
    assert [row.reader for row in kept(app)] == ["segment"] * 3
    assert replayed(app) == (0, 0, 3)
    assert replayed(app, Chosen(code="missing_field"), repair=Repair(set={"event": "Cart Viewed"})) == (2, 0, 0)
    assert replayed(app, repair=Repair(set={"type": "track"})) == (1, 0, 0)
    with app.collector.store.reading() as reader:
        names = reader.execute("SELECT event_id, name FROM events ORDER BY seq").fetchall()
    assert names == [("m1", "cart_viewed"), ("m3", "cart_viewed"), ("m2", "product_viewed")]


def test_a_damaged_line_is_corrected_in_its_file_or_by_hand(app: Application, tmp_path: Path) -> None:
    file = tmp_path / "costs.csv"
    file.write_text("date,channel,campaign,amount,currency\nsoon,x,y,1,EUR\n")
    import_file(app.collector, "csv", file, sender="till", options={})
    result = replay(app.collector, OPEN)
    assert [(one.code, "correct the line" in one.message) for one in result.named] == [("not_replayable", True)]
    assert kept(app)[0].code == "invalid_line"
    body = msgspec.json.encode(wire_event("by-hand"))
    assert replayed(app, Chosen(ids=[kept(app)[0].id]), body=body) == (1, 0, 0)


class MixtapePlayed(Event, frozen=True):
    """A mixtape was heard."""

    spec = EventSpec("mixtape_played", "consideration", "visit")

    side: str


class Plugin:
    """Declares an event type, whose rules may change from one version to the next."""

    def __init__(self, kind: type[Event]) -> None:
        self.kind = kind

    @hookimpl
    def touchtrail_event_types(self) -> list[type[Event]]:
        """Return the event types."""
        return [self.kind]


def test_what_our_own_change_of_the_rules_rejected_is_replayed_after_the_next(
    open_shop: Callable[..., Application],
) -> None:
    event = wire_event("m", "mixtape_played", properties={"side": "A", "volume": 11})
    app = open_shop(strict=Plugin(MixtapePlayed))
    app.post([event, wire_event("n", "mixtape_played", properties={"volume": 3})])
    assert [(row.code, row.field) for row in kept(app)] == [("unknown_field", "properties.volume")] * 2

    class LooserMixtapePlayed(Event, frozen=True):
        """The next version also takes a volume."""

        spec = EventSpec("mixtape_played", "consideration", "visit")
        side: str
        volume: int | None = None

    app = open_shop(looser=Plugin(LooserMixtapePlayed))
    assert replayed(app) == (1, 0, 1)
    assert [(row.code, row.field) for row in kept(app)] == [("missing_field", "properties.side")]
    # Without the plugin the name is nobody's: whatever it says is kept as a custom event.
    app = open_shop()
    assert replayed(app) == (1, 0, 0)
    assert app.stored() == ["m", "n"]


def test_a_failed_replay_that_becomes_the_same_as_another_is_one_with_it(open_shop: Callable[..., Application]) -> None:
    event = wire_event("m", "mixtape_played", properties={"volume": 11})
    app = open_shop(strict=Plugin(MixtapePlayed))
    app.post([event])

    class OtherMixtapePlayed(Event, frozen=True):
        """Takes a volume, and wants its unit."""

        spec = EventSpec("mixtape_played", "consideration", "visit")
        unit: str
        volume: int | None = None

    app = open_shop(other=Plugin(OtherMixtapePlayed))
    app.post([event])
    assert [row.code for row in kept(app)] == ["unknown_field", "missing_field"]
    assert replayed(app) == (0, 0, 2)
    assert [(row.code, row.times) for row in kept(app)] == [("missing_field", 2)]
    assert size(app)[0] == 1


def test_dismissed_rejects_are_left_alone_until_they_are_opened_again(app: Application) -> None:
    app.post([wire_event("1", colour=1), wire_event("2", size=1)])
    assert mark(app.collector, Chosen(field="colour"), "dismissed") == 1
    assert [row.field for row in kept(app)] == ["size"]
    assert replayed(app, repair=Repair(drop=["colour", "size"])) == (1, 0, 0)
    app.post([wire_event("1", colour=1)])
    assert len(kept(app)) == 1
    # The same came meanwhile: opened again, the two are one.
    assert mark(app.collector, Chosen(state="dismissed"), "open") == 1
    assert [(row.field, row.times) for row in kept(app)] == [("colour", 2)]
    assert mark(app.collector, Chosen(state="dismissed"), "open") == 0
    assert run_operation(app.collector, "mark_rejects", {"ids": [kept(app)[0].id], "state": "dismissed"}) == {
        "changed": 1
    }


def fill(app: Application, received_at: int, count: int, *, start: int = 0, body: int = 10) -> None:
    rows = [
        RejectRow(received_at, 1, "bad", None, "bad", b"%0*d" % (body, number))
        for number in range(start, start + count)
    ]
    app.collector.store.append([], rows).result()


def test_the_oldest_go_when_there_are_too_many_closed_ones_first(open_shop: Callable[..., Application]) -> None:
    app = open_shop(QuarantineSettings(max_entries=10))
    fill(app, 1, 10)
    mark(app.collector, Chosen(ids=[8, 9], state=None), "dismissed")
    fill(app, 2, 3, start=100)
    assert [row.id for row in kept(app, ANY)] == [2, 3, 4, 5, 6, 7, 10, 11, 12, 13]
    # Closed ones are no loss; of the open one every time it came is.
    assert counters(app) == {"rejected:bad": 13, "quarantine_dropped": 1}
    fill(app, 3, 1, start=1)
    fill(app, 3, 9, start=200)
    assert counters(app)["quarantine_dropped"] == 1 + 9 + 1
    assert size(app)[0] == 10


def test_the_oldest_go_when_all_together_are_too_large(open_shop: Callable[..., Application]) -> None:
    app = open_shop(QuarantineSettings(max_bytes=100_000))
    fill(app, 1, 9, body=20_000)
    assert size(app) == (4, 4 * 20_003)
    assert [row.id for row in kept(app)] == [6, 7, 8, 9]
    assert counters(app)["quarantine_dropped"] == 5


def test_what_did_not_come_any_more_goes_by_age_even_when_nothing_is_rejected(
    open_shop: Callable[..., Application],
) -> None:
    app = open_shop(QuarantineSettings(max_age_days=30))
    start = 1_767_225_600_000
    fill(app, start, 2)
    fill(app, start + 20 * DAY_MS, 1, start=1)
    fill(app, start + 31 * DAY_MS, 1, start=5)
    assert [row.times for row in kept(app)] == [2, 1]
    app.post([wire_event("now")])
    assert kept(app) == []
    assert counters(app)["quarantine_dropped"] == 1 + 2 + 1


def test_a_commit_that_fails_leaves_the_size_as_it_was(app: Application) -> None:
    fill(app, 1, 3)
    before = size(app)

    def work(connection: Any) -> None:
        connection.execute("DELETE FROM quarantine")
        raise ValueError("taken back")

    with pytest.raises(ValueError, match="taken back"):
        app.collector.store.write(work)
    assert size(app) == before


ADDRESS = "jane.doe@shop.example"


@pytest.mark.parametrize(
    "event",
    [
        wire_event("1", colour=ADDRESS),
        wire_event("1") | {ADDRESS: 1},
        wire_event("1", ADDRESS),
        wire_event("1", "order_placed", properties={"order_id": "1", "currency": ADDRESS}),
        wire_event("1", "survey_answered", properties={"kind": ADDRESS, "score": 1}),
        wire_event("1", identifiers={"email": ADDRESS}, colour=1),
        wire_event("1", identifiers={ADDRESS: 5}),
        wire_event("1", occurred_at=ADDRESS),
    ],
)
def test_no_address_stands_in_the_reason_or_comes_back_with_a_replay(app: Application, event: Any) -> None:
    answer = app.post([event]).json()
    assert len(answer["rejected"]) == 1
    replay(app.collector, OPEN)
    row = kept(app)[0]
    assert ADDRESS not in repr(row)
    assert "hmac:" in repr(row.body)
    body = msgspec.json.encode(wire_event("2", identifiers={"email": ADDRESS, "phone": "+49 170 1234567"}))
    assert replayed(app, Chosen(ids=[row.id]), body=body) == (1, 0, 0)
    with app.collector.store.reading() as reader:
        (text,) = reader.execute("SELECT body FROM events").fetchone()
    assert ADDRESS not in text
    assert "1234567" not in text
    assert text.count("hmac:") == 2
    for path in app.collector.store.path.parent.glob("shop.db*"):
        assert ADDRESS.encode() not in path.read_bytes()


def test_an_older_file_keeps_its_rejects(tmp_path: Path, open_shop: Callable[..., Application]) -> None:
    from sqlite_utils import Database

    from touchtrail_collector.store.sqlite.migrations import MIGRATIONS

    db = Database(tmp_path / "shop.db")
    MIGRATIONS.apply(db, stop_before="m005_quarantine")
    db.execute(
        "INSERT INTO quarantine (received_at, source_id, code, field, message, body, state)"
        " VALUES (5, 1, 'bad', 'f', 'm', x'7b7d', 'open'), (6, 1, 'bad', 'f', 'm', x'7b7d', 'replayed')"
    )
    db.conn.commit()
    db.close()
    app = open_shop()
    assert [(row.received_at, row.state, row.body, row.times) for row in kept(app, ANY)] == [
        (5, "open", b"{}", 1), (6, "replayed", b"{}", 1),
    ]  # fmt: skip
    assert size(app) == (2, 6)


def test_groups_and_choices_agree_with_each_other(app: Application) -> None:
    app.post([wire_event(str(n), colour=1) for n in range(3)] + [wire_event("x", "cart_viewed", size=1), 7])
    with app.collector.store.reading() as reader:
        groups = rejects.find_groups(reader, OPEN)
        assert [(g.code, g.field, g.name, g.entries) for g in groups] == [
            ("unknown_field", "colour", "page_viewed", 3), ("invalid_type", None, None, 1),
            ("unknown_field", "size", "cart_viewed", 1),
        ]  # fmt: skip
        assert len(rejects.find_ids(reader, Chosen(since_ms=groups[0].first_at))) == 5
        assert rejects.find_ids(reader, Chosen(since_ms=groups[0].last_at + 60_000)) == []
        assert rejects.find_ids(reader, Chosen(source="till")) == []
        assert len(rejects.find(reader, Chosen(ids=list(range(1, 50_000))))) == 5


def test_replaying_very_many_shows_how_far_it_is_and_takes_few_commits(app: Application) -> None:
    app.post([wire_event(str(n), colour=1) for n in range(1200)])
    seen: list[tuple[int, int]] = []
    rules = ReplayRules(repair=Repair(drop=["colour"]))
    result = replay(app.collector, OPEN, rules, lambda done, total: seen.append((done, total)))
    assert (result.stored, seen) == (1200, [(500, 1200), (1000, 1200), (1200, 1200)])


def test_after_replays_what_was_sent_still_equals_what_became_of_it(app: Application) -> None:
    app.post([wire_event("1"), wire_event("2", colour=1), wire_event("2", colour=1), wire_event("1")])
    replay(app.collector, OPEN, ReplayRules(repair=Repair(drop=["colour"])))
    with app.collector.store.reading() as reader:
        context = ReportContext(query=SqliteQuery(reader))
        report = REPORTS["data-quality"].run(context, REPORTS["data-quality"].read_parameters({}))
    web = report.sources[0]
    assert (web.sent, web.accepted, web.duplicates, web.rejected) == (4, 1, 1, 2)
