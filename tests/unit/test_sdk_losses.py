"""Losses are told to the collector: each lost event once, at most one report per reason and minute, never more losses."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from still_client import QUICK, abandon, keep_still, outbox_of, sender_of, still, tally_of
from touchtrail import Client, EventRefusedError, TransportError, events
from touchtrail._outbox import DiskOutbox, Limits, MemoryOutbox
from touchtrail._outbox.base import REPORT
from touchtrail._worker import Sender, Tally
from touchtrail._worker.losses import loss_report
from touchtrail._worker.tally import Losses
from touchtrail.testing import Reply, ScriptedTransport


def told(transport: ScriptedTransport) -> list[events.EventsLost]:
    """Return what the collector was told, each report once."""
    reports = [event for event in transport.stored.values() if event["name"] == "events_lost"]
    return [msgspec.convert(report["properties"], events.EventsLost) for report in reports]


def told_counts(transport: ScriptedTransport) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for report in told(transport):
        counts[report.outcome, report.reason] += report.events
    return counts


def deliver(sender: Sender) -> None:
    while sender.step() is not None:
        pass


def test_a_report_has_no_person_and_says_what_was_lost_why_when_and_by_whom() -> None:
    transport = ScriptedTransport()
    now = [1_800_000_000.0]
    with still(transport, clock=lambda: now[0]) as (client, sender):
        for _ in range(3):
            assert not client.track("clicked")
            now[0] += 10
        sender.report_losses()
        deliver(sender)
    (event,) = transport.stored.values()
    assert set(event) == {"event_id", "name", "occurred_at", "properties"}
    assert event["occurred_at"] == "2027-01-15T08:00:20.000Z"
    (report,) = told(transport)
    assert (report.outcome, report.reason, report.events) == ("refused", "no_person", 3)
    assert (report.since, report.until) == ("2027-01-15T08:00:00.000Z", "2027-01-15T08:00:20.000Z")
    assert (report.sender or "").startswith("touchtrail-python/")


def test_a_report_from_a_machine_whose_clock_shows_no_possible_time_leaves_the_time_to_the_collector() -> None:
    losses = Losses(outcome="dropped", reason="too_old", events=3, since_s=0.0, until_s=60.0)
    event = msgspec.json.decode(loss_report(losses, "touchtrail-python/1"))
    assert "occurred_at" not in event
    assert event["properties"]["events"] == 3


def test_a_reason_is_told_at_once_then_once_a_minute_and_nothing_is_told_twice() -> None:
    now = [0.0]
    tally = Tally(steady=lambda: now[0])
    tally.refuse("bad_id")
    assert [losses.events for losses in tally.take_unreported(everything=False)] == [1]
    for _ in range(59):
        now[0] += 1.0
        tally.refuse("bad_id")
        assert tally.take_unreported(everything=False) == []
    tally.drop("too_old", 7)
    assert [losses.reason for losses in tally.take_unreported(everything=False)] == ["too_old"]
    now[0] += 1.0
    assert [losses.events for losses in tally.take_unreported(everything=False)] == [59]
    assert tally.take_unreported(everything=True) == []


ACTS = st.sampled_from(["drop", "refuse", "unseen", "take", "take all", "take and put back", "a minute"])


@given(st.lists(st.tuples(ACTS, st.sampled_from("abc"), st.integers(1, 9)), max_size=60))
def test_whatever_happens_each_loss_is_told_exactly_once(acts: list[tuple[str, str, int]]) -> None:
    now = [0.0]
    tally = Tally(steady=lambda: now[0])
    reported: Counter[tuple[str, str]] = Counter()
    lost: Counter[tuple[str, str]] = Counter()
    for act, reason, number in [*acts, ("take all", "", 0)]:
        if act == "drop":
            tally.drop(reason, number)
            lost["dropped", reason] += number
        elif act == "refuse":
            tally.refuse(reason)
            lost["refused", reason] += 1
        elif act == "unseen":
            tally.reject(reason, is_unseen=True)
            lost["dropped", reason] += 1
        elif act == "a minute":
            now[0] += 60.0
        else:
            for losses in tally.take_unreported(everything=act == "take all"):
                if act == "take and put back":
                    tally.put_back(losses)
                else:
                    reported[losses.outcome, losses.reason] += losses.events
    assert reported == lost


def test_a_client_that_only_refuses_tells_of_it_by_itself(tmp_path: Path) -> None:
    transport = ScriptedTransport()
    with Client("http://x", key="k", transport=transport, spool_dir=tmp_path, **QUICK) as client:
        for _ in range(500):
            assert not client.track("clicked")
        until = time.monotonic() + 5
        while not transport.stored:
            assert time.monotonic() < until
            time.sleep(0.005)
    # What came after the first report is told when the client is closed.
    assert told_counts(transport) == {("refused", "no_person"): 500}
    assert len(told(transport)) <= 3


def test_a_flush_tells_of_everything_and_waits_for_that(tmp_path: Path) -> None:
    transport = ScriptedTransport()
    with Client("http://x", key="k", transport=transport, spool_dir=tmp_path, **QUICK) as client:
        for round_number in range(1, 4):
            assert not client.track("clicked")
            assert not client.track("bad name", anonymous_id="a")
            assert client.track("clicked", anonymous_id="a")
            assert client.flush(5)
            assert told_counts(transport) == {
                ("refused", "no_person"): round_number,
                ("refused", "bad_name"): round_number,
            }
        health = client.health()
        assert (health.tracked, health.delivered, health.rejected) == (3, 3, 0)


def test_what_the_collector_rejected_it_knows_but_not_what_was_too_large_for_it(tmp_path: Path) -> None:
    def reject_first(sent: list[Any]) -> Reply:
        reject = {"index": 0, "id": sent[0]["event_id"], "code": "invalid_value"}
        return Reply(status=200, body=msgspec.json.encode({"accepted": 0, "duplicates": 0, "rejected": [reject]}))

    transport = ScriptedTransport([Reply(status=413), Reply(status=413), reject_first])
    with still(transport, tmp_path) as (client, sender):
        for number in range(2):
            client.track("clicked", anonymous_id="a", event_id=f"e-{number}")
        for _ in range(3):
            sender.step()
        assert client.health().rejected_codes == {"too_large": 1, "invalid_value": 1}
        sender.report_losses()
        deliver(sender)
    assert told_counts(transport) == {("dropped", "too_large"): 1}


def test_a_report_the_collector_rejects_is_no_event_of_the_shops() -> None:
    def reject_the_report(sent: list[Any]) -> Reply:
        place = next(place for place, event in enumerate(sent) if event["name"] == "events_lost")
        reject = {"index": place, "id": sent[place]["event_id"], "code": "unknown_event"}
        ack = {"accepted": len(sent) - 1, "duplicates": 0, "rejected": [reject]}
        return Reply(status=200, body=msgspec.json.encode(ack))

    transport = ScriptedTransport([reject_the_report])
    with still(transport) as (client, sender):
        client.track("clicked", anonymous_id="a")
        client.track("clicked")
        sender.report_losses()
        deliver(sender)
        health = client.health()
        assert (health.tracked, health.delivered, health.duplicates, health.rejected) == (1, 1, 0, 0)


def test_reports_that_arrive_as_duplicates_do_not_disturb_the_counts() -> None:
    transport = ScriptedTransport()
    transport._answers = iter([transport.store_and_lose_the_ack])
    with still(transport) as (client, sender):
        client.track("clicked", anonymous_id="a")
        client.track("clicked")
        sender.report_losses()
        deliver(sender)
        health = client.health()
        assert (health.tracked, health.delivered, health.duplicates) == (1, 0, 1)
    assert told_counts(transport) == {("refused", "no_person"): 1}


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_a_report_fits_beside_a_full_outbox_and_makes_no_room_by_losing_more(tmp_path: Path, kind: str) -> None:
    lost: Counter[str] = Counter()

    def note(reason: str, number: int) -> None:
        lost[reason] += number

    limits = Limits(max_bytes=100_000, segment_bytes=10_000, max_age_s=3600)
    box: Any = DiskOutbox(str(tmp_path / "box"), limits, note) if kind == "disk" else MemoryOutbox(limits, note)
    taken = 0
    with suppress(EventRefusedError):
        while not lost:
            box.append(b"o" * 200, 2)
            taken += 1
    before = Counter(lost)
    for _ in range(3):
        box.append_report(b"r" * 300)
    assert lost == before
    assert box.tracked() == taken
    taken_reports = 3
    with suppress(EventRefusedError):
        while taken_reports < 1000:
            box.append_report(b"r" * 300)
            taken_reports += 1
    assert taken_reports < 1000
    if kind == "disk":
        for _ in range(3):
            box.shed()
        assert lost["spool_full"] > 0
    left: Counter[bytes] = Counter()
    while batch := box.take(50, 10**6):
        left.update(payload[:1] for payload in batch.payloads)
        box.settle(batch)
    assert left[b"r"] == taken_reports
    assert left[b"o"] == taken - sum(lost.values())
    box.close()


def test_a_report_that_does_not_fit_is_kept_and_told_later(tmp_path: Path) -> None:
    transport = ScriptedTransport()
    with still(transport, tmp_path, max_spool_bytes=65_536, segment_bytes=4096) as (client, sender):
        while client.track("order_placed", anonymous_id="a", properties={"x": "y" * 500}):
            pass
        refused = client.health().refused["spool_full"]
        while True:
            before = dict(tally_of(client)._unreported)
            sender.report_losses(everything=True)
            if before and tally_of(client)._unreported:
                break
            client.track("order_placed", anonymous_id="a", properties={"x": "y" * 500})
        refused = client.health().refused["spool_full"]
        deliver(sender)
        sender.report_losses(everything=True)
        deliver(sender)
    assert told_counts(transport) == {("refused", "spool_full"): refused}
    assert len(told(transport)) > 2


def test_reports_grow_old_and_are_given_up_without_a_report_of_that(tmp_path: Path) -> None:
    transport = ScriptedTransport([TransportError("down")])
    with still(transport, tmp_path) as (client, sender):
        client.track("clicked")
        client.track("clicked", anonymous_id="a")
        sender.report_losses()
        disk: Any = outbox_of(client)._disk
        disk._limits = msgspec.structs.replace(disk._limits, max_age_s=-2.0)
        sender.step()
        assert client.health().dropped == {"too_old": 1}
        assert not outbox_of(client).has_pending()
        sender.report_losses(everything=True)
        deliver(sender)
    assert told_counts(transport) == {("dropped", "too_old"): 1}


def test_clients_that_send_nothing_or_raise_do_not_report(tmp_path: Path) -> None:
    transport = ScriptedTransport()
    with Client("http://x", key="k", transport=transport, spool_dir=tmp_path, disabled=True) as disabled:
        assert not disabled.track("clicked", anonymous_id="a")
    with Client("http://x", key="k", transport=transport, spool_dir=tmp_path, strict=True, **QUICK) as strict:
        with pytest.raises(EventRefusedError):
            strict.track("clicked")
        assert strict.track("clicked", anonymous_id="a")
        assert strict.flush(5)
    closed = Client("http://x", key="k", transport=transport, spool_dir=tmp_path, **QUICK)
    closed.close()
    assert not closed.track("clicked", anonymous_id="a")
    assert [event["name"] for event in transport.stored.values()] == ["clicked"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_tells_of_its_own_losses_and_none_of_its_parents(tmp_path: Path) -> None:
    transport = ScriptedTransport()
    with still(transport, tmp_path) as (client, sender):
        for _ in range(5):
            client.track("clicked")
        pid = os.fork()
        if not pid:
            keep_still(client)
            client.track("bad name", anonymous_id="a")
            sender_of(client).report_losses(everything=True)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        sender.report_losses()
        outbox_of(client).tend()
        deliver(sender)
    assert told_counts(transport) == {("refused", "no_person"): 5, ("refused", "bad_name"): 1}


def test_what_a_killed_process_had_noted_is_told_by_the_next(tmp_path: Path) -> None:
    transport = ScriptedTransport([TransportError("down")] * 3)
    with still(transport, tmp_path) as (client, sender):
        for _ in range(4):
            client.track("clicked")
        sender.report_losses()
        sender.step()
        abandon(client)
    with still(transport, tmp_path) as (client, sender):
        outbox_of(client).tend()
        deliver(sender)
        deliver(sender)
        health = client.health()
        assert (health.tracked, health.delivered) == (0, 0)
    assert told_counts(transport) == {("refused", "no_person"): 4}


def test_the_class_of_reports_is_above_all_that_is_given_up_for_room() -> None:
    from touchtrail._envelope import SHED_ORDER

    assert max(SHED_ORDER) < REPORT < 256
