"""Sender and worker: each event at least once with the same id, or counted; what each answer of the collector leads to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import msgspec
import pytest

from still_client import QUICK, abandon, delivery_of, keep_still, outbox_of, still
from touchtrail import Client, TransportError
from touchtrail._transport import Reply, read_ack, retry_after_s
from touchtrail._worker.clock import ClockOffset
from touchtrail.testing import ScriptedTransport


def track(client: Client, events: int) -> list[str]:
    ids = [f"e-{number}" for number in range(events)]
    for event_id in ids:
        assert client.track("clicked", anonymous_id="a", event_id=event_id)
    return ids


def rejecting(place: int, code: str = "invalid") -> Callable[[list[Any]], Reply]:
    def answer(events: list[Any]) -> Reply:
        index = place % len(events)
        reject = {"index": index, "id": events[index]["event_id"], "code": code, "field": "sku", "message": "no"}
        ack = {"accepted": len(events) - 1, "duplicates": 0, "rejected": [reject]}
        return Reply(status=200, body=msgspec.json.encode(ack))

    return answer


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (TransportError("down"), "retrying"),
        (Reply(status=500), "retrying"),
        (Reply(status=408), "retrying"),
        (Reply(status=429, retry_after="7"), "retrying"),
        (Reply(status=400, body=b'{"code":"bad_json"}'), "paused"),
        (Reply(status=401), "paused"),
        (Reply(status=403), "paused"),
        (Reply(status=404), "paused"),
        (Reply(status=302), "paused"),
        (Reply(status=200, body=b"<html>Welcome to the hotel</html>"), "paused"),
        (Reply(status=200, body=b'{"accepted":1}'), "paused"),
    ],
    ids=str,
)
def test_an_answer_that_is_no_ack_keeps_the_events_and_works_again_later(answer: Any, state: str) -> None:
    transport = ScriptedTransport([answer])
    with still(transport) as (client, sender):
        ids = track(client, 3)
        wait_s = sender.step()
        assert wait_s
        health = client.health()
        assert (health.state, health.delivered) == (state, 0)
        assert health.last_error
        assert sender.step() == 0.0
        assert list(transport.stored) == ids
        assert client.health().state == "running"
        assert client.health().last_error is None


def test_a_rejected_event_goes_to_the_dead_letters_and_the_others_are_done(tmp_path: Path) -> None:
    transport = ScriptedTransport([rejecting(1, "unknown_field")])
    with still(transport, tmp_path) as (client, sender):
        track(client, 3)
        sender.step()
        assert sender.step() is None
        health = client.health()
        assert (health.delivered, health.rejected) == (2, 1)
    (letters,) = tmp_path.glob("*/dead-letters.jsonl")
    letter = msgspec.json.decode(letters.read_bytes())
    assert (letter["code"], letter["field"], letter["event"]["event_id"]) == ("unknown_field", "sku", "e-1")
    assert letters.stat().st_mode & 0o777 == 0o600


def test_nothing_is_kept_of_an_event_the_person_did_not_agree_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    transport = ScriptedTransport([rejecting(1, "no_consent"), rejecting(0, "unknown_field")])
    with still(transport, tmp_path) as (client, sender):
        ids = track(client, 3)
        sender.step()
        assert list(tmp_path.glob("*/dead-letters*")) == []
        assert sender.step() is None
        track(client, 1)
        sender.step()
        health = client.health()
        assert (health.tracked, health.delivered, health.rejected) == (4, 2, 2)
        assert health.rejected_codes == {"no_consent": 1, "unknown_field": 1}
        assert ids[1] not in transport.stored
    left = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert list(left) == ["dead-letters.jsonl"]
    assert left["dead-letters.jsonl"].count(b"\n") == 1
    assert b"no_consent" not in left["dead-letters.jsonl"]
    assert "the collector rejected an event: no_consent; nothing of it is kept" in caplog.messages


def test_a_batch_that_is_too_large_is_halved_down_to_the_one_event(tmp_path: Path) -> None:
    transport = ScriptedTransport()

    def small_only(events: list[Any]) -> Reply:
        if len(events) > 3 or any(event["event_id"] == "e-5" for event in events):
            return Reply(status=413)
        return transport.store(events)

    transport._answers = iter([small_only] * 100)
    with still(transport, tmp_path) as (client, sender):
        ids = track(client, 20)
        while sender.step() is not None:
            pass
        assert set(transport.stored) == set(ids) - {"e-5"}
        assert client.health().rejected == 1


def test_the_wait_after_failures_doubles_at_random_up_to_its_limit() -> None:
    transport = ScriptedTransport([TransportError("down")] * 400)
    with still(transport, backoff_min_s=1.0, backoff_max_s=60.0) as (client, sender):
        track(client, 1)
        waits = [sender.step() or 0.0 for _ in range(400)]
    assert all(wait <= min(2.0**place, 60.0) for place, wait in enumerate(waits[:8]))
    assert max(waits) <= 60.0
    assert max(waits) > 45.0
    assert min(waits[10:]) < 15.0


def test_the_collectors_wish_to_wait_is_a_minimum() -> None:
    transport = ScriptedTransport([Reply(status=503, retry_after="120"), Reply(status=429, retry_after="99999")])
    with still(transport, retry_after_max_s=300.0) as (client, sender):
        track(client, 1)
        assert sender.step() == 120.0
        assert sender.step() == 300.0


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("5", 5.0), ("0.5", 0.5), ("400", 300.0), ("-1", 0.0), ("nan", 0.0), ("inf", 0.0), ("soon", 0.0), ("", 0.0),
        (None, 0.0), ("Thu, 01 Jan 1970 00:01:40 GMT", 60.0), ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("Thu, 99 Jan 1970 00:00:01 GMT", 0.0), ("9" * 400, 0.0),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_and_nonsense_is_ignored(text: str | None, wait_s: float) -> None:
    assert retry_after_s(text, 300.0, 40.0) == wait_s


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'{"accepted":"3"}', b'{"accepted":2,"duplicates":0}', b'{"accepted":4,"duplicates":-1}',
        b'{"accepted":2,"rejected":[{"index":3}]}', b'{"accepted":1,"rejected":[{"index":0},{"index":0}]}',
        b"[" * 100_000, b"\xff", b'{"accepted":99999999999999999999999}',
    ],
    ids=lambda body: body[:30].decode("latin1"),
)  # fmt: skip
def test_an_answer_that_does_not_add_up_to_the_batch_is_no_ack(body: bytes) -> None:
    assert read_ack(Reply(status=200, body=body), 3) is None


def test_a_request_carries_key_agent_and_both_clocks_and_is_compressed_when_large() -> None:
    transport = ScriptedTransport()
    client = Client("http://x", key="k-1", transport=transport, memory_only=True, clock=lambda: 1_000_000_000.0)
    with client:
        client.track("small", anonymous_id="a")
        client.flush(5)
        client.track("large", anonymous_id="a", properties={"x": "y" * 5000})
        client.flush(5)
    first, second = transport.headers
    assert first["Authorization"] == "Bearer k-1"
    assert first["User-Agent"].startswith("touchtrail-python/")
    assert "Content-Encoding" not in first
    assert second["Content-Encoding"] == "gzip"
    assert {event["occurred_at"] for batch in transport.batches for event in batch} == {"2001-09-09T01:46:40.000Z"}


def test_a_transport_with_a_bug_does_not_end_delivery() -> None:
    transport = ScriptedTransport([ZeroDivisionError("bug"), ZeroDivisionError("bug")])
    with Client("http://x", key="k", transport=transport, memory_only=True, **QUICK) as client:
        track(client, 3)
        assert client.flush(5)
        assert len(transport.stored) == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_started_again() -> None:
    class Deadly(ScriptedTransport):
        def send(self, body: bytes, headers: Any) -> Reply:
            if not self.batches:
                self.batches.append([])
                raise SystemExit
            return super().send(body, headers)

    transport = Deadly()
    with Client("http://x", key="k", transport=transport, memory_only=True, **QUICK) as client:
        client.track("first", anonymous_id="a")
        until = time.monotonic() + 5
        while not transport.batches or delivery_of(client).worker.is_running():
            assert time.monotonic() < until
            time.sleep(0.005)
        # Gone altogether, so that its end is told in this test and in no later one.
        dead = delivery_of(client).worker._thread
        assert dead is not None
        dead.join(5)
        client.track("second", anonymous_id="a")
        assert client.flush(5)
        assert len(transport.stored) == 2


def at(clock_s: float) -> str:
    return formatdate(clock_s, usegmt=True)


def dated(transport: ScriptedTransport, date: str | None, **reply: Any) -> Callable[[list[Any]], Reply]:
    def answer(sent: list[Any]) -> Reply:
        return msgspec.structs.replace(transport.store(sent), date=date, **reply)

    return answer


@pytest.mark.parametrize(
    ("ahead_s", "shown_s"), [(0.0, 0.0), (1.4, 0.0), (-1.4, 0.0), (60.0, 60.5), (-3600.0, -3599.5), (1e8, 1e8 + 0.5)]
)
def test_the_offset_to_the_collectors_clock_is_measured_and_shown(ahead_s: float, shown_s: float) -> None:
    transport = ScriptedTransport()
    with still(transport, clock=lambda: 1_800_000_000.0) as (client, sender):
        assert client.health().clock_offset_s is None
        transport._answers = iter([dated(transport, at(1_800_000_000 + ahead_s))])
        track(client, 1)
        sender.step()
        assert client.health().clock_offset_s == pytest.approx(shown_s, abs=0.6)
        assert (client.health().clock_offset_s == 0.0) == (shown_s == 0.0)


@pytest.mark.parametrize(
    "date",
    [None, "", "now", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Sun, 99 Foo 2026", "9" * 50],
)
def test_a_date_that_no_clock_shows_is_not_measured(date: str | None) -> None:
    transport = ScriptedTransport()
    with still(transport, clock=lambda: 1_800_000_000.0) as (client, sender):
        transport._answers = iter([dated(transport, date)])
        track(client, 1)
        sender.step()
        assert client.health().clock_offset_s is None
        assert client.health().delivered == 1


def test_an_answer_that_took_long_or_a_clock_that_was_set_meanwhile_measures_nothing() -> None:
    offset = ClockOffset()
    assert not offset.observe(at(1_800_000_000), 1_800_000_100.0, 1_800_000_111.0)
    assert not offset.observe(at(1_800_000_000), 1_800_000_100.0, 1_800_000_099.0)
    assert offset.seconds is None
    assert offset.observe(at(1_800_000_000), 1_800_000_100.0, 1_800_000_101.0)
    assert offset.seconds == -100.0


def test_a_clock_that_is_off_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    # Other tests in this process may have run a program that sets the root logger's level, as a Celery worker does.
    caplog.set_level(logging.WARNING, logger="touchtrail")
    transport = ScriptedTransport()
    with still(transport, clock=lambda: 1_800_000_000.0) as (client, sender):
        transport._answers = iter([dated(transport, at(1_800_000_090))] * 5)
        for number in range(5):
            client.track("clicked", anonymous_id="a", event_id=f"e-{number}")
            sender.clock_offset._next_s = 0.0
            sender.step()
        assert client.health().delivered == 5
    said = [record.getMessage() for record in caplog.records if "clock" in record.getMessage()]
    assert said == ["this machine's clock is -90 s off the collector's"]


@pytest.mark.parametrize(
    "local_s", [1_800_000_000.0, 1_700_000_000.0, 1_900_000_000.0], ids=["right", "behind", "ahead"]
)
def test_a_date_to_wait_for_is_meant_by_the_collectors_clock(local_s: float) -> None:
    date, until = at(1_800_000_000), at(1_800_000_120)
    transport = ScriptedTransport([Reply(status=503, retry_after=until, date=date)])
    with still(transport, clock=lambda: local_s, retry_after_max_s=300.0) as (client, sender):
        track(client, 1)
        assert sender.step() == 120.0


def test_only_a_collector_that_cannot_be_reached_makes_an_event_too_old(tmp_path: Path) -> None:
    transport = ScriptedTransport()
    with still(transport, tmp_path, max_spool_age_s=1) as (client, sender):
        ids = track(client, 3)
        disk: Any = outbox_of(client)._disk
        disk._clocks.began_s += 10_000.0
        assert sender.step() == 0.0
        assert list(transport.stored) == ids
        transport._answers = iter([TransportError("down")])
        client.track("clicked", anonymous_id="a")
        disk._clocks.began_s += 10_000.0
        sender.step()
        assert client.health().dropped == {"too_old": 1}
        assert sender.step() is None


@pytest.mark.parametrize("claimed", ["e-1", "nothing"])
def test_a_rejection_whose_id_is_another_events_is_no_ack(tmp_path: Path, claimed: str) -> None:
    reject = {"index": 0, "id": claimed, "code": "invalid_value"}
    body = msgspec.json.encode({"accepted": 2, "duplicates": 0, "rejected": [reject]})
    transport = ScriptedTransport([Reply(status=200, body=body)])
    with still(transport, tmp_path) as (client, sender):
        ids = track(client, 3)
        sender.step()
        assert client.health().state == "paused"
        sender.step()
        assert list(transport.stored) == ids
    assert not list(tmp_path.glob("*/dead-letters.jsonl"))


def test_a_rejection_may_show_the_beginning_of_a_long_id_only() -> None:
    def reject(sent: list[Any]) -> Reply:
        found = {"index": 0, "id": sent[0]["event_id"][:128], "code": "invalid_id"}
        return Reply(status=200, body=msgspec.json.encode({"accepted": 0, "rejected": [found]}))

    transport = ScriptedTransport([reject])
    with still(transport) as (client, sender):
        taken = client.track("clicked", anonymous_id="a", event_id="x" * 128)
        sender.step()
        assert client.health().rejected == taken


def test_rejections_are_counted_by_code_and_their_number_of_codes_is_bounded() -> None:
    transport = ScriptedTransport([rejecting(0, f"code-{number % 150}") for number in range(300)])
    with still(transport, batch_events=1) as (client, sender):
        track(client, 300)
        while sender.step() is not None:
            pass
        codes = client.health().rejected_codes
    assert sum(codes.values()) == 300
    assert codes["code-0"] == 2
    assert codes["other"] == 100
    assert len(codes) == 101


def test_the_folder_of_another_key_is_told_once_with_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="touchtrail")
    old = Client("http://x", key="old", transport=ScriptedTransport(), spool_dir=tmp_path)
    keep_still(old)
    track(old, 3)
    abandon(old)
    (folder,) = tmp_path.iterdir()
    transport = ScriptedTransport()
    with Client("http://x", key="new", transport=transport, spool_dir=tmp_path, **QUICK) as client:
        for number in range(3):
            client.track("clicked", anonymous_id="a", event_id=f"new-{number}")
            assert client.flush(5)
        assert list(client.health().other_spools) == [str(folder)]
        assert client.health().other_spools[str(folder)] > 300
    assert set(transport.stored) == {"new-0", "new-1", "new-2"}
    said = [record.getMessage() for record in caplog.records if "another" in record.getMessage()]
    assert len(said) == 1
    assert f"touchtrail drain --spool {folder}" in said[0]
